"""Frechet Inception distance."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from metrics.metric import Batch, SetMetric
from metrics.parts.frechet import STEP, Moments, frechet_distance
from metrics.parts.inception import LENGTH, inception_files
from metrics.parts.tools import Tools

log = logging.getLogger(__name__)


class Frechet(SetMetric):
    """Base: Frechet distance between features of the results and of the truth (or, without a truth, the driving
    videos)."""

    needs = ("truth|driving",)
    least = LENGTH
    """Minimum number of features for a covariance of full rank; with fewer the distance is biased."""
    of = "frames"

    def __init__(self, tools: Tools):
        super().__init__(tools)
        self._generated, self._real = Moments(), Moments()

    def state(self) -> dict[str, np.ndarray]:
        """The moments of both sets."""
        return self._generated.state("made_") | self._real.state("real_")

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Merge the moments of another process."""
        self._generated.merge(state, "made_")
        self._real.merge(state, "real_")

    def total(self) -> tuple[float, int]:
        """The distance; NaN with too few features."""
        count = min(self._generated.count, self._real.count)
        if count < 2 or (count < self.least and not self.tools.allow_few):
            log.warning("%s: %d %s are too few for an unbiased distance (%d); --force reports it anyway",
                        self.name, count, self.of, self.least)  # fmt: skip
            return float("nan"), count
        return frechet_distance(self._generated, self._real), count


class Fid(Frechet):
    """FID with torch-fidelity's Inception. State the number of frames: values of different numbers are not
    comparable."""

    name = "fid"
    says = "Frechet distance of Inception's pool3 features, all frames of results and truth"
    used_by = "nearly all; the number and choice of frames differs"
    settings = {"network": "TF Inception 2015-12-05, pool3", "resized": "TF bilinear 299", "rounded to": STEP}
    libraries = ("torch-fidelity",)

    def weights(self) -> Mapping[str, Path]:
        """The Inception network."""
        return inception_files(self.tools, self.name)

    def gather(self, batch: Batch) -> None:
        """Add the features of the frames."""
        self._generated.add(batch.result.find("inception"))
        self._real.add(batch.either("truth", "driving").find("inception"))
