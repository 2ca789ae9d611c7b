"""First order motion model: the plain step upsamples by repetition, blurs whole pictures before downsampling, repeats
the source for every motion, and keeps the graph of the real frame's features; contiguous, with stock operations
only."""

import argparse

import torch
from torch import Tensor, nn

from models import Family
from models.fomm.losses import Adversarial
from models.fomm.networks import DenseMotionNetwork
from models.parts.keypoints import KeyPoints
from models.parts.losses import Terms, mean_difference
from models.parts.motion import Motion
from models.parts.warps import coordinate_grid
from script.benchmarks.plain.parts import (
    PARTS,
    PlainTrainer,
    combine_repeated,
    everywhere,
    published,
    smooth_pictures,
)

__all__ = ["FASTER", "LEANER", "PlainTrainer", "batch", "family"]

FASTER, LEANER = 1.3, 0.0
CONFIG = "configs/fomm/vox-256.yaml"


def family(args: argparse.Namespace, repeating: bool) -> Family:
    """The family of a published configuration with random weights."""
    return published(args.config or CONFIG, PLAIN if repeating else None)


def batch(args: argparse.Namespace) -> dict[str, Tensor]:
    """Random pairs of frames."""
    source, driving = smooth_pictures(args.size, 2 * args.batch_size).chunk(2)
    return {"source": source, "driving": driving}


class PlainDenseMotion(DenseMotionNetwork):
    """Repeats jacobians for every position and the source for every motion."""

    def sparse_motions(self, kp_source: KeyPoints, kp_driving: KeyPoints, size: tuple[int, int]) -> Tensor:
        linear = kp_source.jacobian @ kp_driving.jacobian.inverse()
        motions = everywhere(linear, kp_source.value, kp_driving.value, size)
        return torch.cat([coordinate_grid(*size, like=motions).repeat(len(motions), 1, 1, 1, 1), motions], dim=1)

    def combine(self, small_source: Tensor, heatmap: Tensor, motions: Tensor) -> Motion:
        return combine_repeated(self, small_source, heatmap, motions)


class PlainAdversarial(Adversarial):
    """Keeps the graph of the real frame's maps."""

    def for_generator(self, discriminator: nn.Module, generated: Tensor, real: Tensor, kp: KeyPoints) -> Terms:
        kp = kp.detach()
        judged, judged_real = discriminator(self.pyramid(generated), kp), discriminator(self.pyramid(real), kp)
        terms = {"gen_gan": self.generator * sum(((1 - prediction) ** 2).mean() for _, prediction in judged.values())}
        matched = 0.0
        for scale, (maps, _) in judged.items():
            for weight, map_, real_map in zip(self.feature_matching, maps, judged_real[scale][0], strict=True):
                matched = matched + weight * mean_difference(real_map, map_)
        return terms | {"feature_matching": matched}


PLAIN = {**PARTS, DenseMotionNetwork: PlainDenseMotion, Adversarial: PlainAdversarial}
"""Plain replacements for our operations."""
