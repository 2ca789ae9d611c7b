"""The options of the second stage of the thin-plate spline motion model."""

from typing import Any

from models.parts.options import add_picture_options, add_second_stage_options, add_way_options
from models.tps.options import add_network_options

BEGINS_WITH = ("tps",)


def add_options(parser: Any, training: bool) -> None:
    """Declare all options of the family."""
    add_network_options(parser)
    add_way_options(parser, "avd", training)
    add_picture_options(parser)
    if training:
        add_second_stage_options(parser, [140, 180])
        parser.accept_unused("train_avd_params.lambda_affine")
    parser.set_defaults(dataset_mode="frames", batch_size=256)
