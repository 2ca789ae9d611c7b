"""The options of LivePortrait.

The dotted spellings are the keys of the same values in the nested YAML files of the original; defaults are those of
the released weights and of the original's command.
"""

import math
from typing import Any

from models.parts.options import (
    NETWORKS,
    add_perceptual_options,
    add_schedule_options,
    add_transform_options,
    add_truth_options,
)
from util.values import (
    at_least,
    count,
    integer,
    keyword_or,
    list_of,
    not_negative,
    number,
    one_of,
    positive,
    restricted,
    share,
    text,
    within,
)

MODEL = "--model_params"
F, M, W, G = (
    f"{MODEL}.{name}_params"
    for name in ("appearance_feature_extractor", "motion_extractor", "warping_module", "spade_generator")
)
NUM_KP = 21
LIP_POINTS = (6, 12, 14, 17, 19, 20)
EYE_POINTS = (11, 13, 15, 16, 18)
REGIONS = ("all", "pose", "exp", "lip", "eyes")
"""The parts of a face that can move alone."""
DRIVING = "driving"
"""Eyes or lips as open as in the driving frame."""
POINTS = restricted(
    integer, lambda value: value == NUM_KP, f"{NUM_KP}: regions and edits name points by number", str(NUM_KP)
)
SCALINGS = ("expression-friendly", "pose-friendly", "adapt-scale")
FAULTS = ("retargeting", "left_eye", "rotations", "driving_picture", "normalize_lip")
"""Faults of the original, by the names of --as_original."""
GAN_REGIONS = ("whole", "face", "lips")
point = within(0, NUM_KP - 1, integer)
landmark = within(0, 67, integer)
odd = restricted(at_least(1), lambda value: value % 2 == 1, "an odd whole number", "ODD")
GUIDE_POINTS = [11, 13, 18, 15, 16, 6, 12, 14, 17, 19]
GUIDE_LANDMARKS = [37, 41, 36, 44, 46, 48, 54, 62, 66, 57]
"""Where they belong: three points of the left eye, two of the right one, five of the lips, among them those between
which openness is measured."""


openness = keyword_or(share, driving=DRIVING, yes=DRIVING, no=None)
look_ahead = keyword_or(at_least(0), auto=None, all=math.inf)
faults = keyword_or(list_of(one_of(*FAULTS)), all=list(FAULTS))


def add_options(parser: Any, training: bool) -> None:
    """Declare all options of the family."""
    add_network_options(parser)
    add_animation_options(parser, training)
    if training:
        add_training_options(parser)
    parser.set_defaults(dataset_mode="portraits")


def add_network_options(parser: Any) -> None:
    """Sizes of the networks that inference needs."""
    parser = parser.add_argument_group("networks", NETWORKS, example="--input_size 128 --upscale 1", advanced=True)
    add, dense = parser.add_argument, f"{W}.dense_motion_params"
    parser.accept_unused(f"{F}.image_channel", f"{W}.estimate_occlusion_map", f"{M}.backbone", f"{W}.num_down_blocks",
                         f"{W}.block_expansion", f"{W}.max_features", f"{W}.reshape_channel", f"{dense}.reshape_depth",
                         f"{G}.num_down_blocks", f"{G}.block_expansion", f"{G}.max_features", f"{W}.num_kp",
                         "--model_params.stitching_retargeting_module_params.*")  # fmt: skip
    add("--num_kp", f"{M}.num_kp", type=POINTS, default=NUM_KP, help="number of key points")
    add("--input_size", type=count, default=256, help="side of the networks' input pictures")
    add("--block_expansion", f"{F}.block_expansion", type=count, default=64, help="base channels, motion excepted")
    add("--max_features", f"{F}.max_features", type=count, default=512, help="maximum channels, motion excepted")
    add("--num_down_blocks", f"{F}.num_down_blocks", type=at_least(1), default=2, help="extractor: downsampling steps")
    add("--volume_channels", f"{F}.reshape_channel", type=count, default=32, help="channels of the feature volume")
    add("--volume_depth", f"{F}.reshape_depth", type=count, default=16, help="depth of the feature volume")
    add("--num_resblocks", f"{F}.num_resblocks", type=at_least(0), default=6, help="residual blocks on the volume")
    add("--motion_depths", type=list_of(count, "A,B,C,D", empty=False), default=[3, 3, 9, 3],
        help="motion extractor: blocks of its four stages")  # fmt: skip
    add("--motion_widths", type=list_of(count, "A,B,C,D", empty=False), default=[96, 192, 384, 768],
        help="motion extractor: channels of its four stages")  # fmt: skip
    add("--flow_block_expansion", f"{dense}.block_expansion", type=count, default=32, help="dense motion: channels")
    add("--flow_max_features", f"{dense}.max_features", type=count, default=1024, help="dense motion: maximum channels")
    add("--flow_num_blocks", f"{dense}.num_blocks", type=count, default=5, help="dense motion: downsampling blocks")
    add("--compress", f"{dense}.compress", type=count, default=4, help="dense motion: channels of its volume")
    add("--flow_kernel", type=odd, default=7, help="dense motion: kernel size of masks and occlusion (the paper's: 7)")
    add("--upscale", f"{G}.upscale", type=count, default=2, help="upscaling factor from input to result")
    add("--generator_out_channels", type=count, default=64, help="generator: channels of the last features")
    add("--spade_width", type=count, default=128, help="generator: hidden channels of SPADE")
    add("--num_middle_blocks", type=at_least(0), default=6, help="generator: blocks before the upsampling")
    parser.add_switch("--copy_pixels", help="blend the result with pixels of the source along the flow by a mask "
                      "(not in the paper): small networks learn motion before they can paint")  # fmt: skip


