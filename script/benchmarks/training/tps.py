"""Thin-plate splines: the plain step holds the distances of all positions from all points at once, repeats the source
for every motion, upsamples by repetition, blurs whole pictures before downsampling, and keeps graphs that train
nothing; contiguous, with stock operations only."""

import argparse

import torch
from torch import Tensor

from models import Family
from models.parts.keypoints import KeyPoints
from models.parts.warps import coordinate_grid
from models.tps.dropout import Share, all_maps
from models.tps.networks import (
    POINTS,
    DenseMotionNetwork,
    InpaintingNetwork,
    Motion,
    mask_of,
)
from models.tps.splines import Splines, thin_plate
from script.benchmarks.plain.parts import PARTS, PlainTrainer, published, warp_repeated
from script.benchmarks.training.fomm import batch

__all__ = ["FASTER", "LEANER", "PlainTrainer", "batch", "family"]

FASTER, LEANER = 1.3, 0.0
CONFIG = "configs/tps/vox-256.yaml"


def family(args: argparse.Namespace, repeating: bool) -> Family:
    """The family of a published configuration with random weights."""
    return published(args.config or CONFIG, PLAIN if repeating else None)


class PlainDenseMotion(DenseMotionNetwork):
    """Distances of all positions from all points at once, matrices at every position, the source once per motion."""

    def transforms(
        self, kp_source: KeyPoints, kp_driving: KeyPoints, background: Tensor | None, size: tuple[int, int]
    ) -> Tensor:
        source, driving = (kp.value.unflatten(1, (-1, POINTS)) for kp in (kp_source, kp_driving))
        splines = Splines.between(driving, source, self.regulariser)
        grid = coordinate_grid(*size, like=driving)
        count, splines_each = driving.shape[:2]
        homogeneous = torch.cat([grid, torch.ones_like(grid[..., :1])], dim=-1)[..., None]
        linear = splines.theta[:, :, None, None].repeat(1, 1, *size, 1, 1) @ homogeneous
        away = grid[None, None, :, :, None] - driving[:, :, None, None]
        radial = thin_plate((away**2).sum(-1))[..., None]
        bent = (radial * splines.control_params[:, :, None, None].repeat(1, 1, *size, 1, 1)).sum(-2)
        behind = grid.repeat(count, 1, 1, 1, 1)
        if background is not None:
            moved = (background[:, None, None].repeat(1, *size, 1, 1) @ homogeneous)[..., 0]
            behind = (moved[..., :2] / moved[..., 2:])[:, None]
        whole = torch.cat([behind, (linear[..., 0] + bent).view(count, splines_each, *size, 2)], dim=1)
        return whole.clamp(-self.flow_limit, self.flow_limit) if self.flow_limit else whole

    def forward(
        self,
        small_source: Tensor,
        kp_source: KeyPoints,
        kp_driving: KeyPoints,
        background: Tensor | None = None,
        share: Share = all_maps,
    ) -> Motion:
        size = small_source.shape[-2:]
        grids = self.transforms(kp_source, kp_driving, background, size)
        deformed = warp_repeated(small_source, grids)
        heatmaps = self.heatmaps(kp_source, kp_driving, size)
        features = self.hourglass.every(torch.cat([heatmaps, deformed.flatten(1, 2)], dim=1))
        shares = share(self.maps(features[-1]))
        return Motion((shares[..., None] * grids).sum(1), shares, deformed, self._occlusion_maps(features))


class PlainInpainting(InpaintingNetwork):
    """Keeps the graph of the driving frame's features, and detaches it afterwards."""

    def driving_maps(self, driving: Tensor, motion: Motion) -> list[Tensor]:
        with torch.enable_grad():
            maps = self.encode(driving)
            return [(map_ * mask_of(motion, index, map_.shape[-2:])).detach() for index, map_ in enumerate(maps)]


PLAIN = {**PARTS, DenseMotionNetwork: PlainDenseMotion, InpaintingNetwork: PlainInpainting}
"""Plain replacements for our operations."""
