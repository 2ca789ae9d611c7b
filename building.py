"""Build the objects that options describe: families with their weights, animators, validation. All commands use
these."""

import logging
from functools import partial
from pathlib import Path

import torch

from engine.animator import Animator
from engine.checkpoints.load import Loaded, load_networks, load_set
from engine.distributed import Processes
from engine.networks import compile_networks, list_networks, to_device, without_random_weights
from engine.trainer import Trainer
from engine.validation import Validation, preserving_random_state
from models import Family, find_family
from options import Options, owner_of_weights, parse, run_folder, uses_own_weights
from options.validating import validating

log = logging.getLogger(__name__)


def load_family(opt: Options) -> tuple[Family, Loaded]:
    """The family with the weights of the options, and the facts of these weights."""
    if uses_own_weights(opt):
        log.info("using Grimace's own model, trained on drawn people (weights/README.md); choose your run with --name")
    build = partial(find_family(opt.model), opt, training=False)
    with without_random_weights():
        family = build().eval()
    path = Path(opt.checkpoint or run_folder(opt))
    loaded = load_set(family, path, opt.which, owner=owner_of_weights, averaged=opt.averaged)
    if lacking := loaded.absent | loaded.unfit:
        fresh = build().eval()
        for name in lacking:  # optional networks keep their initial weights
            setattr(family, name, getattr(fresh, name))
    if opt.verbose:
        list_networks(family.networks())
    return family, loaded


def build_family(opt: Options) -> Family:
    """The family of the options, ready for training, with the weights of --init_from."""
    family = find_family(opt.model).for_training(opt)
    if opt.init_from:
        path = load_networks(family, opt.init_from, needed=family.needed, owner=owner_of_weights)
        log.info("starting from the weights of %s", path)
    return family


def build_validation(opt: Options, trainer: Trainer, steps: int) -> Validation | None:
    """The validation during training, if any."""
    device, step = trainer.processes.device, trainer.clock.step
    with preserving_random_state(device):
        what = validating(opt, partial(parse, training=False), trainer.family.networks(), step, steps, device)
    return what and Validation(
        what, trainer.processes, share=opt.validate_share / 100, frames=opt.validate_frames, precision=opt.precision,
        channels_last=opt.channels_last,
    )  # fmt: skip


def build_animator(opt: Options, family: Family, processes: Processes) -> Animator:
    """The animator of a loaded family, rebuilt for speed, on its device."""
    with without_random_weights(), torch.no_grad():  # folded norms use the loaded weights
        family.prepare_inference()
    to_device(family, processes, opt.channels_last)
    if opt.compile:
        compile_networks(family.networks())
    return Animator(
        family, processes.device,
        batch_size=opt.animate_batch, precision=opt.precision, channels_last=opt.channels_last,
    )  # fmt: skip
