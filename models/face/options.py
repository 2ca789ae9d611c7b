"""The options of edge-guided face animation."""

from typing import Any

from models.parts.options import NETWORKS, colours
from util.errors import UserError
from util.values import at_least, count, integer, list_of, not_negative, one_of, pairs_of, text

INIT_TYPES = ("orthogonal", "normal", "xavier", "xavier_uniform", "kaiming", "none")
POLICIES = ("lambda", "step", "exponent")


def add_options(parser: Any, training: bool) -> None:
    """Declare all options of the family."""
    add_network_options(parser)
    if training:
        add_training_options(parser)
        parser.set_defaults(batch_size=2, print_every=100, pictures_every=100)
    parser.set_defaults(dataset_mode="face", dataroot="dataset/FaceForensics", nThreads=8 if training else 1)


def add_network_options(parser: Any) -> None:
    """Sizes of the generator."""
    parser = parser.add_argument_group("networks", NETWORKS, example="--width 32 --match_colours", advanced=True)
    add = parser.add_argument
    add("--attn_layer", type=list_of(integer), default=[2, 3], help="layers with attention; layer L has side S / 2^L")
    add("--kernel_size", type=pairs_of(integer, integer), default={2: 5, 3: 3}, metavar="LAYER=K,...",
        help="side of the patches per attention layer")  # fmt: skip
    add("--layers", type=count, default=3, help="downsampling steps of the encoders")
    add("--image_nc", type=colours, default=3, help="channels of the pictures")
    add("--netG", type=one_of("face"), default="face", help="the generator")
    add("--netD", type=one_of("res"), default="res", help="the discriminators")
    add("--width", type=count, default=64, help="generator: base channels")
    add("--max_width", type=count, default=512, help="generator: maximum channels")
    add("--flow_width", type=count, default=32, help="flow net: base channels")
    add("--flow_max_width", type=count, default=256, help="flow net: maximum channels")
    parser.add_switch("--match_colours", help="give each frame the reference's mean and deviation of colours, which "
        "the networks can't see; for models trained with it")  # fmt: skip
    parser.add_switch("--copy_pixels", help="let the finest mask take the reference's own pixels along the flow; for "
        "models trained with it")  # fmt: skip


def add_training_options(parser: Any) -> None:
    """Discriminators, losses, schedule."""
    _add_discriminator_options(parser)
    _add_losses(parser)
    _add_schedule(parser)


def _add_discriminator_options(parser: Any) -> None:
    parser = parser.add_argument_group("discriminators", example="--gan_mode hinge", advanced=True)
    add = parser.add_argument
    add("--discriminator_width", type=count, default=32, help="discriminators: base channels")
    add("--discriminator_max_width", type=count, default=128, help="discriminators: maximum channels")
    parser.add_switch("--use_spect_d", default=True, help="spectral norm in the discriminators")
    add("--init_type", type=one_of(*INIT_TYPES), default="orthogonal", help="initialisation of the generator")
    add("--gan_mode", type=one_of("lsgan", "hinge"), default="lsgan", help="adversarial loss", advanced=False)


def _add_losses(parser: Any) -> None:
    parser = parser.add_argument_group("losses", example="--no_perceptual --lambda_rec 10")
    add = parser.add_argument
    weights = {"rec": 5.0, "g": 2.0, "correct": 5.0, "style": 500.0, "content": 0.5, "regularization": 0.0025}
    meanings = {"rec": "likeness of pixels", "g": "both adversarial terms", "correct": "correctness of the flows"}
    for term, weight in weights.items():
        add(f"--lambda_{term}", type=not_negative, default=weight, help=f"weight: {meanings.get(term, term)}")
    add("--lambda_warp", type=not_negative, default=0.0,
        help="weight: pixels of both sources, read along the flows, are those of the frame; lets flows learn without "
        "VGG-19", advanced=True)  # fmt: skip
    add("--vgg19", type=text, help="weights of VGG-19 in torchvision's layout; default: torchvision's cache")
    parser.add_switch(
        "--no_perceptual", help="train without VGG-19: no content, style and correctness (worse pictures)"
    )


def _add_schedule(parser: Any) -> None:
    parser = parser.add_argument_group(
        "schedule", example="--lr 2e-4 --niter 100000 --niter_decay 100000 --lr_counts steps"
    )
    add = parser.add_argument
    add("--lr", type=not_negative, default=1e-4, help="learning rate of the generator")
    parser.add_switch(
        "--start_with_source",
        help="with --copy_pixels: initialise the masks to show the reference, so that motion is learned first; for "
        "small models", advanced=True,
    )  # fmt: skip
    add("--ratio_g2d", type=not_negative, default=0.1,
        help="learning rate of the discriminators, relative to the generator's")  # fmt: skip
    add("--lr_policy", type=one_of(*POLICIES), default="lambda",
        help="lambda: constant, then down to 0; step: a tenth every lr_decay_iters; exponent: 0.95^n")  # fmt: skip
    add("--lr_counts", type=one_of("epochs", "steps"), default="epochs",
        help="unit of lr_policy: epochs, as in the original although niter is meant in steps")  # fmt: skip
    add(
        "--niter", type=at_least(0), default=5_000_000,
        help="start of the decay; plus niter_decay the default length of training in steps",
    )  # fmt: skip
    add("--niter_decay", type=at_least(0), default=0, help="length of the decay")
    add("--iter_count", type=integer, default=1, help="start value of lr_policy's counter", advanced=True)
    add("--lr_decay_iters", type=count, default=100, help="period of lr_policy step", advanced=True)


def patch_sizes(attn_layer: list[int], kernel_size: dict[int, int], layers: int, deepest: int) -> dict[int, int]:
    """The side of the patches for each attention layer, checked."""
    most = min(layers, deepest)
    wrong = [layer for layer in attn_layer if not 1 <= layer <= most]
    if wrong or not attn_layer:
        raise UserError(f"--attn_layer {','.join(map(str, attn_layer))}: the range is 1 to {most}")
    missing = [layer for layer in attn_layer if layer not in kernel_size]
    if missing:
        raise UserError(f"--kernel_size: no size for attention layer {missing[0]}; add {missing[0]}=3, for example")
    if any(kernel_size[layer] < 1 for layer in attn_layer):
        raise UserError("--kernel_size: patches must be at least 1 pixel wide")
    return {layer: kernel_size[layer] for layer in sorted(attn_layer, reverse=True)}
