"""GANimation: the plain step keeps the generator's graph for the discriminator's fakes, and in the generator's update
also computes gradients of the discriminator's weights; contiguous."""

import argparse
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.ganimation.family import Ganimation, attention_statistics, to_networks
from models.parts.pictures import Pictures, first_samples
from options import parse
from script.benchmarks.plain.parts import PlainTrainer, smooth_pictures
from util.schedules import Clock

__all__ = ["FASTER", "LEANER", "PlainTrainer", "batch", "family"]

FASTER, LEANER = 1.3, 0.0
TINY_RATE = 1e-9


def family(args: argparse.Namespace, repeating: bool) -> Ganimation:
    """The family at its default size; the generator is updated in every step, so that each has all updates."""
    # Adam turns rounding into whole steps; with a small rate the losses of later updates stay comparable.
    rates = [f"--lr_G={TINY_RATE}", f"--lr_D={TINY_RATE}"]
    every = ["--model=ganimation", f"--image_size={args.size}", "--train_G_every_n_iterations=1"]
    opt = parse([*every, *rates], training=True)
    return (PlainGanimation if repeating else Ganimation).for_training(opt)


def batch(args: argparse.Namespace) -> dict[str, Tensor]:
    """Random pictures and units."""
    pictures = smooth_pictures(args.size, args.batch_size)
    aus, desired = torch.rand(2, args.batch_size, 17)
    return {"image": pictures, "aus": aus, "desired": desired}


class PlainGanimation(Ganimation):
    """Keeps the graph of the discriminator's fakes, and detaches it afterwards."""

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        real, aus, desired = to_networks(batch["image"]), batch["aus"], batch["desired"]
        fake = self.change(real, desired).image.detach()
        judged_real, judged_fake = self.discriminator(real), self.discriminator(fake)
        yield "discriminator", self.objective.for_discriminator(judged_real, judged_fake, aus)
        yield "discriminator", self.objective.penalty(self.discriminator, real, fake)
        first = self.change(real, desired)
        second = self.change(first.image, aus)
        terms = self.objective.for_generator(self.discriminator(first.image), desired, real, first, second)
        yield "generator", terms, terms | attention_statistics(first.attention)
        return Pictures(partial(self._training_pictures, *map(first_samples, (real, aus, desired))))
