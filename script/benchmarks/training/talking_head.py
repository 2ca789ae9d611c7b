"""Talking heads: a step that keeps the graph of the real picture's maps of VGG-19, contiguous."""

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
    """The family at its default widths, with random weights everywhere."""
    # Adam makes whole steps of rounding; with small ones the losses of later updates can be compared, too.
    rates = [f"--lr={TINY_RATE}", f"--lr_discriminator={TINY_RATE}"]
    sizes = [f"--image_size={args.size}", f"--batch_size={args.batch_size}"]
    opt = parse(["--model=talking_head", "--content=pixels", *sizes, *rates], training=True)
    made = TalkingHead.for_training(opt)
    made.objective.content = Content({"vgg19": random_features()}, {"vgg19": 1e-2})
    if repeating:
        replaced(made, {Content: PlainContent})
    return made


def batch(args: argparse.Namespace) -> dict[str, Tensor]:
    """Random frames of one video each; the engine would bring the videos' rows."""
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
    """Leaves it to the graph that nothing in the real picture's maps is trained."""

    def distances(self, generated: Tensor, real: Tensor) -> Numbers:
        return {
            name: sum(
                mean_difference(made, wanted.detach())
                for made, wanted in zip(network(generated), network(real), strict=True)
            )
            for name, network in self.networks.items()
        }
