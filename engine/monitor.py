"""Reports of a training run: progress, averages of the losses, pictures."""

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol
from zlib import crc32

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from engine.clock import Clock
from engine.distributed import Processes
from engine.notes import Notes
from engine.sinks import Sink
from engine.validation import Validated
from util.grid import labelled_grid
from util.memory import host_memory_gib

log = logging.getLogger(__name__)

MAX_VALUES = 2**18
"""Maximum number of histogram values copied from the device."""
ROWS = 4
"""Number of samples to show if the pictures do not specify it (`rows`)."""


class Reporting(Protocol):
    """The monitor's view of a trainer."""

    notes: Notes

    def details(self) -> dict[str, dict[str, Any]]: ...


class Monitor:
    """Averages losses on the device and reports them every few steps; a sink that fails is dropped and does not end
    training."""

    def __init__(
        self,
        sinks: list[Sink],
        *,
        steps: int,
        clock: Clock,
        print_every: int,
        pictures_every: int,
        device: torch.device,
        is_main: bool = True,
        processes: Processes | None = None,
        trainer: Reporting | None = None,
    ):
        """`trainer` provides further details; with `processes`, averages are over all of them."""
        self.sinks = list(sinks) if is_main else []
        self.print_every, self.pictures_every, self.device, self.is_main = print_every, pictures_every, device, is_main
        self._processes, self._trainer = processes, trainer
        self.averages: dict[str, float] = {}
        """Mean losses of the last report interval."""
        self.names: dict[str, None] = {}
        """Means of all losses so far."""
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._since = _Speed(clock)
        terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=steps, initial=clock.step, unit="step", disable=not is_main, dynamic_ncols=terminal,
            mininterval=0.5 if terminal else 20, smoothing=0.05,
        )  # fmt: skip

    def timed(self, batches: Iterator[dict]) -> Iterator[dict]:
        """Yield the same batches; measures the time spent waiting for them."""
        while True:
            begin = time.monotonic()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self._since.waited += time.monotonic() - begin
            yield batch

    def record(self, clock: Clock, losses: Mapping[str, Tensor], visuals: Mapping[str, Tensor]) -> None:
        """Record a finished step."""
        logged = self._trainer.notes.numbers() if self._trainer else {}
        for name, value in (*losses.items(), *logged.items()):
            self._sums[name] = self._sums.get(name, 0) + value.detach()
            self._counts[name] = self._counts.get(name, 0) + 1
        self.names |= dict.fromkeys(losses)
        self._send("step", clock, losses)
        self._bar.update()
        if clock.step % self.print_every == 0:
            self.report(clock)
        if self.pictures_every and clock.step % self.pictures_every == 0:
            self._show(clock.step, visuals)

    def report(self, clock: Clock) -> None:
        """Send the averages since the last report to all sinks; the only synchronisation with the device."""
        if not self._sums:
            return
        self.averages, details = self._read()
        self._sums, self._counts = {}, {}
        entry: dict[str, Any] = {"step": clock.step, "epoch": round(clock.exact_epoch, 4)} | self._since.measure(clock)
        entry["memory_gib"] = round(host_memory_gib(), 2)
        if self.device.type == "cuda":
            entry["gpu_memory_gib"] = round(torch.cuda.max_memory_allocated(self.device) / 2**30, 2)
        entry["losses"] = {name: value for name, value in self.averages.items() if name in self.names}
        entry["logged"] = {name: value for name, value in self.averages.items() if name not in self.names}
        entry |= details | {"histograms": self._histograms()}
        self._bar.set_postfix_str(_progress_text(entry))
        self._send("report", entry)

    def _read(self) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """The averages since the last report and the current rates and norms, in one transfer from the device."""
        names = list(self._sums)
        averages = torch.stack([(self._sums[name] / self._counts[name]).double() for name in names])
        if self._processes and self._same_everywhere(names):
            self._processes.average([averages])
        details = self._trainer.details() if self._trainer else {"lr": {}, "gradient": {}}
        flat = [(group, name, value) for group, values in details.items() for name, value in values.items()]
        others = [torch.as_tensor(value, dtype=torch.float64, device=averages.device) for _, _, value in flat]
        numbers = torch.cat([averages, *(value.reshape(1) for value in others)]).tolist()
        read: dict[str, dict[str, float]] = {group: {} for group in details}
        for (group, name, _), value in zip(flat, numbers[len(names) :], strict=True):
            read[group][name] = value
        return dict(zip(names, numbers, strict=False)), read

    def _same_everywhere(self, names: list[str]) -> bool:
        """Whether all processes have numbers of the same names; otherwise each reports its own."""
        assert self._processes is not None
        sums = self._processes.gather(torch.tensor([crc32("\n".join(names).encode())]))
        return bool((sums == sums[0]).all())

    def _histograms(self) -> dict[str, np.ndarray]:
        if not (self.sinks and self._trainer):
            return {}
        flat = {name: values.flatten() for name, values in self._trainer.notes.histograms.items()}
        thinned = {name: values[:: max(1, len(values) // MAX_VALUES)] for name, values in flat.items()}
        return {name: values.float().cpu().numpy() for name, values in thinned.items()}

    def validated(self, clock: Clock, found: Validated) -> None:
        """Send the values of a validation to all sinks; its time does not count as training."""
        self._since.leave_out(found.seconds)
        entry = {"step": clock.step, "epoch": round(clock.exact_epoch, 4), "values": found.values}
        self._send("validated", entry)
        if self.sinks and found.pictures:
            self._send("show_validation", clock.step, labelled_grid(found.pictures, rows=2))

    def close(self) -> None:
        """Close everything at the end of training."""
        self._bar.close()
        self._send("close")

    def _show(self, step: int, visuals: Mapping[str, Tensor]) -> None:
        logged = self._trainer.notes.pictures if self._trainer else {}
        if self.sinks and (visuals or logged):
            rows = getattr(visuals, "rows", ROWS)
            shown = {**visuals, **logged}
            arrays = {name: batch[:rows].detach().float().cpu().numpy() for name, batch in shown.items()}
            self._send("show", step, labelled_grid(arrays, rows=rows))

    def _send(self, what: str, *content: Any) -> None:
        for sink in list(self.sinks):
            try:
                getattr(sink, what)(*content)
            except Exception as error:  # a full disk or a lost server must not end days of training
                log.warning("stopped reporting to %s: %s: %s", type(sink).__name__, type(error).__name__, error)
                self.sinks.remove(sink)


class _Speed:
    """Samples per second and the fraction of time spent waiting for data, since the last measurement."""

    def __init__(self, clock: Clock):
        self.waited = 0.0
        self._samples, self._time = clock.samples, time.monotonic()

    def leave_out(self, seconds: float) -> None:
        """Exclude these seconds."""
        self._time += seconds

    def measure(self, clock: Clock) -> dict[str, float]:
        now = time.monotonic()
        passed = max(now - self._time, 1e-9)
        measured = {
            "samples_per_second": round((clock.samples - self._samples) / passed, 2),
            "waiting_for_data": round(min(1.0, self.waited / passed), 4),
        }
        self.waited, self._samples, self._time = 0.0, clock.samples, now
        return measured


def _progress_text(entry: dict[str, Any]) -> str:
    """End of the progress line."""
    losses = " ".join(f"{name}={value:.4g}" for name, value in (entry["losses"] | entry["logged"]).items())
    memory = f", {entry['gpu_memory_gib']} GiB" if "gpu_memory_gib" in entry else ""
    waiting = f"{100 * entry['waiting_for_data']:.0f} % waiting for data"
    return f"epoch {entry['epoch']:.2f}, {entry['samples_per_second']} samples/s, {waiting}{memory}, {losses}"
