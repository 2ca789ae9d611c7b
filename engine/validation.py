"""Validation during training: reconstructs a few test clips in evaluation mode without affecting the run."""

import logging
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from engine.animator import Animator
from engine.clock import Clock
from engine.distributed import Processes
from engine.evaluation import Reconstruction
from engine.networks import use_channels_last
from util.values import VALIDATED

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Batch size: validation must fit into memory beside training."""
GAIN = f"{VALIDATED}percent_below_repeating"
"""Reduction of L1 relative to repeating the first frame; 0 for a model that only copies."""


class ClipMeasurer(Protocol):
    """Measures the reconstruction of one clip."""

    def add(self, generated: Tensor, items: Sequence[Mapping[str, Any]]) -> None:
        """Measure the next results (N, 3, H, W) with their driving items."""

    def sums(self) -> dict[str, tuple[float, int]]:
        """Metric -> sum over the measured frames, and their number."""


class Validatable(Protocol):
    """The clips, metrics and family of a validation."""

    jobs: Sequence[Any]
    every: int
    """Steps between validations."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the metrics."""

    def build(self) -> Any:
        """The family for inference."""

    def measure(self, job: Any, clip: Any) -> ClipMeasurer:
        """Start measuring a clip."""


@dataclass
class Validated:
    """Results of a validation; equal in every process."""

    values: dict[str, float]
    pictures: dict[str, np.ndarray]
    """Clip -> truth above result (2, 3, H, W) in [0, 1], always of the same frame."""
    seconds: float = 0.0


class Validation:
    """Reconstructs the same few clips at intervals, distributed over the processes.

    The weights of training are copied into a family built for inference, so the training family stays untouched. Of
    each clip `frames` evenly spread frames are kept in memory; 0: all frames, read each time. Validations that would
    exceed `share` of the time are skipped.
    """

    def __init__(
        self, what: Validatable, processes: Processes, *, share: float, frames: int, precision: str = "fp32",
        channels_last: bool = False,
    ):  # fmt: skip
        self.what, self.processes, self.frames = what, processes, frames
        self.jobs, self.names = list(what.jobs), list(what.names)
        self.precision, self.channels_last = precision, channels_last
        self.budget, self.stagnation, self.is_off = _Budget(share), Stagnation(), False
        self._kept: dict[str, tuple[Any, list[dict[str, Any]]]] = {}

    def is_due(self, clock: Clock) -> bool:
        """Whether to validate after the last step; the main process decides for all."""
        if self.is_off or clock.step % self.what.every:
            return False
        return not self.processes.any(self.processes.is_main and not self.budget.allows())

    def run(self, trainer: Any) -> Validated:
        """Validate the trainer's current weights, or their averages."""
        begin = time.monotonic()
        with preserving_random_state(self.processes.device):
            with trainer.averages.applied():
                animator = self._animator(trainer.family)
            found = self._reconstruct(animator) if animator else Validated({}, {})
        found.seconds = time.monotonic() - begin
        self.budget.spend(found.seconds)
        if self.processes.is_main:
            self._log(trainer.clock, found)
        return found

    def _animator(self, family: Any) -> Animator | None:
        """The animator with the current weights; None, and never again, if a process cannot build it."""
        animator = None
        try:
            animator = Animator(
                self._inference_copy(family), self.processes.device, batch_size=AT_ONCE, precision=self.precision,
                channels_last=self.channels_last,
            )  # fmt: skip
        except Exception as error:  # training matters more than its validation
            log.warning("validation: cannot prepare the networks: %s: %s", type(error).__name__, error)
        self.is_off = self.processes.any(animator is None)
        return None if self.is_off else animator

    def _inference_copy(self, family: Any) -> Any:
        """The family as test.py would load it."""
        twin, trained = self.what.build().eval(), family.networks()
        for name, network in twin.networks().items():
            network.load_state_dict(trained[name].state_dict())
        twin.prepare_inference()
        twin.to(self.processes.device)
        if self.channels_last:
            use_channels_last(twin)
        return twin

    def _reconstruct(self, animator: Animator) -> Validated:
        numbers, pictures = torch.zeros(len(self.jobs), len(self.names) + 3, 2, dtype=torch.float64), {}
        for index in range(self.processes.rank, len(self.jobs), self.processes.world):
            job = self.jobs[index]
            try:
                sums, pictures[index] = self._clip(job, animator)
                numbers[index] = torch.tensor(sums, dtype=torch.float64)
            except Exception as error:  # a faulty test clip must not end days of training
                log.warning("validation: %s: %s: %s", job.name, type(error).__name__, error)
        total = self.processes.gather(numbers[None]).sum((0, 1))
        means = {name: float(value / count) for name, (value, count) in zip(self.names, total, strict=False) if count}
        values = {f"{VALIDATED}{name}": value for name, value in means.items()}
        (generated, count), (repeated, _), (copied, _) = total[len(self.names) :].tolist()
        self.is_off = not count
        self.stagnation = replace(self.stagnation, generated=generated, repeated=repeated, copied=copied)
        if repeated:
            values[GAIN] = 100 * (1 - generated / repeated)
        shown = self._gathered(pictures)
        return Validated(values, {self.jobs[index].name: picture for index, picture in shown.items()})

    def _clip(self, job: Any, animator: Animator) -> tuple[list[tuple[float, int]], Tensor]:
        """Sums and counts of a clip (metrics, then differences: result, first frame, copying), and its picture."""
        clip, items = self._opened(job)
        measurer, losses, shown = self.what.measure(job, clip), Reconstruction(job, clip), _ShownPictures()
        for batch, generated in animator.batches(clip.source, items, clip.first):
            measurer.add(generated, batch)
            losses.add(generated, batch)
            shown.add(generated, batch)
        sums = measurer.sums()
        differences = (losses.result, losses.repeated, losses.copied)
        return [sums[name] for name in self.names] + [(one, losses.frames) for one in differences], shown.picture

    def _opened(self, job: Any) -> tuple[Any, Iterable[dict[str, Any]]]:
        if not self.frames:
            clip = job.make()
            return clip, clip.driving
        if job.name not in self._kept:
            clip = job.make()
            self._kept[job.name] = clip, spread(clip.driving, clip.length, self.frames)
        return self._kept[job.name]

    def _gathered(self, pictures: Mapping[int, Tensor]) -> dict[int, np.ndarray]:
        """The pictures of all processes: each sends its own in one array of bytes."""
        sizes = torch.tensor([picture.shape[-2:] for picture in pictures.values()] or [(0, 0)])
        height, width = self.processes.gather(sizes.amax(0)[None]).amax(0).tolist()
        sent = torch.zeros(len(self.jobs), 2, 3, height, width, dtype=torch.uint8)
        known = torch.zeros(len(self.jobs), dtype=torch.int64)
        for index, picture in pictures.items():
            sent[index, :, :, : picture.shape[-2], : picture.shape[-1]] = picture
            known[index] = 1
        sent = self.processes.gather(sent[None]).amax(0)
        known = self.processes.gather(known[None]).amax(0)
        return {index: sent[index].numpy().astype(np.float32) / 255 for index in range(len(self.jobs)) if known[index]}

    def _log(self, clock: Clock, found: Validated) -> None:
        message = ", ".join(f"{name.removeprefix(VALIDATED)} {value:.4g}" for name, value in found.values.items())
        log.info("validation at step %d: %s; %.1f s, %.1f %% of the time", clock.step, message, found.seconds,
                 100 * self.budget.share_spent())  # fmt: skip
        if self.is_off:
            log.error("switched off validation: could not reconstruct and measure any of its clips")
            return
        if warning := self.stagnation.update(clock.step):
            log.warning("%s", warning)


