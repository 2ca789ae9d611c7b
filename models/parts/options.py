"""Options shared by families of the first order kind, and objects built from them.

Dotted spellings are the keys of the same values in the originals' nested YAML files.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from util.schedules import RULES, Schedule, Schedules
from util.values import (
    at_least,
    count,
    integer,
    keyword_or,
    list_of,
    not_negative,
    number,
    one_of,
    pairs_of,
    restricted,
    share,
    text,
)

if TYPE_CHECKING:
    from models.parts.losses import NoTerms, PerceptualPyramid

TRAIN, TRAIN_AVD = "--train_params", "--train_avd_params"
AVD_NETWORK = "--model_params.avd_network_params"
LOSSES = f"{TRAIN}.loss_weights"
NETWORKS = "What the weights must fit: the YAML of a model sets it, a run remembers it."
"""Description of the group of network options in --help_all."""
VGG_LAYERS = "relu1_1,relu2_1,relu3_1,relu4_1,relu5_1"


colours = restricted(integer, lambda value: value == 3, "3: pictures are red, green and blue", "3")
"""The channels of pictures."""
scale = restricted(number, lambda value: 0 < value <= 1, "a number above 0, at most 1", "0<NUMBER<=1")
"""Scale of a network's input."""


def scale_name(value: Any) -> str:
    """A scale as text: 1 and 1.0 name different entries of a checkpoint."""
    scale(value)
    return text(value)


def add_hourglass_options(
    add: Any, name: str, section: str, width: int, blocks: int, minimum: int = 1, note: str = ""
) -> None:
    """Sizes of an hourglass with at least `minimum` downsampling blocks; `add` is a parser's add_argument."""
    network = name.replace("kp_", "key-point ").replace("bg_", "background ").replace("_", " ")
    add(f"--{name}_block_expansion", f"{section}.block_expansion", type=count, default=width,
        help=f"{network}: base channels")  # fmt: skip
    add(f"--{name}_max_features", f"{section}.max_features", type=count, default=1024,
        help=f"{network}: maximum channels")  # fmt: skip
    add(f"--{name}_num_blocks", f"{section}.num_blocks", type=at_least(minimum), default=blocks,
        help=f"{network}: downsampling blocks{note}")  # fmt: skip


def add_generator_options(add: Any, section: str) -> None:
    """Sizes of a generator; `add` is a parser's add_argument."""
    add("--generator_block_expansion", f"{section}.block_expansion", type=count, default=64,
        help="generator: base channels")  # fmt: skip
    add("--generator_max_features", f"{section}.max_features", type=count, default=512,
        help="generator: maximum channels")  # fmt: skip
    add("--num_down_blocks", f"{section}.num_down_blocks", type=at_least(0), default=2,
        help="generator: downsampling blocks")  # fmt: skip
    add("--num_bottleneck_blocks", f"{section}.num_bottleneck_blocks", type=at_least(0), default=6,
        help="generator: residual blocks")  # fmt: skip


WAYS = ("standard", "relative", "avd")


def add_way_options(parser: Any, default: str, training: bool) -> None:
    """How driving points move the source's; `--mode WAY` is short for `--mode animate --way WAY`."""
    parser = parser.add_argument_group("animation", example="--way standard", advanced=training)
    parser.add_keywords("--mode", **{way: {"mode": "animate", "way": way} for way in WAYS})
    parser.add_argument(
        "--way", "--animate_params.mode", type=one_of(*WAYS), default=default,
        help="animating points: the driving frame's (standard), the source's with the motion of the driving points "
        "since their first frame (relative), or those that the AVD network makes of both (avd)",
    )  # fmt: skip
    parser.add_switch(
        "--adapt_scale", default=True,
        help="relative: scale movements by the size of the source's face to that of the driving one",
    )  # fmt: skip
    parser.add_alias("--img_shape", "--load_size")  # of the originals' demos


