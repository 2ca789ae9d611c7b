"""The options of the first order motion model.

Dotted spellings are the keys of the same values in the original's nested YAML files. Where the original lets a key be
absent, the default here is what its absence means.
"""

from typing import Any

from models.parts.options import (
    LOSSES,
    NETWORKS,
    add_generator_options,
    add_hourglass_options,
    add_perceptual_options,
    add_picture_options,
    add_schedule_options,
    add_transform_options,
    add_truth_options,
    colours,
    scale,
    scale_name,
)
from util.values import at_least, count, list_of, not_negative, positive

MODEL = "--model_params"


def add_options(parser: Any, training: bool) -> None:
    """Declare all options of the family."""
    add_network_options(parser)
    add_animation_options(parser, training)
    add_picture_options(parser)
    if training:
        add_discriminator_options(parser)
        add_training_options(parser)
    parser.set_defaults(dataset_mode="frames")


def add_network_options(parser: Any) -> None:
    """Sizes of the networks that inference needs."""
    parser = parser.add_argument_group("networks", NETWORKS, example="--num_kp 15", advanced=True)
    common, detector = f"{MODEL}.common_params", f"{MODEL}.kp_detector_params"
    add = parser.add_argument
    add("--num_kp", f"{common}.num_kp", type=count, default=10, help="number of key points", advanced=False)
    add("--num_channels", f"{common}.num_channels", type=colours, default=3, help="channels of the images")
    parser.add_switch(
        "--estimate_jacobian", f"{common}.estimate_jacobian", help="predict a jacobian per key point (first order)"
    )
    add(
        "--temperature", f"{detector}.temperature", type=positive, default=0.1,
        help="key-point detector: temperature of the softmax",
    )  # fmt: skip
    parser.add_switch(
        "--single_jacobian_map", f"{detector}.single_jacobian_map",
        help="key-point detector: one jacobian map for all points",
    )  # fmt: skip
    add("--kp_detector_pad", f"{detector}.pad", type=at_least(0), default=0,
        help="key-point detector: padding of the 7x7 output layers")  # fmt: skip
    add_hourglass_options(add, "kp_detector", detector, 32, 5)
    add("--kp_detector_scale_factor", f"{detector}.scale_factor", type=scale, default=1.0,
        help="key-point detector: input scale")  # fmt: skip
    _add_generator_options(parser, f"{MODEL}.generator_params")
    parser.add_switch(
        "--align_corners", default=True,
        help="grid_sample convention: yes for the released weights, no as the original under torch 1.3 and later",
    )  # fmt: skip


def _add_generator_options(parser: Any, generator: str) -> None:
    motion, add = f"{generator}.dense_motion_params", parser.add_argument
    add_generator_options(add, generator)
    parser.add_switch(
        "--estimate_occlusion_map", f"{generator}.estimate_occlusion_map",
        help="predict an occlusion map: what to inpaint",
    )  # fmt: skip
    add_hourglass_options(add, "dense_motion", motion, 64, 0, minimum=0, note="; 0: no warping")
    add("--dense_motion_scale_factor", f"{motion}.scale_factor", type=scale, default=1.0,
        help="dense motion: input scale")  # fmt: skip
    add("--kp_variance", f"{motion}.kp_variance", type=positive, default=0.01,
        help="dense motion: variance of the Gaussian heatmaps")  # fmt: skip
    parser.add_switch(
        "--composite",
        help="copy the warped source pixels where they are visible and inpaint the rest, so that a still picture stays "
        "unchanged, as mraa and tps do; only for new training",
    )


def add_animation_options(parser: Any, training: bool) -> None:
    """How driving points move the source's points."""
    parser = parser.add_argument_group("animation", example="--no_relative", advanced=training)
    parser.add_keywords(
        "--mode",
        standard={"mode": "animate", "relative": False},
        relative={"mode": "animate", "relative": True},
    )
    normalisation = "--animate_params.normalization_params"
    parser.add_switch(
        "--relative", f"{normalisation}.use_relative_movement", default=True,
        help="add the displacement of the driving points since the first frame to the source points; no: use the "
        "driving points as they are",
    )  # fmt: skip
    parser.add_switch(
        "--relative_jacobian", f"{normalisation}.use_relative_jacobian", default=True,
        help="with --relative: jacobians relative to the first driving frame, too",
    )  # fmt: skip
    parser.add_switch(
        "--adapt_scale", f"{normalisation}.adapt_movement_scale", default=True,
        help="with --relative: scale movements by the size ratio of source and driving face",
    )  # fmt: skip


def add_discriminator_options(parser: Any) -> None:
    """Sizes of the discriminator."""
    parser = parser.add_argument_group("discriminator", example="--discriminator_scales 1", advanced=True)
    section, add = f"{MODEL}.discriminator_params", parser.add_argument
    add("--discriminator_scales", f"{section}.scales", type=list_of(scale_name), default=[],
        help="discriminator: scales, one network for each", advanced=False)  # fmt: skip
    add("--discriminator_block_expansion", f"{section}.block_expansion", type=count, default=64,
        help="discriminator: base channels")  # fmt: skip
    add("--discriminator_num_blocks", f"{section}.num_blocks", type=count, default=4,
        help="discriminator: blocks")  # fmt: skip
    add("--discriminator_max_features", f"{section}.max_features", type=count, default=512,
        help="discriminator: maximum channels")  # fmt: skip
    parser.add_switch("--sn", f"{section}.sn", help="discriminator: spectral norm")
    parser.add_switch(
        "--use_kp", f"{section}.use_kp", help="discriminator: see heatmaps of the driving key points, too"
    )
    add("--discriminator_kp_variance", f"{section}.kp_variance", type=positive, default=0.01,
        help="discriminator: variance of the Gaussian heatmaps")  # fmt: skip


def add_training_options(parser: Any) -> None:
    """Losses and schedule."""
    schedule = parser.add_argument_group("schedule", example="--lr_generator 1e-4 --epoch_milestones 40,80")
    losses = parser.add_argument_group("losses", example="--no_perceptual --weight_pixels 20")
    train = "--train_params"
    for network in ("generator", "discriminator", "kp_detector"):
        rate = f"lr_{network}"
        schedule.add_argument(
            f"--{rate}", f"{train}.{rate}", type=not_negative, default=2e-4, help=f"learning rate of the {network}"
        )
    add_schedule_options(schedule, "milestones", [60, 90])
    add_transform_options(losses)
    weights = {"generator_gan": 0, "discriminator_gan": 1, "equivariance_value": 10, "equivariance_jacobian": 10}
    for term, default in weights.items():
        losses.add_argument(
            f"--weight_{term}", f"{LOSSES}.{term}", type=not_negative, default=default, help=f"weight of {term}",
            advanced=term == "discriminator_gan",
        )  # fmt: skip
    losses.add_argument(
        "--weight_feature_matching", f"{LOSSES}.feature_matching", type=list_of(not_negative), default=[10] * 4,
        help="weight of feature matching, per block of the discriminator",
    )  # fmt: skip
    add_perceptual_options(losses)
    add_truth_options(losses)
    schedule.add_switch(
        "--start_with_source",
        help="initialise the generator to repeat the source; for small models trained in minutes", advanced=True,
    )  # fmt: skip
