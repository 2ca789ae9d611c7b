"""A picture that follows a camera, frame by frame."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data.faces.crop import Crop, crop_picture
from data.faces.landmarks import build_detector, detector_settings
from grimace import Model

WEIGHT = 0.2
"""Weight of the newest frame in the meter's moving mean."""
OF_FILES = {"crop_video", "find_best_frame", "best_frame", "fps", "audio", "quality"}
"""Options that need a driving video in a file."""


class Meter:
    """Frames per second, a moving mean."""

    def __init__(self) -> None:
        self.between: float | None = None
        self.working: float | None = None
        self._last: float | None = None

    def add(self, began: float, ended: float) -> None:
        """Count a frame that was processed from `began` to `ended`, in seconds."""
        if self._last is not None:
            self.between = _mixed(self.between, ended - self._last)
        self.working, self._last = _mixed(self.working, ended - began), ended

    def line(self) -> str:
        """The meter as Markdown."""
        if not self.between or not self.working:
            return "waiting for frames"
        return f"**{1 / self.between:.1f} frames/s** ({1000 * self.working:.0f} ms of work for each)"


def _mixed(mean: float | None, value: float) -> float:
    return value if mean is None else (1 - WEIGHT) * mean + WEIGHT * value


class Live:
    """A picture, encoded once, and the frames that drive it: the square around the face of the first one with a face
    is cut out of all of them."""

    def __init__(self, model: Model, source: Path, options: Mapping[str, Any]):
        chosen = {name: value for name, value in options.items() if name not in OF_FILES}
        self.model, self.meter = model, Meter()
        self.encoded = model.encode(source, **chosen | {"crop_video": False})
        self._detector = build_detector(**detector_settings(model.options))
        self._crop: Crop | None = None

    def step(self, frame: np.ndarray) -> np.ndarray | None:
        """Animate the next frame (H, W, 3); None until a face was found."""
        began = time.monotonic()
        if self._crop is None or tuple(self._crop.frame_size) != frame.shape[:2]:
            self._find(frame)
        if self._crop is None:
            return None
        result = self.model.step(self.encoded, self._crop.apply(frame))
        self.meter.add(began, time.monotonic())
        return result

    def restart(self) -> None:
        """Detect the face again, and use the next frame as the neutral one."""
        self._crop = None
        self.encoded.restart()

    def _find(self, frame: np.ndarray) -> None:
        (faces,) = self._detector.detect([frame])
        self._crop = crop_picture(frame, faces) if faces else None
        self.encoded.restart()
