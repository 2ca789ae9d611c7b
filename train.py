"""Train a family of models: python train.py --help."""

from util.waiting import wait_briefly

wait_briefly()

import logging
import math
import sys
import traceback
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch

from data import find_dataset
from data.bad_samples import BadSamples
from data.sampler import EndlessSampler, endless_batches, lost_workers_told
from data.video.images import write_image
from data.video.limits import limit_pixels
from engine.checkpoint import Checkpoints, continue_from
from engine.claim import claimed
from engine.clock import Clock
from engine.console import configure_logging
from engine.distributed import (
    LOST,
    Processes,
    choose_devices,
    finish,
    is_launched,
    is_lost_peer,
    launch,
    machine,
    start,
)
from engine.loading import load_networks
from engine.memory import keep_freed_memory
from engine.monitor import Monitor
from engine.networks import compile_networks, list_networks, place
from engine.released import NEWEST, holds_weights
from engine.signals import StopRequest
from engine.sinks import LogFile, PictureFolder, ReportLog, Sink, TensorBoard, TextLog, Visdom
from engine.trainer import Trainer, move, seed_everything
from models import find_family
from options import Options, options_as_yaml, owner_of_weights, parse, run_folder, runs_in
from options.files import read_yaml
from util.errors import UserError, outcome, run_main
from util.files import refuse_unwritable, set_aside, write_text
from util.grid import labelled_grid

log = logging.getLogger(__name__)


def main() -> int:
    """Resolve the options, start the processes, train."""
    opt = parse(sys.argv[1:], training=True)
    if opt is None:
        return 0
    configure_logging()
    limit_pixels(opt.max_pixels)
    gpus = choose_devices([-1] if opt.cpu else opt.gpu_id)
    if len(gpus) > 1 and not is_launched():
        return launch(__file__, sys.argv[1:], len(gpus))
    processes = start(gpus)
    configure_logging(processes.rank if processes.world > 1 else None)
    if processes.device.type == "cpu":
        keep_freed_memory()
    if opt.debug:
        torch.autograd.set_detect_anomaly(True)
        return finish(processes, train(opt, processes))
    try:
        status = train(opt, processes)
    except Exception as error:
        line, status = outcome(error)
        log.error("%s", LOST if is_lost_peer(error) else line or traceback.format_exc())
    return finish(processes, status)


def train(opt: Options, processes: Processes, family: Any = None) -> int:
    """Train until the end or until asked to stop; the exit status. `family` begins, where a caller built it already."""
    folder = run_folder(opt)
    _refuse_to_start_over(folder, opt)
    if processes.is_main:
        refuse_unwritable(folder, "checkpoints_dir")
    seed_everything(opt.seed)
    dataset = find_dataset(opt.dataset_mode)(opt, training=True)
    family = _begun(family or build_family(opt), opt, dataset.whole())
    place(family, processes, opt.channels_last)
    if opt.verbose:
        list_networks(family.networks())
    trainer = Trainer(
        family, processes, Clock(len(dataset)),
        precision=opt.precision, channels_last=opt.channels_last, on_nan=opt.on_nan, seed=opt.seed,
        freeze_norms=opt.freeze_norms, folder=folder, item_names=dataset.item_names(),
    )  # fmt: skip
    checkpoints = Checkpoints(folder, keep=opt.keep, options=vars(opt))
    _continue(trainer, checkpoints, opt)
    processes.wait()  # until every process has read what it needs of the folder
    with claimed(folder) if processes.is_main else nullcontext():
        return _train_in_folder(opt, trainer, checkpoints, dataset)


def _train_in_folder(opt: Options, trainer: Trainer, checkpoints: Checkpoints, dataset: Any) -> int:
    """Train from where the trainer is; the run's folder is this run's alone."""
    family, processes, folder = trainer.family, trainer.processes, checkpoints.folder
    if processes.is_main:
        _prepare_folder(trainer, checkpoints, opt)
    processes.wait()
    if not trainer.clock.step:
        _picture("before", family, dataset.whole(), processes, folder)
    if opt.compile:
        compile_networks(family.networks(), family.not_compiled)
    steps = _number_of_steps(opt, len(dataset), family)
    monitor = Monitor(
        _sinks(opt, folder, trainer) if processes.is_main else [], steps=steps, clock=trainer.clock,
        print_every=opt.print_every, pictures_every=opt.pictures_every, device=processes.device,
        is_main=processes.is_main,
    )  # fmt: skip
    batches = _batches(opt, dataset, trainer, folder)
    log.info("training %s on %d samples until step %d, on %s", opt.model, len(dataset), steps, machine(processes))
    if trainer.clock.step >= steps:
        log.warning("step %d is reached already: nothing is left to do; more --epochs or --steps go on", steps)
    with closing(batches), StopRequest() as stop, lost_workers_told(opt.nThreads):
        try:
            _fit(opt, trainer, monitor.timed(batches), steps, monitor, checkpoints, stop)
        finally:
            monitor.close()
    if stop.signal:
        log.info("stopped at step %d; --continue_train goes on from there", trainer.clock.step)
    else:
        _picture("after", family, dataset.whole(), processes, folder)
    return stop.status


