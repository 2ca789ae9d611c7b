"""Measure many pairs: resumable, distributed over processes, with every failure reported by name."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metrics.evaluation.measuring import Measurement
from metrics.evaluation.pairing import OpenPair, Pair
from metrics.evaluation.results import Record, definition, restored, stored
from metrics.metric import sets
from metrics.parts.tools import Tools
from metrics.parts.weights import Weights
from util.archives import read_npz
from util.errors import UserError
from util.files import replacing
from util.jsons import append_line, read_lines
from util.reading import reading, reason

RECORD_VERSION = 2
"""Of what a record holds; kept ones of other versions are measured again."""
KEPT = "metrics_videos.jsonl"
"""File with a line per measured video, from which an interrupted run resumes."""


@dataclass(frozen=True)
class Plan:
    """What to measure and how, as plain values that can be sent to other processes."""

    metrics: tuple[str, ...]
    roles: tuple[str, ...]
    controls: bool = True
    size: int | None = None
    fps: Fraction | None = None
    batch_size: int = 16
    allow_few: bool = False
    device: str = "cpu"
    weights: Weights = field(default_factory=Weights)
    tables: Mapping[str, Path] = field(default_factory=dict)

    def measurement(self) -> Measurement:
        """The metrics, loaded."""
        tools = Tools(device_named(self.device), self.weights, self.tables, self.batch_size, self.allow_few)
        return Measurement(self.metrics, self.roles, tools, self.controls)


def device_named(name: str) -> torch.device:
    """The device of this name; an error if it cannot be used here."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # no such type, no driver, no such number
        raise UserError(
            f"--device {name}: not usable here ({reason(error)}); choose cpu, or a GPU: cuda, cuda:1"
        ) from None
    return device


def how_measured(plan: Plan, measurement: Measurement) -> str:
    """Fingerprint of everything that affects values: definitions, weights, videos, sizes, tables."""
    facts = [definition(metric) for metric in measurement.metrics]
    how = [RECORD_VERSION, facts, sorted(plan.roles), plan.controls, plan.size, str(plan.fps), _tables(plan.tables)]
    return json.dumps(how, sort_keys=True, default=str)


def measure(pair: Pair, measurement: Measurement, plan: Plan) -> Record:
    """Measure one pair."""
    opened = OpenPair(pair, plan.size, plan.fps)
    try:
        with measurement.video(opened.described, opened.source()) as measured:
            for frames in opened.batches(plan.batch_size):
                result = frames.pop("result")
                measured.add(result, **frames, motion=motion_of(pair, plan, measured.frames, len(result)))
    finally:
        opened.close()
    return measured.record


def motion_of(pair: Pair, plan: Plan, first: int, count: int) -> torch.Tensor | None:
    """The dense motion of `count` frames from the `first` on, if files of it are given."""
    if "motion" not in plan.tables:
        return None
    path = Path(plan.tables["motion"]) / f"{pair.name}.npz"
    grids = _grids(path)
    if len(grids) < first + count:
        raise UserError(f"--motion: {path}: grid has {len(grids)} frames, the video at least {first + count}")
    return torch.from_numpy(grids[first : first + count]).float()


@lru_cache(maxsize=1)
def _grids(path: Path) -> np.ndarray:
    what = "needs the array grid (N, h, w, 2) of --motion"
    with reading(path, what):
        grids = np.asarray(read_npz(path, what, "grid")["grid"], np.float32)
    if grids.ndim != 4 or grids.shape[3] != 2:
        raise UserError(f"--motion: {path}: grid is {grids.shape}, not (N, h, w, 2)")
    return grids


class FinishedPairs:
    """The records of earlier runs in the same folder, except those of changed files or definitions."""

    def __init__(self, folder: Path, plan: Plan, measurement: Measurement):
        self.path = folder / KEPT
        self._how = how_measured(plan, measurement)
        # The state over all frames is not saved, so these videos are measured again.
        self._usable = not sets(measurement.metrics)

    def key(self, pair: Pair) -> str:
        """Fingerprint that changes when a measured value could change."""
        files = [(role, str(path), *_version(path)) for role, path in sorted(pair.files.items())]
        return hashlib.sha256(json.dumps([self._how, files]).encode()).hexdigest()

    def load(self, wanted: Sequence[Pair]) -> dict[str, Record]:
        """Video -> record, for the wanted videos; drops the others, and a truncated last line."""
        keys = {pair.name: self.key(pair) for pair in wanted}
        known: dict[str, Record] = {}
        lines = []
        for line, entry in read_lines(self.path)[0] if self._usable else ():
            record = entry.get("record")
            video = record.get("video") if isinstance(record, dict) else None
            if isinstance(video, str) and keys.get(video) == entry.get("key"):
                known[video] = restored(record)
                lines.append(line)
        # Replaced at once, so that an interruption here loses no measurement.
        if self.path.is_file():
            with replacing(self.path) as temporary:
                temporary.write_bytes(b"".join(line + b"\n" for line in lines))
        return known

    def add(self, pair: Pair, record: Record) -> None:
        """Save a record."""
        append_line(self.path, {"key": self.key(pair), "record": stored(record)})


