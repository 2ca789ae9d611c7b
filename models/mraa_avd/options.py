"""The options of the second stage of articulated animation."""

from typing import Any

from models.mraa.options import add_animation_options, add_drawing_options, add_network_options
from models.parts.options import TRAIN_AVD, add_second_stage_options
from util.values import not_negative

BEGINS_WITH = ("mraa",)


def add_options(parser: Any, training: bool) -> None:
    """Declare all options of the family."""
    add_network_options(parser)
    add_animation_options(parser, "avd", training)
    add_drawing_options(parser)
    if training:
        add_second_stage_options(parser, [20, 25])
        parser.add_argument_group("second stage").add_argument(
            "--lambda_affine", f"{TRAIN_AVD}.lambda_affine", type=not_negative, default=1,
            help="weight of the difference of affine parts",
        )  # fmt: skip
    parser.set_defaults(dataset_mode="frames", batch_size=256)
