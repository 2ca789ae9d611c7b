"""The interface of all videos, and the videos made of pictures."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np

from data.video.images import list_images, read_image, read_image_and_text
from util.errors import UserError

DEFAULT_RATE = Fraction(25)
"""Frames per second of videos without a rate: folders of frames and strips."""
RATE_TEXT = "fps"
"""Name of the text field that stores the rate in PNG frames that we write."""


def frame_rate(value: Fraction | float | str) -> Fraction:
    """A rate as a fraction of reasonable terms: 29.97 and "30000/1001" are both 30000/1001."""
    try:
        rate = Fraction(value)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise UserError(f"'{value}' is not a frame rate such as 25 or 30000/1001") from None
    if not 0 < rate <= 1000:
        raise UserError(f"{value} frames per second: the rate must be above 0 and at most 1000")
    for usual in (Fraction(round(rate)), Fraction(round(rate * 1001 / 1000) * 1000, 1001)):
        # Rates averaged over a container's rounded times lie this close to the true one.
        if abs(usual - rate) <= rate / 50_000:
            return usual
    return rate.limit_denominator(1001) or rate


@dataclass(frozen=True)
class Timeline:
    """When each frame is shown: times in units of `unit` seconds, first frame at 0, last frame gone at `end`."""

    times: np.ndarray
    end: int
    unit: Fraction

    @property
    def is_variable(self) -> bool:
        """Whether a constant rate would show some frame more than half a frame too early or too late."""
        even = np.arange(len(self.times)) * (self.end / len(self.times))
        return bool(np.abs(self.times - even).max() > 0.5 * self.end / len(self.times))

    def frames_at(self, fps: Fraction) -> np.ndarray:
        """For each frame of a video at a constant rate, the index of the frame to show.

        It is the one on display in the middle of the new frame's time, which drifts neither way and does not tremble
        where the old and the new rate are nearly the same.
        """
        ticks = 2 * fps * self.unit
        count = max(1, -(-(2 * self.end * fps * self.unit - 1) // 2))
        middles = (2 * np.arange(count, dtype=np.int64) + 1) * ticks.denominator // ticks.numerator
        return np.maximum(np.searchsorted(self.times, middles, side="right") - 1, 0)


class Video(Sequence):
    """Frames (H, W, 3) uint8 RGB, read on demand: in order by iteration, any one by index.

    A video can be pickled and used in the worker processes of a loader; each process opens the file for itself.
    """

    path: Path
    fps: Fraction
    size: tuple[int, int]
    """(height, width)"""
    has_audio: bool = False

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> np.ndarray:
        """The frame at a valid index."""

    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self.read(position) for position in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"frame {index} of {self.path}, which has {len(self)}")
        return self.read(position)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.read(position) for position in range(len(self)))

    def timeline(self) -> Timeline:
        """When each frame is shown."""
        return Timeline(np.arange(len(self), dtype=np.int64), len(self), 1 / self.fps)

    @property
    def is_variable(self) -> bool:
        """Whether frame durations differ: then `fps` is an average or nominal, and `open_steady` keeps sync."""
        return False

    @property
    def duration(self) -> Fraction:
        """Length in seconds."""
        timeline = self.timeline()
        return timeline.end * timeline.unit

    def close(self) -> None:
        """Close the file; the video stays usable and reopens it."""

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def __repr__(self) -> str:
        height, width = self.size
        return f"{type(self).__name__}({str(self.path)!r}, {width}x{height}, {float(self.fps):g} fps)"


class Resampled(Video):
    """A video resampled to a constant rate: frames are repeated or dropped, the duration stays."""

    def __init__(self, source: Video, fps: Fraction):
        self.source, self.fps = source, fps
        self.path, self.size, self.has_audio = source.path, source.size, source.has_audio

    @cached_property
    def _frames(self) -> np.ndarray:
        return self.source.timeline().frames_at(self.fps)

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, index: int) -> np.ndarray:
        return self.source[int(self._frames[index])]

    def __iter__(self) -> Iterator[np.ndarray]:
        repeats = np.bincount(self._frames)
        for frame, count in zip(self.source, repeats, strict=False):
            for copy in range(count):
                yield frame.copy() if copy else frame

    def close(self) -> None:
        self.source.close()


def stored_rate(path: Path, value: str) -> Fraction:
    """The frame rate that a file stores."""
    try:
        return frame_rate(value)
    except UserError as error:
        raise UserError(f"{path}: damaged: {error}") from None


class FrameFolder(Video):
    """A folder of pictures of one size, in natural order."""

    def __init__(self, path: Path, fps: Fraction | None = None):
        self.path = path
        self.files = list_images(path)
        if not self.files:
            raise UserError(f"{path}: no pictures in this folder; use a video file, or a folder of png, jpg or bmp")
        first, text = read_image_and_text(self.files[0])
        self.size = first.shape[:2]
        self.fps = stored_rate(self.files[0], text[RATE_TEXT]) if RATE_TEXT in text else fps or DEFAULT_RATE

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> np.ndarray:
        frame = read_image(self.files[index])
        if frame.shape[:2] != self.size:
            raise UserError(
                f"{self.files[index]}: {frame.shape[1]}x{frame.shape[0]}, but the folder's first picture is "
                f"{self.size[1]}x{self.size[0]}; resize all frames to one size"
            )
        return frame


class Strip(Video):
    """One picture with the frames of a video side by side; an ordinary picture is a strip of one frame."""

    def __init__(self, path: Path, fps: Fraction | None = None, frame_width: int | None = None):
        self.path = path
        picture, text = read_image_and_text(path)
        height, width = picture.shape[:2]
        if frame_width is None:
            # A picture several times as wide as high, exactly, is square frames in a row.
            frame_width = height if width % height == 0 else width
        if not 0 < frame_width <= width or width % frame_width:
            raise UserError(f"{path}: its width {width} is not a multiple of the frame width {frame_width}")
        self.size = height, frame_width
        self.fps = stored_rate(path, text[RATE_TEXT]) if RATE_TEXT in text else fps or DEFAULT_RATE
        self._count = width // frame_width
        self._picture: np.ndarray | None = picture

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> np.ndarray:
        if self._picture is None:
            self._picture = read_image(self.path)
        width = self.size[1]
        return self._picture[:, index * width : (index + 1) * width].copy()

    def close(self) -> None:
        self._picture = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_picture": None}
