"""The progress of training."""

from dataclasses import dataclass


@dataclass
class Clock:
    """Counts steps and samples over all processes; everything that depends on time is a function of it."""

    epoch_size: int
    """Samples in one epoch."""
    step: int = 0
    samples: int = 0
    planned_steps: int | None = None
    """The step at which training ends, by --steps or --epochs. Schedules over the whole training use it, so that an
    extended run continues as one that was planned that long from the start."""

    @property
    def epoch(self) -> int:
        """Completed epochs."""
        return self.samples // self.epoch_size

    @property
    def exact_epoch(self) -> float:
        """Epochs including the fraction of the current one."""
        return self.samples / self.epoch_size

    def last_epoch(self, batch_size: int) -> int:
        """The epoch, from 0, in which the last step began: at the end of an epoch, the one that ends."""
        return max(0, self.samples - batch_size) // self.epoch_size

    def advance(self, samples: int) -> None:
        """Count one step with this many samples."""
        self.step += 1
        self.samples += samples
