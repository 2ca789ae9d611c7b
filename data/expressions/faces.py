"""Finds the faces of a picture and pastes their results back."""

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.base import Preview, corners_of
from data.faces.crop import UNIT_WIDEN, Crop, from_left, paste, points_box
from data.faces.detector import Detector
from data.faces.landmarks import build_detector
from util.errors import UserError


class FaceFinder:
    """Finds what to cut out of pictures: the largest face or all of them, as a square around landmarks or as a box."""

    def __init__(
        self, side: int, detector: Mapping[str, Any], *, face_crop: str, which: str | int = "largest",
        whole: bool = False,
    ):  # fmt: skip
        """`side` of the networks' pictures; `detector` as build_detector takes it; `which` faces, as --face says;
        `whole`: pictures are faces."""
        self.side, self.settings = side, detector
        self.face_crop, self.which, self.whole = face_crop, which, whole

    @cached_property
    def detector(self) -> Detector:
        """The face detector, built at its first use."""
        return build_detector(**self.settings)

    def crops(self, picture: np.ndarray, path: Path) -> list[Crop]:
        """One crop per face, the largest first; the whole picture if no face is found or it is a cut face already."""
        size = picture.shape[:2]
        whole = Crop(np.array([[0, 0, size[1], size[0]]], np.float64), size, video=str(path))
        if self.whole or size == (self.side, self.side):
            return [whole]
        boxes = self._squares(picture) if self.face_crop == "square" else self._boxes(picture)
        if not boxes:
            warnings.warn(f"{path}: no face found; using the whole picture", stacklevel=3)
            return [whole]
        return [Crop(np.round(box)[None], size, video=str(path)) for box in self._chosen(boxes, path)]

    def _chosen(self, boxes: list[np.ndarray], path: Path) -> list[np.ndarray]:
        """Those of the boxes, the largest first, that are asked for."""
        if self.which in ("all", "largest"):
            return boxes if self.which == "all" else boxes[:1]
        number = 1 if self.which == "left" else int(self.which)
        if number > len(boxes):
            raise UserError(f"--face {self.which}: {path} shows {len(boxes)} face(s)")
        return [sorted(boxes, key=lambda box: box[0] + box[2])[number - 1]]

    def cut(self, picture: np.ndarray, crop: Crop) -> np.ndarray:
        """A face at the size of the networks."""
        return cut_face(picture, crop, self.side, bilinear=self.face_crop == "box")

    def preview(self, picture: np.ndarray, path: Path) -> Preview:
        """What of a picture the networks would get: its first face."""
        (crop, *_) = self.crops(picture, path)
        (faces,) = self.detector.detect([picture])
        boxes = [face.box for face in from_left(faces)]
        return Preview(picture, boxes, corners_of(crop.box()), self.cut(picture, crop))

    def _squares(self, picture: np.ndarray) -> list[np.ndarray]:
        (faces,) = self.detector.detect([picture])
        return [square(points_box(face.points)) for face in faces]

    def _boxes(self, picture: np.ndarray) -> list[np.ndarray]:
        (found,) = self.detector.find([picture])
        return sorted((box for box, _ in found), key=lambda box: -(box[2] - box[0]))


def cut_face(picture: np.ndarray, crop: Crop, side: int, *, bilinear: bool) -> np.ndarray:
    """A face as a square of this side: antialiased when it shrinks, or plain `bilinear`, as the original cuts."""
    if not bilinear:
        return crop.apply(picture, side)
    return cv2.resize(crop.apply(picture), (side, side), interpolation=cv2.INTER_LINEAR)


def square(box: np.ndarray) -> np.ndarray:
    """The square around the box of a face's landmarks that GANimation's pictures show."""
    centre, side = (box[:2] + box[2:]) / 2, UNIT_WIDEN * (box[2:] - box[:2]).max()
    return np.concatenate([centre - side / 2, centre + side / 2])


class FacePaster:
    """Pastes the results of a picture's faces, which arrive one by one, back into the picture."""

    def __init__(self, picture: np.ndarray, crops: Sequence[Crop]):
        self.picture, self.crops = picture, list(crops)
        self._frame, self._done = picture, 0

    def __call__(self, generated: np.ndarray) -> np.ndarray | None:
        """The whole picture once its last face has arrived."""
        self._frame = paste(self._frame_for(self._done), generated, self.crops[self._done])
        self._done = (self._done + 1) % len(self.crops)
        return None if self._done else self._frame

    def _frame_for(self, index: int) -> np.ndarray:
        return self._frame if index else self.picture
