"""The options of my_paper. `python train.py --model my_paper --help` shows them with their defaults."""

from typing import Any

from models.parts.options import NETWORKS, add_perceptual_options, add_schedule_options
from util.values import count, not_negative


def add_network_options(parser: Any) -> None:
    """Sizes of the networks of inference, for training and animation."""
    parser = parser.add_argument_group("networks", NETWORKS, example="--width 64", advanced=True)
    add = parser.add_argument
    add("--width", type=count, default=32, help="channels of the first layer")
    add("--code", type=count, default=64, help="numbers that say what a face does")
    add("--num_blocks", type=count, default=4, help="residual blocks")


def add_training_options(parser: Any) -> None:
    """Losses and learning rates, for training only."""
    parser = parser.add_argument_group("losses and rates", example="--no_perceptual --lr 1e-4")
    add = parser.add_argument
    add("--lr", type=not_negative, default=2e-4, help="learning rate")
    add("--weight_decay", type=not_negative, default=0.0, help="weight decay; biases and norms have none")
    add("--weight_l1", type=not_negative, default=10.0, help="weight of the difference of pixels")
    add_perceptual_options(parser)
    add_schedule_options(parser)  # --lr_schedule cosine --warm_up 1000
