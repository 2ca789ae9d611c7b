"""Facial prior: the plain step of fomm, and for every sample the mask of its points over whole maps, one by one."""

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
    """The family of a published configuration with random weights everywhere."""
    return published(args.config or CONFIG, PLAIN if repeating else None)


def batch(args: argparse.Namespace) -> dict[str, Tensor]:
    """Random pairs of frames, and points about where those of a face are."""
    points = torch.from_numpy(default_points((args.size, args.size))).float()
    return {**fomm.batch(args), "keypoint": points.expand(args.batch_size, -1, -1)}


class PlainPriorDetector(PriorDetector):
    """Draws the mask of each sample by itself."""

    def prior(self, points: Tensor, size: tuple[int, int]):
        whole = super().prior(points, size)
        height, width = whole.mask.shape[-2:]
        masks = [prior_mask(one[None] * (height / size[0]), (height, width)) for one in points]
        return whole._replace(mask=torch.cat(masks))


PLAIN = {**fomm.PLAIN, PriorDetector: PlainPriorDetector}
"""What the plain step does in the place of ours."""