def add_animation_options(parser: Any, training: bool) -> None:
    """The transferred parts of the driving motion, and adjustments of the points."""
    parser = parser.add_argument_group(
        "animation", example="--animation_region exp --driving_multiplier 1.2", advanced=training
    )
    add = parser.add_argument
    parser.add_keywords("--mode", relative={"mode": "animate", "relative": True},
                     standard={"mode": "animate", "relative": False})  # fmt: skip
    parser.add_switch("--relative", "--flag_relative_motion", default=True,
                      help="apply the driving face's motion since its first frame; no: its absolute pose")  # fmt: skip
    add("--animation_region", type=one_of(*REGIONS), default="all", help="the part of the motion to apply")
    add("--driving_option", type=one_of(*SCALINGS), default=SCALINGS[0],
        help="adapt-scale: scale movements by the size of the face; the others differ only with --animals",
        advanced=True)  # fmt: skip
    add("--driving_multiplier", type=number, default=1.0, help="factor on the motion")
    parser.add_switch("--animals", help="like the original's program for animals: absolute expression and pose")
    parser.add_switch("--stitching", "--flag_stitching", default=True, help="keep the shoulders in place")
    parser.add_switch("--normalize_lip", "--flag_normalize_lip",
                      help="close the source's lips first (default of the original's library)")  # fmt: skip
    for part in ("eye", "lip"):
        add(f"--{part}_retargeting", f"--flag_{part}_retargeting", type=openness, nargs="?", const=DRIVING,
            help=f"openness of the {part}s: that of the driving frames, or a number")  # fmt: skip
    parser.add_switch("--source_video_eye_retargeting", "--flag_source_video_eye_retargeting",
                      help="source videos: keep the eyes as open as in the first frame", advanced=True)  # fmt: skip
    parser.add_switch(
        "--smooth_motion", default=None, help="smooth the motion with a Kalman smoother; default: for source videos"
    )
    add("--smooth_variance", "--driving_smooth_observation_variance", type=positive, default=3e-7,
        help="observation variance of the smoother; larger is smoother", advanced=True)  # fmt: skip
    add("--look_ahead", type=look_ahead, default=None,
        help="future frames used by the smoother; auto: until the weight of later ones is below 1e-9",
        advanced=True)  # fmt: skip
    add(
        "--as_original", type=faults, default=[],
        help=f"keep faults of the original: {', '.join(FAULTS)}; see docs/live_portrait.md", advanced=True,
    )  # fmt: skip
    add("--lip_points", type=list_of(point), default=list(LIP_POINTS), help="points of the region lip", advanced=True)
    add("--eye_points", type=list_of(point), default=list(EYE_POINTS), help="points of the region eyes", advanced=True)
    add("--retargeting_weights", type=text, default="",
        help="file of stitching and retargeting, if it is not beside the others", advanced=True)  # fmt: skip


