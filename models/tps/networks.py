"""The networks of the thin-plate spline motion model, with the entry names of the released weights.

Paper: Zhao and Zhang, Thin-Plate Spline Motion Model for Image Animation, CVPR 2022 (arXiv 2203.14367).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.parts.avd import Disentangler
from models.parts.blocks import DownBlock, Hourglass, ResidualBlock, SameBlock, UpBlock, downsampling
from models.parts.keypoints import KeyPoints, gaussian_maps
from models.parts.losses import at_least_single
from models.parts.warps import affine_grids, coordinate_grid, resize, resize_grid, warp, warp_each
from models.tps.dropout import Share, all_maps
from models.tps.resnet import ResNet18
from models.tps.splines import Splines

POINTS = 5
"""Number of key points per spline."""


class InstanceNorm(nn.Module):
    """Instance norm with learned scale and shift for every channel.

    Computed as a group norm with one channel per group, which is three times as fast on the CPU and keeps
    channels-last.
    """

    def __init__(self, features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, len(self.weight), self.weight, self.bias)


class KeyPointDetector(nn.Module):
    """Detect the points of all splines, 5 consecutive ones each."""

    def __init__(self, num_tps: int, num_channels: int = 3, width: int = 64):
        super().__init__()
        self.fg_encoder = ResNet18(num_channels, 2 * POINTS * num_tps, width)

    def forward(self, frame: Tensor) -> KeyPoints:
        # In half precision a point is off by up to a pixel.
        with torch.autocast(frame.device.type, enabled=False):
            points = 2 * torch.sigmoid(self.fg_encoder(at_least_single(frame))) - 1
            return KeyPoints(points.unflatten(1, (-1, 2)))


class BackgroundPredictor(nn.Module):
    """Predict the background motion from the driving frame to the source: an affine map as matrix (B, 3, 3)."""

    def __init__(self, num_channels: int = 3, width: int = 64):
        super().__init__()
        self.bg_encoder = ResNet18(2 * num_channels, 6, width)
        nn.init.zeros_(self.bg_encoder.fc.weight)
        with torch.no_grad():
            self.bg_encoder.fc.bias.copy_(torch.eye(2, 3).flatten())

    def forward(self, source: Tensor, driving: Tensor) -> Tensor:
        with torch.autocast(driving.device.type, enabled=False):
            pair = torch.cat([source.expand_as(driving), driving], dim=1)
            rows = self.bg_encoder(at_least_single(pair)).unflatten(1, (2, 3))
            return torch.cat([rows, rows.new_tensor([0.0, 0.0, 1.0]).expand(len(rows), 1, 3)], dim=1)


class Motion(NamedTuple):
    """The output of the dense motion network, per pixel (h, w) of its map."""

    deformation: Tensor
    """Sampling positions in the source, (B, h, w, 2)."""
    contribution_maps: Tensor
    """Weights of the K + 1 transforms, background first, (B, K + 1, h, w)."""
    deformed_source: Tensor
    """The small source warped by each transform, (B, K + 1, C, h, w)."""
    occlusion_maps: list[Tensor]
    """1 where the source is visible, 0 where the network inpaints: (B, 1, h', w'), smallest first."""


class DenseMotionNetwork(nn.Module):
    """Combine the splines and the background's transform into one motion per pixel."""

    def __init__(
        self,
        num_tps: int,
        num_channels: int,
        expansion: int,
        max_features: int,
        num_blocks: int,
        scale_factor: float = 0.25,
        kp_variance: float = 0.01,
        num_masks: int = 4,
        regulariser: tuple[float, float] = (0.01, 0.01),
        flow_limit: float | None = None,
    ):
        """`num_masks`: occlusion masks, the largest of the picture's size, each twice the previous one; 1: of the
        flow's size.

        `flow_limit`: clamp transforms to [-limit, limit].
        """
        super().__init__()
        self.kp_variance, self.regulariser, self.flow_limit = kp_variance, regulariser, flow_limit
        self.down = downsampling(num_channels, scale_factor)
        inputs = POINTS * num_tps + 1 + num_channels * (num_tps + 1)
        self.hourglass = Hourglass(expansion, inputs, num_blocks, max_features, InstanceNorm)
        features = self.hourglass.out_features
        self.maps = nn.Conv2d(features, num_tps + 1, 7, padding=3)
        doublings = round(1 / scale_factor).bit_length() - 1 if num_masks > 1 else 0
        widened = [features >> i for i in range(doublings + 1)]
        self.up = nn.ModuleList(UpBlock(*pair, InstanceNorm) for pair in zip(widened[:-1], widened[1:], strict=True))
        self.early = num_masks - doublings
        """Number of occlusion masks from the hourglass; the rest come from the upsampling blocks after it."""
        widths = [*self.hourglass.decoder.widths[-self.early :], *widened[1:]]
        self.occlusion = nn.ModuleList(nn.Conv2d(width, 1, 7, padding=3) for width in widths)

    def heatmaps(self, kp_source: KeyPoints, kp_driving: KeyPoints, size: tuple[int, int]) -> Tensor:
        """Gaussian heatmaps, driving minus source: (B, 5K + 1, h, w), with an empty map for the background."""
        driving, source = (gaussian_maps(kp.value, size, self.kp_variance) for kp in (kp_driving, kp_source))
        return F.pad(driving - source, (0, 0, 0, 0, 1, 0))

    def transforms(
        self, kp_source: KeyPoints, kp_driving: KeyPoints, background: Tensor | None, size: tuple[int, int]
    ) -> Tensor:
        """The transforms at every pixel, the background's first: (B, K + 1, h, w, 2)."""
        source, driving = (kp.value.unflatten(1, (-1, POINTS)) for kp in (kp_source, kp_driving))
        grids = Splines.between(driving, source, self.regulariser).grids(size)
        if background is None:
            still = coordinate_grid(*size, like=grids).expand(len(grids), 1, -1, -1, -1)
        else:
            still = affine_grids(background[:, None, :2, :2], background[:, None, :2, 2], size)
        whole = torch.cat([still, grids], dim=1)
        return whole.clamp(-self.flow_limit, self.flow_limit) if self.flow_limit else whole

    def forward(
        self,
        small_source: Tensor,
        kp_source: KeyPoints,
        kp_driving: KeyPoints,
        background: Tensor | None = None,
        share: Share = all_maps,
    ) -> Motion:
        """`small_source` is the source picture after `down`; one source may be paired with a batch of driving points.

        `background` is the matrix (B, 3, 3) of its motion; without one it is static.
        """
        size = small_source.shape[-2:]
        grids = self.transforms(kp_source, kp_driving, background, size)
        deformed = warp_each(small_source, grids)
        heatmaps = self.heatmaps(kp_source, kp_driving, size)
        features = self.hourglass.every(torch.cat([heatmaps, deformed.flatten(1, 2)], dim=1))
        shares = share(at_least_single(self.maps(features[-1])))
        deformation = (shares[..., None] * grids).sum(1)  # the sum of M_k T_k over K splines and the background
        return Motion(deformation, shares, deformed, self._occlusion_maps(features))

    def _occlusion_maps(self, features: list[Tensor]) -> list[Tensor]:
        features = features[-self.early :]
        for block in self.up:
            features.append(block(features[-1]))
        return [torch.sigmoid(at_least_single(head(maps))) for head, maps in zip(self.occlusion, features, strict=True)]


