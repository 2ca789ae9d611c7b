"""When checkpoints are due, and which one is the best."""

import math
from typing import Any

from engine.checkpoints.save import Checkpoints
from engine.clock import Clock
from util.errors import UserError


class Saver:
    """Saves every so many steps or epochs; `best_by` names the loss by whose mean the best checkpoint is kept."""

    def __init__(
        self, checkpoints: Checkpoints, *, every: int, every_epochs: int | None, batch_size: int, best_by: str | None
    ):
        self.checkpoints, self.every, self.every_epochs = checkpoints, every, every_epochs
        self.batch_size, self.best_by = batch_size, best_by
        self.best = checkpoints.best_value()

    def is_due(self, clock: Clock) -> bool:
        """Whether the last step ends an interval."""
        if not self.every_epochs:
            return clock.step % self.every == 0
        before = (clock.samples - self.batch_size) // clock.epoch_size
        return clock.epoch // self.every_epochs > before // self.every_epochs

    def save(self, trainer: Any, monitor: Any) -> None:
        """Report, save, and save once more as the best one if it is."""
        monitor.report(trainer.clock)
        self.checkpoints.save(trainer)
        name = self.best_by
        if name and name not in monitor.names:
            raise UserError(f"--best_by {name}: the losses are {', '.join(monitor.names)}")
        # Not every step has every loss, nor need it be finite (--on_nan skip).
        value = monitor.averages.get(name, math.nan)
        if value < (math.inf if self.best is None else self.best):
            self.best = value
            self.checkpoints.save(trainer, "best", value=value)
