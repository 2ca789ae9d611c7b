"""Measure videos with several metrics in one pass, together with the control rows of every table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metrics import find_metrics
from metrics.metric import (
    REPEATED,
    REPLAYED,
    RESULT,
    ROWS,
    STILL,
    TRUE,
    TRUTH,
    Batch,
    Metric,
    SetMetric,
    Video,
    sets,
)
from metrics.parts.streams import Still, Stream
from metrics.parts.tables import TABLES
from metrics.parts.tools import Tools
from util.errors import UserError

ROLES = ("truth", "driving", "source")


class Measurement:
    """Metrics with all they need. Give each video to `video`; what it records goes into `evaluation.results`.

    with measurement.video(Video(name, fps), source=picture) as measured:
        for result, truth in batches:  # (N, 3, H, W) in [0, 1], before they are encoded
            measured.add(result, truth=truth)
    record = measured.record
    """

    def __init__(self, names: Sequence[str], roles: Iterable[str], tools: Tools | None = None, controls: bool = True):
        """`roles` are the videos available besides the result: truth, driving, source."""
        self.tools = tools or Tools()
        self.roles = frozenset(roles)
        self.kinds = find_metrics(names)
        for kind in self.kinds:
            check_needs(kind, self.roles)
            check_tables(kind, self.tools)
        rows = [row for row in ROWS if row == RESULT or controls and _is_row(row, self.roles)]
        self.rows = {row: [kind(self.tools) for kind in self.kinds] for row in rows}

    @property
    def metrics(self) -> list[Metric]:
        """The metrics of the result row."""
        return self.rows[RESULT]

    def rehearse(self) -> None:
        """Load all weights and packages now, so that missing ones are reported before hours of work."""
        names = [kind.name for kind in self.kinds if not kind.tables]
        if not names:
            return
        trial = Measurement(names, self.roles, self.tools, controls=False)
        nothing = torch.zeros(2, 3, 256, 256)
        with trial.video(Video("rehearsal"), nothing[:1] if "source" in self.roles else None) as measured:
            measured.add(nothing, **{role: nothing for role in self.roles if role != "source"})

    @contextmanager
    def video(self, video: Video, source: torch.Tensor | None = None) -> Iterator[VideoMeasurement]:
        """Measure one video; its `record` is complete when the block ends."""
        measured = VideoMeasurement(self, video, source)
        yield measured
        measured.finish()

    def states(self) -> dict[str, dict[str, dict[str, np.ndarray]]]:
        """Row -> metric -> state of the metrics over all frames, for merging with other processes'."""
        return {row: {one.name: one.state() for one in sets(metrics)} for row, metrics in self.rows.items()}

    def merge(self, states: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]) -> None:
        """Merge the states of another process."""
        for row, metrics in self.rows.items():
            for metric in sets(metrics):
                metric.merge(states[row][metric.name])


def check_needs(kind: type[Metric], roles: frozenset[str]) -> None:
    """Raise an error for a metric that needs a missing video."""
    for need in kind.needs:
        if not roles & set(need.split("|")):
            raise UserError(
                f"--metrics {kind.name}: it compares the result with its {need.replace('|', ' or ')}, which is "
                f"missing (given: {', '.join(sorted(roles)) or 'only the result'}); remove the metric, or name the "
                f"videos"
            )


def check_tables(kind: type[Metric], tools: Tools) -> None:
    """Raise an error for a metric whose tables are not given or do not exist."""
    missing = [option for option in kind.tables if option not in tools.tables]
    if missing:
        options = "; ".join(f"--{option}: {TABLES[option]}" for option in missing)
        raise UserError(f"--metrics {kind.name}: needs files that are not set ({options}); use script/evaluate.py")
    for option in kind.tables:
        if not Path(tools.tables[option]).exists():
            raise UserError(f"--{option} {tools.tables[option]}: no such file or folder")


def _is_row(row: str, roles: frozenset[str]) -> bool:
    """Whether a control row can be measured and differs from the others."""
    if row == REPEATED:
        return bool(roles & {"source", "truth"})
    return "truth" in roles if row == TRUTH else "driving" in roles


