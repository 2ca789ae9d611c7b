"""LivePortrait, stage I: the plain step keeps the graph of the real frame's VGG-19 features, and computes gradients of
everything that a loss depends on; contiguous."""

import argparse

from models import Family
from script.benchmarks.plain.parts import PARTS, PlainTrainer, published
from script.benchmarks.training.fomm import batch

__all__ = ["FASTER", "LEANER", "PlainTrainer", "batch", "family"]

FASTER, LEANER = 1.3, 0.0
CONFIG = "configs/live_portrait/released.yaml"


def family(args: argparse.Namespace, repeating: bool) -> Family:
    """The family at the released sizes with random weights; with --config at others."""
    return published(args.config or CONFIG, PARTS if repeating else None)