def _fit(opt: Options, trainer: Trainer, batches, steps: int, monitor: Monitor, checkpoints: Checkpoints, stop) -> None:
    """The loop with what happens around each step: report, save, stop."""
    saving = _Saving(opt, trainer, monitor, checkpoints)

    def after_step(losses: dict, visuals: dict) -> bool:
        monitor.record(trainer.clock, losses, visuals)
        stopping = trainer.processes.any(stop.signal is not None)
        if stopping or trainer.clock.step >= steps or saving.is_due():
            saving.save()
        return stopping

    trainer.fit(batches, steps=steps, accumulate=opt.accumulate, samples_per_step=opt.batch_size, after_step=after_step)


class _Saving:
    """When checkpoints are due, and which one is the best."""

    def __init__(self, opt: Options, trainer: Trainer, monitor: Monitor, checkpoints: Checkpoints):
        self.opt, self.trainer, self.monitor, self.checkpoints = opt, trainer, monitor, checkpoints
        self.best = checkpoints.best_value()

    def is_due(self) -> bool:
        clock, epochs = self.trainer.clock, self.opt.save_every_epochs
        if not epochs:
            return clock.step % self.opt.save_every == 0
        before = (clock.samples - self.opt.batch_size) // clock.epoch_size
        return clock.epoch // epochs > before // epochs

    def save(self) -> None:
        self.monitor.report(self.trainer.clock)
        self.checkpoints.save(self.trainer)
        name = self.opt.best_by
        if name and name not in self.monitor.names:
            raise UserError(f"--best_by {name}: the losses are {', '.join(self.monitor.names)}")
        # Not every step has every loss, nor need it be finite (--on_nan skip).
        value = self.monitor.averages.get(name, math.nan)
        if value < (math.inf if self.best is None else self.best):
            self.best = value
            self.checkpoints.save(self.trainer, "best", value=value)


def _picture(name: str, family: Any, whole: dict | None, processes: Processes, folder: Path) -> None:
    """Write what a family makes of a small dataset as a whole."""
    if whole is None or not processes.is_main:
        return
    family.eval()
    with torch.inference_mode():
        shown = family.look(move(whole, processes.device, channels_last=False))
    family.train()
    if shown:
        arrays = {title: pictures.float().cpu().numpy() for title, pictures in shown.items()}
        write_image(folder / f"{name}.png", labelled_grid(arrays, rows=8))


def _begun(family: Any, opt: Options, whole: dict | None) -> Any:
    """A family that starts from given weights, after it has seen a small dataset as a whole."""
    if opt.init_from and whole is not None:
        family.begin(whole)
    return family


def build_family(opt: Options) -> Any:
    """The family of the options, ready to train, with the weights of --init_from."""
    family = find_family(opt.model)(opt)
    family.needed = frozenset(family.networks())
    family.prepare_training(opt)
    family.train()
    if opt.init_from:
        path = load_networks(family, opt.init_from, needed=family.needed, owner=owner_of_weights)
        log.info("starting with the weights of %s", path)
    return family


def _refuse_to_start_over(folder: Path, opt: Options) -> None:
    if opt.init_from and (opt.continue_train or opt.continue_from):
        raise UserError("--continue_train and --checkpoint continue, --init_from begins at step 0: give one of them")
    if opt.which not in NEWEST and not (opt.continue_train or opt.continue_from):
        raise UserError(f"--which {opt.which}: says from where to go on: give --continue_train or --checkpoint, too")
    if opt.continue_train and not (folder.is_dir() or opt.continue_from):
        raise UserError(f"--continue_train: there is no run {folder}; runs: {runs_in(folder.parent)}")
    if _holds_a_run(folder, opt) and not (opt.continue_train or opt.init_from):
        raise UserError(
            f"{folder} holds a run already: continue it with --continue_train, choose another --name, begin anew with "
            "weights and keep what is there with --init_from, or remove it"
        )


