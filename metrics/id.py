"""Identity by dlib's face recogniser: similarity of the result's face to the expected person."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from metrics.metric import Batch, Columns, Metric, masked
from metrics.parts.embeddings import dlib_recogniser_files
from metrics.parts.landmarks import dlib_files, found

DIFFERENT = 0.6
"""dlib's own threshold: descriptors farther apart belong to different people."""


class IdentityDlib(Metric):
    """Distance of dlib's descriptors. Their cosine hardly separates people on real clips (the same: .96 and above,
    others: up to .95); the distance does (.09 to .43 against .42 to 1.04)."""

    name = "id/dlib"
    says = "Euclidean distance of dlib's 128-d face descriptors; from the truth, or without one from the source"
    needs = ("truth|source",)
    settings = {"chip": 150, "aligned by": "68 points", "different": DIFFERENT}
    libraries = ("dlib-bin",)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns: the distance, and whether dlib sees a different person."""
        return self.name, f"{self.name}.different"

    def weights(self) -> Mapping[str, Path]:
        """The landmark detector and the recogniser."""
        return {**dlib_files(), **dlib_recogniser_files()}

    def update(self, batch: Batch) -> Columns:
        """The distance per frame; frames without a face in the source or truth are not measured."""
        reference = batch.either("truth", "source")
        result, expected = (one.find("embedding/dlib") for one in (batch.result, reference))
        distance = np.linalg.norm(result - expected, axis=-1)
        different = np.where(np.isnan(distance), np.nan, distance > DIFFERENT)
        return dict(zip(self.columns, (masked(one, found(expected)) for one in (distance, different)), strict=True))
