"""Destinations of a run's numbers and pictures: log file, picture folder, TensorBoard, visdom."""

import logging
import math
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from subprocess import Popen
from typing import Any
from urllib.parse import urlparse

import cv2
import numpy as np
import torch
from torch import Tensor

from engine import visdom_server
from engine.clock import Clock
from engine.log_names import LOG_FILE
from util.errors import UserError
from util.files import replacing, write_text
from util.jsons import append_line, finite, read_lines
from util.plugins import find_class

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunInfo:
    """The facts of a run that sinks get."""

    folder: Path
    name: str
    step: int
    """The step at which it resumes; 0 for a new run."""
    options: Mapping[str, Any]


class Sink:
    """Base class: receives the monitor's reports; methods do nothing by default.

    Your own class is selected with --sink module:Class and constructed with a RunInfo.
    """

    def step(self, clock: Clock, losses: Mapping[str, Tensor]) -> None:
        """A step is finished; the losses are on the device, and reading them synchronises."""

    def report(self, entry: dict[str, Any]) -> None:
        """A report by name: the numbers `step`, `epoch`, `samples_per_second`, `waiting_for_data`, `memory_gib` and
        with a GPU `gpu_memory_gib`; and dictionaries: average `losses`, values `logged` by the family, learning rates
        `lr`, gradient norms `gradient`, and the arrays of `histograms`."""

    def show(self, step: int, picture: np.ndarray) -> None:
        """A picture (H, W, 3) of a step."""

    def validated(self, entry: dict[str, Any]) -> None:
        """Results of a validation at `step` and `epoch`: `values` by name, e.g. val/l1."""

    def show_validation(self, step: int, picture: np.ndarray) -> None:
        """A picture (H, W, 3) of validation clips: truth above result."""

    def close(self) -> None:
        """Close at the end of training."""


