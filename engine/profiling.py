"""Profile some training steps."""

import logging
from pathlib import Path
from types import TracebackType

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from util.files import replacing, write_text

log = logging.getLogger(__name__)

ROWS = 10
WARM_UP = 3
"""Warm-up steps before the profile: the first ones allocate, choose algorithms and compile."""


class StepProfiler:
    """Writes a trace of some steps and a table of the most expensive operations; training continues."""

    def __init__(self, folder: Path, steps: int, device: torch.device):
        self.folder, self._on_gpu, self._written = folder, device.type == "cuda", False
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._on_gpu else [])]
        plan = schedule(wait=1, warmup=WARM_UP - 1, active=steps, repeat=1)
        self._profile = profile(activities=activities, schedule=plan, on_trace_ready=self._write)

    def __enter__(self) -> "StepProfiler":
        self._profile.__enter__()
        return self

    def step(self) -> None:
        """Called after each training step."""
        if not self._written:
            self._profile.step()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._profile.__exit__(kind, error, trace)
        if not (self._written or error):
            log.warning("--profile: training ended before profiling started, after %d steps", WARM_UP)

    def _write(self, recorded: profile) -> None:
        self._written = True
        device = "cuda" if self._on_gpu else "cpu"
        table = recorded.key_averages().table(sort_by=f"self_{device}_time_total", row_limit=ROWS)
        write_text(self.folder / "table.txt", table)
        with replacing(self.folder / "trace.json") as temporary:
            recorded.export_chrome_trace(str(temporary))
        log.info(
            "%s\nwrote the profile to %s; open trace.json in chrome://tracing or ui.perfetto.dev", table, self.folder
        )
