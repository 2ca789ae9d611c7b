"""Jitter of the landmarks."""

import numpy as np

from metrics.akd import AkdDlib
from metrics.metric import Batch, Columns, Video, masked
from metrics.parts.landmarks import found, scaled
from metrics.parts.streams import Stream


class Jitter(AkdDlib):
    """Length of the second difference of the landmarks. Detectors jitter too, so compare with the truth's value."""

    name = "jitter"
    says = "mean length of p[t+1] - 2 p[t] + p[t-1] over dlib's 68 points"
    better = "like truth"
    needs = ("truth|driving",)
    in_time = True
    ratios = {"jitter.ratio": ("jitter", "jitter.truth")}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the result and of the truth (or the driving video)."""
        return self.name, f"{self.name}.truth"

    def begin(self, video: Video) -> None:
        """Forget the previous frames of the last video."""
        self._before = {name: np.full((2, 68, 2), np.nan) for name in self.columns}
        self._seen = 0

    def update(self, batch: Batch) -> Columns:
        """The jitter per frame, from the two frames before; the first two frames are not measured."""
        streams = zip(self.columns, (batch.result, batch.either("truth", "driving")), strict=True)
        values = {name: self._acceleration(name, stream) for name, stream in streams}
        measurable = np.arange(self._seen, self._seen + len(batch)) >= 2
        self._seen += len(batch)
        known = found(values[self.columns[1]])
        return {name: masked(column, measurable & known) for name, column in values.items()}

    def _acceleration(self, name: str, stream: Stream) -> np.ndarray:
        points = np.concatenate([self._before[name], scaled(stream.find(self.kind), stream.height)])
        self._before[name] = points[-2:]
        return np.linalg.norm(points[2:] - 2 * points[1:-1] + points[:-2], axis=-1).mean(-1)
