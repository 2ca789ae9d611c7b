"""The options of articulated animation.

The dotted spellings are the places of the same values in the nested YAML files of the original; where a key may be
absent there, the default here is what its absence means.
"""

from typing import Any

from models.mraa.networks import BACKGROUNDS
from models.parts.avd import add_bottle_options
from models.parts.options import (
    LOSSES,
    TRAIN,
    add_generator_options,
    add_hourglass_options,
    add_milestones,
    add_perceptual_options,
    add_picture_options,
    add_transform_options,
    add_way_options,
    colours,
    scale,
)
from models.parts.truth import add_truth_options
from util.values import at_least, count, list_of, not_negative, number, one_of, positive

MODEL = "--model_params"
REGIONS = f"{MODEL}.region_predictor_params"


def add_network_options(parser: Any) -> None:
    """Sizes of the networks that inference needs."""
    add = parser.add_argument
    add("--num_regions", f"{MODEL}.num_regions", type=count, default=10, help="regions that move")
    add("--num_channels", f"{MODEL}.num_channels", type=colours, default=3, help="channels of the pictures")
    parser.add_switch(
        "--estimate_affine", f"{MODEL}.estimate_affine", default=True, help="regions turn and stretch, not only move"
    )
    parser.add_switch(
        "--revert_axis_swap", f"{MODEL}.revert_axis_swap", default=True,
        help="undo turns by 180 degrees between two pictures, which a region's axes cannot tell",
    )  # fmt: skip
    _add_region_options(parser)
    background = f"{MODEL}.bg_predictor_params"
    add("--bg_type", f"{background}.bg_type", type=one_of(*BACKGROUNDS), default="zero", help="how backgrounds move")
    add_hourglass_options(add, "bg_predictor", background, 32, 5)
    _add_generator_options(parser, f"{MODEL}.generator_params")
    add_bottle_options(parser, 64)
    parser.add_switch(
        "--upright_axes",
        help="AVD network, for training anew: axes keep their sign when a tall region tilts; no for released weights",
    )
    parser.accept_unused(f"{REGIONS[2:]}.fast_svd", "train_params.use_sync_bn")


def _add_region_options(parser: Any) -> None:
    add = parser.add_argument
    add("--temperature", f"{REGIONS}.temperature", type=positive, default=0.1, help="softness of the heat maps")
    parser.add_switch(
        "--pca_based", f"{REGIONS}.pca_based", default=True,
        help="axes of a region from the covariance of its heat map; no: regressed",
    )  # fmt: skip
    add("--region_predictor_pad", f"{REGIONS}.pad", type=at_least(0), default=3, help="padding of the 7x7 heads")
    add_hourglass_options(add, "region_predictor", REGIONS, 32, 5)
    add("--region_predictor_scale_factor", f"{REGIONS}.scale_factor", type=scale, default=1.0, help="its resolution")


def _add_generator_options(parser: Any, generator: str) -> None:
    motion, add = f"{generator}.pixelwise_flow_predictor_params", parser.add_argument
    add_generator_options(add, generator)
    parser.add_switch("--skips", f"{generator}.skips", help="join the source's features at every size")
    add_hourglass_options(add, "flow_predictor", motion, 64, 5)
    add("--flow_predictor_scale_factor", f"{motion}.scale_factor", type=scale, default=1.0, help="its resolution")
    add("--region_var", f"{motion}.region_var", type=positive, default=0.01,
        help="variance of the bumps at regions, without --use_covar_heatmap")  # fmt: skip
    parser.add_switch(
        "--use_deformed_source", f"{motion}.use_deformed_source", default=True,
        help="the flow predictor sees the source under every motion",
    )  # fmt: skip
    parser.add_switch("--use_covar_heatmap", f"{motion}.use_covar_heatmap", help="bumps have the shape of the regions")
    parser.add_switch(
        "--estimate_occlusion_map", f"{motion}.estimate_occlusion_map", help="predict what must be painted anew"
    )
    parser.add_switch(
        "--align_corners", help="grid_sample's convention; no for the released weights, yes makes zero motion exact"
    )


def add_animation_options(parser: Any, way: str) -> None:
    """How the driving regions move the source's."""
    add_way_options(parser, way)
    parser.add_switch(
        "--relative_covar",
        help="relative: regions get the shape that they are turned to; no, as the original: that of the driving frame",
    )


def add_drawing_options(parser: Any) -> None:
    """How the pictures to look at are drawn."""
    add_picture_options(parser)
    colour = list_of(number, "red,green,blue", empty=False)
    parser.add_argument("--region_bg_color", "--visualizer_params.region_bg_color", type=colour, default=[1, 1, 1],
                        help="colour behind the heat maps")  # fmt: skip


def add_training_options(parser: Any) -> None:
    """Losses and schedule."""
    add = parser.add_argument
    parser.add_switch(
        "--start_with_source",
        help="for small models: the untrained generator gives the warped source, so that moving is learned first",
    )
    add("--clip_gradients", type=not_negative, default=0.0,
        help="scale all gradients together to this length at most; 0: never")  # fmt: skip
    add("--motion_first", type=at_least(0), default=0,
        help="for this many steps only the motion learns, by the warped source: with --weight_truth_motion the fastest "
        "start")  # fmt: skip
    add("--lr", f"{TRAIN}.lr", type=not_negative, default=2e-4, help="learning rate")
    parser.add_alias(f"{TRAIN}.dataloader_workers", "--nThreads")
    add_milestones(parser, [60, 90])
    add_transform_options(parser)
    for term in ("equivariance_shift", "equivariance_affine"):
        add(f"--weight_{term}", f"{LOSSES}.{term}", type=not_negative, default=10, help=f"weight of {term}")
    add_perceptual_options(parser)
    add_truth_options(parser)
