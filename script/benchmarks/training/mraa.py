"""Articulated animation: the plain step computes the axes of regions with LAPACK, upsamples by repetition, blurs whole
pictures before downsampling, and repeats matrices at every position and the source for every motion; contiguous, with
stock operations only."""

import argparse

import torch
from torch import Tensor

from models import Family
from models.mraa.networks import PixelwiseFlowPredictor, RegionPredictor
from models.mraa.regions import Regions, covariance, sign_of_first
from models.parts.keypoints import mean_position
from models.parts.motion import Motion
from models.parts.warps import coordinate_grid
from script.benchmarks.plain.parts import (
    PARTS,
    PlainTrainer,
    combine_repeated,
    everywhere,
    published,
)
from script.benchmarks.training.fomm import batch

__all__ = ["FASTER", "LEANER", "PlainTrainer", "batch", "family"]

FASTER, LEANER = 1.3, 0.0
CONFIG = "configs/mraa/vox256.yaml"


def family(args: argparse.Namespace, repeating: bool) -> Family:
    """The family of a published configuration with random weights."""
    return published(args.config or CONFIG, PLAIN if repeating else None)


class PlainRegions(RegionPredictor):
    """Computes axes and variances with LAPACK."""

    def forward(self, frame: Tensor) -> Regions:
        heat, _ = self.heatmaps(self.down(frame))
        shift = mean_position(heat)
        covar = covariance(heat, shift)
        axes, variances, _ = torch.linalg.svd(covar.cpu())
        affine = (axes @ torch.diag_embed(variances.sqrt())).to(covar.device)
        return Regions(shift, affine, covar, heat)


class PlainFlow(PixelwiseFlowPredictor):
    """Multiplies matrices at every position, and repeats the source for every motion."""

    def _gaussians(self, regions: Regions, size: tuple[int, int]) -> Tensor:
        inverse = regions.covar.inverse()[:, :, None, None]
        offset = (coordinate_grid(*size, like=inverse) - regions.shift[:, :, None, None])[..., None]
        return torch.exp(-0.5 * (offset.mT @ inverse @ offset)[..., 0, 0])

    def sparse_motions(
        self, source: Regions, driving: Regions, size: tuple[int, int], background: Tensor | None = None
    ) -> Tensor:
        linear = source.affine @ driving.affine.inverse()
        if self.revert_axis_swap:
            linear = linear * sign_of_first(linear)
        motions = everywhere(linear, source.shift, driving.shift, size)
        grid = coordinate_grid(*size, like=motions)
        homogeneous = torch.cat([grid, torch.ones_like(grid[..., :1])], dim=-1)[..., None]
        behind = (background[:, None, None].repeat(1, *size, 1, 1) @ homogeneous)[..., 0]
        return torch.cat([(behind[..., :2] / behind[..., 2:])[:, None], motions], dim=1)

    def combine(self, small_source: Tensor, heatmap: Tensor, motions: Tensor) -> Motion:
        return combine_repeated(self, small_source, heatmap, motions)


PLAIN = {**PARTS, RegionPredictor: PlainRegions, PixelwiseFlowPredictor: PlainFlow}
"""Plain replacements for our operations."""
