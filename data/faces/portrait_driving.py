"""LivePortrait's driving input: a video, a picture, or a motion template."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.base import Preview, as_tensor
from data.faces.crop import from_left
from data.faces.detector import Detector
from data.faces.portrait_crop import Square, common_square, openness, preview_of
from data.faces.portrait_source import to_tensor
from data.video.images import is_image
from data.video.opening import open_steady
from data.video.reader import Timeline, frame_rate, stored_rate
from util.errors import UserError
from util.motion_template import MotionTemplate, is_template, items_of, read_template

log = logging.getLogger(__name__)


class DrivingTemplate:
    """A motion template."""

    is_picture, has_sound = False, False

    def __init__(self, path: Path, fps: Fraction | float | None = None):
        """`fps` is the rate that the result has; None: the template's own."""
        self.path = path
        self.template: MotionTemplate = read_template(path)
        own, count = stored_rate(path, str(self.template.fps)), len(self.template)
        self.fps = own if fps is None else frame_rate(fps)
        timeline = Timeline(np.arange(count, dtype=np.int64), count, 1 / own)
        self.frames = np.arange(count) if self.fps == own else timeline.frames_at(self.fps)
        self.length = len(self.frames)

    def items(self) -> Iterator[dict[str, Any]]:
        """The driving items, frame by frame."""
        return iter(items_of(self.template, self.frames))

    def item(self, index: int) -> dict[str, Any]:
        """One of them."""
        return next(iter(items_of(self.template, self.frames[index : index + 1])))

    def preview(self, detector: Detector) -> None:
        """Nothing: there are no pictures."""

    @property
    def points(self) -> np.ndarray:
        raise UserError(f"{self.path}: a motion template has no pictures in which to detect faces")


@dataclass(frozen=True)
class DrivingSettings:
    """How driving videos are read and cut: the options of these names."""

    fps: float | None
    crop_image: bool | None
    crop_video: bool | None
    driving_crop_scale: float
    driving_crop_shift: Sequence[float]
    input_size: int = 256


class DrivingFrames:
    """A video or a picture, read again at each iteration."""

    def __init__(
        self,
        path: Path,
        settings: DrivingSettings,
        find: Callable[..., np.ndarray],
        fps: Fraction | None,
        needs_openness: bool | None,
    ):
        """`find` gives the landmarks (N, P, 2) of the face in all frames; `fps` is the rate that the result has.

        `needs_openness`: whether items tell how far eyes and lips are open; None: where a face is found.
        """
        self.path, self.settings, self.size = path, settings, settings.input_size
        self._find, self.needs_openness = find, needs_openness
        if not path.exists():
            raise UserError(f"--driving_video {path}: no such file")
        self.is_picture = path.is_file() and is_image(path)
        self.rate = None if self.is_picture else settings.fps or fps
        with open_steady(path, self.rate) as video:
            self.fps, self.length, self.frame_size = Fraction(video.fps), len(video), video.size
            self.has_sound = video.has_audio

    @cached_property
    def points(self) -> np.ndarray:
        """Landmarks of the face in all frames."""
        return self._find(self.path, self.rate, "--driving_video")

    @cached_property
    def openness(self) -> np.ndarray | None:
        """How far left eye, right eye and lips are open in all frames, (N, 3), if known."""
        if self.needs_openness is False:
            return None
        try:
            return openness(self.points)
        except UserError as error:
            if self.needs_openness:
                raise
            log.warning("%s: the motion template will lack the openness of eyes and lips", error)
            return None

    @cached_property
    def square(self) -> Square | None:
        """One square for all frames, if requested or if frames are not square."""
        wanted = self.settings.crop_video
        if wanted is None:
            wanted = self.frame_size[0] != self.frame_size[1] and self.settings.crop_image is not False
        if not wanted:
            return None
        return common_square(self.points, self.settings.driving_crop_scale, self.settings.driving_crop_shift)

    def items(self) -> Iterator[dict[str, Any]]:
        """The driving items, frame by frame."""
        with open_steady(self.path, self.rate) as video:
            for index, frame in enumerate(video):
                yield self._item(frame, index)

    def item(self, index: int) -> dict[str, Any]:
        """One of them."""
        with open_steady(self.path, self.rate) as video:
            return self._item(video[index], index)

    def preview(self, detector: Detector) -> Preview:
        """What of its first frame the networks get."""
        with open_steady(self.path, self.rate) as video:
            frame = video[0]
        (faces,) = detector.clip(self.path.name).detect([frame])
        return preview_of(frame, [face.box for face in from_left(faces)], self.square, self._small(frame))

    def _small(self, frame: np.ndarray) -> np.ndarray:
        if self.square is not None:
            frame = self.square.cut(frame, 2 * self.size)
        if frame.shape[:2] != (self.size, self.size):
            frame = cv2.resize(frame, (self.size, self.size), interpolation=cv2.INTER_LINEAR)
        return frame

    def _item(self, frame: np.ndarray, index: int) -> dict[str, Any]:
        frame = self._small(frame)
        known = {} if self.openness is None else {"openness": as_tensor(self.openness[index])}
        return {"image": to_tensor(frame)} | known


Driving = DrivingFrames | DrivingTemplate


def open_driving(
    path: Path,
    settings: DrivingSettings,
    find: Callable[..., np.ndarray],
    fps: Fraction | None,
    needs_openness: bool | None,
) -> Driving:
    """A template by its name, else frames; arguments as DrivingFrames takes them."""
    if is_template(path):
        return DrivingTemplate(path, settings.fps or fps)
    return DrivingFrames(path, settings, find, fps, needs_openness)
