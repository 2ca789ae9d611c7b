"""What every metric provides: its definition as data, values per frame, results per video and in total."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import torch

    from metrics.parts.streams import Stream
    from metrics.parts.tools import Tools

Columns = dict[str, np.ndarray]
"""Column -> a value per frame (N,). NaN: missed (the result shows no face). Masked: nothing to measure there."""


@dataclass(frozen=True)
class Video:
    """What is known of a result before its frames come."""

    name: str
    fps: Fraction = Fraction(25)
    files: Mapping[str, Path] = field(default_factory=dict)
    """Role (result, truth, driving, source) -> the file or folder its frames come from, where there is one."""


STILL, TRUE = "still", "true"
Motion: TypeAlias = "torch.Tensor | str | None"


@dataclass
class Batch:
    """Consecutive frames of one video, as the streams that show them."""

    result: Stream
    truth: Stream | None = None
    driving: Stream | None = None
    source: Stream | None = None
    first: int = 0
    """Number of the first frame."""
    motion: Motion = None
    """What made these frames: (N, h, w, 2) where in the source each pixel is from, x and y in [-1, 1] between the
    middles of the outermost pixels. STILL and TRUE stand for the motion of the control rows."""

    def __len__(self) -> int:
        return len(self.result)

    def either(self, one: str, other: str) -> Stream:
        """The first of two videos that there is: `need` "truth|driving" says that one is."""
        return getattr(self, other) if getattr(self, one) is None else getattr(self, one)


class Metric:
    """One named definition. An instance measures one video after the other; between videos it keeps nothing.

    To add a metric, write one file in metrics/ with one subclass per variant.
    """

    name: str = ""
    says: str = ""
    """The definition in half a sentence."""
    used_by: str = "this project"
    unit: str = ""
    better: str = "lower"
    """"lower", "higher" or "like truth"."""
    needs: tuple[str, ...] = ("truth",)
    """The videos it compares the result with."""
    tables: tuple[str, ...] = ()
    """Options that name what it reads beside the frames (metrics.parts.tables.TABLES); it needs all of them."""
    in_time: bool = False
    """Whether it compares successive frames, so that it needs every frame of a video."""
    is_group: bool = False
    """Whether all metrics of this base name belong together and may be asked for by it."""
    settings: Mapping[str, Any] = {}
    """Constants of the definition."""
    libraries: tuple[str, ...] = ()
    """Packages whose version changes the values."""
    ratios: Mapping[str, tuple[str, str]] = {}
    """Column of a ratio -> the columns whose means are divided, per video and in total."""

    def __init__(self, tools: Tools):
        """Load what is needed through `tools`, which share it with other metrics and check weights."""
        self.tools = tools

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of `update`, the main one first."""
        return (self.name,)

    def weights(self) -> Mapping[str, Path]:
        """What is loaded from files: what for -> the file; their hashes become part of the definition."""
        return {}

    def begin(self, video: Video) -> None:
        """A video begins; forget the last one."""

    def update(self, batch: Batch) -> Columns:
        """The values of the next frames."""
        raise NotImplementedError

    def finish(self) -> dict[str, float]:
        """Values of the whole video that are no means over its frames."""
        return {}

    def totals(self, videos: list[Mapping[str, float]]) -> dict[str, float]:
        """Totals that are no means over frames or videos, from what `finish` returned for each video."""
        return {}


class SetMetric(Metric):
    """A metric of all frames together, which has no value per frame. Its state has a fixed size and merges exactly."""

    def update(self, batch: Batch) -> Columns:
        """Take the next frames in; no columns."""
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
        """What has been gathered so far, to be merged elsewhere."""
        raise NotImplementedError

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Add what another process has gathered: the order of merging does not change the result."""
        raise NotImplementedError

    def total(self) -> tuple[float, int]:
        """The value, and of how many frames or clips it is."""
        raise NotImplementedError


def masked(values: np.ndarray, measurable: np.ndarray) -> np.ma.MaskedArray:
    """Values of the frames in which there is something to measure."""
    return np.ma.MaskedArray(np.asarray(values, np.float64), mask=~np.asarray(measurable, bool))
