"""The options of every run, in groups."""

from data.video.limits import OPTION_HELP
from options.inputs import add_input_options
from options.measuring import add_measuring_options, add_validation_options
from options.parser import OptionParser
from util.values import at_least, count, integer, list_of, not_negative, one_of, positive, seed, share, text, within

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")


def add_shared_options(parser: OptionParser, training: bool) -> None:
    """Declare the shared groups: run, devices and data; then those of training or testing."""
    _add_run(parser, training)
    _add_devices(parser)
    _add_data(parser, training)
    if training:
        _add_training(parser)
        _add_trying(parser)
        _add_saving(parser)
        _add_monitor(parser)
        add_validation_options(parser)
    else:
        _add_testing(parser)


def _add_run(parser: OptionParser, training: bool) -> None:
    group = parser.group("run", example="--config configs/tiny/{family}.yaml --name first_try")
    group.add_argument("--model", default="ganimation", type=text, help="family of models; see the list below")
    group.add_argument(
        "--config", type=text, help="YAML file with options: ours, or one of the first-order projects",
        shapes_result=False,
    )  # fmt: skip
    group.add_argument(
        "--name", type=text, default="", help="the run's folder; default: the config's or the model's name",
        shapes_result=False,
    )  # fmt: skip
    group.add_argument(
        "--checkpoints_dir", "--log_dir", type=text, default="./result",
        help="folder of all runs: weights, logs, pictures", shapes_result=False,
    )  # fmt: skip
    group.add_switch(
        "--allow_outside",
        help="allow --name and the column output of --pairs outside the folders of runs and results",
        shapes_result=False, advanced=True,
    )  # fmt: skip
    group.add_argument(
        "--seed", "--random_seed", type=seed, default=0, help="same seed, same run", advanced=not training
    )
    group.add_switch(
        "--debug", help="for a debugger (python -m pdb): errors keep their traceback, data is loaded in this process",
        shapes_result=False, advanced=True,
    )  # fmt: skip
    group.add_switch(
        "--verbose", help="list the networks and their layers at the start, as the originals do", shapes_result=False,
        advanced=True,
    )  # fmt: skip
    group.add_switch("--print_config", help="print the resolved options as YAML and stop", shapes_result=False)


def _add_devices(parser: OptionParser) -> None:
    group = parser.group("devices", example="--gpu_id 0,1 --precision bf16")
    group.add_argument(
        "--gpu_id", "--gpu_ids", "--device_ids", type=list_of(integer, empty=False), default=[0],
        help="GPUs, e.g. 0,1: one process each; -1: the CPU, which is also used without CUDA", shapes_result=False,
    )  # fmt: skip
    group.add_switch("--cpu", help="the same as --gpu_id=-1", shapes_result=False)
    group.add_argument(
        "--precision", type=one_of(*PRECISIONS), default="fp32", help="arithmetic of the networks; weights stay in fp32"
    )
    group.add_switch(
        "--compile", help="compile the networks with torch.compile (minutes at the start)", shapes_result=False
    )
    group.add_switch(
        "--channels_last", help="channels-last memory: faster convolutions on most devices", default=True,
        shapes_result=False, advanced=True,
    )  # fmt: skip


def _add_data(parser: OptionParser, training: bool) -> None:
    group = parser.group("data", example="--dataroot dataset/mine --nThreads 8")
    group.add_argument("--dataset_mode", type=text, default="frames", help="layout of the data folder; see below")
    group.add_argument(
        "--dataroot", "--dataset_params.root_dir", type=text, default="dataset/sample",
        help="data folder, or several with commas between them",
    )  # fmt: skip
    group.add_argument(
        "--shares", type=list_of(positive), default=[], shapes_result=False, advanced=not training,
        help="of several data folders: the share of each in the training samples, e.g. 0.7,0.3; default: by their size",
    )  # fmt: skip
    group.add_argument(
        "--nThreads", "--workers", "--n_threads_train", type=at_least(0), default=2, help="data loading processes",
        shapes_result=False,
    )  # fmt: skip
    group.add_argument("--max_pixels", type=count, help=OPTION_HELP, shapes_result=False, advanced=True)


