"""Measure results while they are rendered, before frames are encoded."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.video import unsuffixed
from metrics.evaluation.measuring import Measurement, VideoMeasurement
from metrics.evaluation.pairing import squared
from metrics.evaluation.protocols import Protocol
from metrics.evaluation.results import Record, columns_of, report, restored, stored, to_line, write
from metrics.evaluation.running import Plan, how_measured
from metrics.evaluation.tables import table
from metrics.metric import RESULT, Video, sets
from util.archives import read_npz
from util.errors import UserError
from util.files import replacing
from util.jsons import append_line, read_lines

log = logging.getLogger(__name__)

RECORDS, STATES = "measured{}.jsonl", "measured{}.npz"
TOKEN = "measured"
"""Key of the measurement's token in a result's record."""


class Rendered:
    """Measures the results of a folder, in one of the processes and shards that make them.

    Each process has its own files: a line per video in measured*.jsonl, with a token that the result's record also
    holds, and the states of metrics over all frames (fid, kid, fvd) in measured*.npz. A result counts as measured if
    both exist. Otherwise it is made again, because encoding has changed the frames of an existing file.
    """

    def __init__(
        self, plan: Plan, protocol: Protocol, folder: Path, *, part: str = "", entries: Iterable[Mapping[str, Any]] = ()
    ):
        """`part` distinguishes this process's files; `entries` are the records of valid results."""
        self.plan, self.protocol, self.folder = plan, protocol, folder
        self.measurement = plan.measurement()
        self.measurement.rehearse()
        self._key = hashlib.sha256(how_measured(plan, self.measurement).encode()).hexdigest()
        self._records, self._states = folder / RECORDS.format(part), folder / STATES.format(part)
        tokens = {entry.get(TOKEN) for entry in entries}
        self._known = {token for token, _ in self._kept() if token in tokens}
        if self._needs_states:
            covered = dict(self._valid_states(self._known))
            self._known = set().union(*(one for one, _ in covered.values())) if covered else set()
            self._tokens, state = covered.get(self._states, (set(), {}))
            self._merge(self.measurement, state)

    def __enter__(self) -> Rendered:
        return self

    def __exit__(self, *error: Any) -> None:
        """Save the states of metrics over all frames, also after an error."""
        if self._needs_states and self._tokens:
            with replacing(self._states) as temporary:
                np.savez(temporary, tokens=json.dumps([self._key, *sorted(self._tokens)]), **self._flat_states())

    @property
    def _needs_states(self) -> bool:
        return bool(sets(self.measurement.metrics))

    @property
    def wants_motion(self) -> bool:
        """Whether the dense motion behind the frames is measured."""
        return any(metric.of_motion for metric in self.measurement.metrics)

    def knows(self, entry: Mapping[str, Any]) -> bool:
        """Whether a result was measured this way."""
        return entry.get(TOKEN) in self._known

    def begin(self, job: Any, clip: Any) -> RenderedVideo:
        """The measurement of a job's video."""
        return RenderedVideo(self, job.output, clip)

    def keep(self, record: Record) -> str:
        """Save the measured record of a video; returns its token."""
        token = uuid.uuid4().hex
        append_line(self._records, {"key": self._key, "token": token, "record": stored(record)})
        if self._needs_states:
            self._tokens.add(token)
        return token

    def write(
        self, entries: Sequence[Mapping[str, Any]], failed: Sequence[Mapping[str, str]], command: Sequence[str]
    ) -> Numbers | None:
        """Write metrics.csv and metrics.json of all measured results, from all processes."""
        tokens = {entry[TOKEN]: entry for entry in entries if TOKEN in entry}
        found = {token: record for token, record in self._kept() if token in tokens}
        whole = Measurement(self.plan.metrics, self.plan.roles, self.measurement.tools, self.plan.controls)
        if self._needs_states:
            states = dict(self._valid_states(found.keys()))
            for _, state in states.values():
                self._merge(whole, state)
            covered = set().union(*(one for one, _ in states.values())) if states else set()
            found = {token: record for token, record in found.items() if token in covered}
        if not found:
            log.error("nothing could be measured")
            return None
        if missing := len(entries) - len(found):
            log.warning("%d of %d results are not measured yet; run the same command again", missing, len(entries))
        content = report(whole, list(found.values()), self.protocol.facts(), command) | {
            "failed": {row["name"]: row["reason"] for row in failed}
        }
        content["files"] = {record["video"]: _files(tokens[token]) for token, record in found.items()}
        write(self.folder, content, found.values(), columns_of(whole.metrics))
        return Numbers(content)

    def _kept(self) -> Iterator[tuple[str, Record]]:
        """Token and record of every measured result, from all processes."""
        for path in sorted(self.folder.glob(RECORDS.format("*"))):
            for _, entry in read_lines(path)[0]:
                if entry.get("key") == self._key and isinstance(entry.get("record"), dict):
                    yield entry.get("token", ""), restored(entry["record"])

    def _valid_states(self, known: Iterable[str]) -> Iterator[tuple[Path, tuple[set[str], Mapping[str, np.ndarray]]]]:
        """The states whose videos are all still valid; sums cannot be split."""
        known = set(known)
        for path in sorted(self.folder.glob(STATES.format("*"))):
            what = "not the state of metrics that test.py keeps"
            try:
                state = dict(read_npz(path, what))
                key, *tokens = json.loads(str(state.pop("tokens")))
            except (UserError, KeyError, ValueError) as error:
                log.warning("%s: ignored, measuring its videos again (%s)", path, error)
                continue
            if key == self._key and known.issuperset(tokens):
                yield path, (set(tokens), state)

    def _flat_states(self) -> dict[str, np.ndarray]:
        return {"|".join((row, metric, name)): array for row, metrics in self.measurement.states().items()
                for metric, state in metrics.items() for name, array in state.items()}  # fmt: skip

    @staticmethod
    def _merge(measurement: Measurement, state: Mapping[str, np.ndarray]) -> None:
        if not state:
            return
        nested: dict[str, dict[str, dict[str, np.ndarray]]] = {row: {} for row in measurement.rows}
        for key, array in state.items():
            row, metric, name = key.split("|")
            nested[row].setdefault(metric, {})[name] = array
        measurement.merge(nested)


