"""Train a family of models: python train.py --help."""

from options.early import before_torch

before_torch(__name__, training=True)

import logging
import sys
from contextlib import closing
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

from building import build_family, build_validation
from data.loading.bad_samples import BadSamples
from data.loading.overfit import FirstSamples
from data.loading.sampler import explain_lost_workers, training_batches
from data.video.limits import limit_pixels
from engine.checkpoints.save import Checkpoints
from engine.checkpoints.saver import Saver
from engine.clock import Clock
from engine.command import run_on_devices
from engine.distributed import Processes, machine
from engine.loop import Loop
from engine.monitor import Monitor
from engine.networks import compile_networks, list_networks, to_device
from engine.profiling import StepProfiler
from engine.run import Run, Start
from engine.signals import StopRequest
from engine.sinks import RunInfo, Sink, Visdom, open_sinks
from engine.trainer import Trainer, seed_everything
from models import find_family
from options import Options, build_dataset, options_as_yaml, owner_of_weights, parse, run_folder
from options.resolve import dry_options
from util.errors import run_main

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
    """A dry run: everything once, in a temporary folder."""
    with TemporaryDirectory(prefix="grimace_dry_run_") as folder:
        status = train(dry_options(opt, folder), processes)
    if not status:
        log.info("dry run passed: a step, a report and a checkpoint; removed its files")
    return status


def train(opt: Options, processes: Processes, family: Any = None, dataset: Any = None) -> int:
    """Train until the end or a stop signal; returns the exit status. A caller may pass its own family and dataset."""
    checkpoints = Checkpoints(run_folder(opt), keep=opt.keep, options=vars(opt))
    start = Start(opt.continue_train, opt.continue_from, opt.init_from, opt.which)
    run = Run(checkpoints, find_family(opt.model).layout, start, processes)
    seed_everything(opt.seed)

    # 1. Data, networks, optimizers.
    dataset = dataset or build_dataset(opt, training=True)
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
        clip_norm=opt.clip_norm, norms_every=opt.print_every, gradient_compression=opt.gradient_compression,
    )  # fmt: skip

    # 2. Where it resumes: this run's newest checkpoint, another run's, the authors' file, or step 0.
    run.restore(trainer, batch_size=opt.batch_size, owner=owner_of_weights)
    # Later commands on the run mean its newest checkpoint.
    with run.opened(trainer, options_as_yaml(Options(**vars(opt) | {"which": "latest"}))):
        return _train(opt, run, trainer, dataset)


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
        log.warning("already at step %d: nothing to do; train longer with more --epochs or --steps", steps)

    # 3. The loop: the engine's, with reporting, validating and saving after each step.
    with closing(batches), StopRequest() as stop, explain_lost_workers(opt.nThreads):
        _fit(opt, run, trainer, steps, batches, stop)

    # 4. How it ended.
    if stop.signal:
        log.info("stopped at step %d; resume with --continue_train", clock.step)
    else:
        with trainer.averages.applied():
            run.show("after", family, dataset)
    return stop.status


def _fit(opt: Options, run: Run, trainer: Trainer, steps: int, batches: Any, stop: StopRequest) -> None:
    validation = build_validation(opt, trainer, steps)
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
    Loop(trainer, monitor, saver, validation=validation, profiler=profiler, detect_anomaly=opt.detect_anomaly).run(
        batches, stop, steps=steps, accumulate=opt.accumulate, batch_size=opt.batch_size
    )


def _sinks(opt: Options, run: Run, trainer: Trainer) -> list[Sink]:
    text, environment = options_as_yaml(opt), opt.display_env or opt.name
    visdom = partial(Visdom, opt.display_server, opt.display_port, environment, text, run.folder / "visdom")
    return open_sinks(
        RunInfo(run.folder, opt.name, trainer.clock.step, vars(opt)), trainer.family, trainer.clock,
        tensorboard=opt.tensorboard, visdom=visdom if opt.visdom else None, others=opt.sink,
    )  # fmt: skip


if __name__ == "__main__":
    run_main(main)
