"""The options of the first order motion model.

The dotted spellings are the places of the same values in the nested YAML files of the original; where a key may be
absent there, the default here is what its absence means.
"""

from typing import Any

from models.parts.options import (
    LOSSES,
    add_generator_options,
    add_hourglass_options,
    add_milestones,
    add_perceptual_options,
    add_transform_options,
    colours,
    scale,
    scale_name,
)
from models.parts.truth import add_truth_options
from util.values import at_least, count, list_of, not_negative, positive

MODEL = "--model_params"


def add_network_options(parser: Any) -> None:
    """Sizes of the networks that inference needs."""
    common, detector = f"{MODEL}.common_params", f"{MODEL}.kp_detector_params"
    add = parser.add_argument
    add("--num_kp", f"{common}.num_kp", type=count, default=10, help="key points")
    add("--num_channels", f"{common}.num_channels", type=colours, default=3, help="channels of the pictures")
    parser.add_switch("--estimate_jacobian", f"{common}.estimate_jacobian", help="first order: a jacobian per point")
    add(
        "--temperature",
        f"{detector}.temperature",
        type=positive,
        default=0.1,
        help="softness of the detector's heat maps",
    )
    parser.add_switch(
        "--single_jacobian_map", f"{detector}.single_jacobian_map", help="one jacobian map for all points"
    )
    add("--kp_detector_pad", f"{detector}.pad", type=at_least(0), default=0, help="padding of the detector's 7x7 heads")
    add_hourglass_options(add, "kp_detector", detector, 32, 5)
    add("--kp_detector_scale_factor", f"{detector}.scale_factor", type=scale, default=1.0, help="its resolution")
    _add_generator_options(parser, f"{MODEL}.generator_params")
    parser.add_switch(
        "--align_corners", default=True,
        help="grid_sample's convention; yes for the released weights, no to compare with a present run of the original",
    )  # fmt: skip


def _add_generator_options(parser: Any, generator: str) -> None:
    motion, add = f"{generator}.dense_motion_params", parser.add_argument
    add_generator_options(add, generator)
    parser.add_switch(
        "--estimate_occlusion_map", f"{generator}.estimate_occlusion_map", help="predict what must be painted anew"
    )
    add_hourglass_options(add, "dense_motion", motion, 64, 0, least=0, note="; 0: nothing is warped")
    add("--dense_motion_scale_factor", f"{motion}.scale_factor", type=scale, default=1.0, help="its resolution")
    add("--kp_variance", f"{motion}.kp_variance", type=positive, default=0.01, help="variance of bumps at key points")
    parser.add_switch(
        "--composite",
        help="where the occlusion map says so, take the warped pixels of the source and paint the rest only, so that a "
        "picture at rest stays as it is; mraa and tps always do; for training anew",
    )


def add_animation_options(parser: Any) -> None:
    """How the driving points move the source's."""
    parser.add_words(
        "--mode",
        standard={"mode": "animate", "relative": False},
        relative={"mode": "animate", "relative": True},
    )
    normalisation = "--animate_params.normalization_params"
    parser.add_switch(
        "--relative", f"{normalisation}.use_relative_movement", default=True,
        help="move the source's points as the driving points have moved since their first frame; no: place them there",
    )  # fmt: skip
    parser.add_switch(
        "--relative_jacobian", f"{normalisation}.use_relative_jacobian", default=True,
        help="with --relative, turn and stretch relative to the first frame too",
    )  # fmt: skip
    parser.add_switch(
        "--adapt_scale", f"{normalisation}.adapt_movement_scale", default=True,
        help="with --relative, scale movements by the size of the source's face to that of the driving one",
    )  # fmt: skip


def add_discriminator_options(parser: Any) -> None:
    """Sizes of the discriminator."""
    place, add = f"{MODEL}.discriminator_params", parser.add_argument
    add("--discriminator_scales", f"{place}.scales", type=list_of(scale_name), default=[],
        help="one discriminator per scale")  # fmt: skip
    add("--discriminator_block_expansion", f"{place}.block_expansion", type=count, default=64, help="its width")
    add("--discriminator_num_blocks", f"{place}.num_blocks", type=count, default=4, help="its blocks")
    add("--discriminator_max_features", f"{place}.max_features", type=count, default=512, help="its largest width")
    parser.add_switch("--sn", f"{place}.sn", help="spectral norm in the discriminator")
    parser.add_switch("--use_kp", f"{place}.use_kp", help="the discriminator also sees the driving key points")
    add("--discriminator_kp_variance", f"{place}.kp_variance", type=positive, default=0.01,
        help="variance of their bumps")  # fmt: skip


def add_training_options(parser: Any) -> None:
    """Losses and schedule."""
    train, add = "--train_params", parser.add_argument
    for network in ("generator", "discriminator", "kp_detector"):
        rate = f"lr_{network}"
        add(f"--{rate}", f"{train}.{rate}", type=not_negative, default=2e-4, help=f"learning rate of the {network}")
    add_milestones(parser, [60, 90])
    add_transform_options(parser)
    weights = {"generator_gan": 0, "discriminator_gan": 1, "equivariance_value": 10, "equivariance_jacobian": 10}
    for term, default in weights.items():
        add(f"--weight_{term}", f"{LOSSES}.{term}", type=not_negative, default=default, help=f"weight of {term}")
    add("--weight_feature_matching", f"{LOSSES}.feature_matching", type=list_of(not_negative), default=[10] * 4,
        help="weight of feature matching per block of the discriminator")  # fmt: skip
    add_perceptual_options(parser)
    add_truth_options(parser)
    parser.add_switch(
        "--start_with_source",
        help="the untrained generator repeats the source, for small models that are trained for minutes",
    )
