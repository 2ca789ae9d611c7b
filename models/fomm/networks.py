"""The networks of the first order motion model, with the entry names of the released weights."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from models.parts.blocks import DownBlock, Hourglass, ResidualBlock, SameBlock, UpBlock, downsampling
from models.parts.keypoints import KeyPoints, gaussian_maps, mean_position, spatial_softmax
from models.parts.warps import (
    affine_grids,
    coordinate_grid,
    inverse_2x2,
    product_2x2,
    resize,
    resize_grid,
    warp,
    warp_each,
)


class KeyPointDetector(nn.Module):
    """Find key points and, unless the model is of order zero, the jacobian at each."""

    def __init__(
        self,
        num_kp: int,
        num_channels: int,
        expansion: int,
        max_features: int,
        num_blocks: int,
        temperature: float,
        estimate_jacobian: bool = False,
        single_jacobian_map: bool = False,
        scale_factor: float = 1,
        pad: int = 0,
    ):
        super().__init__()
        self.temperature = temperature
        self.predictor = Hourglass(expansion, num_channels, num_blocks, max_features)
        self.kp = nn.Conv2d(self.predictor.out_features, num_kp, 7, padding=pad)
        self.jacobian = None
        if estimate_jacobian:
            maps = 1 if single_jacobian_map else num_kp
            self.jacobian = nn.Conv2d(self.predictor.out_features, 4 * maps, 7, padding=pad)
            nn.init.zeros_(self.jacobian.weight)
            with torch.no_grad():
                self.jacobian.bias.copy_(torch.eye(2).flatten().repeat(maps))
        self.down = downsampling(num_channels, scale_factor)

    def forward(self, frame: Tensor) -> KeyPoints:
        # The temperature multiplies what half precision would lose of the logits by ten.
        with torch.autocast(frame.device.type, enabled=False):
            features = self.predictor(self.down(frame.float()))
            heat = spatial_softmax(self.kp(features), self.temperature)
            return KeyPoints(mean_position(heat), self._jacobian(features, heat))

    def _jacobian(self, features: Tensor, heat: Tensor) -> Tensor | None:
        """The mean of the jacobian maps (B, K or 1, 4, h, w) under the heat of each point: (B, K, 2, 2)."""
        if self.jacobian is None:
            return None
        maps = self.jacobian(features).unflatten(1, (-1, 4))
        means = maps.flatten(3) @ heat.flatten(2)[..., None]
        return means.unflatten(2, (2, 2))[..., 0]


class Motion(NamedTuple):
    """What the dense motion network finds for each pixel (h, w) of its map."""

    deformation: Tensor
    """Where to sample the source, (B, h, w, 2)."""
    mask: Tensor
    """The share of each of the K + 1 motions, (B, K + 1, h, w)."""
    sparse_motion: Tensor
    """The motions, background first, (B, K + 1, h, w, 2)."""
    sparse_deformed: Tensor
    """The small source under each motion, (B, K + 1, C, h, w)."""
    heatmap: Tensor
    """Driving minus source bumps, (B, K + 1, 1, h, w)."""
    occlusion_map: Tensor | None
    """1 where the warped source is right, 0 where it must be painted anew, (B, 1, h, w)."""


class DenseMotionNetwork(nn.Module):
    """Combine the motions around the key points to one motion for every pixel."""

    def __init__(
        self,
        num_kp: int,
        num_channels: int,
        expansion: int,
        max_features: int,
        num_blocks: int,
        estimate_occlusion_map: bool = False,
        scale_factor: float = 1,
        kp_variance: float = 0.01,
        align_corners: bool = True,
    ):
        super().__init__()
        self.kp_variance = kp_variance
        self.align_corners = align_corners
        self.hourglass = Hourglass(expansion, (num_kp + 1) * (num_channels + 1), num_blocks, max_features)
        self.mask = nn.Conv2d(self.hourglass.out_features, num_kp + 1, 7, padding=3)
        self.occlusion = nn.Conv2d(self.hourglass.out_features, 1, 7, padding=3) if estimate_occlusion_map else None
        self.down = downsampling(num_channels, scale_factor)

    def heatmaps(self, kp_source: KeyPoints, kp_driving: KeyPoints, size: tuple[int, int]) -> Tensor:
        """Driving minus source bumps (B, K + 1, 1, h, w), with an empty map for the background."""
        driving, source = (gaussian_maps(kp.value, size, self.kp_variance) for kp in (kp_driving, kp_source))
        return F.pad(driving - source, (0, 0, 0, 0, 1, 0))[:, :, None]

    def sparse_motions(self, kp_source: KeyPoints, kp_driving: KeyPoints, size: tuple[int, int]) -> Tensor:
        """T_k(z) = s_k + J^s_k (J^d_k)^-1 (z - d_k) (eq. 4), the identity first: (B, K + 1, h, w, 2)."""
        source, driving = kp_source.value.expand_as(kp_driving.value), kp_driving.value
        if kp_driving.jacobian is None:
            linear = torch.eye(2, dtype=driving.dtype, device=driving.device).expand(*driving.shape, 2)
        else:
            linear = product_2x2(kp_source.jacobian, inverse_2x2(kp_driving.jacobian))
        motions = affine_grids(linear, source - product_2x2(linear, driving[..., None])[..., 0], size)
        identity = coordinate_grid(*size, like=driving).expand(len(driving), 1, -1, -1, -1)
        return torch.cat([identity, motions], dim=1)

    def forward(self, small_source: Tensor, kp_source: KeyPoints, kp_driving: KeyPoints) -> Motion:
        """`small_source` is the source picture after `down`; one source may serve a batch of driving points."""
        size = small_source.shape[-2:]
        heatmap = self.heatmaps(kp_source, kp_driving, size)
        motions = self.sparse_motions(kp_source, kp_driving, size)
        deformed = warp_each(small_source, motions, self.align_corners)
        features = self.hourglass(torch.cat([heatmap, deformed], dim=2).flatten(1, 2))
        mask = F.softmax(self.mask(features).float(), dim=1)
        deformation = (mask[..., None] * motions).sum(1)
        occlusion_map = None if self.occlusion is None else torch.sigmoid(self.occlusion(features))
        return Motion(deformation, mask, motions, deformed, heatmap, occlusion_map)


class Encoded(NamedTuple):
    """All that the generator computes from the source picture alone."""

    features: Tensor
    small_source: Tensor | None


class Generator(nn.Module):
    """Warp the features of the source picture by the motion between two sets of key points, and decode them."""

    def __init__(
        self,
        num_channels: int,
        expansion: int,
        max_features: int,
        num_down_blocks: int,
        num_bottleneck_blocks: int,
        dense_motion_network: DenseMotionNetwork | None,
        align_corners: bool = True,
    ):
        """Without a dense motion network nothing is warped: an auto-encoder."""
        super().__init__()
        self.align_corners = align_corners
        self.dense_motion_network = dense_motion_network
        widths = [min(max_features, expansion * 2**i) for i in range(num_down_blocks + 1)]
        self.first = SameBlock(num_channels, expansion, kernel_size=7, padding=3)
        self.down_blocks = nn.ModuleList(DownBlock(*pair) for pair in zip(widths[:-1], widths[1:], strict=True))
        self.up_blocks = nn.ModuleList(UpBlock(*pair) for pair in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.bottleneck = nn.Sequential()
        for i in range(num_bottleneck_blocks):
            self.bottleneck.add_module(f"r{i}", ResidualBlock(widths[-1]))
        self.final = nn.Conv2d(expansion, num_channels, 7, padding=3)

    def encode(self, source: Tensor) -> Encoded:
        """What does not depend on the driving frame."""
        features = self.first(source)
        for block in self.down_blocks:
            features = block(features)
        motion_network = self.dense_motion_network
        return Encoded(features, None if motion_network is None else motion_network.down(source))

    def motion(self, encoded: Encoded, kp_source: KeyPoints, kp_driving: KeyPoints) -> Motion | None:
        """The motion from the driving frame to the source."""
        if self.dense_motion_network is None:
            return None
        return self.dense_motion_network(encoded.small_source, kp_source, kp_driving)

    def decode(self, encoded: Encoded, motion: Motion | None) -> Tensor:
        """The picture (B, C, H, W) in (0, 1)."""
        features = encoded.features
        if motion is not None:
            features = self._move(features, motion)
        features = self.bottleneck(features)
        for block in self.up_blocks:
            features = block(features)
        return torch.sigmoid(self.final(features).float())

    def forward(
        self, source: Tensor | Encoded, kp_source: KeyPoints, kp_driving: KeyPoints
    ) -> tuple[Tensor, Motion | None]:
        """The prediction and the motion that led to it, for a source picture or one that is encoded already."""
        encoded = source if isinstance(source, Encoded) else self.encode(source)
        motion = self.motion(encoded, kp_source, kp_driving)
        return self.decode(encoded, motion), motion

    def deformed(self, source: Tensor, motion: Motion) -> Tensor:
        """The source picture itself under the motion, to look at."""
        return warp(source, resize_grid(motion.deformation, source.shape[-2:]), self.align_corners)

    def _move(self, features: Tensor, motion: Motion) -> Tensor:
        size = features.shape[-2:]
        moved = warp(features, resize_grid(motion.deformation, size), self.align_corners)
        return moved if motion.occlusion_map is None else moved * resize(motion.occlusion_map, size)


class ScaleDiscriminator(nn.Module):
    """Judge patches of one picture; also returns the maps of every block, which feature matching compares."""

    def __init__(
        self,
        num_channels: int,
        expansion: int,
        num_blocks: int,
        max_features: int,
        sn: bool,
        num_kp: int,
        kp_variance: float,
    ):
        """With `num_kp` points the driving points are part of the input, as one bump each."""
        super().__init__()
        self.num_kp = num_kp
        self.kp_variance = kp_variance
        widths = [num_channels + num_kp, *(min(max_features, expansion * 2 ** (i + 1)) for i in range(num_blocks))]
        self.down_blocks = nn.ModuleList()
        for i in range(num_blocks):
            self.down_blocks.append(DiscriminatorBlock(widths[i], widths[i + 1], i > 0, i < num_blocks - 1, sn))
        self.conv = _normed(nn.Conv2d(widths[-1], 1, 1), sn)

    def forward(self, frame: Tensor, kp: KeyPoints) -> tuple[list[Tensor], Tensor]:
        if self.num_kp:
            bumps = gaussian_maps(kp.value, frame.shape[-2:], self.kp_variance)
            frame = torch.cat([frame, bumps], dim=1)
        maps = []
        for block in self.down_blocks:
            frame = block(frame)
            maps.append(frame)
        return maps, self.conv(frame)


class DiscriminatorBlock(nn.Module):
    """4x4 convolution without padding, instance norm, leaky ReLU, half the size."""

    def __init__(self, in_features: int, out_features: int, norm: bool, pool: bool, sn: bool):
        super().__init__()
        self.conv = _normed(nn.Conv2d(in_features, out_features, 4), sn)
        self.norm = nn.InstanceNorm2d(out_features, affine=True) if norm else nn.Identity()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        out = F.leaky_relu(self.norm(self.conv(x)), 0.2)
        return F.avg_pool2d(out, 2) if self.pool else out


class Discriminator(nn.Module):
    """One discriminator per scale of the picture."""

    def __init__(
        self,
        scales: list[str],
        num_channels: int = 3,
        expansion: int = 64,
        num_blocks: int = 4,
        max_features: int = 512,
        sn: bool = False,
        num_kp: int = 0,
        kp_variance: float = 0.01,
    ):
        super().__init__()
        # A dot would end the name of a module.
        self.discs = nn.ModuleDict(
            {
                scale.replace(".", "-"): ScaleDiscriminator(
                    num_channels, expansion, num_blocks, max_features, sn, num_kp, kp_variance
                )
                for scale in scales
            }
        )

    def forward(self, pyramid: dict[str, Tensor], kp: KeyPoints) -> dict[str, tuple[list[Tensor], Tensor]]:
        """For each scale the maps of the blocks and the prediction (B, 1, h, w)."""
        scales = {name.replace("-", "."): disc for name, disc in self.discs.items()}
        return {scale: disc(pyramid[scale], kp) for scale, disc in scales.items()}


def _normed(conv: nn.Conv2d, sn: bool) -> nn.Module:
    return spectral_norm(conv) if sn else conv