def _tables(tables: Mapping[str, Path]) -> list:
    return [(option, str(path), *_version(path)) for option, path in sorted(tables.items()) if path.exists()]


def _version(path: Path) -> tuple[int, int]:
    """Size and time of a file; for a folder the number of files and the time of the newest."""
    if path.is_file():
        return path.stat().st_size, path.stat().st_mtime_ns
    files = [one.stat().st_mtime_ns for one in path.iterdir()]
    return len(files), max(files, default=0)


Outcome = tuple[Pair, Record | None, str]
"""A pair with its record, or with the reason of its failure."""


def measure_all(wanted: Sequence[Pair], plan: Plan, measurement: Measurement, workers: int = 1) -> Iterator[Outcome]:
    """Measure pairs in this process or in several; `measurement` ends with the merged state."""
    if workers <= 1 or len(wanted) < 2:
        for pair in wanted:
            yield pair, *attempt(lambda pair=pair: measure(pair, measurement, plan))
        return
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    shares = [list(wanted[index::workers]) for index in range(min(workers, len(wanted)))]
    processes = [context.Process(target=_work, args=(share, plan, queue), daemon=True) for share in shares]
    for process in processes:
        process.start()
    try:
        yield from _collected(queue, processes, shares, measurement)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def attempt(work: Callable[[], Record]) -> tuple[Record | None, str]:
    """The record, or the reason of a failure; unexpected errors include their traceback."""
    try:
        return work(), ""
    except (UserError, OSError) as error:
        return None, str(error)
    except Exception as error:
        return None, f"{type(error).__name__}: {error}\n{traceback.format_exc()}"


def _work(share: Sequence[Pair], plan: Plan, queue: Any) -> None:
    """A worker process: measure its share, then send the states of metrics over all frames."""
    torch.set_num_threads(1)
    measurement = plan.measurement()
    for index, pair in enumerate(share):
        queue.put(("video", index, attempt(lambda pair=pair: measure(pair, measurement, plan)), share[0].name))
    queue.put(("states", 0, measurement.states(), share[0].name))


def _collected(queue: Any, processes: Sequence, shares: Sequence[list[Pair]], measurement: Measurement):
    """The messages of the workers, until each has sent its states."""
    by_first = {share[0].name: share for share in shares}
    open_shares = {share[0].name: process for share, process in zip(shares, processes, strict=True)}
    sent = dict.fromkeys(open_shares, 0)
    while open_shares:
        try:
            kind, index, content, first = queue.get(timeout=1)
        except multiprocessing.queues.Empty:
            _check_alive(open_shares, by_first, sent)
            continue
        if kind == "states":
            measurement.merge(content)
            del open_shares[first]
        else:
            sent[first] += 1
            yield by_first[first][index], *content


def _check_alive(open_shares: Mapping[str, Any], shares: Mapping[str, list[Pair]], sent: Mapping[str, int]) -> None:
    for first, process in open_shares.items():
        if process.exitcode not in (None, 0):
            pair = shares[first][min(sent[first], len(shares[first]) - 1)]
            raise UserError(
                f"the process measuring {pair.name} exited (status {process.exitcode}): out of memory, or a library "
                f"crashed. Finished measurements are kept; resume with the same command and --workers 1"
            )


class Pace:
    """Measures the speed."""

    def __init__(self):
        self._began, self.frames = time.monotonic(), 0

    def add(self, frames: int) -> None:
        """Count frames."""
        self.frames += frames

    def __str__(self) -> str:
        seconds = max(time.monotonic() - self._began, 1e-9)
        return f"{self.frames} frames in {seconds:.1f} s, {self.frames / seconds:.1f} frames/s"
