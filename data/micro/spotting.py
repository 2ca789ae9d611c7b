"""How far a face has moved in each frame since the first, in a driving video and in the result."""

from pathlib import Path
from typing import Any

import numpy as np

from data.micro.curves import Marks, correlation, movement_chart, smoothed
from data.video.images import write_image
from util.resizing import to_bytes

MARGIN = 0.15
"""By how much of its size the box around the points of a face is widened."""
MIN_SIDE = 256
"""Smaller pictures are enlarged: the flow's patches are 8 pixels wide."""


class Movement:
    """Mean length of the optical flow in the face since the first frame, without the shift of the whole head."""

    def __init__(self, points: np.ndarray):
        """`points` (18, 2) locate the face."""
        import cv2

        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._points, self._first = points, None
        self.curve: list[float] = []

    def add(self, frame: np.ndarray) -> None:
        """The next frame (H, W, 3) in bytes."""
        import cv2

        grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
        scale = max(1.0, MIN_SIDE / min(grey.shape))
        if scale > 1:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        self._first = grey if self._first is None else self._first
        left, top, right, bottom = self._box(scale, grey.shape)
        flow = self._flow.calc(self._first, grey, None)[top:bottom, left:right].reshape(-1, 2)
        # The head drifts as a whole; the median is its shift, since an expression hardly moves most pixels.
        own = flow - np.median(flow, axis=0)
        self.curve.append(float(np.linalg.norm(own, axis=1).mean() / scale))

    def _box(self, scale: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
        low, high = self._points.min(0), self._points.max(0)
        low, high = low - MARGIN * (high - low), high + MARGIN * (high - low)
        (left, top), (right, bottom) = (np.rint(corner * scale).astype(int) for corner in (low, high))
        left, top = min(max(left, 0), size[1] - 1), min(max(top, 0), size[0] - 1)
        return left, top, max(right, left + 1), max(bottom, top + 1)


class SpottingPlot:
    """Writes the movement of a driving clip and of its result as one picture when both are complete."""

    def __init__(self, path: Path, source: np.ndarray, coded: Marks | None = None):
        """`source` are the points of the source's face; `coded` marks are drawn too, in grey."""
        self.path, self._source, self._coded = path, source, coded
        self._driving: Movement | None = None
        self._result = Movement(source)

    def __enter__(self) -> "SpottingPlot":
        return self

    def write(self, item: dict[str, Any], generated: np.ndarray) -> None:
        """One frame: its driving item and the picture that was made."""
        if self._driving is None:
            self._driving = Movement(item["keypoint"].numpy())
        self._driving.add(to_bytes(item["image"].float().numpy().transpose(1, 2, 0)))
        self._result.add(generated)

    def __exit__(self, kind: Any, *error: Any) -> None:
        if kind is None and self._driving is not None:
            write_image(self.path, self._picture())

    def _picture(self) -> np.ndarray:
        driving, result = self._driving.curve, self._result.curve
        peaks = [float(smoothed(curve).max()) for curve in (driving, result)]
        labels = [f"alike in form: {correlation(driving, result):.2f}"]
        if peaks[0] > 0:
            labels.insert(0, f"result / driving at the apex: {peaks[1] / peaks[0]:.2f}")
        unit = f"mean flow since the first frame, pixels       {';  '.join(labels)}"
        return movement_chart(_name(self.path), unit, {"driving": driving, "result": result}, self._coded)


def _name(path: Path) -> str:
    return path.stem.removesuffix("_spotting")
