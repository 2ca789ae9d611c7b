"""The options of personal models of talking heads."""

from typing import Any

from models.talking_head.options import add_network_options, add_training_options

BEGINS_WITH = ("talking_head",)


def add_options(parser: Any, training: bool) -> None:
    """Declare all options of the family."""
    add_network_options(parser)
    if training:
        add_training_options(parser)
    parser.add_alias("--finetune_batch_size", "--batch_size")
    parser.add_alias("--finetune_epoch", "--epochs")
    parser.set_defaults(dataset_mode="person", batch_size=2, epochs=150, pictures_every=0)
