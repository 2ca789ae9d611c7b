"""Landmarks of the face in each frame of a stream: (N, 68, 2) in pixels, NaN where no face is found."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.faces.detector import POINTS, Detector, Face, overlap
from metrics.parts.streams import Stream
from metrics.parts.tools import Tools

SEARCH_EVERY = 25
"""Frames between searches of the whole frame; in between the face is searched near its last position."""
CONTINUES = 0.6
"""A window stays fixed while the face's box overlaps the box it was placed by at least this much."""
REFERENCE_HEIGHT = 256
"""Distances in pixels are those of frames of this height."""


class DlibPoints:
    """dlib's 68 points of the largest face, which is then tracked.

    Unlike `data.faces.landmarks.track` this returns points at once, needs no later frames and fills no gaps: a frame
    without a detected face is missed. Static faces get constant points: the search window stays fixed until the face
    leaves it, because boxes found in moving windows jitter.
    """

    def __init__(self, tools: Tools):
        self._detector = tools.share("dlib", _dlib)
        self._anchor: np.ndarray | None = None
        """Box of the face at the last search of the whole frame."""
        self._since = 0

    def __call__(self, stream: Stream) -> np.ndarray:
        return np.stack([_points(self._face(frame)) for frame in stream.bytes])

    def _face(self, frame: np.ndarray) -> Face | None:
        face = self._near(frame) if self._anchor is not None and self._since < SEARCH_EVERY else None
        if face is None:
            face, self._since = self._anywhere(frame), 0
            self._anchor = None if face is None else face.box
            face = face and (self._near(frame) or face)
        self._since += 1
        return face

    def _near(self, frame: np.ndarray) -> Face | None:
        """The face in the window around the anchor."""
        found = [(overlap(box, self._anchor), box, score) for box, score in
                 self._detector.find_near(frame, self._anchor)]  # fmt: skip
        alike, box, score = max(found, key=lambda one: one[0], default=(0.0, None, 0.0))
        return Face(box, self._detector.landmarks_in_box(frame, box), score) if alike >= CONTINUES else None

    def _anywhere(self, frame: np.ndarray) -> Face | None:
        """The tracked face, even if another face is larger."""
        faces = self._detector.detect([frame])[0]
        if self._anchor is None:
            return faces[0] if faces else None
        return max(faces, key=lambda face: overlap(face.box, self._anchor), default=None)


class AlignmentPoints:
    """face-alignment's 2D points of the most confident face, detected in every frame as in pose-evaluation."""

    def __init__(self, tools: Tools):
        self._detector = tools.share("face-alignment", lambda: _face_alignment(tools))

    def __call__(self, stream: Stream) -> np.ndarray:
        faces: Sequence[list[Face]] = self._detector.detect(list(stream.bytes))
        return np.stack([_points(max(row, key=lambda face: face.score, default=None)) for row in faces])


def _dlib() -> Detector:
    from data.faces.dlib_detector import DlibDetector

    return DlibDetector()


def _face_alignment(tools: Tools) -> Detector:
    from data.faces.alignment_detector import AlignmentDetector

    points, boxes = face_alignment_files(tools)
    return AlignmentDetector(model=points, detector_model=boxes, device=str(tools.device), batch_size=tools.batch_size)


def face_alignment_files(tools: Tools) -> tuple[Path, Path]:
    """The weights of landmark network and detector."""
    return tools.weights.path("face_alignment", "akd"), tools.weights.path("face_alignment_boxes", "akd")


def dlib_files() -> dict[str, Path]:
    """The file of dlib's 68 points; its frontal detector is part of the library."""
    from data.faces.dlib_detector import LANDMARK_FILE, find_model

    return {"68 points": find_model(LANDMARK_FILE, None, "--landmark_model")}


def _points(face: Face | None) -> np.ndarray:
    return np.full((POINTS, 2), np.nan) if face is None else np.asarray(face.points, np.float64)


def found(points: np.ndarray) -> np.ndarray:
    """Mask of the frames with a face (or another row)."""
    return np.isfinite(points).reshape(len(points), -1).all(1)


def scaled(points: np.ndarray, height: int) -> np.ndarray:
    """Points in pixels of a frame of the reference height."""
    return points * (REFERENCE_HEIGHT / height)
