"""The detector interface that all back ends share, and the face it returns."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

POINTS = 68
MIRRORED = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
     41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)  # fmt: skip
"""Index of each of the points in a mirrored picture."""
# A near search looks this many box widths beyond the box on each side.
NEAR_MARGIN = 0.6
# A box with more than this share inside a better one is the same face.
INSIDE = 0.6
# Small frames are enlarged for search by the largest factor that keeps the shorter and longer side within these.
SEARCHED_SIDE, ENLARGED_SIDE = 256, 1024


@dataclass(eq=False)
class Face:
    """One face in one frame: its box (left, top, right, bottom), 68 points (x, y) in pixels, and a score."""

    box: np.ndarray
    points: np.ndarray
    score: float

    @property
    def size(self) -> float:
        """Side of the box: the geometric mean of width and height."""
        return box_size(self.box)


def box_size(box: np.ndarray) -> float:
    """Geometric mean of a box's width and height."""
    return float(np.sqrt(max(box[2] - box[0], 0) * max(box[3] - box[1], 0)))


def box_centre(box: np.ndarray) -> np.ndarray:
    """Centre (x, y) of a box."""
    return np.array([box[0] + box[2], box[1] + box[3]], dtype=np.float64) / 2


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    areas = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])
    return float(common / (areas - common))


def covered(box: np.ndarray, by: np.ndarray) -> float:
    """Share of a box covered by another one."""
    width = min(box[2], by[2]) - max(box[0], by[0])
    height = min(box[3], by[3]) - max(box[1], by[1])
    return max(0.0, width) * max(0.0, height) / max((box[2] - box[0]) * (box[3] - box[1]), 1e-6)


def distinct(found: list[tuple[np.ndarray, float]]) -> list[tuple[np.ndarray, float]]:
    """Boxes and scores without boxes inside better ones: detectors sometimes take mouths and chins for faces."""
    kept: list[tuple[np.ndarray, float]] = []
    for box, score in sorted(found, key=lambda one: -one[1]):
        if not any(covered(box, other) > INSIDE for other, _ in kept):
            kept.append((box, score))
    return kept


def shrink(frame: np.ndarray, scale: float) -> np.ndarray:
    """Resize a frame by one factor: averaged when it gets smaller, bilinear when larger."""
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def enlargement(frame: np.ndarray) -> int:
    """Factor by which a frame is enlarged for search: detectors miss faces of a few pixels."""
    return max(1, min(SEARCHED_SIDE // min(frame.shape[:2]), ENLARGED_SIDE // max(frame.shape[:2])))


class Detector:
    """Finds faces in whole frames, or near an expected box, and 68 landmarks on each.

    A back end implements `find` (boxes with scores) and `landmarks_of` (points in boxes).
    """

    # Number of frames to pass to `detect` at once.
    batch_size: int = 1
    # Working size, in pixels, of the expected face in a near search.
    near_size: int = 88
    # False if the detector only takes whole frames in order.
    can_follow: bool = True

    def find(self, frames: Sequence[np.ndarray], near: bool = False) -> list[list[tuple[np.ndarray, float]]]:
        """Boxes and scores of the faces in each frame; `near`: a face of about `near_size` is expected, so take
        the frames as large as they are and accept a lower score."""
        raise NotImplementedError

    def landmarks_of(
        self, frames: Sequence[np.ndarray], boxes: Sequence[Sequence[np.ndarray]]
    ) -> list[list[np.ndarray]]:
        """The 68 points (x, y) of the face in each box of each frame."""
        raise NotImplementedError

    def clip(self, name: str, first: int = 0) -> "Detector":
        """The detector for the frames from `first` on of the clip of this name (another one where files are read)."""
        return self

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """All faces of each frame, the largest first."""
        scales = [enlargement(frame) for frame in frames]
        searched = [shrink(frame, scale) if scale > 1 else frame for frame, scale in zip(frames, scales, strict=True)]
        found = [
            distinct([(box / scale, score) for box, score in boxes])
            for boxes, scale in zip(self.find(searched), scales, strict=True)
        ]
        points = self.landmarks_of(frames, [[box for box, _ in boxes] for boxes in found])
        faces = [
            [Face(box, landmarks, score) for (box, score), landmarks in zip(boxes, row, strict=True)]
            for boxes, row in zip(found, points, strict=True)
        ]
        return [sorted(row, key=lambda face: -face.size) for row in faces]

    def find_near(self, frame: np.ndarray, box: np.ndarray, margin: float = NEAR_MARGIN) -> list:
        """Boxes and scores of the faces around an expected box, searched for at that face's own size only."""
        reach = margin * box_size(box)
        left, top = (max(0, int(box[axis] - reach)) for axis in (0, 1))
        right, bottom = (max(0, int(edge + reach) + 1) for edge in box[2:])
        window = frame[top:bottom, left:right]
        if min(window.shape[:2]) < 8 or box_size(box) < 8:
            return []
        small = shrink(window, self.near_size / box_size(box))
        scale = np.tile([window.shape[1] / small.shape[1], window.shape[0] / small.shape[0]], 2)
        return [(found * scale + (left, top, left, top), score) for found, score in self.find([small], near=True)[0]]

    def landmarks_in_box(self, frame: np.ndarray, box: np.ndarray) -> np.ndarray:
        """The 68 points of one face."""
        return self.landmarks_of([frame], [[box]])[0][0]
