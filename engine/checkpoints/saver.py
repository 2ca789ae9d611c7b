"""Save checkpoints at intervals, and keep the best one."""

import math
from collections.abc import Mapping
from typing import Any

from engine.checkpoints.save import Checkpoints
from engine.clock import Clock
from util.errors import UserError
from util.values import VALIDATED


class Saver:
    """Saves every so many steps or epochs.

    `best_by` names a loss or a validation value (val/...): the checkpoint with the lowest mean is the best, or the one
    with the highest if `higher_is_better`.
    """

    def __init__(
        self, checkpoints: Checkpoints, *, every: int, every_epochs: int | None, batch_size: int, best_by: str | None,
        higher_is_better: bool = False,
    ):  # fmt: skip
        self.checkpoints, self.every, self.every_epochs = checkpoints, every, every_epochs
        self.batch_size, self.best_by = batch_size, best_by
        self.best, self.sign = checkpoints.best_value(), -1 if higher_is_better else 1

    def is_due(self, clock: Clock) -> bool:
        """Whether the last step ends an interval."""
        if not self.every_epochs:
            return clock.step % self.every == 0
        before = (clock.samples - self.batch_size) // clock.epoch_size
        return clock.epoch // self.every_epochs > before // self.every_epochs

    def save(self, trainer: Any, monitor: Any) -> None:
        """Report, save, and save as "best" if the losses improve."""
        monitor.report(trainer.clock)
        self.checkpoints.save(trainer)
        name = self.best_by
        if name and not name.startswith(VALIDATED) and name not in monitor.names:
            raise UserError(f"--best_by {name}: choose from the losses {', '.join(monitor.names)}")
        self.consider(trainer, monitor.averages)

    def consider(self, trainer: Any, values: Mapping[str, float]) -> None:
        """Save as "best" if these values improve on the best so far."""
        # A step may lack a loss or have a non-finite one (--on_nan skip).
        value = values.get(self.best_by or "", math.nan)
        if self.sign * value < (math.inf if self.best is None else self.sign * self.best):
            self.best = value
            self.checkpoints.save(trainer, "best", value=value)
