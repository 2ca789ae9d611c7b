"""Embeddings that say who a face is: (N, D) per frame of a stream, NaN where no face is found."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from metrics.parts.landmarks import found
from metrics.parts.streams import Stream
from metrics.parts.tools import Tools
from util.errors import UserError

RECOGNISER = "dlib_face_recognition_resnet_model_v1.dat"
CHIP = 150
"""Side of the aligned face that dlib's recogniser sees; smaller faces are enlarged before points are rounded."""


class DlibEmbedding:
    """dlib's 128-d descriptor of a face aligned by its 68 points."""

    def __init__(self, tools: Tools):
        self._network = tools.share(RECOGNISER, _recogniser)

    def __call__(self, stream: Stream) -> np.ndarray:
        return _of_found_faces(stream, 128, self._describe)

    def _describe(self, frame: np.ndarray, points: np.ndarray) -> np.ndarray:
        import cv2
        import dlib

        low, high = points.min(0), points.max(0)
        # dlib takes whole pixels only: on a face of 40 px, rounding would move its eyes by a noticeable part.
        scale = max(1, math.ceil(CHIP / max(float(np.ptp(points, axis=0).max()), 8)))
        if scale > 1:
            frame = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
            points, low, high = ((one + 0.5) * scale - 0.5 for one in (points, low, high))
        box = dlib.rectangle(*(round(float(edge)) for edge in (*low, *high)))
        shape = dlib.full_object_detection(box, [dlib.point(round(float(x)), round(float(y))) for x, y in points])
        return np.array(self._network.compute_face_descriptor(frame, shape))


def _of_found_faces(
    stream: Stream, length: int, describe: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """What `describe` says of each frame (H, W, 3) uint8 and its 68 points, where there is a face."""
    points = stream.find("points/dlib")
    embeddings = np.full((len(points), length), np.nan)
    for index in np.flatnonzero(found(points)):
        embeddings[index] = describe(stream.bytes[index], points[index])
    return embeddings


def _recogniser():
    from data.faces.dlib_detector import import_dlib, load_model

    return load_model(import_dlib().face_recognition_model_v1, dlib_recogniser_files()["recogniser"])


def dlib_recogniser_files() -> dict[str, Path]:
    """The weights of dlib's recogniser, which lie in face-recognition-models."""
    from data.faces.dlib_detector import find_model

    try:
        return {"recogniser": find_model(RECOGNISER, None, "--landmark_model")}
    except UserError:
        raise UserError(
            f"id/dlib: {RECOGNISER} is not found; run: pip install face-recognition-models, or put it into dataset/"
        ) from None