class _ShownPictures:
    """The frame that differs most from the first, which shows motion best."""

    def __init__(self) -> None:
        self.first: Tensor | None = None
        self.most, self.picture = -1.0, torch.zeros(2, 3, 0, 0, dtype=torch.uint8)

    def add(self, generated: Tensor, items: Sequence[Mapping[str, Any]]) -> None:
        real = torch.stack([item["image"] for item in items])
        self.first = real[:1] if self.first is None else self.first
        moved = (real - self.first).abs().mean((1, 2, 3))
        index = int(moved.argmax())
        if float(moved[index]) > self.most:
            self.most = float(moved[index])
            both = torch.stack([real[index], generated[index].float().cpu()])
            self.picture = (both.clamp(0, 1) * 255).round().to(torch.uint8)


def spread(driving: Iterable[dict[str, Any]], length: int | None, frames: int) -> list[dict[str, Any]]:
    """This many driving items, spread evenly; the first ones if the length is unknown."""
    if length is None or length <= frames:
        chosen = set(range(frames))
    else:
        chosen = {round(index * (length - 1) / max(frames - 1, 1)) for index in range(frames)}
    items = []
    for index, item in enumerate(driving):
        if index in chosen:
            items.append(item)
        if index >= max(chosen):
            break
    return items


@contextmanager
def preserving_random_state(device: torch.device) -> Iterator[None]:
    """Restores the random generators of Python, numpy and torch after the block."""
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, device)


class _Budget:
    """Limits validation to a share of the time since the start; the first one always runs."""

    def __init__(self, share: float):
        self._share, self._started = share, time.monotonic()
        self._spent = self._last = 0.0

    def allows(self) -> bool:
        return self._spent + self._last <= self._share * (time.monotonic() - self._started + self._last)

    def spend(self, seconds: float) -> None:
        self._spent, self._last = self._spent + seconds, seconds

    def share_spent(self) -> float:
        return self._spent / max(time.monotonic() - self._started, 1e-9)


@dataclass
class Stagnation:
    """Detects a run whose results are, for a long time, no better than the first frame repeated, or equal to it."""

    generated: float = 0.0
    """Sums of absolute differences: of the results to the truth,"""
    repeated: float = 0.0
    """of the first frame to the truth,"""
    copied: float = 0.0
    """and of the results to the first frame."""
    _since: dict[str, int] = field(default_factory=dict)
    _warned: dict[str, int] = field(default_factory=dict)

    LEAST = 200
    """Steps before the first warning; doubled after each warning."""

    def update(self, step: int) -> str:
        """A warning, if one is due."""
        if not self.repeated:
            return ""  # nothing moved, or nothing could be measured
        identity = self.copied < 0.05 * self.repeated
        poor = self.generated >= 0.99 * self.repeated
        message = {
            "the results hardly differ from the source: the motion is the identity": identity,
            "the results are no better than repeating the first frame": poor and not identity,
        }
        return next(filter(None, [self._warning(what, holds, step) for what, holds in message.items()]), "")

    def _warning(self, what: str, holds: bool, step: int) -> str:
        if not holds:
            self._since.pop(what, None)
            self._warned.pop(what, None)
            return ""
        lasted = step - self._since.setdefault(what, step)
        if lasted < max(self.LEAST, 2 * self._warned.get(what, 0)):
            return ""
        self._warned[what] = lasted
        return (
            f"!!! FOR {lasted} STEPS {what} (difference to the truth {self.generated:.4g}, of the first frame "
            f"{self.repeated:.4g}). If training has just started, wait; otherwise the run has collapsed: resume from "
            f"an earlier checkpoint (--continue_train --which STEP) with a lower learning rate"
        )
