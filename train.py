"""Train a family of models: python train.py --help."""

from util.waiting import wait_briefly

wait_briefly()

import logging
import sys
from collections.abc import Iterator
from contextlib import closing, nullcontext
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import torch

from data import find_dataset
from data.loading.bad_samples import BadSamples
from data.loading.overfit import FirstSamples
from data.loading.sampler import explain_lost_workers, training_batches
from data.video.limits import limit_pixels
from engine.checkpoints.load import load_networks
from engine.checkpoints.save import Checkpoints
from engine.checkpoints.saver import Saver
from engine.clock import Clock
from engine.command import run_on_devices
from engine.distributed import Processes, machine
from engine.monitor import Monitor
from engine.networks import compile_networks, list_networks, to_device
from engine.profiling import StepProfiler
from engine.run import Run, Start
from engine.signals import StopRequest
from engine.sinks import RunInfo, Sink, Visdom, open_sinks
from engine.trainer import Trainer, seed_everything
from engine.validation import Validation, undisturbed
from models import find_family
from options import Options, options_as_yaml, owner_of_weights, parse, run_folder
from options.validating import validating
from util.errors import UserError, run_main

log = logging.getLogger(__name__)


def main() -> int:
    """Resolve the options, start the processes, train."""
    opt = parse(sys.argv[1:], training=True)
    if opt is None:
        return 0
    limit_pixels(opt.max_pixels)
    gpu_ids = [-1] if opt.cpu else opt.gpu_id
    return run_on_devices(partial(dry_run if opt.dry_run else train, opt), __file__, gpu_ids, debug=opt.debug)


def dry_run(opt: Options, processes: Processes) -> int:
    """Do everything once that a run does, in a folder that is then removed."""
    if opt.continue_train:
        raise UserError("--dry_run works in a folder of its own: leave --continue_train out")
    once = dict.fromkeys(("save_every", "print_every", "pictures_every"), 1) | {"save_every_epochs": 0}
    quiet = {"visdom": False, "tensorboard": False, "sink": []}
    with TemporaryDirectory(prefix="grimace_dry_run_") as folder:
        status = train(Options(**vars(opt) | once | quiet | {"checkpoints_dir": folder}), processes)
    if not status:
        log.info("the dry run went well: a step, a report, a validation and a checkpoint; nothing was kept")
    return status


def train(opt: Options, processes: Processes, family: Any = None, dataset: Any = None) -> int:
    """Train until the end or until asked to stop; the exit status. A caller may have built family and dataset."""
    checkpoints = Checkpoints(run_folder(opt), keep=opt.keep, options=vars(opt))
    where = Start(opt.continue_train, opt.continue_from, opt.init_from, opt.which)
    run = Run(checkpoints, find_family(opt.model).layout, where, processes)
    seed_everything(opt.seed)

    # 1. Data, networks, optimizers.
    if opt.detect_anomaly:
        torch.autograd.set_detect_anomaly(True)
    dataset = dataset or find_dataset(opt.dataset_mode)(opt, training=True)
    if opt.overfit:
        dataset = FirstSamples(dataset, opt.overfit, opt.batch_size)
    family = family or build_family(opt)
    if opt.init_from:
        family.milestone("loaded", dataset)
    to_device(family, processes, opt.channels_last)
    if opt.verbose:
        list_networks(family.networks())
    trainer = Trainer(
        family, processes, Clock(len(dataset)),
        precision=opt.precision, channels_last=opt.channels_last, on_nan=opt.on_nan, seed=opt.seed,
        freeze_norms=opt.freeze_norms, folder=run.folder, item_names=dataset.item_names(),
        clip_norm=opt.clip_norm, norms_every=opt.print_every,
    )  # fmt: skip

    # 2. Where it goes on: this run's newest checkpoint, another run's, the authors' file, or step 0.
    run.restore(trainer, batch_size=opt.batch_size, owner=owner_of_weights)
    # Later commands on the run mean its newest checkpoint.
    with run.opened(trainer, options_as_yaml(Options(**vars(opt) | {"which": "latest"}))):
        return _train(opt, run, trainer, dataset)


def build_family(opt: Options) -> Any:
    """The family of the options, ready to train, with the weights of --init_from."""
    family = find_family(opt.model).for_training(opt)
    if opt.init_from:
        path = load_networks(family, opt.init_from, needed=family.needed, owner=owner_of_weights)
        log.info("starting with the weights of %s", path)
    return family


