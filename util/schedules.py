"""Learning rate schedules: pure functions of the training progress, so that resuming does not change them.

Each returns a factor on the initial rate. Schedules are combined by multiplication: `warm_up(step, 1000) * cosine(step,
1000, steps - 1000)` rises for 1000 steps and decays over the rest.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from util.errors import UserError


class Clock(Protocol):
    """Where training is, for all that depends on time; engine.clock.Clock keeps it."""

    epoch_size: int
    """Samples in one epoch."""
    step: int
    samples: int
    planned_steps: int | None
    """The step at which training ends."""

    @property
    def epoch(self) -> int:
        """Whole epochs done."""

    @property
    def exact_epoch(self) -> float:
        """Epochs done, with the fraction of the present one."""

    def last_epoch(self, batch_size: int) -> int:
        """The epoch, from 0, in which the last step began."""


def milestones(epoch: int, epochs: Sequence[int], factor: float = 0.1) -> float:
    """`factor` to the power of the number of milestones reached."""
    return factor ** sum(epoch >= milestone for milestone in epochs)


def linear_decay(position: float, start: float, length: float, end: float = 0.0) -> float:
    """1 until `start`, then linear to `end` over `length`."""
    return end + (1 - end) * (1 - _done(position, start, length))


def cosine(position: float, start: float, length: float, end: float = 0.0) -> float:
    """1 until `start`, then half a cosine wave to `end` over `length`."""
    return end + (1 - end) * (1 + math.cos(math.pi * _done(position, start, length))) / 2


def every(epoch: int, period: int, factor: float = 0.1) -> float:
    """Multiplied by `factor` after every `period` epochs."""
    return factor ** (epoch // period)


def warm_up(step: int, length: int) -> float:
    """Linear warm-up to 1 over `length` steps, starting at 1/length."""
    return min(1.0, (step + 1) / length) if length else 1.0


def _done(position: float, start: float, length: float) -> float:
    """The completed fraction of an interval."""
    if position < start:
        return 0.0
    return min(1.0, (position - start) / length) if length > 0 else 1.0


@dataclass(frozen=True)
class Schedule:
    """The schedule of a word of --lr_schedule, after a warm-up."""

    word: str = "constant"
    warm_up: int = 0
    """Length of the warm-up, in steps."""
    end: float = 0.0
    """Final factor of `linear` and `cosine`."""
    milestones: Sequence[int] = ()
    """Epochs of the drops of `milestones`."""
    period: int = 1
    """Epochs between the drops of `step`."""
    factor: float = 0.1
    """Factor of a drop."""

    def __call__(self, clock: Clock) -> float:
        """The current factor, by the engine's clock."""
        return warm_up(clock.step, self.warm_up) * RULES[self.word](self, clock)

    def rest(self, clock: Clock) -> int:
        """The steps after the warm-up, by the current planned length of the run."""
        if clock.planned_steps is None:
            raise UserError(
                f"--lr_schedule {self.word}: needs the length of training, which is unknown; set --epochs or --steps"
            )
        return clock.planned_steps - self.warm_up


RULES: dict[str, Callable[[Schedule, Clock], float]] = {
    "constant": lambda rule, clock: 1.0,
    "linear": lambda rule, clock: linear_decay(clock.step, rule.warm_up, rule.rest(clock), rule.end),
    "cosine": lambda rule, clock: cosine(clock.step, rule.warm_up, rule.rest(clock), rule.end),
    "step": lambda rule, clock: every(clock.epoch, rule.period, rule.factor),
    "milestones": lambda rule, clock: milestones(clock.epoch, rule.milestones, rule.factor),
}
"""The words of --lr_schedule."""


class Schedules:
    """A schedule per optimizer, from --lr_schedule WORD or OPTIMIZER=WORD,OPTIMIZER=WORD."""

    def __init__(self, shared: Schedule, words: str | Mapping[str, str], optimizers: Iterable[str]):
        """`shared` is the word of optimizers that the option does not name."""
        names = list(optimizers)
        asked = dict.fromkeys(names, words) if isinstance(words, str) else words
        if unknown := [name for name in asked if name not in names]:
            raise UserError(f"--lr_schedule: no optimizer {', '.join(unknown)}; available: {', '.join(names)}")
        self._of = {name: replace(shared, word=asked.get(name, shared.word)) for name in names}

    def rate(self, name: str, clock: Clock) -> float:
        """The factor on the learning rate of an optimizer."""
        return self._of[name](clock)
