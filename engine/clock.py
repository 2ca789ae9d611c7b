"""Where training is."""

from dataclasses import dataclass


@dataclass
class Clock:
    """Counts what all processes together have done; everything that depends on time is a function of it."""

    epoch_size: int
    """Samples in one epoch."""
    step: int = 0
    samples: int = 0
    planned_steps: int | None = None
    """The step at which training ends, by --steps or --epochs: a schedule over the whole of it follows this number, so
    that a run which is extended goes on as one that was planned as long from the start."""

    @property
    def epoch(self) -> int:
        """Whole epochs done."""
        return self.samples // self.epoch_size

    @property
    def exact_epoch(self) -> float:
        """Epochs done, with the fraction of the present one."""
        return self.samples / self.epoch_size

    def last_epoch(self, batch_size: int) -> int:
        """The epoch, from 0, in which the last step began: at the end of an epoch, the one that ends."""
        return max(0, self.samples - batch_size) // self.epoch_size

    def advance(self, samples: int) -> None:
        """Count one step of so many samples."""
        self.step += 1
        self.samples += samples
