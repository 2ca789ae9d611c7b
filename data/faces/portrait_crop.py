"""LivePortrait's way to crop faces by their landmarks and to paste results back."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import cv2
import numpy as np

from data.base import Preview, corners_of
from util.border_mask import SIDE, border_mask
from util.errors import UserError
from util.openness import openness_ratios

EYES_AND_LIPS: dict[int, tuple[list[int], list[int], list[int]]] = {
    203: ([0, 6, 12, 18], [24, 30, 36, 42], [48, 66]),
    106: ([33, 35, 40, 39], [87, 89, 94, 93], [52, 61]),
    101: ([39, 42, 45, 48], [51, 54, 57, 60], [75, 81]),
    68: ([36, 39], [42, 45], [48, 54]),
    9: ([2, 3], [0, 1], [5, 6]),
    5: ([0], [1], [3, 4]),
}
"""By number of landmarks: the indices that average to the left eye, the right eye and the lips."""
SOURCE = {"scale": 2.3, "shift": (0.0, -0.125)}
DRIVING = {"scale": 2.2, "shift": (0.0, -0.1)}
"""Crop scales of pictures and driving videos."""


@dataclass(frozen=True, eq=False)
class Square:
    """A square in a picture, possibly rotated: its centre, side and angle (radians, clockwise)."""

    centre: np.ndarray
    side: float
    angle: float

    def matrix(self, size: int) -> np.ndarray:
        """From the picture to a crop of side `size`, (2, 3); pixel centres are whole numbers."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        turn = size / self.side * np.array([[cos, sin], [-sin, cos]])
        return np.column_stack([turn, size / 2 - turn @ self.centre]).astype(np.float32)

    def cut(self, picture: np.ndarray, size: int = SIDE) -> np.ndarray:
        """The square as a picture of side `size`; beyond the picture it is black."""
        return cv2.warpAffine(picture, self.matrix(size), (size, size), flags=cv2.INTER_LINEAR)

    @property
    def corners(self) -> np.ndarray:
        """Its corners (4, 2) in the picture, clockwise from the upper left one of the crop."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        inside = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * self.side / 2
        return self.centre + inside @ np.array([[cos, -sin], [sin, cos]]).T

    def upright(self) -> "Square":
        """The square without its turn."""
        return Square(self.centre, self.side, 0.0)

    @property
    def box(self) -> np.ndarray:
        """Left, top, right, bottom of the upright square."""
        return np.concatenate([self.centre - self.side / 2, self.centre + self.side / 2])


def square_of(landmarks: np.ndarray, scale: float, shift: Sequence[float], turned: bool = True) -> Square:
    """The square around a face, whose axes follow the line from its eyes to its lips.

    `scale`: its side in sides of the landmarks' box; `shift`: how far its centre is moved, in its sides.
    """
    points = np.asarray(landmarks, np.float64)
    down = _from_eyes_to_lips(points)
    axes = np.array([[down[1], -down[0]], down])
    middle = points.mean(0)
    inside = (points - middle) @ axes.T
    low, high = inside.min(0), inside.max(0)
    side = (high - low).max() * scale
    centre = middle + ((low + high) / 2 + np.asarray(shift) * side) @ axes
    angle = float(np.arccos(np.clip(axes[0, 0], -1, 1))) * (-1 if axes[0, 1] < 0 else 1)
    return Square(centre, float(side), angle if turned else 0.0)


def _from_eyes_to_lips(points: np.ndarray) -> np.ndarray:
    """The unit vector from the middle of the eyes to that of the lips; down, where both coincide."""
    if len(points) not in EYES_AND_LIPS:
        raise UserError(f"{len(points)} landmarks: a crop needs {', '.join(map(str, EYES_AND_LIPS))}")
    left, right, lips = (points[indices].mean(0) for indices in EYES_AND_LIPS[len(points)])
    line = lips - (left + right) / 2
    length = np.linalg.norm(line)
    return line / length if length > 1e-3 else np.array([0.0, 1.0])


def common_square(landmarks: Sequence[np.ndarray], scale: float, shift: Sequence[float]) -> Square:
    """One upright square for all frames of a video: the mean of those of the frames."""
    boxes = np.array([square_of(points, scale, shift).box for points in landmarks])
    left, top, right, bottom = boxes.mean(0)
    return Square(np.array([left + right, top + bottom]) / 2, float(right - left), 0.0)


def preview_of(picture: np.ndarray, faces: list[np.ndarray], square: Square | None, seen: np.ndarray) -> Preview:
    """What the networks get of a picture: a square, or all of it."""
    whole = corners_of((0, 0, picture.shape[1], picture.shape[0]))
    return Preview(picture, faces, whole if square is None else square.corners, seen)


class PasteBack:
    """Pastes results into the picture they were cropped from; precomputes what does not change per frame."""

    def __init__(self, square: Square, frame_size: tuple[int, int], result_size: int):
        self.size = frame_size
        self.inverse = cv2.invertAffineTransform(square.matrix(result_size))
        self.result_size = result_size

    @cached_property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the picture that a result can change."""
        corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * self.result_size
        moved = corners @ self.inverse[:, :2].T + self.inverse[:, 2]
        (left, top), (right, bottom) = np.floor(moved.min(0)) - 1, np.ceil(moved.max(0)) + 2
        height, width = self.size
        return (
            slice(int(np.clip(top, 0, height)), int(np.clip(bottom, 0, height))),
            slice(int(np.clip(left, 0, width)), int(np.clip(right, 0, width))),
        )

    @cached_property
    def weight(self) -> np.ndarray:
        """The mask in the window, (h, w, 1) in [0, 1]."""
        return self._placed(border_mask(self.result_size)).astype(np.float32)[..., None] / 255

    def __call__(self, picture: np.ndarray, result: np.ndarray) -> np.ndarray:
        """The picture with a result in the crop's square."""
        whole, window = picture.copy(), self.window
        if 0 in whole[window].shape:
            return whole
        under, over = whole[window].astype(np.float32), self._placed(result).astype(np.float32)
        whole[window] = (self.weight * over + (1 - self.weight) * under).clip(0, 255).astype(np.uint8)
        return whole

    def _placed(self, picture: np.ndarray) -> np.ndarray:
        """A picture of the crop in the window of the whole picture."""
        rows, columns = self.window
        matrix = self.inverse.copy()
        matrix[:, 2] -= columns.start, rows.start
        size = columns.stop - columns.start, rows.stop - rows.start
        return cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR)


def openness(landmarks: np.ndarray) -> np.ndarray:
    """How far left eye, right eye and lips are open, (..., 3), by 203 or 68 landmarks (..., N, 2)."""
    ratios = openness_ratios(np.asarray(landmarks, np.float64), partial(np.linalg.norm, axis=-1))
    return np.stack(ratios, axis=-1).astype(np.float32)
