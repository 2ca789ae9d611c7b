"""Combine several motions of the plane into one motion per pixel."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.parts.blocks import Hourglass, downsampling
from models.parts.losses import at_least_single
from models.parts.warps import affine_grids, product_2x2, warp_each


class Motion(NamedTuple):
    """The output of a motion network, per pixel (h, w) of its map."""

    deformation: Tensor
    """Sampling positions in the source, (B, h, w, 2)."""
    mask: Tensor
    """Weights of the K + 1 motions, (B, K + 1, h, w)."""
    sparse_motion: Tensor
    """The motions, background first, (B, K + 1, h, w, 2)."""
    sparse_deformed: Tensor
    """The small source warped by each motion, (B, K + 1, C, h, w)."""
    heatmap: Tensor
    """Gaussian heatmaps, driving minus source, (B, K + 1, 1, h, w)."""
    occlusion_map: Tensor | None
    """1 where the source is visible, 0 where the generator inpaints, (B, 1, h, w)."""

    @property
    def occlusion_maps(self) -> list[Tensor]:
        """The occlusion map as a list, for losses that accept several."""
        return [] if self.occlusion_map is None else [self.occlusion_map]


def with_empty_map(maps: Tensor) -> Tensor:
    """Heatmaps (B, K, h, w) with an empty one for the background in front, as channels: (B, K + 1, 1, h, w)."""
    return F.pad(maps, (0, 0, 0, 0, 1, 0))[:, :, None]


def motions_around(source: Tensor, driving: Tensor, linear: Tensor | None, size: tuple[int, int]) -> Tensor:
    """linear (z - driving) + source at every pixel z, for points (B, K, 2): grids (B, K, h, w, 2).

    One source may be paired with a batch of driving points; without matrices (B, K, 2, 2) the points are only shifted.
    """
    source = source.expand_as(driving)
    if linear is None:
        linear = torch.eye(2, dtype=driving.dtype, device=driving.device).expand(*driving.shape, 2)
    return affine_grids(linear, source - product_2x2(linear, driving[..., None])[..., 0], size)


class MotionNetwork(nn.Module):
    """Predict a soft mask for each motion, from the heatmaps of the points and the source warped by every motion."""

    def __init__(
        self,
        num_motions: int,
        num_channels: int,
        expansion: int,
        max_features: int,
        num_blocks: int,
        estimate_occlusion_map: bool = False,
        scale_factor: float = 1,
        align_corners: bool = True,
        use_deformed_source: bool = True,
    ):
        """`use_deformed_source`: the hourglass also reads the picture (`num_channels`) warped by every motion."""
        super().__init__()
        self.align_corners = align_corners
        self.use_deformed_source = use_deformed_source
        seen = num_motions * (num_channels + 1 if use_deformed_source else 1)
        self.hourglass = Hourglass(expansion, seen, num_blocks, max_features)
        self.mask = nn.Conv2d(self.hourglass.out_features, num_motions, 7, padding=3)
        self.occlusion = nn.Conv2d(self.hourglass.out_features, 1, 7, padding=3) if estimate_occlusion_map else None
        self.down = downsampling(num_channels, scale_factor)

    def combine(self, small_source: Tensor, heatmap: Tensor, motions: Tensor) -> Motion:
        """One motion per pixel; one source picture, after `down`, may be paired with a batch of motions."""
        deformed = warp_each(small_source, motions, self.align_corners)
        seen = torch.cat([heatmap, deformed], dim=2) if self.use_deformed_source else heatmap
        features = self.hourglass(seen.flatten(1, 2))
        mask = F.softmax(at_least_single(self.mask(features)), dim=1)
        # Eq. 7 of the first order motion model: the sum of M_k T_k, including the background's.
        deformation = (mask[..., None] * motions).sum(1)
        occlusion_map = None if self.occlusion is None else torch.sigmoid(self.occlusion(features))
        return Motion(deformation, mask, motions, deformed, heatmap, occlusion_map)