class VideoMeasurement:
    """Measures one video and its control rows."""

    def __init__(self, owner: Measurement, video: Video, source: torch.Tensor | None):
        self.owner, self.video, self.frames = owner, video, 0
        self.record: dict[str, Any] = {}
        tools = owner.tools
        self._streams = {role: Stream(tools, role, video) for role in (RESULT, *owner.roles) if role != "source"}
        if "source" in owner.roles and source is None:
            raise UserError(f"{video.name}: its source picture is missing")
        self._source = (
            None if source is None else Still(tools, checked(source, f"{video.name}: source", tools), "source", video)
        )
        # With a truth the control row has the truth's size, which may differ from the source picture's.
        self._first: Still | None = None if "truth" in owner.roles else self._source
        self._columns: dict[str, dict[str, list]] = {row: {} for row in owner.rows}
        # Metrics over all frames get those of this video when it is complete, so that a failed video leaves no trace.
        self._metrics = {
            row: [type(metric)(tools) if isinstance(metric, SetMetric) else metric for metric in metrics]
            for row, metrics in owner.rows.items()
        }
        for metrics in self._metrics.values():
            for metric in metrics:
                metric.begin(video)

    def add(
        self, result: torch.Tensor, truth: torch.Tensor | None = None, driving: torch.Tensor | None = None,
        motion: torch.Tensor | None = None,
    ) -> None:  # fmt: skip
        """Measure the next frames (N, 3, H, W) in [0, 1] of the result and of the videos it is compared with.

        `motion` (N, h, w, 2): see `Batch.motion`, if the model provides it.
        """
        given = {RESULT: result, "truth": truth, "driving": driving}
        if driving is not None and driving is truth:
            self._streams["driving"] = self._streams["truth"]
        for role, stream in self._streams.items():
            if given[role] is None:
                raise UserError(f"{self.video.name}: frames of the {role} are missing from frame {self.frames} on")
            if role != "driving" or stream is not self._streams.get("truth"):
                what = f"{self.video.name}: {role}"
                stream.show(checked(given[role], what, self.owner.tools, self.frames), self.frames)
        self._check_alike()
        for row, metrics in self._metrics.items():
            batch = self._batch(row, len(result), motion)
            for metric in metrics:
                self._keep(row, metric.update(batch))
        self.frames += len(result)

    def _check_alike(self) -> None:
        shapes = {role: tuple(stream.pixels.shape) for role, stream in self._streams.items()}
        if len({shape[0] for shape in shapes.values()}) > 1:
            raise UserError(f"{self.video.name}: unequal numbers of frames: {_described(shapes)}")
        if "truth" in shapes and shapes["truth"] != shapes[RESULT]:
            raise UserError(
                f"{self.video.name}: result and truth differ in size ({_described(shapes)}); bring the truth to the "
                "result's size with --size"
            )

    def _batch(self, row: str, count: int, motion: torch.Tensor | None) -> Batch:
        """The streams of a row: a control replaces the result."""
        streams = self._streams
        if self._first is None and "truth" in streams:
            self._first = Still(self.owner.tools, streams["truth"].pixels[:1].clone(), "truth", self.video)
        shown = {RESULT: streams[RESULT], TRUTH: streams.get("truth"), REPLAYED: streams.get("driving")}
        if row == REPEATED:
            shown[row] = self._first.repeat(count)
        source = None if self._source is None else self._source.repeat(count)
        others = streams.get("truth"), streams.get("driving"), source
        moved = {RESULT: motion, REPEATED: STILL, TRUTH: TRUE}.get(row)
        return Batch(shown[row], *others, first=self.frames, motion=moved)

    def _keep(self, row: str, columns: Mapping[str, np.ndarray]) -> None:
        for name, values in columns.items():
            self._columns[row].setdefault(name, []).append(np.ma.asarray(values, np.float64))

    def finish(self) -> None:
        """Complete the record."""
        if not self.frames:
            raise UserError(f"{self.video.name}: has no frames")
        height, width = self._streams[RESULT].pixels.shape[-2:]
        self.record = {"video": self.video.name, "frames": self.frames, "size": [width, height], "rows": {}}
        for row, columns in self._columns.items():
            joined = {name: np.ma.concatenate(parts) for name, parts in columns.items()}
            own = {metric.name: values for metric in self._metrics[row] if (values := metric.finish())}
            self.record["rows"][row] = {name: summary(values) for name, values in joined.items()}, own
            if row == RESULT:
                self.record["values"] = {name: _listed(values) for name, values in joined.items()}
        self.owner.merge({row: {one.name: one.state() for one in sets(of)} for row, of in self._metrics.items()})


def checked(frames: torch.Tensor, what: str, tools: Tools, first: int = 0) -> torch.Tensor:
    """Frames as floats on the device; an error if they are not pictures in [0, 1]."""
    if frames.ndim != 4 or frames.shape[1] != 3:
        raise UserError(f"{what}: expected frames (N, 3, H, W), found {tuple(frames.shape)}")
    frames = frames.to(tools.device, torch.float32)
    bad = ~torch.isfinite(frames).flatten(1).all(1)
    if bad.any():
        raise UserError(f"{what}: frame {first + int(bad.nonzero()[0])} contains NaN")
    if len(frames) and (frames.min() < -1e-3 or frames.max() > 1 + 1e-3):
        low, high = float(frames.min()), float(frames.max())
        raise UserError(f"{what}: values from {low:.3g} to {high:.3g}; frames must be in [0, 1]")
    return frames


def summary(values: np.ma.MaskedArray) -> dict[str, float]:
    """Sum over the measured frames, their number, and the number of missed ones."""
    present = values.compressed()
    seen = present[~np.isnan(present)]
    return {"sum": math.fsum(seen), "n": len(seen), "missed": int(np.isnan(present).sum())}


def _listed(values: np.ma.MaskedArray) -> list[float | None]:
    return [None if value is np.ma.masked else float(value) for value in values]


def _described(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{role} {shape[0]} of {shape[3]}x{shape[2]}" for role, shape in shapes.items())
