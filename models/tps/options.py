"""The options of the thin-plate spline motion model.

The dotted spellings are the places of the same values in the nested YAML files of the original; defaults are those of
its configuration for faces.
"""

from typing import Any

from models.parts.avd import add_bottle_options
from models.parts.options import (
    LOSSES,
    TRAIN,
    add_hourglass_options,
    add_milestones,
    add_perceptual_options,
    add_transform_options,
    colours,
    scale,
)
from models.parts.truth import add_truth_options
from util.values import at_least, count, list_of, not_negative, positive, share

MODEL = "--model_params"


def add_network_options(parser: Any) -> None:
    """Sizes of the networks that inference needs."""
    common, generator, motion = (f"{MODEL}.{name}_params" for name in ("common", "generator", "dense_motion"))
    add = parser.add_argument
    add("--num_tps", f"{common}.num_tps", type=count, default=10, help="thin-plate splines, of 5 key points each")
    add("--num_channels", f"{common}.num_channels", type=colours, default=3, help="channels of the pictures")
    parser.add_switch("--bg", f"{common}.bg", default=True, help="predict how the background moves")
    parser.add_switch(
        "--multi_mask", f"{common}.multi_mask", default=True, help="an occlusion map for every size of the maps"
    )
    add("--encoder_width", type=count, default=64, help="width of the ResNet-18 of detector and background predictor")
    add(
        "--generator_block_expansion",
        f"{generator}.block_expansion",
        type=count,
        default=64,
        help="inpainting: width",
    )
    add("--generator_max_features", f"{generator}.max_features", type=count, default=512,
        help="inpainting: largest width")  # fmt: skip
    add("--num_down_blocks", f"{generator}.num_down_blocks", type=count, default=3, help="inpainting: halvings")
    add_hourglass_options(add, "dense_motion", motion, 64, 5)
    add("--dense_motion_scale_factor", f"{motion}.scale_factor", type=scale, default=0.25, help="its resolution")
    add("--kp_variance", f"{motion}.kp_variance", type=positive, default=0.01, help="variance of bumps at key points")
    add_bottle_options(parser, 128)
    add("--spline_regulariser", type=list_of(not_negative, "points,affine", empty=False), default=[0.01, 0.01],
        help="added to the splines' systems: at the points, and to the affine part, whose 0.01 in the released "
             "weights keeps equal points from giving the identity; for new training 0.01,1e-5 mends it")  # fmt: skip
    add("--flow_limit", type=not_negative, default=0.0,
        help="no transform leads further from the middle than this, 1 being the border; 0: no limit")  # fmt: skip


def add_training_options(parser: Any) -> None:
    """Losses and schedule."""
    add = parser.add_argument
    add("--lr_generator", f"{TRAIN}.lr_generator", type=not_negative, default=2e-4,
        help="learning rate of all networks")  # fmt: skip
    add_milestones(parser, [70, 90])
    parser.add_alias(f"{TRAIN}.dataloader_workers", "--nThreads")
    add("--weight_decay", type=not_negative, default=1e-4, help="pull of the optimizers towards 0")
    parser.add_switch("--decay_norms", default=True, help="weight decay for biases and norms too, as the original does")
    add("--clip_gradients", type=not_negative, default=10.0,
        help="scale a network's gradients to this largest absolute value; 0: never")  # fmt: skip
    parser.add_switch("--clip_inpainting", help="clip the inpainting network's too, which the original does not")
    add("--bg_start", *_places("background", "bg_start"), type=at_least(0), default=10,
        help="epoch from which the background moves")  # fmt: skip
    _add_dropout_options(parser)
    add_transform_options(parser)
    parser.set_defaults(sigma_tps=0.005, points_tps=5)
    for term, subject in {"equivariance_value": "equivariance", "warp_loss": "the warp loss", "bg": "bg"}.items():
        add(f"--weight_{term}", f"{LOSSES}.{term}", type=not_negative, default=10, help=f"weight of {subject}")
    add_perceptual_options(parser)
    add_truth_options(parser)


def _add_dropout_options(parser: Any) -> None:
    add = parser.add_argument
    add("--dropout_epoch", *_places("dropout", "dropout_epoch"), type=at_least(0), default=35,
        help="epoch from which no maps are left out")  # fmt: skip
    add("--dropout_maxp", *_places("dropout", "dropout_maxp"), type=share, default=0.3, help="largest probability")
    add("--dropout_startp", *_places("dropout", "dropout_startp"), type=share, default=0.1, help="the first one")
    add("--dropout_inc_epoch", *_places("dropout", "dropout_inc_epoch"), type=at_least(0), default=10,
        help="epochs over which it grows")  # fmt: skip
    parser.add_switch(
        "--paper_dropout",
        help="leave out maps as the paper writes it: scaled by the probability, shares that sum to 1, a full ramp",
    )


def _places(section: str, name: str) -> tuple[str, str]:
    """Where a value stands in the original's files, with and without a section of its own."""
    return f"{TRAIN}.{name}", f"{TRAIN}.{section}.{name}"
