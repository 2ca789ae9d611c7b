"""The options of the facial prior: those of the first order motion model, and how far movements are magnified."""

from typing import Any

from models.fomm import options as fomm
from util.values import not_negative

NUM_KP = 18


def add_options(parser: Any, training: bool) -> None:
    """Declare all options of the family."""
    fomm.add_options(parser, training)
    parser.add_argument_group("animation").add_argument("--magnify", type=not_negative, default=1.0,
        help="magnify movements by this factor; 1: unchanged", advanced=training)  # fmt: skip
    parser.set_defaults(dataset_mode="frames_prior", num_kp=NUM_KP, estimate_jacobian=True)
