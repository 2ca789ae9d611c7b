"""The networks of articulated animation, with the entry names of the released weights.

Sections named in comments are those of Siarohin et al., Motion Representations for Articulated Animation, CVPR 2021
(arXiv 2104.11280).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.mraa.options import BACKGROUNDS
from models.mraa.regions import (
    AFFINE_FLOOR,
    Regions,
    covariance_of_affine,
    inverse_covariance,
    principal_regions,
    sign_of_first,
    upright,
)
from models.parts.avd import Disentangler
from models.parts.blocks import BatchNorm, Encoder
from models.parts.detector import HeatmapDetector
from models.parts.generator import WarpingGenerator
from models.parts.keypoints import gaussian_maps, mean_position
from models.parts.losses import at_least_single
from models.parts.motion import Motion, MotionNetwork, motions_around, with_empty_map
from models.parts.warps import background_grids, coordinate_grid, inverse_2x2, product_2x2, resize
from util.errors import UserError


class RegionPredictor(HeatmapDetector):
    """Predict regions: heatmaps whose covariance gives rotation and scale.

    Section "PCA-based motion estimation" of the paper.
    """

    def __init__(
        self,
        num_regions: int,
        estimate_affine: bool = True,
        pca_based: bool = True,
        scale_factor: float = 1,
        pad: int = 3,
        **sizes: Any,
    ):
        """Without `pca_based` a regressed map, shared by all regions, gives the affine part; `sizes`: see
        HeatmapDetector."""
        maps = int(estimate_affine and not pca_based)
        super().__init__("regions", num_regions, scale_factor=scale_factor, pad=pad, num_matrices=maps, **sizes)
        self.pca_based = pca_based

    def forward(self, frame: Tensor) -> Regions:
        # The temperature would multiply the rounding of half-precision logits by ten.
        with torch.autocast(frame.device.type, enabled=False):
            heat, affine = self.heatmaps(self.down(at_least_single(frame)))
            if self.pca_based:
                return principal_regions(heat)
            covar = None if affine is None else covariance_of_affine(affine)
            return Regions(mean_position(heat), affine, covar, heat)


class BackgroundPredictor(nn.Module):
    """Predict the background motion from the driving to the source picture, as a matrix in homogeneous coordinates.

    Section "Background motion estimation" of the paper, whose background is affine.
    """

    def __init__(self, kind: str, num_channels: int, expansion: int, max_features: int, num_blocks: int):
        """A background of kind `zero` does not move and has no parameters."""
        super().__init__()
        count = BACKGROUNDS[kind]
        self.entries = slice(2, 6, 3) if kind == "shift" else slice(count)
        self.fc = None
        if not count:
            return
        self.encoder = Encoder(expansion, 2 * num_channels, num_blocks, max_features, BatchNorm)
        self.fc = nn.Linear(min(max_features, expansion * 2**num_blocks), count)
        nn.init.zeros_(self.fc.weight)
        with torch.no_grad():
            self.fc.bias.copy_(torch.eye(3).flatten()[self.entries])

    def forward(self, source: Tensor, driving: Tensor) -> Tensor:
        """Matrices (B, 3, 3) from driving to source coordinates; one source may be paired with a batch of driving
        pictures."""
        matrix = torch.eye(3, dtype=driving.dtype, device=driving.device).flatten().repeat(len(driving), 1)
        if self.fc is not None:
            both = torch.cat([source.expand(len(driving), -1, -1, -1), driving], dim=1)
            found = self.fc(self.encoder(both)[-1].mean((2, 3)))
            matrix[:, self.entries] = at_least_single(found)
        return matrix.unflatten(1, (3, 3))


class PixelwiseFlowPredictor(MotionNetwork):
    """Combine the motions of regions and background into one motion per pixel."""

    def __init__(
        self,
        num_regions: int,
        use_covar_heatmap: bool = True,
        region_var: float = 0.01,
        revert_axis_swap: bool = True,
        **sizes: Any,
    ):
        """`sizes`: further arguments of MotionNetwork."""
        super().__init__(num_motions=num_regions + 1, **sizes)
        self.use_covar_heatmap = use_covar_heatmap
        self.region_var = region_var
        self.revert_axis_swap = revert_axis_swap

    def heatmaps(self, source: Regions, driving: Regions, size: tuple[int, int]) -> Tensor:
        """Gaussian heatmaps, driving minus source: (B, K + 1, 1, h, w), with an empty map for the background."""
        return with_empty_map(self._gaussians(driving, size) - self._gaussians(source, size))

    def _gaussians(self, regions: Regions, size: tuple[int, int]) -> Tensor:
        if not self.use_covar_heatmap:
            return gaussian_maps(regions.shift, size, self.region_var)
        inverse = inverse_covariance(regions.covar)
        offset = coordinate_grid(*size, like=inverse) - regions.shift[..., None, None, :]
        x, y = offset[..., 0, :, 0], offset[..., :, 0, 1]
        across, down = inverse[..., :1, 0] * x**2, inverse[..., 1, 1:] * y**2
        mixed = 2 * inverse[..., :1, 1] * x
        # exp(-d^T C^-1 d / 2) for the offset d = (x, y)
        return torch.exp(-0.5 * (down[..., :, None] + across[..., None, :] + mixed[..., None, :] * y[..., :, None]))

    def sparse_motions(
        self, source: Regions, driving: Regions, size: tuple[int, int], background: Tensor | None = None
    ) -> Tensor:
        """T_k(z) = s_k + A^s_k (A^d_k)^-1 (z - d_k), the background's T_0 first: (B, K + 1, h, w, 2)."""
        linear = None
        if driving.affine is not None:
            # From the driving frame to the canonical (whitened) frame, then to the source.
            linear = product_2x2(source.affine, inverse_2x2(driving.affine, AFFINE_FLOOR))
            if self.revert_axis_swap:
                linear = linear * sign_of_first(linear)
        motions = motions_around(source.shift, driving.shift, linear, size)
        behind = background_grids(background, len(motions), size, like=motions)
        return torch.cat([behind[:, None], motions], dim=1)

    def forward(
        self, small_source: Tensor, source: Regions, driving: Regions, background: Tensor | None = None
    ) -> Motion:
        """`small_source` is the source picture after `down`; one source may be paired with a batch of driving
        regions."""
        size = small_source.shape[-2:]
        # Half precision would err by up to a pixel, which skip connections would carry into the picture.
        with torch.autocast(small_source.device.type, enabled=False):
            motions = self.sparse_motions(source, driving, size, background)
            return self.combine(small_source, self.heatmaps(source, driving, size), motions)


