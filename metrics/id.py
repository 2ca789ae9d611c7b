"""Identity by dlib's face recogniser: how much the result looks like the person it should show."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from metrics.metric import Batch, Columns, Metric, masked
from metrics.parts.embeddings import dlib_recogniser_files
from metrics.parts.landmarks import dlib_files, found

DIFFERENT = 0.6
"""dlib's own threshold: two descriptors farther apart are of different people."""


class IdentityDlib(Metric):
    """The distance, not the cosine: of real clips the cosine hardly separates people (the same .96 and above,
    different ones up to .95), the distance does (.09 to .43 against .42 to 1.04)."""

    name = "id/dlib"
    says = "Euclidean distance of dlib's 128-d face descriptors; from the truth, or without one from the source"
    needs = ("truth|source",)
    settings = {"chip": 150, "aligned by": "68 points", "different": DIFFERENT}
    libraries = ("dlib-bin",)

    @property
    def columns(self) -> tuple[str, ...]:
        """The distance, and whether dlib would call it somebody else."""
        return self.name, f"{self.name}.different"

    def weights(self) -> Mapping[str, Path]:
        """Points and recogniser."""
        return {**dlib_files(), **dlib_recogniser_files()}

    def update(self, batch: Batch) -> Columns:
        """Per frame; not measured where the person it should be is not found."""
        reference = batch.either("truth", "source")
        result, wanted = (one.find("embedding/dlib") for one in (batch.result, reference))
        distance = np.linalg.norm(result - wanted, axis=-1)
        different = np.where(np.isnan(distance), np.nan, distance > DIFFERENT)
        return dict(zip(self.columns, (masked(one, found(wanted)) for one in (distance, different)), strict=True))
