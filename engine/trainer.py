"""The training loop: drives a family's training step and performs the updates that the step yields."""

import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from engine.averages import Averages
from engine.clock import Clock
from engine.distributed import Processes
from engine.finite import LossWatch
from engine.gradients import GradientAverage
from engine.networks import HasNetworks, freeze_norms, refuse_unsaved
from engine.notes import Notes, at_least_float32
from engine.precision import Precision
from engine.rows import build_rows
from engine.updates import Reach, RunningStep, StepError, Update


class Trainable(HasNetworks, Protocol):
    """The trainer's view of a family (models.Family implements it)."""

    averaged: Mapping[str, float]
    log_to: Callable[..., None] | None

    def optimizers(self) -> dict[str, torch.optim.Optimizer]: ...
    def rate(self, name: str, clock: Clock) -> float: ...
    def training_step(self, batch: dict, clock: Clock) -> Iterator[tuple]: ...
    def before_update(self, names: tuple[str, ...]) -> None: ...
    def after_update(self, names: tuple[str, ...]) -> None: ...
    def row_tables(self) -> dict[str, Any]: ...


class Trainer:
    """Runs training steps of a family: backward pass, averaging over processes, updates, learning rates.

    A training step is a generator; each `yield names, terms` is one update of the named optimizers by the sum of the
    terms (`yield names, terms, report` logs other numbers than the terms). The steps of several micro-batches advance
    in lockstep, so accumulation equals one large batch.
    """

    def __init__(
        self, family: Trainable, processes: Processes, clock: Clock, *,
        precision: str = "fp32", channels_last: bool = False, on_nan: str = "stop", freeze_norms: float | None = None,
        seed: int = 0, folder: Path = Path(), item_names: Sequence[str] | None = None,
        clip_norm: float | None = None, norms_every: int = 0, gradient_compression: str = "none", overlap: bool = True,
    ):  # fmt: skip
        """`folder` holds the files of row tables during training; `item_names` identify the rows.

        `clip_norm`: maximum gradient norm of an optimizer. `norms_every`: steps between the gradient norms in
        `details`; 0: none. `gradient_compression`, `overlap`: see GradientAverage.
        """
        self.family, self.processes, self.clock, self.seed = family, processes, clock, seed
        self.precision = Precision(precision, processes.device)
        self.channels_last = channels_last
        self.skip_not_finite = on_nan == "skip"
        self.freeze_norms = math.inf if freeze_norms is None else freeze_norms
        self.clip_norm, self.norms_every = clip_norm, norms_every
        self.notes = Notes(processes.device)
        family.log_to = self.notes.add
        self.optimizers = family.optimizers()
        self.skipped = 0
        self._norms: dict[str, Tensor] = {}
        self._parameters = {
            name: [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
            for name, optimizer in self.optimizers.items()
        }
        refuse_unsaved(family, self._parameters)
        self.gradients = GradientAverage(processes, self._parameters, gradient_compression, overlap=overlap)
        self.averages = Averages(family, self._parameters)
        self._start_rates = {
            name: [float(group["lr"]) for group in optimizer.param_groups]
            for name, optimizer in self.optimizers.items()
        }
        self._note_start_rates()
        self._reach = Reach(family, self._parameters)
        self.watch = LossWatch(processes.device)
        self.rows = build_rows(
            family, self.optimizers, processes,
            folder=folder / "rows", count=clock.epoch_size, seed=seed, names=item_names,
        )  # fmt: skip

    def fit(
        self,
        batches: Iterator[dict],
        *,
        steps: int,
        accumulate: int,
        samples_per_step: int,
        after_step: Callable[[dict[str, Tensor], Mapping[str, Any]], bool],
    ) -> None:
        """Train until `steps`, or until `after_step(losses, visuals)` says to stop."""
        while self.clock.step < steps:
            micro_batches = list(itertools.islice(batches, accumulate))
            if len(micro_batches) < accumulate:
                raise RuntimeError("the data loader ended before training; it must be endless")
            losses, visuals = self.step(micro_batches)
            self.clock.advance(samples_per_step)
            if after_step(losses, visuals):
                break
        self.watch.check()

    def step(self, micro_batches: Sequence[dict]) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
        """One training step on this process's micro-batches: returns the losses (on the device) and visuals."""
        seed_everything(self.seed, self.clock.step, self.processes.rank)
        self.notes.begin()
        if self.clock.exact_epoch >= self.freeze_norms:
            freeze_norms(self.family)
        for rows in self.rows.values():
            micro_batches = rows.load(micro_batches)
        batches = [move(batch, self.processes.device, self.channels_last) for batch in micro_batches]
        running = [RunningStep(self.family, batch, self.clock, self.optimizers) for batch in batches]
        losses: dict[str, list[Tensor]] = {}
        while True:
            names, terms, visuals = self._backward(running)
            if names is None:
                self.notes.refuse_terms(losses)
                for rows in self.rows.values():
                    rows.store()
                return {name: torch.stack(values).mean() for name, values in losses.items()}, visuals
            self.gradients.finish(names)
            if self._may_update(terms):
                self._update(names)
            else:
                self._clear(names)
            for name, value in terms.items():
                losses.setdefault(name, []).append(value)

    def _backward(
        self, running: list[RunningStep]
    ) -> tuple[tuple[str, ...] | None, dict[str, Tensor], Mapping[str, Any]]:
        """Advance every micro-batch to its next update; returns its optimizers and the average report, at the end the
        visuals."""
        updates: list[Update | None] = []
        total: dict[str, Tensor] = {}
        for step in running:
            with self.precision.autocast():
                update = step.advance()
            updates.append(update)
            if update is None:
                continue
            is_last = step is running[-1]
            try:
                with self.gradients.last_backward(update.names) if is_last else nullcontext():
                    self._backward_one(update, len(running))
            except Exception as error:
                step.blame(error)
            for name, value in update.report.items():
                total[name] = total.get(name, 0) + at_least_float32(value.detach()) / len(running)
        asked = {update and update.names for update in updates}
        if len(asked) > 1:
            raise RuntimeError(f"the micro-batches of one step ask for different updates: {asked}")
        if updates[0] is None:
            return None, total, running[0].visuals
        try:
            self._reach.check(updates[0], running[0].where)
        except StepError as error:
            running[0].blame(error)
        return updates[0].names, total, {}

    def _backward_one(self, update: Update, parts: int) -> None:
        parameters = [p for name in update.names for p in self._parameters[name]]
        loss = reduce(add, update.terms.values()) / parts
        if parameters and loss.requires_grad:
            self.precision.scaler.scale(loss).backward(inputs=parameters)

    def _may_update(self, terms: dict[str, Tensor]) -> bool:
        """Whether to perform this update; only skipping must know it now and so synchronises."""
        if not self.skip_not_finite:
            self.watch.record(terms, self.clock.step)
            return True
        finite = all(bool(torch.isfinite(value)) for value in terms.values())
        finite = not self.processes.any(not finite)
        self.skipped += not finite
        return finite

    def _update(self, names: tuple[str, ...]) -> None:
        scaler = self.precision.scaler
        for name in names:
            self._set_rate(name)
            if self._parameters[name]:
                scaler.unscale_(self.optimizers[name])
        self._clip(names)
        self.family.before_update(names)
        done = tuple(name for name in names if self._parameters[name] and self.precision.step(self.optimizers[name]))
        scaler.update()
        if done:
            self.averages.update(done)
            with torch.no_grad():
                self.family.after_update(done)
        self._clear(names)

    def _clip(self, names: tuple[str, ...]) -> None:
        """Measure the gradient norms if requested, and clip them."""
        measured = self.norms_every and (self.clock.step + 1) % self.norms_every == 0
        for name in names if measured or self.clip_norm else ():
            gradients = [parameter.grad for parameter in self._parameters[name] if parameter.grad is not None]
            self._norms[name] = norm = torch.nn.utils.get_total_norm(gradients)
            if self.clip_norm:
                torch.nn.utils.clip_grads_with_norm_(self._parameters[name], self.clip_norm, norm)

    def details(self) -> dict[str, dict[str, Any]]:
        """For reports: the learning rates, and this step's gradient norms before clipping."""
        norms, self._norms = self._norms, {}
        return {"lr": {name: it.param_groups[0]["lr"] for name, it in self.optimizers.items()}, "gradient": norms}

    def _note_start_rates(self) -> None:
        """Store the initial rates where PyTorch's schedulers, which the originals use, look for them."""
        for name, optimizer in self.optimizers.items():
            for group, start in zip(optimizer.param_groups, self._start_rates[name], strict=True):
                group["initial_lr"] = start

    def _set_rate(self, name: str) -> None:
        factor = self.family.rate(name, self.clock)
        for group, start in zip(self.optimizers[name].param_groups, self._start_rates[name], strict=True):
            group["lr"] = start * factor

    def _clear(self, names: Iterable[str]) -> None:
        for name in names:
            self.optimizers[name].zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Everything besides the weights that the next step depends on. Random states follow from seed and step."""
        return {
            "clock": {"step": self.clock.step, "samples": self.clock.samples, "epoch_size": self.clock.epoch_size},
            "seed": self.seed,
            "scaler": self.precision.scaler.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "rows": {name: rows.table.state_dict() for name, rows in self.rows.items()},
            "averages": {name: average.updates for name, average in self.averages.of.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state_dict."""
        self.clock.step, self.clock.samples = state["clock"]["step"], state["clock"]["samples"]
        if state["scaler"]:
            self.precision.scaler.load_state_dict(state["scaler"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self._note_start_rates()
        for name, rows in self.rows.items() if self.processes.is_main else ():
            rows.table.load_state_dict(state["rows"][name])


def seed_everything(*numbers: int) -> None:
    """Seed all generators with a mixture of numbers, e.g. the run's seed and the step."""
    words = np.random.SeedSequence([number & 0xFFFFFFFF for number in numbers]).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    torch.manual_seed(int(words[2]))


def is_bytes(value: Tensor) -> bool:
    """Whether a tensor holds pictures (..., 3, H, W) as bytes."""
    return value.dtype == torch.uint8 and value.ndim > 3 and value.shape[-3] == 3


def as_floats(pictures: Tensor) -> Tensor:
    """Bytes as floats in [0, 1]. The divisor is a tensor: CUDA multiplies by the reciprocal of a number, which rounds
    otherwise than the division that other pictures had on the CPU."""
    floats = pictures.to(torch.get_default_dtype())
    return floats.div_(floats.new_full((), 255))


def move(value: Any, device: torch.device, channels_last: bool) -> Any:
    """A batch on the device, pictures channels-last if wanted; pictures as bytes become floats in [0, 1]."""
    if isinstance(value, Tensor):
        layout = torch.channels_last if channels_last and value.ndim == 4 else torch.preserve_format
        moved = value.to(device, non_blocking=True, memory_format=layout)
        return as_floats(moved) if is_bytes(moved) else moved
    if isinstance(value, dict):
        return {key: move(item, device, channels_last) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(move(item, device, channels_last) for item in value)
    return value