def _train(opt: Options, run: Run, trainer: Trainer, dataset: Any) -> int:
    """Train from where the trainer is; the run's folder is this run's alone."""
    family, clock, processes = trainer.family, trainer.clock, run.processes
    clock.planned_steps = family.number_of_steps(opt.epochs, opt.steps, len(dataset), opt.batch_size)
    steps = clock.step + 1 if opt.dry_run else clock.planned_steps
    if not clock.step:
        run.show("before", family, dataset)
    if opt.compile:
        compile_networks(family.networks(), family.not_compiled)
    batches = training_batches(
        dataset, batch_size=opt.batch_size, start=clock.samples, seed=opt.seed, rank=processes.rank,
        world=processes.world, accumulate=opt.accumulate, workers=opt.nThreads, debug=opt.debug,
        pin_memory=processes.device.type == "cuda",
        bad_samples=BadSamples(run.folder / "bad_samples.txt", len(dataset), opt.max_bad),
    )  # fmt: skip
    log.info("training %s on %d samples until step %d, on %s", opt.model, len(dataset), steps, machine(processes))
    if clock.step >= steps:
        log.warning("step %d is reached already: nothing is left to do; more --epochs or --steps go on", steps)

    # 3. The loop: the engine's, with reporting, validating and saving after each step.
    with closing(batches), StopRequest() as stop, explain_lost_workers(opt.nThreads):
        _fit(opt, run, trainer, steps, batches, stop)

    # 4. How it ended.
    if stop.signal:
        log.info("stopped at step %d; --continue_train goes on from there", clock.step)
    else:
        with trainer.averages.in_use():
            run.show("after", family, dataset)
    return stop.status


def _validation(opt: Options, trainer: Trainer, steps: int) -> Validation | None:
    """What validates on the way to the last step, if anything does."""
    device, step = trainer.processes.device, trainer.clock.step
    with undisturbed(device):
        what = validating(opt, partial(parse, training=False), trainer.family.networks(), step, steps, device)
    return what and Validation(
        what, trainer.processes, share=opt.validate_share / 100, frames=opt.validate_frames, precision=opt.precision,
        channels_last=opt.channels_last,
    )  # fmt: skip


def _fit(opt: Options, run: Run, trainer: Trainer, steps: int, batches: Iterator, stop: StopRequest) -> None:
    validation = _validation(opt, trainer, steps)
    saver = Saver(
        run.checkpoints, every=opt.save_every, every_epochs=opt.save_every_epochs, batch_size=opt.batch_size,
        best_by=opt.best_by, higher_is_better=validation is not None and validation.what.higher_is_better,
    )  # fmt: skip
    monitor = Monitor(
        _sinks(opt, run, trainer) if run.processes.is_main else [], steps=steps, clock=trainer.clock,
        print_every=opt.print_every, pictures_every=opt.pictures_every, device=run.processes.device,
        is_main=run.processes.is_main, processes=run.processes, trainer=trainer,
    )  # fmt: skip
    profiler = StepProfiler(run.folder / "profile", opt.profile, run.processes.device) if opt.profile else None

    def after_step(losses: dict, visuals: dict) -> bool:
        monitor.record(trainer.clock, losses, visuals)
        if profiler:
            profiler.step()
        if validation and validation.is_due(trainer.clock):
            found = validation.run(trainer)
            monitor.validated(trainer.clock, found)
            saver.consider(trainer, found.values)
        stopping = run.processes.any(stop.signal is not None)
        if stopping or trainer.clock.step >= steps or saver.is_due(trainer.clock):
            saver.save(trainer, monitor)
        return stopping

    with closing(monitor), profiler or nullcontext():
        trainer.fit(
            monitor.timed(batches), steps=steps, accumulate=opt.accumulate, samples_per_step=opt.batch_size,
            after_step=after_step,
        )  # fmt: skip


def _sinks(opt: Options, run: Run, trainer: Trainer) -> list[Sink]:
    text, environment = options_as_yaml(opt), opt.display_env or opt.name
    visdom = partial(Visdom, opt.display_server, opt.display_port, environment, text, run.folder / "visdom")
    return open_sinks(
        RunInfo(run.folder, opt.name, trainer.clock.step, vars(opt)), trainer.family, trainer.clock,
        tensorboard=opt.tensorboard, visdom=visdom if opt.visdom else None, others=opt.sink,
    )  # fmt: skip


if __name__ == "__main__":
    run_main(main)
