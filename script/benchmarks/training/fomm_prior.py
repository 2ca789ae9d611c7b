"""Facial prior: fomm's plain step, and a mask of the points over the whole map for each sample separately."""

import argparse

import torch
from torch import Tensor

from data.micro.prior_points import default_points
from models import Family
from models.fomm_prior.networks import PriorDetector, prior_mask
from script.benchmarks.plain.parts import PlainTrainer, published
from script.benchmarks.training import fomm

__all__ = ["FASTER", "LEANER", "PlainTrainer", "batch", "family"]

FASTER, LEANER = 1.3, 0.0
CONFIG = "configs/fomm_prior/mixed.yaml"


def family(args: argparse.Namespace, repeating: bool) -> Family:
    """The family of a published configuration with random weights."""
    return published(args.config or CONFIG, PLAIN if repeating else None)


def batch(args: argparse.Namespace) -> dict[str, Tensor]:
    """Random pairs of frames, and points at plausible positions of a face."""
    points = torch.from_numpy(default_points((args.size, args.size))).float()
    return {**fomm.batch(args), "keypoint": points.expand(args.batch_size, -1, -1)}


class PlainPriorDetector(PriorDetector):
    """Draws the mask of each sample separately."""

    def prior(self, points: Tensor, size: tuple[int, int]):
        whole = super().prior(points, size)
        height, width = whole.mask.shape[-2:]
        masks = [prior_mask(one[None] * (height / size[0]), (height, width)) for one in points]
        return whole._replace(mask=torch.cat(masks))


PLAIN = {**fomm.PLAIN, PriorDetector: PlainPriorDetector}
"""Plain replacements for our operations."""
