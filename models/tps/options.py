"""The options of the thin-plate spline motion model.

Dotted spellings are the keys of the same values in the original's nested YAML files; defaults are those of its
configuration for faces.
"""

from typing import Any

from models.parts.options import (
    LOSSES,
    NETWORKS,
    TRAIN,
    add_bottle_options,
    add_hourglass_options,
    add_perceptual_options,
    add_picture_options,
    add_schedule_options,
    add_transform_options,
    add_truth_options,
    add_way_options,
    colours,
    scale,
)
from util.values import at_least, count, list_of, not_negative, positive, share

MODEL = "--model_params"


def add_options(parser: Any, training: bool) -> None:
    """Declare all options of the family."""
    add_network_options(parser)
    add_way_options(parser, "relative", training)
    add_picture_options(parser)
    parser.accept_unused("train_avd_params.*")
    parser.set_defaults(dataset_mode="frames")
    if training:
        add_training_options(parser)


def add_network_options(parser: Any) -> None:
    """Sizes of the networks that inference needs."""
    parser = parser.add_argument_group("networks", NETWORKS, example="--num_tps 15", advanced=True)
    common, generator, motion = (f"{MODEL}.{name}_params" for name in ("common", "generator", "dense_motion"))
    add = parser.add_argument
    add(
        "--num_tps", f"{common}.num_tps", type=count, default=10,
        help="number of thin-plate splines, of 5 key points each", advanced=False,
    )  # fmt: skip
    add("--num_channels", f"{common}.num_channels", type=colours, default=3, help="channels of the images")
    parser.add_switch("--bg", f"{common}.bg", default=True, help="predict the motion of the background")
    parser.add_switch("--multi_mask", f"{common}.multi_mask", default=True, help="one occlusion map per resolution")
    add("--encoder_width", type=count, default=64, help="ResNet-18 of detector and background predictor: base channels")
    add(
        "--generator_block_expansion", f"{generator}.block_expansion", type=count, default=64,
        help="inpainting network: base channels",
    )  # fmt: skip
    add("--generator_max_features", f"{generator}.max_features", type=count, default=512,
        help="inpainting network: maximum channels")  # fmt: skip
    add("--num_down_blocks", f"{generator}.num_down_blocks", type=count, default=3,
        help="inpainting network: downsampling blocks")  # fmt: skip
    add_hourglass_options(add, "dense_motion", motion, 64, 5)
    add("--dense_motion_scale_factor", f"{motion}.scale_factor", type=scale, default=0.25,
        help="dense motion: input scale")  # fmt: skip
    add("--kp_variance", f"{motion}.kp_variance", type=positive, default=0.01,
        help="dense motion: variance of the Gaussian heatmaps")  # fmt: skip
    add_bottle_options(parser, 128)
    add("--spline_regulariser", type=list_of(not_negative, "points,affine", empty=False), default=[0.01, 0.01],
        help="added to the diagonal of the spline systems: at the points, at the affine part; released weights need "
             "0.01,0.01, with which equal points do not give the identity; new training: 0.01,1e-5")  # fmt: skip
    add("--flow_limit", type=not_negative, default=0.0,
        help="limit of the transformed coordinates, 1 being the border of the image; 0: no limit")  # fmt: skip


def add_training_options(parser: Any) -> None:
    """Losses and schedule."""
    schedule = parser.add_argument_group("schedule", example="--lr_generator 1e-4 --epoch_milestones 50,80")
    losses = parser.add_argument_group("losses", example="--no_perceptual --weight_pixels 20")
    add = schedule.add_argument
    add("--lr_generator", f"{TRAIN}.lr_generator", type=not_negative, default=2e-4,
        help="learning rate of all networks")  # fmt: skip
    add_schedule_options(schedule, "milestones", [70, 90])
    parser.add_alias(f"{TRAIN}.dataloader_workers", "--nThreads")
    add("--weight_decay", type=not_negative, default=1e-4, help="weight decay of Adam", advanced=True)
    schedule.add_switch(
        "--decay_norms", default=True, help="apply weight decay to biases and norms, too, as the original does",
        advanced=True,
    )  # fmt: skip
    add("--clip_gradients", type=not_negative, default=10.0,
        help="clip the infinity norm of each network's gradients; 0: no clipping")  # fmt: skip
    schedule.add_switch(
        "--clip_inpainting", help="also clip gradients of the inpainting network, unlike the original", advanced=True
    )
    add("--bg_start", *_keys("background", "bg_start"), type=at_least(0), default=10,
        help="epoch from which the background predictor is trained and used")  # fmt: skip
    _add_dropout_options(parser)
    add_transform_options(losses)
    parser.set_defaults(sigma_tps=0.005, points_tps=5)
    for term, subject in {"equivariance_value": "equivariance", "warp_loss": "the warp loss", "bg": "bg"}.items():
        losses.add_argument(
            f"--weight_{term}", f"{LOSSES}.{term}", type=not_negative, default=10, help=f"weight of {subject}"
        )
    add_perceptual_options(losses)
    add_truth_options(losses)


def _add_dropout_options(parser: Any) -> None:
    parser = parser.add_argument_group(
        "dropout of motions", example="--dropout_epoch 20 --paper_dropout", advanced=True
    )
    add = parser.add_argument
    add("--dropout_epoch", *_keys("dropout", "dropout_epoch"), type=at_least(0), default=35,
        help="dropout of motions: last epoch")  # fmt: skip
    add("--dropout_maxp", *_keys("dropout", "dropout_maxp"), type=share, default=0.3,
        help="dropout of motions: maximum probability")  # fmt: skip
    add("--dropout_startp", *_keys("dropout", "dropout_startp"), type=share, default=0.1,
        help="dropout of motions: initial probability")  # fmt: skip
    add("--dropout_inc_epoch", *_keys("dropout", "dropout_inc_epoch"), type=at_least(0), default=10,
        help="dropout of motions: epochs of the ramp")  # fmt: skip
    parser.add_switch(
        "--paper_dropout",
        help="dropout of motions as in the paper: rescaled, normalised to 1, with the full ramp",
    )


def _keys(section: str, name: str) -> tuple[str, str]:
    """The keys of a value in the original's files, with and without a section."""
    return f"{TRAIN}.{name}", f"{TRAIN}.{section}.{name}"