def _add_training(parser: OptionParser) -> None:
    group = parser.group("training", example="--batch_size 16 --accumulate 4 --epochs 100")
    group.add_argument(
        "--batch_size", "--batchSize", "--train_params.batch_size", type=count, default=8,
        help="samples per step over all processes and micro-batches",
    )  # fmt: skip
    group.add_argument("--accumulate", type=count, default=1, help="micro-batches per step: same result, less memory")
    group.add_argument("--epochs", "--num_epochs", "--train_params.num_epochs", type=count, help="passes over the data")
    group.add_argument(
        "--steps", type=count,
        help="stop after this many steps. Of --epochs and --steps together the first limit counts; one alone replaces "
        "what the YAML says of either",
    )  # fmt: skip
    group.add_argument(
        "--on_nan", type=one_of("stop", "skip"), default="stop",
        help="reaction to a loss that is not finite (skip synchronises the device)", advanced=True,
    )  # fmt: skip
    group.add_argument(
        "--freeze_norms", type=not_negative,
        help="epoch from which batch norms use their running statistics, for small batches",
        advanced=True,
    )  # fmt: skip
    group.add_argument(
        "--clip_norm", type=positive, help="clip the gradient norm of each optimizer; none: no clipping",
        advanced=True,
    )  # fmt: skip
    group.add_argument(
        "--gradient_compression", type=one_of("none", "bf16"), default="none",
        help="several processes: the type in which gradients travel; bf16 halves the bytes and rounds to 8 bits",
        shapes_result=False, advanced=True,
    )  # fmt: skip
    group.add_argument(
        "--max_bad", type=share, default=0.01, help="stop if more than this fraction of the samples is bad",
        advanced=True,
    )  # fmt: skip


def _add_trying(parser: OptionParser) -> None:
    group = parser.group("trying out", example="--dry_run --overfit 4")
    group.add_switch("--dry_run", help="one step, report, validation and checkpoint in a temporary folder")
    group.add_argument("--overfit", type=count, help="train on the first N samples only, identical in every epoch")
    group.add_argument(
        "--profile", type=count, advanced=True,
        help="profile N steps after the first few: a trace, and the ten most expensive operations",
    )  # fmt: skip
    group.add_switch("--detect_anomaly", help="name the operation that produced a NaN gradient (slow)", advanced=True)


def _add_saving(parser: OptionParser) -> None:
    group = parser.group("saving and continuing", example="--continue_train --save_every 5000 --keep 5")
    group.add_switch("--continue_train", help="resume the run of this name")
    group.add_argument(
        "--which", "--which_epoch", "--which_iter", type=text, default="latest",
        help="checkpoint to resume from: latest, best or a number; later ones move to previous_N",
    )  # fmt: skip
    group.add_argument(
        "--continue_from", "--checkpoint", type=text,
        help="start a new run from this file or folder: weights, optimizers, epoch",
    )  # fmt: skip
    group.add_argument("--init_from", type=text, help="start a new run with these weights (file or folder) at step 0")
    group.add_argument("--save_every", type=count, default=1000, help="steps between checkpoints, and at the end")
    group.add_argument(
        "--save_every_epochs", "--train_params.checkpoint_freq", type=at_least(0), default=0,
        help="epochs between checkpoints, instead of --save_every", advanced=True,
    )  # fmt: skip
    group.add_argument("--keep", type=at_least(0), default=3, help="checkpoints to keep; 0: all")
    group.add_argument(
        "--best_by",
        type=text,
        default="",
        advanced=True,
        help="loss whose lowest average marks the best checkpoint, or val/METRIC",
    )


def _add_monitor(parser: OptionParser) -> None:
    group = parser.group("monitor", example="--no_visdom --sink wandb --print_every 100")
    group.add_argument("--print_every", type=count, default=50, help="steps between reports of the losses")
    group.add_argument("--pictures_every", type=at_least(0), default=500, help="steps between pictures; 0: none")
    group.add_switch("--visdom", default=True, help="show curves and pictures in visdom")
    group.add_argument(
        "--display_port", type=within(1, 65535, integer), default=8096, help="port of visdom", advanced=True
    )
    group.add_argument(
        "--display_server", type=text, default="http://127.0.0.1",
        help="visdom's server; started if none is running on this machine", advanced=True,
    )  # fmt: skip
    group.add_argument(
        "--display_env", type=text, default="", help="visdom environment; default: the run's name", advanced=True
    )
    group.add_switch("--tensorboard", default=True, help="write TensorBoard events to the run's folder")
    group.add_argument(
        "--sink", type=list_of(text), default=[],
        help="further sinks: wandb, trackio, or your own class, module:Class",
    )  # fmt: skip


def _add_testing(parser: OptionParser) -> None:
    group = parser.group("weights", example="--checkpoint vox-cpk.pth.tar --animate_batch 16")
    group.add_argument(
        "--checkpoint", type=text, help="file or folder; default: the run of this --name", shapes_result=False
    )
    group.add_argument(
        "--which", "--which_epoch", "--which_iter", type=text, default="latest",
        help="checkpoint of the run: latest, best or a number", shapes_result=False,
    )  # fmt: skip
    group.add_switch(
        "--averaged", help="animate with the moving averages of the weights, if training stored them", default=True,
        shapes_result=False, advanced=True,  # the fingerprint of the weights covers it
    )  # fmt: skip
    group.add_argument("--animate_batch", type=count, default=8, help="driving frames per batch", shapes_result=False)
    add_input_options(parser)
    add_measuring_options(parser)