def add_picture_options(parser: Any) -> None:
    """Style of the visualisations."""
    parser = parser.add_argument_group("pictures", example="--kp_size 3 --draw_border", advanced=True)
    section, add = "--visualizer_params", parser.add_argument
    add("--kp_size", f"{section}.kp_size", type=at_least(0), default=5, help="radius of the drawn key points")
    parser.add_switch("--draw_border", f"{section}.draw_border", help="white first and last column in every picture")
    add(
        "--colormap", f"{section}.colormap", type=one_of("gist_rainbow"), default="gist_rainbow",
        help="colours of the key points",
    )  # fmt: skip


def add_schedule_options(parser: Any, word: str = "constant", milestones: Sequence[int] = ()) -> None:
    """The learning rate schedule; `word` is the paper's."""
    add, rules = parser.add_argument, {rule: rule for rule in RULES}
    add("--lr_schedule", type=keyword_or(pairs_of(text, one_of(*RULES)), **rules), default=word,
        help="learning rate schedule: linear and cosine decay over the whole training, step drops every --lr_period "
        "epochs, milestones at --epoch_milestones; or one per optimizer, OPTIMIZER=RULE,OPTIMIZER=RULE")  # fmt: skip
    add("--warm_up", type=at_least(0), default=0, help="steps of the linear warm-up of the learning rates")
    add("--lr_end", type=share, default=0, help="linear, cosine: final factor on the learning rates", advanced=True)
    add("--lr_factor", type=share, default=0.1, help="step, milestones: factor of a drop",
        advanced=True)  # fmt: skip
    add("--lr_period", type=count, default=30, help="step: epochs between drops", advanced=True)
    add("--epoch_milestones", f"{TRAIN}.epoch_milestones", type=list_of(at_least(0)), default=list(milestones),
        help="milestones: epochs at which the learning rates drop")  # fmt: skip


@dataclass(frozen=True)
class ScheduleSettings:
    """The options of `add_schedule_options`, by name."""

    lr_schedule: str | dict[str, str]
    warm_up: int
    lr_end: float
    epoch_milestones: Sequence[int]
    lr_period: int
    lr_factor: float


def build_schedules(how: ScheduleSettings, optimizers: Iterable[str], word: str = "constant") -> Schedules:
    """The schedules of `add_schedule_options` for these optimizers."""
    shared = Schedule(word, how.warm_up, how.lr_end, how.epoch_milestones, how.lr_period, how.lr_factor)
    return Schedules(shared, how.lr_schedule, optimizers)


def add_transform_options(parser: Any) -> None:
    """Sizes of the random transforms of the equivariance loss."""
    section, add = f"{TRAIN}.transform_params", parser.add_argument
    add("--sigma_affine", f"{section}.sigma_affine", type=not_negative, default=0.05,
        help="equivariance transform: standard deviation of the affine part", advanced=True)  # fmt: skip
    add(
        "--sigma_tps", f"{section}.sigma_tps", type=not_negative,
        help="equivariance transform: standard deviation of the thin-plate part", advanced=True,
    )  # fmt: skip
    add("--points_tps", f"{section}.points_tps", type=at_least(2),
        help="equivariance transform: control points per side", advanced=True)  # fmt: skip


def add_perceptual_options(parser: Any) -> None:
    """The perceptual loss, and the pixel loss for training without the weights of VGG-19."""
    add = parser.add_argument
    add("--scales", f"{TRAIN}.scales", type=list_of(scale, empty=False), default=[1, 0.5, 0.25, 0.125],
        help="perceptual loss: scales of the image pyramid", advanced=True)  # fmt: skip
    add("--weight_perceptual", f"{LOSSES}.perceptual", type=list_of(not_negative, VGG_LAYERS),
        default=[10] * 5, help="weight of the perceptual loss per layer of VGG-19; 0: skip the layer")  # fmt: skip
    add("--vgg19", type=text, help="weights of VGG-19 in torchvision's layout; default: torchvision's cache")
    parser.add_switch(
        "--no_perceptual", help="compare pixels instead of VGG-19 features (needs no weights, blurs more)"
    )
    add("--weight_pixels", type=not_negative, default=10,
        help="with --no_perceptual: weight of the pixel loss")  # fmt: skip


