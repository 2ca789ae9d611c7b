"""The options of talking heads, with the original's names as aliases."""

from typing import Any

from models.parts.options import NETWORKS
from util.layer_language import body
from util.values import adam_decay, at_least, count, list_of, not_negative, one_of, text

GENERATOR = (
    "D 64 9 2, I, D 128 3 2, I, D 256 3 2, I, A, D 512 3 2, I, BA 512 3, BA 512 3, BA 512 3, BA 512 3, BA 512 3, "
    "U 256 3 2, U 128 3 2, A 8, U 64 3 2, U 3 3 2"
)
EMBEDDER = "D 64 3 2, D 128 3 2, D 256 3 2, A, D 512 3 2, D 512 3 2, D 512 3 2"
DISCRIMINATOR = f"{EMBEDDER}, B 512 3"

TAPS = {
    "original": {"vgg19": (1, 6, 11, 20, 28), "vggface": (1, 6, 11, 18, 24)},
    "before_relu": {"vgg19": (0, 5, 10, 19, 28), "vggface": (0, 5, 10, 17, 24)},
    "after_relu": {"vgg19": (1, 6, 11, 20, 29), "vggface": (1, 6, 11, 18, 25)},
}
"""The compared features: of conv1_1, 2_1, 3_1, 4_1 and 5_1, before or after their ReLU. The original intended "before",
but in its code the ReLU overwrites the first four."""


POOLINGS = ("max", "sum")
"""Pool maps to a vector: the maximum, as in the original's code, or the sum, as in the paper."""


def add_options(parser: Any, training: bool) -> None:
    """Declare all options of the family."""
    add_network_options(parser)
    if training:
        add_training_options(parser)
        losses, schedule = parser.add_argument_group("losses"), parser.add_argument_group("schedule")
        losses.add_argument("--weight_matching", "--mch_loss_weight", type=not_negative, default=80.0,
            help="weight of L_MCH: distance between embeddings and the video's row")  # fmt: skip
        schedule.add_argument("--start_scale", type=not_negative, default=1.0,
            help="scale of the initial values of the discriminator's rows, w0 and b; at 1 scores start near 450",
            advanced=True)  # fmt: skip
    parser.add_alias("--metatrain_batch_size", "--batch_size")
    parser.add_alias("--max_epoch", "--epochs")
    parser.set_defaults(dataset_mode="talking_head", batch_size=3, epochs=50, save_every=5000)


def add_network_options(parser: Any) -> None:
    """Sizes of the networks."""
    parser = parser.add_argument_group("networks", NETWORKS, example="--image_size 128 --pooling sum", advanced=True)
    add = parser.add_argument
    add("--generator_layers", "--G_config", type=body, default=body(GENERATOR), metavar="LAYERS",
        help='body of the generator, e.g. "D 64 9 2, I, BA 64 3, U 3 3 2"; docs/talking_head.md explains')  # fmt: skip
    add("--embedder_layers", "--E_config", type=body, default=body(EMBEDDER), metavar="LAYERS",
        help="embedder: layers")  # fmt: skip
    add("--discriminator_layers", "--V_config", type=body, default=body(DISCRIMINATOR), metavar="LAYERS",
        help="discriminator: layers")  # fmt: skip
    add("--image_size", "--input_size", type=count, default=256, help="side of all pictures")
    add(
        "--embedding_dim",
        type=count,
        default=512,
        help="length of an embedding; the output channels of embedder_layers",
    )
    add(
        "--upsample_mode",
        type=one_of("bilinear", "nearest", "bicubic"),
        default="bilinear",
        help="upsampling of the U layers",
    )
    add("--pooling", type=one_of(*POOLINGS), default="max",
        help="global pooling of embedder and discriminator; max: the original, sum: the paper")  # fmt: skip
    parser.add_switch("--input_normalize", default=True,
        help="input range of the networks is [0, 1]; no: [0, 255], for weights trained this way")  # fmt: skip


def add_training_options(parser: Any) -> None:
    """Losses and learning rates that meta-training and finetuning share."""
    schedule = parser.add_argument_group("schedule", example="--lr 2e-5 --lr_steps 100000,50000")
    losses = parser.add_argument_group("losses", example="--content pixels --weight_pixels 20")
    add = schedule.add_argument
    add("--lr", "--lr_EG", type=not_negative, default=5e-5, help="learning rate of embedder and generator")
    add("--lr_discriminator", "--lr_D", type=not_negative, default=2e-4, help="learning rate of the discriminator")
    add("--lr_steps", type=list_of(at_least(0), "full,falling"),
        help="steps with constant rates, then of decay to 0; default: no decay, as in the original")  # fmt: skip
    add("--adam_betas", type=list_of(adam_decay, "mean,square", empty=False), default=[0.0, 0.999],
        help="Adam's betas, for all networks")  # fmt: skip
    schedule.add_switch("--separate_updates",
        help="a separate loss per network, as in the paper; no: the original's joint backward pass")  # fmt: skip
    losses.add_argument("--weight_feature_matching", "--fm_loss_weight", type=not_negative, default=10.0,
        help="weight of feature matching")  # fmt: skip
    _add_content_options(losses)


def _add_content_options(parser: Any) -> None:
    add = parser.add_argument
    add("--content", type=one_of("vgg", "pixels"), default="vgg",
        help="content loss on VGG features, or on pixels (no weights needed, worse pictures)")  # fmt: skip
    add("--weight_pixels", type=not_negative, default=10.0,
        help="weight of the pixel loss (--content=pixels)")  # fmt: skip
    add("--weight_vgg19", "--vgg19_loss_weight", type=not_negative, default=1e-2, help="weight of VGG-19's features")
    add("--weight_vggface", "--vggface_loss_weight", type=not_negative, default=2e-3,
        help="weight of VGGFace's features; 0: none")  # fmt: skip
    add("--vgg19", "--vgg19_weight_file", type=text,
        help="weights of VGG-19; default: dataset/vgg19_caffe.pth, or torchvision's cache")  # fmt: skip
    add("--vggface", "--vggface_weight_file", type=text, help="weights of VGGFace; default: dataset/vggface_caffe.pth")
    add("--vgg19_kind", type=one_of("caffe", "torchvision"), default="caffe",
        help="whose VGG-19: Caffe's of the original (BGR of 0-255 less a mean; maps of 100s), or torchvision's, whose "
        "maps are of about 1, so that --weight_vgg19 should be about 1.5")  # fmt: skip
    add("--content_maps", type=one_of(*TAPS), default="original",
        help="features before or after ReLU; original: all but conv5_1 after")  # fmt: skip
