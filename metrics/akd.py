"""Average keypoint distance (AKD): distance between the landmarks of result and truth."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from metrics.metric import Batch, Columns, Metric, masked
from metrics.parts.landmarks import REFERENCE_HEIGHT, SEARCH_EVERY, dlib_files, face_alignment_files, found, scaled


class _Distance(Metric):
    """Base of the variants. Frames without a true face are not measured; frames without a face in the result are
    missed."""

    kind = ""
    unit = "px"

    def update(self, batch: Batch) -> Columns:
        """The distance per frame, over the 68 points."""
        result, truth = (scaled(one.find(self.kind), one.height) for one in (batch.result, batch.truth))
        return {self.name: masked(self.distance(result, truth), found(truth))}

    @staticmethod
    def distance(result: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """The distance (N,) between points (N, 68, 2)."""
        return coordinate_distance(result, truth)


class Akd(_Distance):
    """AKD like cmp_kp.py of pose-evaluation, except that a missing true face is no error."""

    name = "akd"
    kind = "points/face-alignment"
    says = "mean |dx| and |dy| of the 68 points of face-alignment 2DFAN4, first face"
    used_by = "FOMM, MRAA, TPS, LIA and their successors"
    settings = {"landmarks": "face-alignment 2DFAN4", "boxes": "SFD, every frame", "px_at": REFERENCE_HEIGHT}
    libraries = ("face-alignment",)

    def weights(self) -> Mapping[str, Path]:
        """The detector: 2DFAN4 and SFD of face-alignment."""
        return dict(zip(("points", "boxes"), face_alignment_files(self.tools), strict=True))


class AkdDlib(_Distance):
    """AKD with dlib's landmarks, for machines without face-alignment's weights; not comparable with published
    numbers."""

    name = "akd/dlib"
    kind = "points/dlib"
    says = "mean |dx| and |dy| of dlib's 68 points"
    settings = {
        "landmarks": "dlib 68", "boxes": f"HOG, followed, searched every {SEARCH_EVERY}", "px_at": REFERENCE_HEIGHT
    }  # fmt: skip
    libraries = ("dlib-bin",)

    def weights(self) -> Mapping[str, Path]:
        """The detector of the 68 points."""
        return dlib_files()


class AkdEuclidean(AkdDlib):
    """Mean Euclidean distance of dlib's landmarks; 1.6 to 1.8 times `akd/dlib`."""

    name = "akd/euclidean"
    says = "mean Euclidean distance of dlib's 68 points"

    @staticmethod
    def distance(result: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """The distance (N,) between points (N, 68, 2)."""
        return np.linalg.norm(result - truth, axis=-1).mean(-1)


def coordinate_distance(result: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean absolute difference over points and both coordinates: half the length of a horizontal shift, as
    published."""
    return np.abs(result - truth).mean((-2, -1))


def body_distance(result: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AKD and missing keypoint rate (MKR) of bodies, per frame. Joints are (N, J, 2); negative coordinates mark missing
    ones.

    AKD is over the joints found in both, MKR is the share of the true joints that the result lacks.
    """
    there = (truth >= 0).all(-1)
    both = there & (result >= 0).all(-1)
    distance = np.where(both[..., None], np.abs(result - truth), 0).sum((-2, -1))
    with np.errstate(invalid="ignore"):
        return distance / (2 * both.sum(-1)), 1 - both.sum(-1) / there.sum(-1)
