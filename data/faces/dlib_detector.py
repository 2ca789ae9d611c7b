"""Faces by dlib: the HOG or the CNN detector, and the 68-point regression trees."""

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.faces.detector import POINTS, Detector, box_size, shrink
from util.errors import UserError
from util.reading import reading

LANDMARK_FILE = "shape_predictor_68_face_landmarks.dat"
CNN_FILE = "mmod_human_face_detector.dat"
# Longest side of enlarged frames: larger ones would take up to a minute each.
LONGEST_SIDE = 3000
# dlib rounds points to whole pixels; small faces are enlarged to this size, so that a pixel is a small part of them.
LANDMARK_SIZE, LANDMARK_MARGIN = 256, 0.3
# Lower score threshold for a face that is being tracked.
NEW_SCORE, NEAR_SCORE = 0.0, -0.2


def find_model(name: str, given: Path | None, option: str) -> Path:
    """Find a model file: at the given path, in the dataset folder, then in face_recognition_models."""
    if given is not None:
        path = Path(given) / name if Path(given).is_dir() else Path(given)
        if not path.is_file():
            raise UserError(f"{path}: no such file; {option} expects {name}, or its folder")
        return path
    folders = [Path("dataset")]
    # Importing face_recognition_models needs pkg_resources, which current Pythons lack; its path is enough.
    package = importlib.util.find_spec("face_recognition_models")
    if package is not None and package.submodule_search_locations:
        folders += [Path(folder) / "models" for folder in package.submodule_search_locations]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise UserError(
        f"{name} not found in {', '.join(map(str, folders))}; set {option}, put it into dataset/, or run: pip "
        f"install face-recognition-models"
    )


def import_dlib():
    """Import dlib, or explain how to install it."""
    try:
        import dlib
    except ImportError as error:
        raise UserError(f"dlib cannot be imported ({error}); run: pip install dlib-bin") from error
    return dlib


def load_model(read, path: Path):
    """Read one of dlib's model files; the error names an unreadable one."""
    with reading(path, "not a model that dlib can read here", "download it again"):
        return read(str(path))


class DlibDetector(Detector):
    """HOG (fast, frontal to half profile) or CNN (slow without a GPU, more poses) detector and 68 points."""

    def __init__(
        self,
        model: Path | None = None,
        detector: str = "hog",
        detector_model: Path | None = None,
        upsample: int = 1,
    ):
        dlib = import_dlib()
        self._rectangle = dlib.rectangle
        self._predictor = load_model(dlib.shape_predictor, find_model(LANDMARK_FILE, model, "--landmark_model"))
        self._upsample = upsample
        if detector == "cnn" or detector_model is not None:
            path = find_model(CNN_FILE, detector_model, "--face_detector_model")
            self._search = self._cnn(load_model(dlib.cnn_face_detection_model_v1, path))
        else:
            self._search = self._hog(dlib.get_frontal_face_detector())

    @staticmethod
    def _hog(detector):
        def search(frame, upsample, near):
            rectangles, scores, _ = detector.run(frame, upsample, NEAR_SCORE if near else NEW_SCORE)
            return list(zip(rectangles, scores, strict=True))

        return search

    @staticmethod
    def _cnn(detector):
        def search(frame, upsample, near):
            return [(found.rect, found.confidence) for found in detector(frame, upsample)]

        return search

    def find(self, frames: Sequence[np.ndarray], near: bool = False) -> list[list[tuple[np.ndarray, float]]]:
        """Boxes and scores per frame; whole frames are enlarged 2^upsample times first, to find small faces."""
        return [self._find(np.ascontiguousarray(frame), near) for frame in frames]

    def _find(self, frame, near):
        upsample = 0 if near else self._upsample
        scale = min(1.0, LONGEST_SIDE / (max(frame.shape[:2]) * 2**upsample))
        found = self._search(shrink(frame, scale) if scale < 1 else frame, upsample, near)
        return [
            (np.array([box.left(), box.top(), box.right(), box.bottom()], dtype=np.float64) / scale, float(score))
            for box, score in found
        ]

    def landmarks_of(
        self, frames: Sequence[np.ndarray], boxes: Sequence[Sequence[np.ndarray]]
    ) -> list[list[np.ndarray]]:
        """The 68 points in each box."""
        return [[self._landmarks_in(frame, box) for box in row] for frame, row in zip(frames, boxes, strict=True)]

    def _landmarks_in(self, frame, box):
        left, top = (max(0, int(edge - LANDMARK_MARGIN * box_size(box))) for edge in box[:2])
        right, bottom = (max(0, int(edge + LANDMARK_MARGIN * box_size(box)) + 1) for edge in box[2:])
        window, corner = frame[top:bottom, left:right], np.array([left, top])
        scale = max(1, math.ceil(LANDMARK_SIZE / max(box_size(box), 8)))
        if not window.size:
            window, corner, scale = frame, np.zeros(2), 1
        # A box of dlib includes its last row and column; enlarged, the middle of pixel x is at s x + (s - 1) / 2.
        edges = (np.asarray(box) - np.tile(corner, 2)) * scale + (0, 0, scale - 1, scale - 1)
        shape = self._predictor(
            np.ascontiguousarray(shrink(window, scale)), self._rectangle(*(round(float(edge)) for edge in edges))
        )
        if shape.num_parts != POINTS:
            raise UserError(f"--landmark_model has {shape.num_parts} points; {LANDMARK_FILE} with 68 is needed")
        points = np.array([(part.x, part.y) for part in shape.parts()], dtype=np.float64)
        return ((points - (scale - 1) / 2) / scale + corner).astype(np.float32)
