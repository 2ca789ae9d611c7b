"""The loop around training steps: reports, pictures, validation, checkpoints, and when to stop."""

from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext
from typing import Any

import torch

from engine.checkpoints.saver import Saver
from engine.monitor import Monitor
from engine.profiling import StepProfiler
from engine.signals import StopRequest
from engine.trainer import Trainer
from engine.validation import Validation


class Loop:
    """Trains until the last step or until asked to stop."""

    def __init__(
        self, trainer: Trainer, monitor: Monitor, saver: Saver, *, validation: Validation | None = None,
        profiler: StepProfiler | None = None, detect_anomaly: bool = False,
    ):  # fmt: skip
        """`detect_anomaly`: name the operation that produces a NaN gradient; slow."""
        self.trainer, self.monitor, self.saver = trainer, monitor, saver
        self.validation, self.profiler, self.detect_anomaly = validation, profiler, detect_anomaly

    def run(self, batches: Iterator, stop: StopRequest, *, steps: int, accumulate: int, batch_size: int) -> None:
        """Run steps, each on `accumulate` batches with `batch_size` samples over all processes."""

        def after_step(losses: dict[str, Any], visuals: Mapping[str, Any]) -> bool:
            return self._after_step(losses, visuals, stop, steps)

        anomalies = torch.autograd.set_detect_anomaly(True) if self.detect_anomaly else nullcontext()
        with closing(self.monitor), self.profiler or nullcontext(), anomalies:
            self.trainer.fit(
                self.monitor.timed(batches), steps=steps, accumulate=accumulate, samples_per_step=batch_size,
                after_step=after_step,
            )  # fmt: skip

    def _after_step(self, losses: dict[str, Any], visuals: Mapping[str, Any], stop: StopRequest, steps: int) -> bool:
        """Report, validate and save when due; returns whether to stop."""
        trainer, clock = self.trainer, self.trainer.clock
        self.monitor.record(clock, losses, visuals)
        if self.profiler:
            self.profiler.step()
        if self.validation and self.validation.is_due(clock):
            found = self.validation.run(trainer)
            self.monitor.validated(clock, found)
            self.saver.consider(trainer, found.values)
        stopping = trainer.processes.any(stop.signal is not None)
        if stopping or clock.step >= steps or self.saver.is_due(clock):
            self.saver.save(trainer, self.monitor)
        return stopping