def numbers_of(entry: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a report under the names of their curves."""
    single = {
        "speed/samples_per_second": "samples_per_second", "speed/waiting_for_data": "waiting_for_data",
        "memory/gib": "memory_gib", "memory/gpu_gib": "gpu_memory_gib", "epoch": "epoch",
    }  # fmt: skip
    groups = {"loss": entry["losses"], "lr": entry["lr"], "gradient": entry["gradient"]}
    named = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
    return named | entry["logged"] | {tag: entry[key] for tag, key in single.items() if key in entry}


class LogFile(Sink):
    """log.jsonl: one line of JSON per report. A resumed run replaces the lines of repeated steps.

    Values that are not numbers are null, infinite ones "inf": other programs refuse the NaN that Python would write."""

    def __init__(self, path: Path, step: int):
        self.path = path
        if path.is_file():
            lines, damaged = read_lines(path)
            kept = [line for line, entry in lines if _step_of(entry) <= step]
            if damaged > 1:  # one was being written when the process was killed
                log.warning("%s: skipped %d unreadable lines", path, damaged)
            with replacing(path) as temporary:
                temporary.write_bytes(b"".join(line + b"\n" for line in kept))

    def report(self, entry: dict[str, Any]) -> None:
        flat = {key: value for key, value in entry.items() if not isinstance(value, dict)}
        flat |= {f"{group}/{name}": value for group in ("lr", "gradient") for name, value in entry[group].items()}
        flat |= entry["losses"] | entry["logged"]
        flat |= {name: _summary(values) for name, values in entry["histograms"].items()}
        append_line(self.path, finite(flat))

    def validated(self, entry: dict[str, Any]) -> None:
        append_line(
            self.path, finite({key: value for key, value in entry.items() if key != "values"} | entry["values"])
        )


def _summary(values: np.ndarray) -> dict[str, float]:
    return {name: float(getattr(values, name)()) for name in ("min", "mean", "max", "std")}


class TextLog(Sink):
    """log.txt in the format of a family's original, with a line per epoch or step.

    `line` formats the epoch, the step within it, the step of the run (all from 0) and the average losses. A resumed run
    replaces the lines of repeated steps.
    """

    def __init__(self, path: Path, per_epoch: bool, line: Callable[..., str], clock: Clock):
        self.path, self.per_epoch, self.line = path, per_epoch, line
        self._samples = clock.samples
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._waiting: list[tuple[tuple[int, int, int], list[str], Tensor]] = []
        """Pending lines, written when the device is synchronised anyway: at the next report, and before every
        checkpoint."""
        if path.is_file():
            whole = path.read_text(encoding="utf-8", errors="replace").splitlines()
            kept = whole[: clock.epoch if per_epoch else clock.step]
            write_text(path, "".join(f"{line}\n" for line in kept))

    def step(self, clock: Clock, losses: Mapping[str, Tensor]) -> None:
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach()
        self._count += 1
        before, self._samples = self._samples, clock.samples
        epoch = before // clock.epoch_size
        if self._sums and (clock.epoch > epoch or not self.per_epoch):
            step_in_epoch = before % clock.epoch_size // (clock.samples - before)
            averages = torch.stack(list(self._sums.values())) / self._count
            self._waiting.append(((epoch, step_in_epoch, clock.step - 1), list(self._sums), averages))
            self._sums, self._count = {}, 0

    def report(self, entry: dict[str, Any]) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            with self.path.open("a") as file:
                for position, names, averages in waiting:
                    file.write(self.line(*position, dict(zip(names, averages.tolist(), strict=True))) + "\n")

    def close(self) -> None:
        self.report({})


class ReportLog(Sink):
    """A log in the format of a family's original, with a line per report and a heading at each start.

    `line` formats a line, `step_of` reads its step. A resumed run replaces the lines of repeated steps.
    """

    def __init__(self, path: Path, line: Callable[..., str], step_of: Callable[[str], int | None], clock: Clock):
        self.path, self.line = path, line
        self._step, self._samples, self._last = clock.step, clock.samples, (0, 0)
        self._epoch_size = clock.epoch_size
        written = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        whole = written[: written.rfind("\n") + 1].splitlines()  # the last one may be truncated by a kill
        kept = [line for line in whole if (step_of(line) or 0) <= clock.step]
        headline = f"================ Training Loss ({datetime.now():%c}) ================"
        write_text(path, "".join(f"{line}\n" for line in [*kept, headline]))

    def step(self, clock: Clock, losses: Mapping[str, Tensor]) -> None:
        self._step, self._samples, self._last = clock.step, clock.samples, (self._samples, clock.samples)

    def report(self, entry: dict[str, Any]) -> None:
        before, after = self._last
        line = self.line(
            epoch=before // self._epoch_size,
            step_in_epoch=before % self._epoch_size // (after - before),
            steps_per_epoch=math.ceil(self._epoch_size / (after - before)),
            step=self._step,
            seconds=1 / max(entry["samples_per_second"], 1e-9),
            time=datetime.now(),
            numbers=entry["losses"],
        )
        with self.path.open("a") as file:
            file.write(line + "\n")


def _step_of(entry: Mapping[str, Any]) -> float:
    step = entry.get("step")
    return step if isinstance(step, (int, float)) else math.inf


class PictureFolder(Sink):
    """result/NAME/pictures/: one PNG per shown step."""

    def __init__(self, folder: Path):
        self.folder = folder

    def show(self, step: int, picture: np.ndarray) -> None:
        write_picture(self.folder / f"{step:08d}.png", picture)

    def show_validation(self, step: int, picture: np.ndarray) -> None:
        write_picture(self.folder / f"val_{step:08d}.png", picture)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a PNG of (H, W, 3) RGB, whole or not at all."""
    with replacing(path) as temporary:
        if not cv2.imwrite(str(temporary), picture[..., ::-1]):
            raise OSError(f"cannot write {temporary}")


class TensorBoard(Sink):
    """Event files in the run's folder, for `tensorboard --logdir result`."""

    def __init__(self, folder: Path, step: int):
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def report(self, entry: dict[str, Any]) -> None:
        for name, value in numbers_of(entry).items():
            self.writer.add_scalar(name, value, entry["step"])
        for name, values in entry["histograms"].items():
            self.writer.add_histogram(name, values, entry["step"])

    def show(self, step: int, picture: np.ndarray) -> None:
        self.writer.add_image("pictures", picture, step, dataformats="HWC")

    def validated(self, entry: dict[str, Any]) -> None:
        for name, value in entry["values"].items():
            self.writer.add_scalar(name, value, entry["step"])

    def show_validation(self, step: int, picture: np.ndarray) -> None:
        self.writer.add_image("validation", picture, step, dataformats="HWC")

    def close(self) -> None:
        self.writer.close()


class Visdom(Sink):
    """Loss curves, the last pictures and the options as text, in an environment with the run's name.

    A separate thread talks to the server, so that a hanging server never blocks training. If the server is lost there
    is one warning; when it is back, it gets the complete curves.
    """

    RETRY = 5.0
    """Seconds between attempts to reach a lost server."""

    def __init__(self, server: str, port: int, environment: str, text: str, folder: Path):
        self.server, self.port, self.environment, self.text = server, port, environment, text
        self.folder = folder
        self.history: dict[str, list[tuple[float, float]]] = {}
        self.pictures: dict[str, tuple[int, np.ndarray]] = {}
        """Window -> its last picture and step."""
        self.own_server: Popen[bytes] | None = None
        self._client: Any = None
        self._lost = False
        self._queue: queue.Queue = queue.Queue(maxsize=64)
        self._start_server_if_none()
        self._thread = threading.Thread(target=self._send_loop, daemon=True)
        self._thread.start()

    def report(self, entry: dict[str, Any]) -> None:
        self._put(("report", entry))

    def show(self, step: int, picture: np.ndarray) -> None:
        self._put(("show", (step, picture)))

    def validated(self, entry: dict[str, Any]) -> None:
        self._put(("validated", entry))

    def show_validation(self, step: int, picture: np.ndarray) -> None:
        self._put(("show_validation", (step, picture)))

    def close(self) -> None:
        self._put(("close", None))
        self._thread.join(timeout=10)
        if self.own_server is not None:
            self.own_server.terminate()
            log.info("saved curves and pictures in %s; to see them again: %s", self.folder, self._command())

    def _command(self) -> str:
        return f"python -m engine.visdom_server --port {self.port} --env_path {self.folder}"

    def _start_server_if_none(self) -> None:
        host = urlparse(self.server).hostname or self.server
        if host not in ("127.0.0.1", "localhost") or visdom_server.is_listening(self.port):
            return
        self.own_server = visdom_server.start_in_background(self.port, self.folder)
        if self.own_server is None:
            raise OSError(f"no server on port {self.port}, and starting one failed (see {self.folder}/server.log)")
        log.info("started visdom for this run: http://127.0.0.1:%d/env/%s", self.port, self.environment)
        problem = visdom_server.page_problem(self.port)
        if problem:
            log.warning("cannot open visdom's page: %s", problem)
        if missing := visdom_server.missing_files():
            log.warning(
                "visdom's page is blank until its server has downloaded %d files (%s, ...); without a network, run "
                "bash script/visdom_offline.sh. TensorBoard and log.jsonl need no network",
                len(missing), missing[0],
            )  # fmt: skip

    def _put(self, item: tuple[str, Any]) -> None:
        try:
            self._queue.put_nowait(item)
        except queue.Full:  # the server is slow; the page may have gaps, the log file has none
            log.debug("visdom is slow: skipped one report")

    def _send_loop(self) -> None:
        while True:
            try:
                kind, content = self._queue.get(timeout=self.RETRY)
            except queue.Empty:
                kind, content = "nothing", None
            self._remember(kind, content)
            try:
                self._send(kind, content)
            except Exception as error:  # whatever a server does, training continues
                self._client = None
                if not self._lost:
                    log.warning("lost visdom at %s:%d (%s); retrying", self.server, self.port, error)
                self._lost = True
            if kind == "close":
                return

    def _remember(self, kind: str, content: Any) -> None:
        if kind in ("report", "validated"):
            for name, value in _curves(kind, content).items():
                self.history.setdefault(name, []).append((content["step"], value))
        elif kind in WINDOWS:
            self.pictures[WINDOWS[kind]] = content

    def _send(self, kind: str, content: Any) -> None:
        if self._client is None:
            if self._lost and not visdom_server.is_listening(self.port, urlparse(self.server).hostname or "127.0.0.1"):
                return
            self._connect()
            self._send_all()
            if self._lost:
                log.info("visdom is back")
            self._lost = False
        elif kind in ("report", "validated"):
            step = content["step"]
            for name, value in _curves(kind, content).items():
                self._line(name, [step], [value], update="append" if len(self.history[name]) > 1 else None)
        elif kind in WINDOWS:
            self._show_picture(WINDOWS[kind], *content)
        if kind == "close":
            self._client.save([self.environment])

    def _connect(self) -> None:
        self._client = _visdom_client(self.server, self.port, self.environment)

    def _send_all(self) -> None:
        self._client.text(f"<pre>{self.text}</pre>", win="options", opts={"title": "options"})
        for name, points in self.history.items():
            steps, values = zip(*points, strict=True)
            self._line(name, list(steps), list(values), update=None)
        for window, shown in self.pictures.items():
            self._show_picture(window, *shown)

    def _line(self, name: str, steps: list[float], values: list[float], update: str | None) -> None:
        self._client.line(
            X=np.asarray(steps), Y=np.asarray(values), win=name.replace("/", " "), name=name, update=update,
            opts={"title": name, "xlabel": "step"},
        )  # fmt: skip

    def _show_picture(self, window: str, step: int, picture: np.ndarray) -> None:
        self._client.image(
            picture.transpose(2, 0, 1), win=window, opts={"title": f"step {step}", "caption": f"step {step}"}
        )


WINDOWS = {"show": "pictures", "show_validation": "validation"}
"""Shown name -> visdom's window."""


def _curves(kind: str, content: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a report or validation."""
    return content["values"] if kind == "validated" else numbers_of(content)


def _visdom_client(server: str, port: int, environment: str) -> Any:
    """A client with a timeout for hanging servers that treats an error page as an error."""
    import visdom

    logging.getLogger("visdom").setLevel(logging.CRITICAL)  # it logs harmless events, e.g. one-way traffic

    class Client(visdom.Visdom):
        session: Any  # missing in visdom's own annotations

        def _handle_post(self, url: str, data: Any = None) -> str:
            answer = self.session.post(url, data=data or {}, timeout=10)
            answer.raise_for_status()
            return answer.text

    return Client(server=server, port=port, env=environment, raise_exceptions=True, use_incoming_socket=False)


SINKS = {"wandb": "engine.trackers:WandB", "trackio": "engine.trackers:Trackio"}
"""Further sinks that --sink knows by name."""


def open_sinks(
    run: RunInfo,
    family: Any,
    clock: Clock,
    *,
    tensorboard: bool,
    visdom: Callable[[], Sink] | None,
    others: Iterable[str] = (),
) -> list[Sink]:
    """All sinks of a run; a visdom or TensorBoard that cannot be opened causes a warning."""
    folder = run.folder
    sinks: list[Sink] = [LogFile(folder / LOG_FILE, clock.step), PictureFolder(folder / "pictures")]
    if family.log_lines:
        sinks.append(TextLog(folder / "log.txt", family.log_lines == "epoch", family.log_line, clock))
    if form := family.report_format:
        sinks.append(ReportLog(folder / form.name, form.line, form.step_of, clock))
    sinks += [find_sink(name)(run) for name in others]
    may_fail = {"tensorboard": partial(TensorBoard, folder / "tensorboard", clock.step) if tensorboard else None}
    for name, build in (may_fail | {"visdom": visdom}).items():
        try:
            if build:
                sinks.append(build())
        except (ImportError, OSError) as error:
            log.warning("no %s: %s (--%s=no avoids this warning)", name, error, name)
    return sinks


def find_sink(name: str) -> Callable[[RunInfo], Sink]:
    """The class of a sink of --sink."""
    if name not in SINKS and ":" not in name:
        raise UserError(f"--sink {name}: no such sink; available: {', '.join(SINKS)}, and your own MODULE:CLASS")
    return find_class(SINKS.get(name, name), "--sink")
