"""The options of articulated animation.

Dotted spellings are the keys of the same values in the original's nested YAML files. Where the original lets a key be
absent, the default here is what its absence means.
"""

from typing import Any

from models.parts.options import (
    LOSSES,
    NETWORKS,
    TRAIN,
    add_bottle_options,
    add_generator_options,
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
from util.values import at_least, count, list_of, not_negative, number, one_of, positive

MODEL = "--model_params"
REGIONS = f"{MODEL}.region_predictor_params"
BACKGROUNDS = {"zero": 0, "shift": 2, "affine": 6, "perspective": 8}
"""Kinds of background motion, and the number of parameters of each."""


def add_options(parser: Any, training: bool) -> None:
    """Declare all options of the family."""
    add_network_options(parser)
    add_animation_options(parser, "relative", training)
    add_drawing_options(parser)
    if training:
        add_training_options(parser)
    parser.accept_unused("train_avd_params.*")
    parser.set_defaults(dataset_mode="frames")


def add_network_options(parser: Any) -> None:
    """Sizes of the networks that inference needs."""
    parser = parser.add_argument_group("networks", NETWORKS, example="--num_regions 20 --bg_type affine", advanced=True)
    add = parser.add_argument
    add("--num_regions", f"{MODEL}.num_regions", type=count, default=10, help="number of regions", advanced=False)
    add("--num_channels", f"{MODEL}.num_channels", type=colours, default=3, help="channels of the images")
    parser.add_switch(
        "--estimate_affine",
        f"{MODEL}.estimate_affine",
        default=True,
        help="regions have an affine part, not only a position",
    )
    parser.add_switch(
        "--revert_axis_swap", f"{MODEL}.revert_axis_swap", default=True,
        help="undo rotations by 180 degrees between two frames, to which the axes of a region are blind",
    )  # fmt: skip
    _add_region_options(parser)
    background = f"{MODEL}.bg_predictor_params"
    add("--bg_type", f"{background}.bg_type", type=one_of(*BACKGROUNDS), default="zero",
        help="background predictor: kind of motion", advanced=False)  # fmt: skip
    add_hourglass_options(add, "bg_predictor", background, 32, 5)
    _add_generator_options(parser, f"{MODEL}.generator_params")
    add_bottle_options(parser, 64)
    parser.add_switch(
        "--upright_axes",
        help="AVD network: keep the signs of axes when a tall region tilts; only for new training",
    )
    parser.accept_unused(f"{REGIONS[2:]}.fast_svd", "train_params.use_sync_bn")


def _add_region_options(parser: Any) -> None:
    add = parser.add_argument
    add("--temperature", f"{REGIONS}.temperature", type=positive, default=0.1,
        help="region predictor: temperature of the softmax")  # fmt: skip
    parser.add_switch(
        "--pca_based", f"{REGIONS}.pca_based", default=True,
        help="compute the axes of a region from the covariance of its heatmap; no: regress them",
    )  # fmt: skip
    add("--region_predictor_pad", f"{REGIONS}.pad", type=at_least(0), default=3,
        help="region predictor: padding of the 7x7 output layers")  # fmt: skip
    add_hourglass_options(add, "region_predictor", REGIONS, 32, 5)
    add("--region_predictor_scale_factor", f"{REGIONS}.scale_factor", type=scale, default=1.0,
        help="region predictor: input scale")  # fmt: skip


def _add_generator_options(parser: Any, generator: str) -> None:
    motion, add = f"{generator}.pixelwise_flow_predictor_params", parser.add_argument
    add_generator_options(add, generator)
    parser.add_switch(
        "--skips", f"{generator}.skips", help="generator: skip connections from the warped source features"
    )
    add_hourglass_options(add, "flow_predictor", motion, 64, 5)
    add("--flow_predictor_scale_factor", f"{motion}.scale_factor", type=scale, default=1.0,
        help="flow predictor: input scale")  # fmt: skip
    add("--region_var", f"{motion}.region_var", type=positive, default=0.01,
        help="flow predictor: variance of the Gaussian heatmaps, without --use_covar_heatmap")  # fmt: skip
    parser.add_switch(
        "--use_deformed_source", f"{motion}.use_deformed_source", default=True,
        help="flow predictor: see the source warped by every motion",
    )  # fmt: skip
    parser.add_switch(
        "--use_covar_heatmap",
        f"{motion}.use_covar_heatmap",
        help="flow predictor: Gaussian heatmaps with the covariance of the regions",
    )
    parser.add_switch(
        "--estimate_occlusion_map", f"{motion}.estimate_occlusion_map", help="predict an occlusion map: what to inpaint"
    )
    parser.add_switch(
        "--align_corners", help="grid_sample convention: no for the released weights, yes makes zero motion exact"
    )


def add_animation_options(parser: Any, way: str, training: bool) -> None:
    """How driving regions move the source's regions."""
    add_way_options(parser, way, training)
    parser.add_argument_group("animation").add_switch(
        "--relative_covar",
        help="with --way relative: make covariances relative, too; no: the driving frame's, as in the original",
        advanced=training,
    )


def add_drawing_options(parser: Any) -> None:
    """Style of the visualisations."""
    add_picture_options(parser)
    parser = parser.add_argument_group("pictures")
    colour = list_of(number, "red,green,blue", empty=False)
    parser.add_argument("--region_bg_color", "--visualizer_params.region_bg_color", type=colour, default=[1, 1, 1],
                        help="background colour of the drawn heatmaps")  # fmt: skip


def add_training_options(parser: Any) -> None:
    """Losses and schedule."""
    schedule = parser.add_argument_group("schedule", example="--lr 1e-4 --epoch_milestones 40,80")
    losses = parser.add_argument_group("losses", example="--no_perceptual --weight_pixels 20")
    add = schedule.add_argument
    schedule.add_switch(
        "--start_with_source",
        help="initialise the generator to show the warped source, so that motion is learned first; for small models",
        advanced=True,
    )
    add("--clip_gradients", type=not_negative, default=0.0,
        help="clip the norm of all gradients together; 0: no clipping")  # fmt: skip
    add("--motion_first", type=at_least(0), default=0,
        help="train only the motion for this many steps, with the warped source; the fastest start with "
        "--weight_truth_motion", advanced=True)  # fmt: skip
    add("--lr", f"{TRAIN}.lr", type=not_negative, default=2e-4, help="learning rate")
    parser.add_alias(f"{TRAIN}.dataloader_workers", "--nThreads")
    add_schedule_options(schedule, "milestones", [60, 90])
    add_transform_options(losses)
    for term in ("equivariance_shift", "equivariance_affine"):
        losses.add_argument(
            f"--weight_{term}", f"{LOSSES}.{term}", type=not_negative, default=10, help=f"weight of {term}"
        )
    add_perceptual_options(losses)
    add_truth_options(losses)
