"""Augmentations of the first order motion model: the same random parameters for all frames of a sample."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from util.resizing import axis_choice, picked, resize, to_bytes, to_floats

Frames = list[np.ndarray]
"""Pictures (H, W, 3), bytes or floats in [0, 1]."""
EXACT_OPENCV = 5
"""The version of OpenCV from which on its warps are exact."""
ADJUSTMENTS = ("brightness", "saturation", "hue", "contrast")


@dataclass(frozen=True)
class Augmentation:
    """Flip, rotation, resize, crop and jitter, in this order; each only if it is set."""

    time_flip: bool = False
    horizontal_flip: bool = False
    degrees: tuple[float, float] | None = None
    resize_ratio: tuple[float, float] | None = None
    interpolation: str = "nearest"
    crop_size: tuple[int, int] | None = None
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    @property
    def moves_pixels(self) -> bool:
        """Whether more than flips changes where things are in a picture."""
        return bool(self.degrees or self.resize_ratio or self.crop_size)

    def __call__(self, frames: Frames) -> Frames:
        return self.after_flip(flip(frames, self.draw_flip()))

    def draw_flip(self) -> str | None:
        """Which flip a sample gets, for callers that flip more than frames."""
        return draw_flip(self.time_flip, self.horizontal_flip)

    def after_flip(self, frames: Frames) -> Frames:
        """All that follows the flip."""
        if self.degrees:
            # Rounded at once where jitter rounds in any case.
            kept = frames if self._jitters else [to_floats(frame) for frame in frames]
            frames = rotate(kept, random.uniform(*self.degrees))
        if self.resize_ratio:
            frames = rescale(frames, random.uniform(*self.resize_ratio), self.interpolation)
        if self.crop_size:
            frames = crop(frames, self.crop_size)
        return jitter(frames, self._draw_adjustments())

    @property
    def _jitters(self) -> bool:
        return any(getattr(self, name) > 0 for name in ADJUSTMENTS)

    def _draw_adjustments(self) -> list[tuple[str, float]]:
        drawn = {
            name: random.uniform(max(0.0, 1 - spread), 1 + spread)
            for name in ("brightness", "contrast", "saturation")
            if (spread := getattr(self, name)) > 0
        }
        if self.hue > 0:
            drawn["hue"] = random.uniform(-self.hue, self.hue)
        adjustments = [(name, drawn[name]) for name in ADJUSTMENTS if name in drawn]
        random.shuffle(adjustments)
        return adjustments


def draw_flip(time_flip: bool, horizontal_flip: bool, draw: Callable[[], float] = random.random) -> str | None:
    """Which flip a sample gets: "time" in half of the cases, else "mirror" in half of the rest, if they are wanted."""
    if draw() < 0.5 and time_flip:
        return "time"
    return "mirror" if draw() < 0.5 and horizontal_flip else None


def flip(frames: Frames, kind: str | None) -> Frames:
    """Reverse the order of the frames, or mirror them, or neither."""
    if kind == "time":
        return frames[::-1]
    return [mirror(frame) for frame in frames] if kind == "mirror" else frames


def mirror(frame: np.ndarray) -> np.ndarray:
    """A frame (H, W, C), left to right."""
    import cv2

    # A strided copy of NumPy takes thirty times as long.
    return cv2.flip(np.ascontiguousarray(frame), 1).reshape(frame.shape)


def rotate(frames: Frames, degrees: float) -> Frames:
    """Turn counter-clockwise about the centre, bilinearly, zeros outside; bytes are rounded."""
    import cv2

    if int(cv2.__version__.split(".")[0]) < EXACT_OPENCV:
        return _rotated_exactly(frames, degrees)
    height, width = frames[0].shape[:2]
    # OpenCV turns about a pixel's centre: the middle of the picture is half a pixel before half its size.
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return [cv2.warpAffine(frame, matrix, (width, height), flags=cv2.INTER_LINEAR) for frame in frames]


def _rotated_exactly(frames: Frames, degrees: float) -> Frames:
    """The same by PyTorch, four times as slow: OpenCV 4 rounds positions to 1/32 of a pixel."""
    import torch
    import torch.nn.functional as F

    height, width = frames[0].shape[:2]
    angle = np.deg2rad(degrees)
    # grid_sample normalises each side to [-1, 1], so the sides of a picture that is not square differ in units.
    across, along = (width - 1) / max(1, height - 1), (height - 1) / max(1, width - 1)
    theta = [[np.cos(angle), -np.sin(angle) * along, 0], [np.sin(angle) * across, np.cos(angle), 0]]
    batch = torch.from_numpy(np.stack([to_floats(frame) for frame in frames])).movedim(-1, 1)
    grid = F.affine_grid(torch.tensor([theta], dtype=torch.float32), [1, 1, height, width], align_corners=True)
    turned = F.grid_sample(batch, grid.expand(len(batch), -1, -1, -1), align_corners=True)
    return list(turned.movedim(1, -1).numpy())


def rescale(frames: Frames, factor: float, interpolation: str = "nearest") -> Frames:
    """Another size, with anti-aliasing and zeros around."""
    sides, nearest = frames[0].shape[:2], interpolation == "nearest"
    size = tuple(int(side * factor) for side in sides)
    rows, columns = (axis_choice(*pair, nearest, zeros=True) for pair in zip(sides, size, strict=True))
    if rows is not None and columns is not None:
        return [picked(frame, rows, columns) for frame in frames]
    return [resize(frame, size, nearest=nearest, zeros=True) for frame in frames]


def crop(frames: Frames, size: tuple[int, int], draw: Callable[[int, int], int] = random.randint) -> Frames:
    """One random window (height, width) of all frames; smaller frames are padded with their edges first."""
    missing = [max(0, wanted - side) for wanted, side in zip(size, frames[0].shape[:2], strict=True)]
    if any(missing):
        edges = [(gap // 2, (gap + 1) // 2) for gap in missing]
        frames = [np.pad(frame, (*edges, (0, 0)), mode="edge") for frame in frames]
    height, width = frames[0].shape[:2]
    left, top = draw(0, width - size[1]), draw(0, height - size[0])
    return [frame[top : top + size[0], left : left + size[1]] for frame in frames]


def jitter(frames: Frames, adjustments: Sequence[tuple[str, float]]) -> Frames:
    """Adjust brightness, saturation, hue and contrast in the given order; every step rounds to bytes."""
    if not adjustments:
        return frames
    from util.colours import ADJUST

    frames = [frame if frame.dtype == np.uint8 else to_bytes(frame) for frame in frames]
    for name, amount in adjustments:
        frames = [ADJUST[name](frame, amount) for frame in frames]
    return frames
