"""The options of GANimation, under the original's names and with its values."""

from typing import Any

from models.parts.options import NETWORKS
from util.values import adam_decay, at_least, count, integer, not_negative, number, one_of

RUN_NAME = "experiment_1"
IN_SECONDS = {
    "print_freq_s": "--print_every",
    "display_freq_s": "--pictures_every",
    "save_latest_freq_s": "--save_every",
}
"""Options of the original that count seconds -> what counts steps here."""
LAYOUTS = ("auto", "original", "replicate")
"""Values of --weights_layout; "replicate" is the second public implementation."""
INITIALISATIONS = ("paper", "width")
"""Of the discriminator: deviation 0.02, or by the width."""


def add_options(parser: Any, training: bool) -> None:
    """Declare all options of the family."""
    add_network_options(parser)
    if training:
        add_training_options(parser)
        parser.set_defaults(batch_size=4, save_every_epochs=1)
    parser.add_alias("--load_epoch", "--which")
    parser.set_defaults(dataset_mode="aus")


def add_network_options(parser: Any) -> None:
    """Sizes of the networks that inference needs."""
    parser = parser.add_argument_group("networks", NETWORKS, example="--image_size 64 --cond_nc 11", advanced=True)
    add = parser.add_argument
    add("--image_size", type=at_least(4), default=128, help="side of pictures: a multiple of 4, 64 or more to train")
    add("--cond_nc", type=count, default=17, help="number of action units")
    add("--ngf", type=count, default=64, help="generator: base channels")
    add("--num_blocks", type=at_least(0), default=6, help="generator: residual blocks")
    add("--weights_layout", type=one_of(*LAYOUTS), default="auto",
        help="entry names of a weights file: the original's, or the second public implementation's")  # fmt: skip
    parser.add_switch("--do_saturate_mask", help="push the attention towards 0 and 1, in training and testing alike")


def add_training_options(parser: Any) -> None:
    """Losses, schedule and discriminator."""
    _add_discriminator_options(parser)
    _add_schedule(parser)
    _add_weights(parser)
    parser = parser.add_argument_group("without effect", example="--num_iters_validate 1", advanced=True)
    add = parser.add_argument
    add("--poses_g_sigma", type=number, default=0.06, help="no effect, also in the original")
    add("--num_iters_validate", type=integer, default=1, help="no effect: test.py computes metrics")
    for old, new in IN_SECONDS.items():
        add(f"--{old}", type=number, help=f"no effect: steps are counted, not seconds; see {new}")


def _add_discriminator_options(parser: Any) -> None:
    parser = parser.add_argument_group("discriminator", example="--ndf 32 --init_D width", advanced=True)
    add = parser.add_argument
    add("--ndf", type=count, default=64, help="discriminator: base channels")
    add("--init_D", type=one_of(*INITIALISATIONS), default="paper",
        help="initialisation of the discriminator: deviation 0.02, or by width, for narrow ones")  # fmt: skip
    add("--noise_D", type=not_negative, default=0.0,
        help="standard deviation of noise on the discriminator's inputs, which are in [-1, 1]")  # fmt: skip


def _add_schedule(parser: Any) -> None:
    parser = parser.add_argument_group("schedule", example="--lr_G 5e-5 --nepochs_no_decay 30 --nepochs_decay 20")
    add = parser.add_argument
    add("--train_G_every_n_iterations", type=count, default=5, help="steps of the discriminator per generator step")
    for network in ("G", "D"):
        add(f"--lr_{network}", type=not_negative, default=1e-4, help=f"learning rate of {network}")
        for power, subject, default in ((1, "mean", 0.5), (2, "square", 0.999)):
            add(f"--{network}_adam_b{power}", type=adam_decay, default=default,
                help=f"Adam of {network}: decay of the {subject}", advanced=True)  # fmt: skip
    add("--nepochs_no_decay", type=at_least(0), default=20, help="epochs with a constant learning rate")
    add("--nepochs_decay", type=at_least(0), default=10, help="epochs of the linear decay of the learning rate")
    add("--nsteps_no_decay", type=at_least(0), default=0, help="steps with a constant learning rate, instead of epochs")
    add("--nsteps_decay", type=at_least(0), default=0, help="steps of the decay; 0: the epochs above apply")


def _add_weights(parser: Any) -> None:
    parser = parser.add_argument_group("losses", example="--lambda_cyc 20 --weights_for_batch 25")
    add = parser.add_argument
    weights = {
        "D_prob": (1.0, "critic, in both games"),
        "D_cond": (4000.0, "action units, in both games; the original divides it by the batch size"),
        "cyc": (10.0, "way back to the picture"),
        "mask": (0.1, "mean of the attention"),
        "D_gp": (10.0, "gradient penalty"),
        "mask_smooth": (1e-5, "total variation of the attention, which the original sums over the batch"),
    }
    for name, (default, meaning) in weights.items():
        add(f"--lambda_{name}", type=not_negative, default=default, help=f"weight: {meaning}")
    add("--weights_for_batch", type=at_least(0), default=0,
        help="batch size for which lambda_D_cond and lambda_mask_smooth are meant; 0: --batch_size, as the original. "
        "25 keeps the balance of the paper (condition 160) at any batch size")  # fmt: skip
