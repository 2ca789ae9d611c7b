"""A streaming Rauch-Tung-Striebel (Kalman) smoother: it emits a frame once enough later frames are known."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

NEGLIGIBLE = 1e-9
"""Later frames with a smaller weight are not waited for."""


class Waiting(NamedTuple):
    """The state of the smoother."""

    seen: int
    """Number of received frames."""
    filtered: Tensor
    """Filtered estimates (W, C) of the last W frames, which wait for later ones."""
    means: tuple[Tensor, ...]
    """The newest estimate (1, C) of each series, the oldest of them first."""


class KalmanSmoother:
    """Random walk with variance `process` per frame, observed with variance `observation`; starts at the first value.

    `look_ahead`: number of later frames that affect each frame. By default so many that the others have a negligible
    weight; math.inf waits for all. `series`: number of series whose rows take turns, e.g. of the faces of a picture.
    """

    def __init__(
        self, observation: float = 3e-7, process: float = 1e-5, look_ahead: float | None = None, series: int = 1
    ):
        self.process, self.observation, self.series = process, observation, series
        self._variances: list[tuple[float, float]] = []
        self.look_ahead = self._enough() if look_ahead is None else look_ahead

    def push(self, waiting: Waiting | None, rows: Tensor) -> tuple[Waiting, Tensor]:
        """Add numbers (N, C); returns the next state and the smoothed numbers that are ready (n, C)."""
        rows = rows.double()
        if waiting is None:
            waiting = Waiting(0, rows[:0], ())
        means, estimates = list(waiting.means), [waiting.filtered]
        for index, value in enumerate(rows.split(1), waiting.seen):
            before, _ = self._variance(index)
            # m_i = m_{i-1} + g (z_i - m_{i-1}), with the gain g = P- / (P- + r)
            mean = means.pop(0) if index >= self.series else value
            means.append(mean + before / (before + self.observation) * (value - mean))
            estimates.append(means[-1])
        seen, filtered = waiting.seen + len(rows), torch.cat(estimates)
        kept = self.look_ahead * self.series
        ready = max(0, len(filtered) - kept) if math.isfinite(kept) else 0
        smoothed = self._backwards(filtered, seen - len(filtered), ready)
        return Waiting(seen, filtered[ready:], tuple(means)), smoothed

    def finish(self, waiting: Waiting, max_frames: int) -> tuple[Waiting, Tensor]:
        """At most this many of the pending numbers, when no more come."""
        first = waiting.seen - len(waiting.filtered)
        smoothed = self._to_end(waiting.filtered, first)
        return waiting._replace(filtered=waiting.filtered[max_frames:]), smoothed[:max_frames]

    def _backwards(self, filtered: Tensor, first: int, ready: int) -> Tensor:
        """Smoothed numbers of the first `ready` rows, each from exactly `look_ahead` later ones."""
        if not ready:
            return filtered[:0]
        *earlier, last = (ahead * self.series for ahead in range(self.look_ahead + 1))
        smoothed = filtered[last : last + ready]
        for start in reversed(earlier):
            own = filtered[start : start + ready]
            weights = own.new_tensor([self._weight(first + start + i) for i in range(ready)])
            # y_i = m_i + P_i / P-_{i+1} (y_{i+1} - m_i)
            smoothed = own + weights[:, None] * (smoothed - own)
        return smoothed

    def _to_end(self, filtered: Tensor, first: int) -> Tensor:
        smoothed = list(filtered.split(1))
        for i in reversed(range(len(smoothed) - self.series)):
            own = smoothed[i]
            smoothed[i] = own + self._weight(first + i) * (smoothed[i + self.series] - own)
        return torch.cat(smoothed)

    def _weight(self, index: int) -> float:
        return self._variance(index)[1] / self._variance(index + self.series)[0]

    def _variance(self, index: int) -> tuple[float, float]:
        """Variance of a row's estimate before and after its own value is known."""
        index, known = index // self.series, self._variances
        while len(known) <= index and not (len(known) > 1 and known[-1] == known[-2]):
            before = known[-1][1] + self.process if known else 1.0
            known.append((before, (1 - before / (before + self.observation)) * before))
        return known[min(index, len(known) - 1)]

    def _enough(self) -> int:
        weight, frames = 1.0, 0
        while weight > NEGLIGIBLE:
            frames += 1
            weight *= self._weight(frames * self.series)
        return frames


def build_smoother(
    wanted: bool | None,
    variance: float,
    look_ahead: float | None,
    source_video: bool,
    driving_picture: bool,
    faces: int,
) -> KalmanSmoother | None:
    """The requested smoother; by default, as in the original, one for source videos driven by videos."""
    if wanted is None:
        wanted = source_video and not driving_picture
    return KalmanSmoother(variance, look_ahead=look_ahead, series=faces) if wanted else None
