"""Frames as talking heads see them: square, with the landmarks of the main face in the square's pixels."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from data.augment import mirror
from data.faces.detector import Face

FITS = ("squash", "pad", "crop")
"""How a frame becomes square: squash the sides, pad with black, or crop the longer side."""


def fitted(
    frame: np.ndarray, points: np.ndarray, size: int, *, fit: str = "squash", points_size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A frame at `size` squared, and its points (..., 2) there.

    The points are in pixels of the frame squashed to `points_size` squared (default: `size`), as metadata files hold
    them.
    """
    height, width = frame.shape[:2]
    left, top, right, bottom = box = window(height, width, fit)
    extent = np.array([right - left, bottom - top])
    squashed = points_size or size
    # A division of integers: if the size does not change, the factor is exactly 1 and the points stay the same.
    factor = np.array([width, height]) * size / (extent * squashed)
    moved = (points * factor - np.array([left, top]) * size / extent).astype(np.float32)
    if (height, width) == (size, size):
        return frame, moved
    picture = Image.fromarray(frame)
    if fit != "squash":
        picture = picture.crop(box)
    return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS)), moved


def window(height: int, width: int, fit: str) -> tuple[int, int, int, int]:
    """The part of the frame (left, top, right, bottom) that the square shows; it may reach beyond the frame."""
    if fit == "squash":
        return 0, 0, width, height
    side = max(width, height) if fit == "pad" else min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def mirrored(picture: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its points mirrored left to right, as copies; the points keep their numbers."""
    turned = points.copy()
    turned[..., 0] = picture.shape[1] - 1 - turned[..., 0]
    return mirror(picture), turned


def main_face(faces: Sequence[Face]) -> Face | None:
    """The face whose points span the largest box; None where there is no face."""
    return max(faces, key=lambda face: points_extent(face.points), default=None)


def points_extent(points: np.ndarray) -> float:
    """The area of the box around some points, in pixels."""
    width, height = points.max(0) - points.min(0) + 1
    return float(width * height)