class Encoded(NamedTuple):
    """Everything that the generator computes from the source picture alone."""

    source: Tensor
    small_source: Tensor
    maps: list[Tensor]
    """Features at every size, the largest first."""


class Generator(WarpingGenerator):
    """Warp the source's features by the motion of the regions, and decode them with skip connections at every size."""

    def __init__(self, *, pixelwise_flow_predictor: PixelwiseFlowPredictor, skips: bool = True, **sizes: Any):
        super().__init__(**sizes, pixelwise_flow_predictor=pixelwise_flow_predictor)
        self.skips = skips

    @torch.no_grad()
    def start_with_source(self) -> None:
        """Initialise the picture as mostly the warped source (a logit of 3 is a weight of 0.95)."""
        occlusion = self.pixelwise_flow_predictor.occlusion
        if not self.skips or occlusion is None:
            raise UserError("--start_with_source needs --skips and --estimate_occlusion_map")
        occlusion.bias.fill_(3.0)

    def encode(self, source: Tensor) -> Encoded:
        """The part that does not depend on the driving frame."""
        return Encoded(source, self.pixelwise_flow_predictor.down(source), self.encoder_maps(source))

    def forward(
        self, encoded: Encoded, source: Regions, driving: Regions, background: Tensor | None = None
    ) -> tuple[Tensor, Motion]:
        """The prediction (B, C, H, W) in [0, 1] and its motion."""
        motion = self.pixelwise_flow_predictor(encoded.small_source, source, driving, background)
        return self.decode(encoded, motion), motion

    def from_source(
        self, picture: Tensor, source: Regions, driving: Regions, background: Tensor | None = None
    ) -> tuple[Tensor, Motion]:
        """The same for a source picture that is not encoded."""
        return self(self.encode(picture), source, driving, background)

    def moved(
        self, picture: Tensor, source: Regions, driving: Regions, background: Tensor | None = None
    ) -> tuple[Tensor, Motion]:
        """The warped source picture as prediction, without inpainting, and the motion."""
        small = self.pixelwise_flow_predictor.down(picture)
        motion = self.pixelwise_flow_predictor(small, source, driving, background)
        return self.deformed(picture, motion), motion

    def decode(self, encoded: Encoded, motion: Motion) -> Tensor:
        """The picture under a motion: visible parts come from the source, the rest is inpainted."""
        moved = self.warped(encoded.maps[-1], motion.deformation)
        out = self.bottleneck(_autocast(moved if motion.occlusion_map is None else _visible(moved, motion)))
        for index, block in enumerate(self.up_blocks):
            if self.skips:
                # The smallest map is already warped.
                skip = moved if index == 0 else self.warped(encoded.maps[-1 - index], motion.deformation)
                out = _joined(skip, out, motion)
            out = block(out)
        if not self.skips:
            return self._painted(out)
        skip = self.warped(encoded.maps[0], motion.deformation) if len(self.up_blocks) else moved
        picture = self._painted(_joined(skip, out, motion))
        return _joined(self.deformed(encoded.source, motion), picture, motion)

    def deformed(self, source: Tensor, motion: Motion) -> Tensor:
        """The source picture itself under the motion."""
        return self.warped(source, motion.deformation)

    def _painted(self, features: Tensor) -> Tensor:
        return torch.sigmoid(at_least_single(self.final(features)))


