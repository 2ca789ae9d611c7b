"""What is known of a clip's faces beside its frames: landmarks, boxes of face and lips, angles of the head."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.base import as_tensor
from data.faces.detector import MIRRORED
from data.faces.head_pose import head_rotation, portrait_angles, rotation_of
from util.archives import read_npz
from util.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

LIPS = slice(48, 68)
"""The landmarks of the lips, of 68."""
FACE_MARGIN, LIPS_MARGIN = 0.15, 0.4
"""How far a region's square exceeds the box of its landmarks on each side, in sides of the box."""
MADE_BY = "script/prepare_videos.py --layouts portraits makes clips with landmarks"


@dataclass(frozen=True)
class FaceFacts:
    """One frame: `landmarks` (68, 2) and `boxes` (2, 4: face and lips; left, top, right, bottom) in [-1, 1] between
    the edges of the picture, `angles` (3,): pitch, yaw and roll in degrees as LivePortrait has them."""

    landmarks: np.ndarray
    boxes: np.ndarray
    angles: np.ndarray

    def mirrored(self) -> "FaceFacts":
        """The same left to right."""
        boxes = self.boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1]
        return FaceFacts(self.landmarks[MIRRORED] * [-1, 1], boxes, self.angles * [1, -1, -1])

    def seen_in(self, window: np.ndarray) -> "FaceFacts":
        """The same in a window of the picture: centre x, y and size, in units of [-1, 1]."""
        x, y, size = window
        return FaceFacts((self.landmarks - [x, y]) / size, (self.boxes - [x, y, x, y]) / size, self.angles)


def pair_tensors(source: FaceFacts, driving: FaceFacts) -> dict[str, "Tensor"]:
    """What a training item holds of its two frames."""
    named = {f"{name}_{part}": getattr(facts, part) for name, facts in (("source", source), ("driving", driving))
             for part in ("landmarks", "angles")}  # fmt: skip
    named |= {"face_box": driving.boxes[0], "lips_box": driving.boxes[1]}
    return {name: as_tensor(array.astype(np.float32)) for name, array in named.items()}


@dataclass(frozen=True)
class Annotations:
    """All frames of a clip: landmarks (N, 68, 2) in pixels, boxes (N, 2, 4) in pixels, angles (N, 3) in degrees.

    Boxes and angles that nobody knows follow from the landmarks. Rows of NaN are frames without a face.
    """

    size: tuple[int, int]
    landmarks: np.ndarray
    boxes: np.ndarray | None = None
    angles: np.ndarray | None = None

    @property
    def present(self) -> np.ndarray:
        """The frames with a face."""
        return np.flatnonzero(~np.isnan(self.landmarks).any((1, 2)))

    def frame(self, index: int) -> FaceFacts:
        """What is known of one frame."""
        points = np.asarray(self.landmarks[index], np.float64)
        boxes = region_boxes(points) if self.boxes is None else np.asarray(self.boxes[index], np.float64)
        angles = angles_of_points(points, self.size) if self.angles is None else self.angles[index]
        sides = np.array(self.size[::-1])
        # The middle of the first pixel is half a pixel from the picture's edge.
        inside, corners = (points + 0.5) * (2 / sides) - 1, (boxes.reshape(-1, 2) + 0.5) * (2 / sides) - 1
        return FaceFacts(inside, corners.reshape(-1, 4), np.asarray(angles, np.float64))


def region_boxes(points: np.ndarray) -> np.ndarray:
    """Squares (2, 4) around a face and its lips, by 68 points."""
    return np.stack([_square(points, FACE_MARGIN), _square(points[LIPS], LIPS_MARGIN)])


def _square(points: np.ndarray, margin: float) -> np.ndarray:
    low, high = points.min(0), points.max(0)
    reach = max(float((high - low).max()), 1.0) * (0.5 + margin)
    middle = (low + high) / 2
    return np.concatenate([middle - reach, middle + reach])


def angles_of_points(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pitch, yaw and roll of a head by 68 points in a frame of this size (height, width)."""
    return portrait_angles(head_rotation(points, *size))


def annotation_arrays(landmarks: np.ndarray, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Landmarks, boxes and angles as they are written beside frames, so that training has nothing to compute."""
    known = ~np.isnan(landmarks).any((1, 2))
    boxes, angles = np.full((len(landmarks), 2, 4), np.nan), np.full((len(landmarks), 3), np.nan)
    for index in np.flatnonzero(known):
        boxes[index], angles[index] = region_boxes(landmarks[index]), angles_of_points(landmarks[index], size)
    named = {"landmarks": landmarks, "boxes": boxes, "angles": angles}
    return {name: array.astype(np.float32) for name, array in named.items()}


def annotations_of(
    arrays: Mapping[str, np.ndarray], size: tuple[int, int], length: int, where: str
) -> Annotations | None:
    """The annotations among the arrays of a packed clip, or of a file beside a clip; None where there are none."""
    if "landmarks" not in arrays:
        return None
    angles = arrays.get("angles")
    if angles is None and "rotation" in arrays:  # the truth of drawn people
        angles = np.array([portrait_angles(rotation_of(*row)) for row in arrays["rotation"]])
    found = Annotations(size, arrays["landmarks"], arrays.get("boxes"), angles)
    shapes = {"landmarks": (68, 2), "boxes": (2, 4), "angles": (3,)}
    for name, shape in shapes.items():
        array = getattr(found, name)
        if array is not None and array.shape != (length, *shape):
            raise UserError(
                f"{where}: {name} has shape {array.shape}, a clip of {length} frames needs {(length, *shape)}; "
                f"{MADE_BY}"
            )
    if not len(found.present):
        raise UserError(f"{where}: no frame with a face; remove the clip")
    return found


def read_annotations(path: Path, size: tuple[int, int], length: int) -> Annotations | None:
    """The annotations in a file <clip>.npz beside a clip; None where there is no such file."""
    if not path.is_file():
        return None
    arrays = read_npz(path, "not annotations of a clip", remedy=MADE_BY)
    found = annotations_of(arrays, size, length, str(path))
    if found is None:
        raise UserError(f"{path}: needs an array landmarks (frames, 68, 2); {MADE_BY}")
    drawn = arrays.get("size")
    if drawn is not None and int(drawn) != size[0]:
        raise UserError(f"{path}: made for frames of {int(drawn)} pixels, but its clip has {size[0]}")
    return found
