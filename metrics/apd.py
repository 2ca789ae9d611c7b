"""Average pose distance (APD) of 3D face models."""

import numpy as np

from metrics.metric import Batch, Columns, Metric, masked
from metrics.parts.landmarks import found


class Apd3dmm(Metric):
    """APD from coefficient files, with and without translation, since papers differ. `pose` measures degrees without
    files."""

    name = "apd/3dmm"
    says = "mean absolute difference of the three angles (Deep3DFaceRecon), read from files; with the translation: .all"
    used_by = "papers on animation by 3-D face models"
    tables = ("result_coefficients", "truth_coefficients")
    settings = {"coefficients": "pose: three angles, three of translation"}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns for the angles and for all six numbers."""
        return self.name, f"{self.name}.all"

    def update(self, batch: Batch) -> Columns:
        """The distances per frame."""
        result, truth = (one.find("coefficients")[:, 64:] for one in (batch.result, batch.truth))
        each, there = np.abs(result - truth), found(truth)
        return {name: masked(column, there)
                for name, column in zip(self.columns, (each[:, :3].mean(1), each.mean(1)), strict=True)}  # fmt: skip
