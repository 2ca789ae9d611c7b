"""Talking heads: the plain step keeps the graph of the real picture's VGG-19 features; contiguous."""

import argparse

import torch
from torch import Tensor

from models.parts.losses import mean_difference
from models.talking_head.family import TalkingHead
from models.talking_head.losses import Content, Numbers
from options import parse
from script.benchmarks.plain.parts import PlainTrainer, random_features, replaced, smooth_pictures

__all__ = ["FASTER", "LEANER", "PlainTrainer", "batch", "family"]

FASTER, LEANER = 1.3, 0.0
TINY_RATE = 1e-9
FRAMES = 8


def family(args: argparse.Namespace, repeating: bool) -> TalkingHead:
    """The family at its default widths, with random weights."""
    # Adam turns rounding into whole steps; with a small rate the losses of later updates stay comparable.
    rates = [f"--lr={TINY_RATE}", f"--lr_discriminator={TINY_RATE}"]
    sizes = [f"--image_size={args.size}", f"--batch_size={args.batch_size}"]
    opt = parse(["--model=talking_head", "--content=pixels", *sizes, *rates], training=True)
    made = TalkingHead.for_training(opt)
    made.objective.content = Content({"vgg19": random_features()}, {"vgg19": 1e-2})
    if repeating:
        replaced(made, {Content: PlainContent})
    return made


def batch(args: argparse.Namespace) -> dict[str, Tensor]:
    """Random frames, one video each; the engine would load the videos' rows."""
    pictures = smooth_pictures(args.size, 2 * args.batch_size * (FRAMES + 1))
    frames, landmarks = pictures.unflatten(0, (2, args.batch_size, FRAMES + 1))
    return {
        "pictures": frames[:, 1:],
        "landmarks": landmarks[:, 1:],
        "target": frames[:, 0],
        "target_landmarks": landmarks[:, 0],
        "video": torch.arange(args.batch_size),
    }


class PlainContent(Content):
    """Keeps the graph of the real picture's features, although nothing there is trained."""

    def distances(self, generated: Tensor, real: Tensor) -> Numbers:
        return {
            name: sum(
                mean_difference(made, wanted.detach())
                for made, wanted in zip(network(generated), network(real), strict=True)
            )
            for name, network in self.networks.items()
        }