def _holds_a_run(folder: Path, opt: Options) -> bool:
    """Whether training left something in a folder, or weights of the family lie there."""
    return (folder / "log.jsonl").exists() or holds_weights(folder, find_family(opt.model).layout)


def _continue(trainer: Trainer, checkpoints: Checkpoints, opt: Options) -> None:
    """Go on where the run in the folder stopped, else where the file of --checkpoint did."""
    if opt.continue_train and checkpoints.resume(trainer, opt.which, owner_of_weights):
        return
    if opt.continue_from:
        continue_from(trainer, opt.continue_from, opt.which, batch_size=opt.batch_size, owner=owner_of_weights)
    elif opt.which not in NEWEST:
        raise UserError(f"--which {opt.which}: {checkpoints.folder} holds no checkpoint yet")
    elif opt.continue_train:
        _refuse_to_forget_the_start(checkpoints.folder)
        log.warning("%s holds no checkpoint yet: starting at step 0", checkpoints.folder)


def _refuse_to_forget_the_start(folder: Path) -> None:
    """A run that began with given weights and saved nothing can't be continued without them."""
    saved = folder / "options.yaml"
    weights = saved.is_file() and read_yaml(saved).get("init_from")
    if weights:
        raise UserError(
            f"--continue_train: {folder} holds no checkpoint yet, and the run began with weights of another one: give "
            f"--init_from {weights} again, in place of --continue_train"
        )


def _prepare_folder(trainer: Trainer, checkpoints: Checkpoints, opt: Options) -> None:
    """Make the run's folder ready to be written to."""
    folder = checkpoints.folder
    if opt.init_from and _holds_a_run(folder, opt):
        earlier = [path for path in folder.iterdir() if not path.name.startswith(("previous_", "."))]
        log.info("the run that was in %s is now in %s", folder, set_aside(folder, earlier))
    if opt.which not in NEWEST:
        checkpoints.set_aside_later(trainer)
    checkpoints.remove_unfinished(trainer.family)
    # Later commands on the run mean its newest checkpoint.
    write_text(folder / "options.yaml", options_as_yaml(Options(**vars(opt) | {"which": "latest"})))


def _number_of_steps(opt: Options, samples: int, family: Any) -> int:
    epochs, steps = opt.epochs, opt.steps
    if not (epochs or steps):
        epochs, steps = family.planned_epochs, family.planned_steps
    limits = [steps, epochs and math.ceil(epochs * samples / opt.batch_size)]
    if not any(limits):
        raise UserError("how long to train? give --epochs or --steps")
    return min(limit for limit in limits if limit)


def _sinks(opt: Options, folder: Path, trainer: Trainer) -> list[Sink]:
    family, step = trainer.family, trainer.clock.step
    sinks: list[Sink] = [LogFile(folder / "log.jsonl", step), PictureFolder(folder / "pictures")]
    if family.log_lines:
        sinks.append(TextLog(folder / "log.txt", family.log_lines == "epoch", family.log_line, trainer.clock))
    if family.report_format:
        log_of = family.report_format
        sinks.append(ReportLog(folder / log_of.name, log_of.line, log_of.step_of, trainer.clock))
    if opt.tensorboard:
        sinks.append(TensorBoard(folder / "tensorboard", step))
    if opt.visdom:
        try:
            environment = opt.display_env or opt.name
            sinks.append(
                Visdom(opt.display_server, opt.display_port, environment, options_as_yaml(opt), folder / "visdom")
            )
        except (ImportError, OSError) as error:
            log.warning("no visdom: %s (--visdom=no says so without this warning)", error)
    return sinks


def _batches(opt: Options, dataset, trainer: Trainer, folder: Path):
    processes = trainer.processes
    sampler = EndlessSampler(
        len(dataset), opt.batch_size, start=trainer.clock.samples, seed=opt.seed,
        rank=processes.rank, world=processes.world, parts=opt.accumulate,
    )  # fmt: skip
    return endless_batches(
        dataset, sampler, workers=opt.nThreads, pin_memory=processes.device.type == "cuda",
        bad_samples=BadSamples(folder / "bad_samples.txt", len(dataset), opt.max_bad), debug=opt.debug,
    )  # fmt: skip


if __name__ == "__main__":
    run_main(main)
