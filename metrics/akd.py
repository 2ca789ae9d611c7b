"""Average keypoint distance: how far the landmarks of the result are from those of the truth."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from metrics.metric import Batch, Columns, Metric, masked
from metrics.parts.landmarks import REFERENCE_HEIGHT, SEARCH_EVERY, dlib_files, face_alignment_files, found, scaled


class _Distance(Metric):
    """Frames without a true face are not measured; those where only the result's face is not found count as missed."""

    kind = ""
    unit = "px"

    def update(self, batch: Batch) -> Columns:
        """Per frame, over the 68 points."""
        result, truth = (scaled(one.find(self.kind), one.height) for one in (batch.result, batch.truth))
        return {self.name: masked(self.distance(result, truth), found(truth))}

    @staticmethod
    def distance(result: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Points (N, 68, 2) to (N,)."""
        return coordinate_distance(result, truth)


class Akd(_Distance):
    """As pose-evaluation's cmp_kp.py, except that a missing true face does not end it with an error."""

    name = "akd"
    kind = "points/face-alignment"
    says = "mean |dx| and |dy| of the 68 points of face-alignment 2DFAN4, first face"
    used_by = "FOMM, MRAA, TPS, LIA and their successors"
    settings = {"landmarks": "face-alignment 2DFAN4", "boxes": "SFD, every frame", "px_at": REFERENCE_HEIGHT}
    libraries = ("face-alignment",)

    def weights(self) -> Mapping[str, Path]:
        """2DFAN4 and SFD."""
        return dict(zip(("points", "boxes"), face_alignment_files(self.tools), strict=True))


class AkdDlib(_Distance):
    """For machines without the weights of face-alignment; not comparable with published numbers."""

    name = "akd/dlib"
    kind = "points/dlib"
    says = "mean |dx| and |dy| of dlib's 68 points"
    settings = {
        "landmarks": "dlib 68", "boxes": f"HOG, followed, searched every {SEARCH_EVERY}", "px_at": REFERENCE_HEIGHT
    }  # fmt: skip
    libraries = ("dlib-bin",)

    def weights(self) -> Mapping[str, Path]:
        """The 68 points."""
        return dlib_files()


class AkdEuclidean(AkdDlib):
    """What "average distance" would mean; 1.6 to 1.8 times `akd/dlib`."""

    name = "akd/euclidean"
    says = "mean Euclidean distance of dlib's 68 points"

    @staticmethod
    def distance(result: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Points (N, 68, 2) to (N,)."""
        return np.linalg.norm(result - truth, axis=-1).mean(-1)


def coordinate_distance(result: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The mean over points and both coordinates: half of the length of a sideways shift, as in published numbers."""
    return np.abs(result - truth).mean((-2, -1))


def body_distance(result: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AKD and missing keypoint rate of bodies, per frame: joints (N, J, 2), a negative coordinate is a joint not found.

    AKD is over the joints found in both, MKR the share of the true joints that the result lacks.
    """
    there = (truth >= 0).all(-1)
    both = there & (result >= 0).all(-1)
    distance = np.where(both[..., None], np.abs(result - truth), 0).sum((-2, -1))
    with np.errstate(invalid="ignore"):
        return distance / (2 * both.sum(-1)), 1 - both.sum(-1) / there.sum(-1)