class Encoded(NamedTuple):
    """Everything that can be computed from the source picture alone."""

    source: Tensor
    small_source: Tensor
    """The source after the dense motion network's `down`."""
    maps: list[Tensor]
    """The inpainting network's features, smallest first, like the occlusion masks."""


class InpaintingNetwork(nn.Module):
    """Warp the source's features at every resolution, mask what is occluded, and inpaint it in the decoder."""

    def __init__(self, num_channels: int, expansion: int, max_features: int, num_down_blocks: int):
        super().__init__()
        widths = [min(max_features, expansion * 2**i) for i in range(num_down_blocks + 1)]
        self.first = SameBlock(num_channels, expansion, kernel_size=7, padding=3, norm=InstanceNorm)
        self.down_blocks = nn.ModuleList(
            DownBlock(*pair, norm=InstanceNorm) for pair in zip(widths[:-1], widths[1:], strict=True)
        )
        self.up_blocks, self.resblock = nn.ModuleList(), nn.ModuleList()
        for i in range(num_down_blocks, 0, -1):
            joined = widths[i] if i == num_down_blocks else 2 * widths[i]
            self.up_blocks.append(UpBlock(joined, widths[i - 1], InstanceNorm))
            self.resblock.extend(ResidualBlock(joined, norm=InstanceNorm) for _ in range(2))
        self.final = nn.Conv2d(expansion, num_channels, 7, padding=3)

    def encode(self, picture: Tensor) -> list[Tensor]:
        """The features of a picture, smallest first."""
        maps = [self.first(picture)]
        for block in self.down_blocks:
            maps.append(block(maps[-1]))
        return maps[::-1]

    def forward(self, encoded: Encoded, motion: Motion) -> Tensor:
        """The picture (B, C, H, W) in [0, 1]; one encoded source may be paired with a batch of motions."""
        *smaller, largest = encoded.maps
        x = seen(smaller[0], motion, 0)
        for index, block in enumerate(self.up_blocks):
            x = block(self.resblock[2 * index + 1](self.resblock[2 * index](x)))
            if index + 1 < len(smaller):
                x = torch.cat([x, seen(smaller[index + 1], motion, index + 1)], dim=1)
        # (1 - m) x + m W(e), first for the largest features and then for the picture itself.
        mask = mask_of(motion, len(smaller), largest.shape[-2:])
        x = torch.lerp(x, warped(largest, motion).to(x.dtype), mask.to(x.dtype))
        painted = torch.sigmoid(at_least_single(self.final(x)))
        return torch.lerp(painted, warped(encoded.source, motion).to(painted.dtype), mask)

    def warped_maps(self, encoded: Encoded, motion: Motion) -> list[Tensor]:
        """The visible warped features of the source, smallest first, with gradients through the motion only."""
        masks = motion._replace(occlusion_maps=[mask.detach() for mask in motion.occlusion_maps])
        return [seen(maps.detach(), masks, index) for index, maps in enumerate(encoded.maps)]

    @torch.no_grad()
    def driving_maps(self, driving: Tensor, motion: Motion) -> list[Tensor]:
        """The driving frame's features under the same masks: the targets of `warped_maps`."""
        maps = self.encode(driving)
        return [map * mask_of(motion, index, map.shape[-2:]) for index, map in enumerate(maps)]