@dataclass(frozen=True)
class PerceptualSettings:
    """The options of `add_perceptual_options`, by name."""

    scales: Sequence[float]
    weight_perceptual: Sequence[float]
    vgg19: str | None
    no_perceptual: bool
    weight_pixels: float


def build_perceptual(how: PerceptualSettings) -> "PerceptualPyramid | NoTerms":
    """The loss of `add_perceptual_options`."""
    from models.parts.losses import NoTerms, PerceptualPyramid, Pixels  # torch, which declaring options does not need
    from models.parts.vgg import vgg19

    if how.no_perceptual:
        return PerceptualPyramid(Pixels(), how.scales, [how.weight_pixels], name="pixels")
    if not any(how.weight_perceptual):
        return NoTerms()
    return PerceptualPyramid(vgg19(how.vgg19), how.scales, how.weight_perceptual)


def add_truth_options(parser: Any, *, mode: str = "drawn", points: bool = True) -> None:
    """Weights of the supervised losses; `mode`: the dataset mode with ground truth; `points`: one pulls key points."""
    add = parser.add_argument
    add("--weight_truth_motion", type=not_negative, default=0.0,
        help=f"with --dataset_mode {mode}: weight of the motion loss on visible pixels",
        advanced=True)  # fmt: skip
    add("--weight_truth_occlusion", type=not_negative, default=0.0,
        help="the same: weight of the occlusion loss", advanced=True)  # fmt: skip
    if points:
        add("--weight_truth_points", type=not_negative, default=0.0,
            help="the same: weight of the loss that pulls key points to landmarks", advanced=True)  # fmt: skip
    add("--weight_truth_face", type=not_negative, default=0.0,
        help="the same: weight of an additional pixel loss on the face", advanced=True)  # fmt: skip


def add_bottle_options(parser: Any, default: int) -> None:
    """Sizes of the AVD network, for every command that animates with it."""
    add = parser.add_argument
    for code in ("id", "pose"):
        add(f"--{code}_bottle_size", f"{AVD_NETWORK}.{code}_bottle_size", type=count, default=default,
            help=f"AVD network: size of the {code} code")  # fmt: skip


def add_second_stage_options(parser: Any, epoch_milestones: list[int]) -> None:
    """Training options of the AVD network; the section of the first stage in a nested file is ignored."""
    parser.accept_unused("train_params.*")
    parser = parser.add_argument_group("second stage", example="--lr 1e-3 --epoch_milestones 20,25")
    shared = {"num_epochs": "epochs", "batch_size": "batch_size", "checkpoint_freq": "save_every_epochs"}
    for key, name in (shared | {"num_repeats": "num_repeats", "dataloader_workers": "nThreads"}).items():
        parser.add_alias(f"{TRAIN_AVD}.{key}", f"--{name}")
    add = parser.add_argument
    add("--lr", f"{TRAIN_AVD}.lr", type=not_negative, default=1e-3, help="learning rate of the AVD network")
    add("--epoch_milestones", f"{TRAIN_AVD}.epoch_milestones", type=list_of(at_least(0)), default=epoch_milestones,
        help="epochs at which the learning rate is divided by 10")  # fmt: skip
    add("--random_scale", f"{TRAIN_AVD}.random_scale", type=share, default=0.25,
        help="maximum random stretch of the pose in AVD training, in width and height")  # fmt: skip
    add("--lambda_shift", f"{TRAIN_AVD}.lambda_shift", type=not_negative, default=1,
        help="weight of the loss on points")  # fmt: skip
    parser.add_switch(
        "--late_milestones", default=True, help="apply milestones one epoch late, as in the original", advanced=True
    )
    parser.add_switch(
        "--moving_statistics", default=True,
        help="keep the detector in training mode, as in the original: batch statistics, updated running averages",
        advanced=True,
    )  # fmt: skip
