"""Average pose distance of 3-D face models."""

import numpy as np

from metrics.metric import Batch, Columns, Metric, masked
from metrics.parts.landmarks import found


class Apd3dmm(Metric):
    """Whether the translation belongs to it is disputed; both are given. In degrees and without weights: `pose`."""

    name = "apd/3dmm"
    says = "mean absolute difference of the three angles (Deep3DFaceRecon), read from files; with the translation: .all"
    used_by = "papers on animation by 3-D face models"
    tables = ("result_coefficients", "truth_coefficients")
    settings = {"coefficients": "pose: three angles, three of translation"}

    @property
    def columns(self) -> tuple[str, ...]:
        """The angles, and all six."""
        return self.name, f"{self.name}.all"

    def update(self, batch: Batch) -> Columns:
        """Per frame."""
        result, truth = (one.find("coefficients")[:, 64:] for one in (batch.result, batch.truth))
        each, there = np.abs(result - truth), found(truth)
        return {name: masked(column, there)
                for name, column in zip(self.columns, (each[:, :3].mean(1), each.mean(1)), strict=True)}  # fmt: skip