def warped(maps: Tensor, motion: Motion) -> Tensor:
    """The source's maps, of any size, warped by the motion."""
    return warp(maps, resize_grid(motion.deformation, maps.shape[-2:], align_corners=True))


def mask_of(motion: Motion, index: int, size: tuple[int, int]) -> Tensor:
    """The occlusion mask of a resolution, counted from the smallest; a single mask serves all."""
    masks = motion.occlusion_maps
    return resize(masks[index] if len(masks) > 1 else masks[0], size, align_corners=True)


def seen(maps: Tensor, motion: Motion, index: int) -> Tensor:
    """m W(e): features of the source, warped by the motion and masked by its occlusion mask m."""
    return warped(maps, motion) * mask_of(motion, index, maps.shape[-2:]).to(maps.dtype)


class AvdNetwork(Disentangler):
    """The points of one face in the pose of another one."""

    def __init__(self, num_tps: int, id_bottle_size: int, pose_bottle_size: int):
        super().__init__(2 * POINTS * num_tps, id_bottle_size, pose_bottle_size)

    def forward(self, identity: KeyPoints, pose: KeyPoints) -> KeyPoints:
        """One identity may be paired with a batch of poses."""
        return KeyPoints(self.joined(identity.value.flatten(1), pose.value.flatten(1)).unflatten(1, (-1, 2)))