def _autocast(maps: Tensor) -> Tensor:
    """Convert maps to the precision of the following layers, so that sums keep it."""
    kind = maps.device.type
    return maps.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else maps


def _visible(moved: Tensor, motion: Motion) -> Tensor:
    return moved * resize(motion.occlusion_map, moved.shape[-2:])


def _joined(moved: Tensor, painted: Tensor, motion: Motion) -> Tensor:
    """o W(e) + (1 - o) x: the warped source where the occlusion map o is 1; everywhere without a map."""
    if motion.occlusion_map is None:
        return moved
    share = resize(motion.occlusion_map, moved.shape[-2:]).to(painted.dtype)
    return torch.lerp(painted, moved.to(painted.dtype), share)


class AvdNetwork(Disentangler):
    """Combine the identity of one picture's regions with another one's pose (animation via disentanglement)."""

    def __init__(
        self,
        num_regions: int,
        id_bottle_size: int,
        pose_bottle_size: int,
        revert_axis_swap: bool = True,
        upright_axes: bool = False,
    ):
        super().__init__(6 * num_regions, id_bottle_size, pose_bottle_size)
        self.revert_axis_swap = revert_axis_swap
        self.upright_axes = upright_axes

    def forward(self, identity: Regions, pose: Regions) -> Regions:
        """One identity may be paired with a batch of poses."""
        pose = self.posed(pose)
        affine = identity.affine
        if self.revert_axis_swap:
            affine = affine * sign_of_first(product_2x2(affine, inverse_2x2(pose.affine, AFFINE_FLOOR)))
        shift = identity.shift.expand(len(affine), -1, -1)
        joined = self.joined(_embedding(shift, affine), _embedding(pose.shift, pose.affine))
        joined = joined.unflatten(1, (-1, 6))
        affine = joined[..., 2:].unflatten(2, (2, 2))
        return Regions(joined[..., :2], affine, covariance_of_affine(affine))

    def posed(self, regions: Regions) -> Regions:
        """A pose with the signs of axes on which the network is trained."""
        return upright(regions) if self.upright_axes else regions


def _embedding(shift: Tensor, affine: Tensor) -> Tensor:
    """Region by region: x, y, and the affine part row by row, (B, 6 K)."""
    return torch.cat([shift, affine.flatten(2)], dim=2).flatten(1)
