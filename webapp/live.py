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
"""Of the newest frame in the mean of the meter."""
OF_FILES = {"crop_video", "find_best_frame", "best_frame", "fps", "audio", "quality"}
"""Options that mean a driving video in a file."""


class Meter:
    """Frames per second, a moving mean."""

    def __init__(self) -> None:
        self.between: float | None = None
        self.working: float | None = None
        self._last: float | None = None

    def add(self, began: float, ended: float) -> None:
        """A frame that was worked on from one moment to another, in seconds."""
        if self._last is not None:
            self.between = _mixed(self.between, ended - self._last)
        self.working, self._last = _mixed(self.working, ended - began), ended

    def line(self) -> str:
        """The meter for people."""
        if not self.between or not self.working:
            return "waiting for frames"
        return f"**{1 / self.between:.1f} frames/s** ({1000 * self.working:.0f} ms of work for each)"


def _mixed(mean: float | None, value: float) -> float:
    return value if mean is None else (1 - WEIGHT) * mean + WEIGHT * value


class Live:
    """A picture, encoded once, and the frames that drive it: the square around the face of the first one with a face
    is cut out of all of them."""

    def __init__(self, model: Model, source: Path, options: Mapping[str, Any]):
        said = {name: value for name, value in options.items() if name not in OF_FILES}
        self.model, self.meter = model, Meter()
        self.encoded = model.encode(source, **said | {"crop_video": False})
        self._detector = build_detector(**detector_settings(model.options))
        self._crop: Crop | None = None

    def step(self, frame: np.ndarray) -> np.ndarray | None:
        """What one more frame (H, W, 3) makes; None while no face was seen."""
        began = time.monotonic()
        if self._crop is None or tuple(self._crop.frame_size) != frame.shape[:2]:
            self._find(frame)
        if self._crop is None:
            return None
        made = self.model.step(self.encoded, self._crop.apply(frame))
        self.meter.add(began, time.monotonic())
        return made

    def restart(self) -> None:
        """Look for the face anew, and take the next frame for the one at rest."""
        self._crop = None
        self.encoded.restart()

    def _find(self, frame: np.ndarray) -> None:
        (faces,) = self._detector.detect([frame])
        self._crop = crop_picture(frame, faces) if faces else None
        self.encoded.restart()