def _files(entry: Mapping[str, Any]) -> dict[str, str]:
    """Role -> file in the results folder, from a result's record; the truth is the copy for the page."""
    return {role: entry[key] for role, key in (("result", "output"), ("truth", "truth")) if key in entry}


class ResultMeasurement:
    """Measures one result together with the driving items it was made of, which may include the truth."""

    def __init__(self, measurement: Measurement, name: str, clip: Any, size: int | None = None):
        """`size`: crop all frames to their centre square and resize it first."""
        self._size, roles = size, measurement.roles
        self._role = next((role for role in ("truth", "driving") if role in roles), None)
        # The result has the sound of its clip; metrics of sound read these files.
        files = {role: clip.audio for role in ("result", self._role) if role and clip.audio}
        source = self._sized(first_picture(clip.source)) if "source" in roles else None
        self._measured = VideoMeasurement(measurement, Video(name, clip.fps, files), source)

    def add(self, generated: Tensor, items: Sequence[Mapping[str, Any]], motion: Tensor | None = None) -> None:
        """Measure the next results (N, 3, H, W) with their driving items, and their dense motion if it is known."""
        shown = {}
        if self._role:
            if "image" not in items[0]:
                raise UserError("--metrics: the driving items have no frames to compare the result with")
            shown[self._role] = self._sized(torch.stack([item["image"] for item in items]))
        # Written frames are clamped to black and white, too.
        self._measured.add(self._sized(generated.float().clamp(0, 1)), **shown, motion=motion)

    def finish(self) -> Record:
        """The record of a complete result."""
        self._measured.finish()
        return self._measured.record

    def _sized(self, frames: Tensor) -> Tensor:
        if self._size is None or tuple(frames.shape[-2:]) == (self._size, self._size):
            return frames
        arrays = frames.float().permute(0, 2, 3, 1).cpu().numpy()
        return torch.from_numpy(np.stack([squared(array, self._size) for array in arrays])).permute(0, 3, 1, 2)


class RenderedVideo(ResultMeasurement):
    """Measures one result of a folder."""

    def __init__(self, owner: Rendered, output: Path, clip: Any):
        name = Path(os.path.relpath(output.parent.resolve(), owner.folder.resolve())) / unsuffixed(output)
        super().__init__(owner.measurement, name.as_posix(), clip, owner.plan.size)
        self._owner = owner

    def facts(self) -> dict[str, str]:
        """The entries for the result's record, when it is complete."""
        return {TOKEN: self._owner.keep(self.finish())}


class ClipSums(ResultMeasurement):
    """Measures a clip for sums only."""

    def sums(self) -> dict[str, tuple[float, int]]:
        """Metric -> sum over the measured frames, and their number."""
        found, _ = self.finish()["rows"][RESULT]
        return {name: (one["sum"], int(one["n"])) for name, one in found.items()}


def first_picture(source: Mapping[str, Any]) -> Tensor:
    """The picture (1, 3, H, W) of a source; the first one of several."""
    picture = next((source[key] for key in ("image", "pictures") if key in source), None)
    if picture is None:
        raise UserError("--metrics: the source has no picture to compare the result with")
    return picture[None] if picture.ndim == 3 else picture[:1]


class Numbers:
    """Log the measured values."""

    def __init__(self, content: Mapping[str, Any]):
        self.content = content

    def table(self, kind: str) -> str:
        """The table of totals with the controls."""
        return table(self.content, kind, self.content["protocol"]["weighting"])

    def line(self) -> str:
        """The totals as JSON."""
        return to_line({key: self.content[key] for key in ("total", "controls", "protocol")})
