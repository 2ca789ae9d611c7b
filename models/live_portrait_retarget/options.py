"""The options of LivePortrait's second stage."""

from typing import Any

from models.live_portrait.options import add_animation_options, add_network_options
from models.parts.options import add_schedule_options
from util.values import list_of, not_negative, one_of, share, text

BEGINS_WITH = ("live_portrait",)
PARTS = ("stitching", "eyes", "lips")
MOTIONS = ("absolute", "relative", "both")
SUPERVISIONS = ("points", "pictures")
SHOULDERS = ("chin", "border")


def add_options(parser: Any, training: bool) -> None:
    """Declare all options of the family."""
    add_network_options(parser)
    add_animation_options(parser, training)
    if training:
        add_training_options(parser)
    parser.set_defaults(dataset_mode="portraits")


def add_training_options(parser: Any) -> None:
    """Losses and rates of stage II."""
    schedule = parser.add_argument_group("schedule", example="--lr 1e-3 --train_parts eyes,lips")
    add = schedule.add_argument
    add("--lr", type=not_negative, default=2e-4, help="learning rate of the three networks")
    add("--adam_betas", type=list_of(share, "beta1,beta2", empty=False), default=[0.5, 0.999], help="betas of Adam",
        advanced=True)  # fmt: skip
    add("--train_parts", type=list_of(one_of(*PARTS), empty=False), default=list(PARTS),
        help="the networks that learn; they share no loss")  # fmt: skip
    add_schedule_options(schedule)
    _add_stitching_options(parser.add_argument_group("stitching losses", example="--shoulder_mask border"))
    _add_openness_options(parser.add_argument_group("losses of eyes and lips", example="--openness_by pictures"))


def _add_stitching_options(group: Any) -> None:
    add = group.add_argument
    add("--stitching_motion", type=one_of(*MOTIONS), default="both",
        help="another person's motion moves the source as with --no_relative, as with --relative, or half of each",
        )  # fmt: skip
    add("--shoulder_mask", type=one_of(*SHOULDERS), default="chin",
        help="what has to stay: all below the chin, or the crop's border, for clips without landmarks")  # fmt: skip
    add("--weight_shoulders", type=not_negative, default=1.0, help="weight: it looks as in the source")
    add("--weight_change", type=not_negative, default=0.1, help="weight: points are moved little")


def _add_openness_options(group: Any) -> None:
    add, low_high = group.add_argument, list_of(share, "least,most", empty=False)
    add("--openness_by", type=one_of(*SUPERVISIONS), default="points",
        help="what eyes and lips learn from: points of two frames of a clip, or the openness of generated pictures",
        )  # fmt: skip
    add("--eye_openness", type=low_high, default=[0, 0.8], help="pictures: the openness that is asked for")
    add("--lip_openness", type=low_high, default=[0, 0.8], help="the same of lips")
    add("--weight_openness", type=not_negative, default=1.0, help="pictures: weight of its error")
    add("--weight_keep", type=not_negative, default=10.0, help="pictures: weight of what changes elsewhere")
    add("--weight_offsets", type=not_negative, default=1.0, help="pictures: weight of the size of the offsets")
    add("--landmark_network", type=text, default="", advanced=True,
        help="pictures: weights of the network for the 68 points (script/train_landmarks.py); default: Grimace's",
        )  # fmt: skip
