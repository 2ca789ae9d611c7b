"""Base class of metrics: definition as data, values per frame, results per video and in total."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import torch

    from metrics.parts.streams import Stream
    from metrics.parts.tools import Tools

RESULT, REPEATED, REPLAYED, TRUTH = "result", "first frame repeated", "driving video replayed", "truth"
ROWS = (RESULT, REPEATED, REPLAYED, TRUTH)
"""The rows of a table: the result, and baselines. They show how a metric rates a still picture and the truth itself."""
Columns = dict[str, np.ndarray]
"""Column -> a value per frame (N,). NaN: missed (the result shows no face). Masked: nothing to measure."""


@dataclass(frozen=True)
class Video:
    """Facts of a result that are known before its frames."""

    name: str
    fps: Fraction = Fraction(25)
    files: Mapping[str, Path] = field(default_factory=dict)
    """Role (result, truth, driving, source) -> the file or folder of its frames, if there is one."""


STILL, TRUE = "still", "true"
Motion: TypeAlias = "torch.Tensor | str | None"


@dataclass
class Batch:
    """Consecutive frames of one video, as streams."""

    result: Stream
    truth: Stream | None = None
    driving: Stream | None = None
    source: Stream | None = None
    first: int = 0
    """Index of the first frame."""
    motion: Motion = None
    """The motion that produced these frames: (N, h, w, 2), the source position of each pixel; x and y in [-1, 1]
    between the centres of the outermost pixels. STILL and TRUE mark the motion of control rows."""

    def __len__(self) -> int:
        return len(self.result)

    def either(self, one: str, other: str) -> Stream:
        """The stream of the first available role: `need` "truth|driving" accepts either."""
        return getattr(self, other) if getattr(self, one) is None else getattr(self, one)


class Metric:
    """One named definition. An instance measures one video after the other and keeps nothing between videos.

    To add a metric, write one file in metrics/ with one subclass per variant.
    """

    name: str = ""
    says: str = ""
    """Short definition for tables and --list."""
    used_by: str = "this project"
    unit: str = ""
    better: str = "lower"
    """"lower", "higher" or "like truth"."""
    needs: tuple[str, ...] = ("truth",)
    """The videos that the result is compared with."""
    tables: tuple[str, ...] = ()
    """Options that name the tables it reads (metrics.parts.tables.TABLES); it needs all of them."""
    in_time: bool = False
    """Whether it compares successive frames, and so needs every frame of a video."""
    of_motion: bool = False
    """Whether it measures the model's dense motion; protocols skip it where that is not known."""
    is_group: bool = False
    """Whether the metrics of this base name form a group that can be requested by it."""
    settings: Mapping[str, Any] = {}
    """Constants of the definition."""
    libraries: tuple[str, ...] = ()
    """Packages whose version affects the values."""
    ratios: Mapping[str, tuple[str, str]] = {}
    """Column of a ratio -> the columns whose means are divided, per video and in total."""

    def __init__(self, tools: Tools):
        """Load networks and detectors through `tools`, which metrics share and which verifies weights."""
        self.tools = tools

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of `update`, the main one first."""
        return (self.name,)

    def weights(self) -> Mapping[str, Path]:
        """Files that the metric loads, by purpose; their hashes become part of the definition."""
        return {}

    def begin(self, video: Video) -> None:
        """Start a new video."""

    def update(self, batch: Batch) -> Columns:
        """The values of the next frames."""
        raise NotImplementedError

    def finish(self) -> dict[str, float]:
        """Values of the whole video that are no means over its frames."""
        return {}

    def totals(self, videos: list[Mapping[str, float]]) -> dict[str, float]:
        """Totals that are no means over frames or videos, from the values that `finish` returned for each video."""
        return {}


class SetMetric(Metric):
    """A metric over all frames, without values per frame. Its state has a fixed size and merges exactly."""

    def update(self, batch: Batch) -> Columns:
        """Add the next frames; returns no columns."""
        self.gather(batch)
        return {}

    @property
    def columns(self) -> tuple[str, ...]:
        """None: this metric has no value per frame."""
        return ()

    def gather(self, batch: Batch) -> None:
        """Add the next frames to the state."""
        raise NotImplementedError

    def state(self) -> dict[str, np.ndarray]:
        """The state, for merging in another process."""
        raise NotImplementedError

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Merge a state of another process; the order does not affect the result."""
        raise NotImplementedError

    def total(self) -> tuple[float, int]:
        """The value, and its number of frames or clips."""
        raise NotImplementedError


def sets(metrics: Iterable[Metric]) -> list[SetMetric]:
    """The metrics without values per frame."""
    return [metric for metric in metrics if isinstance(metric, SetMetric)]


def masked(values: np.ndarray, measurable: np.ndarray) -> np.ma.MaskedArray:
    """Only the values of frames with something to measure."""
    return np.ma.MaskedArray(np.asarray(values, np.float64), mask=~np.asarray(measurable, bool))