def add_training_options(parser: Any) -> None:
    """Losses and learning rates of stage I. The weights are those of face-vid2vid's open training code."""
    schedule = parser.add_argument_group("schedule", example="--lr 1e-4 --clip_gradients 10")
    losses = parser.add_argument_group("losses", example="--no_perceptual --weight_guide 5")
    add = schedule.add_argument
    add("--lr", type=not_negative, default=2e-4, help="learning rate of all networks")
    add("--adam_betas", type=list_of(share, "beta1,beta2", empty=False), default=[0.5, 0.999], help="betas of Adam",
        advanced=True)  # fmt: skip
    add("--clip_gradients", type=not_negative, default=0.0, help="clip the norm of the gradients; 0: no clipping")
    add("--motion_first", type=at_least(0), default=0,
        help="train only the motion extractor for this many steps, by the losses on points; the fastest start with "
        "--weight_guide and --weight_headpose", advanced=True)  # fmt: skip
    add_schedule_options(schedule)
    add_transform_options(losses)
    losses.add_switch("--transform_align_corners", default=True, advanced=True,
                      help="equivariance transform: corners of pictures are those of the grid, as in the first order "
                      "motion model")  # fmt: skip
    parser.set_defaults(sigma_tps=0.005, points_tps=5)
    add_perceptual_options(losses)
    add = losses.add_argument
    add("--perceptual_regions", type=list_of(one_of(*GAN_REGIONS)), default=["whole"],
        help="inputs of the perceptual loss; face and lips need clips with landmarks")  # fmt: skip
    add("--region_size", type=count, default=128, help="side of the regions face and lips", advanced=True)
    add("--identity_network", type=text, default="",
        help="weights of an ArcFace network (iresnet, PyTorch) for the identity loss")  # fmt: skip
    add("--weight_identity", type=not_negative, default=1.0, advanced=True,
        help="with --identity_network: weight of 1 - cosine of the embeddings")  # fmt: skip
    _add_prior_options(losses)
    add_truth_options(losses, mode="drawn_portraits", points=False)  # --weight_guide pulls points to landmarks
    _add_gan_options(parser)
    schedule.add_switch("--start_at_rest", default=True,
                      help="initialise points with scale 1 and no motion, so that training starts from the source",
                      advanced=True)  # fmt: skip


def _add_prior_options(losses: Any) -> None:
    """Losses on key points alone."""
    add = losses.add_argument
    add("--weight_equivariance", type=not_negative, default=20.0, help="weight of the equivariance loss")
    add("--weight_prior", type=not_negative, default=10.0, help="weight of the key point prior")
    add(
        "--prior_distance", type=not_negative, default=0.1, help="key point prior: minimum squared distance",
        advanced=True,
    )  # fmt: skip
    add("--prior_depth", type=number, default=0.33, help="key point prior: mean depth", advanced=True)
    add("--weight_deformation", type=not_negative, default=5.0, help="weight of the deformation prior")
    add("--weight_headpose", type=not_negative, default=0.0,
        help="weight of the head pose loss, in degrees; needs clips with landmarks")  # fmt: skip
    losses.add_switch("--headpose_source", help="apply the head pose loss to the source frame too", advanced=True)
    add("--weight_guide", type=not_negative, default=0.0,
        help="weight of the guide loss on landmarks; needs clips with landmarks")  # fmt: skip
    add("--guide_points", type=list_of(point), default=GUIDE_POINTS, help="key points of the guide loss", advanced=True)
    add("--guide_landmarks", type=list_of(landmark), default=GUIDE_LANDMARKS,
        help="their landmarks (of 68), in the same order", advanced=True)  # fmt: skip
    add("--wing", type=list_of(positive, "omega,epsilon", empty=False), default=[0.1, 0.01],
        help="parameters of the Wing loss of --weight_guide, in units of [-1, 1]", advanced=True)  # fmt: skip


def _add_gan_options(parser: Any) -> None:
    parser = parser.add_argument_group("discriminators", example="--weight_gan 0.5", advanced=True)
    add = parser.add_argument
    add(
        "--weight_gan", type=not_negative, default=1.0, help="weight of the adversarial loss; 0: no discriminators",
        advanced=False,
    )  # fmt: skip
    add("--gan_regions", type=list_of(one_of(*GAN_REGIONS)), default=["whole"],
        help="inputs of the discriminators; face and lips need clips with landmarks")  # fmt: skip
    add("--gan_loss", type=one_of("hinge", "squares"), default="hinge", help="adversarial loss")
    add("--weight_matching", type=not_negative, default=10.0, help="weight of feature matching")
    add("--discriminator_block_expansion", type=count, default=32, help="discriminators: base channels")
    add("--discriminator_num_blocks", type=count, default=4, help="discriminators: blocks")
    add("--discriminator_max_features", type=count, default=512, help="discriminators: maximum channels")
