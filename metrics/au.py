"""Facial expressions as intensities of action units, from OpenFace's tables or py-feat."""

import numpy as np

from metrics.metric import Batch, Columns, Metric, Video, masked
from metrics.parts.curves import correlations
from metrics.parts.drawn import truth_of
from metrics.parts.landmarks import found
from metrics.parts.tables import MIN_CONFIDENCE
from util.expressions import UNITS


class ActionUnitError(Metric):
    """Mean absolute difference of the intensities. Tables of result and driving video must come from the same
    program."""

    name = "au"
    says = "mean absolute difference of 17 action units from the driving video's, 0 to 5; Pearson's r per unit (.r)"
    used_by = "papers on expression transfer"
    needs = ("driving|truth",)
    settings = {"units": [unit.column for unit in UNITS], "least confidence": MIN_CONFIDENCE}
    libraries = ("py-feat",)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns: the mean, then each unit."""
        return self.name, *(f"{self.name}.{unit.column}" for unit in UNITS)

    def begin(self, video: Video) -> None:
        """Reset the curves for another video."""
        self._curves: list[tuple[np.ndarray, np.ndarray]] = []

    def update(self, batch: Batch) -> Columns:
        """The difference per frame; frames without a driving face are not measured."""
        result, expected = batch.result.find("aus"), self.expected(batch)
        self._curves.append((result, expected))
        each = np.abs(result - expected)
        values = (each.mean(1), *each.T)
        return {name: masked(column, found(expected)) for name, column in zip(self.columns, values, strict=True)}

    def expected(self, batch: Batch) -> np.ndarray:
        """The intensities (N, 17) that the result should show."""
        return batch.either("driving", "truth").find("aus")

    def finish(self) -> dict[str, float]:
        """Pearson's correlation over the frames of a video, for each unit that moves in both, and their mean."""
        return correlations(f"{self.name}.r", [unit.column for unit in UNITS], self._curves)


class ActionUnitTruth(ActionUnitError):
    """Difference between the detected intensities of the result and the true ones of the drawn person."""

    name = "au/truth"
    says = "mean absolute difference of 17 action units from the drawn person's own, 0 to 5; Pearson's r per unit (.r)"
    needs = ()
    tables = ("drawn_truth",)

    def begin(self, video: Video) -> None:
        """Open the truth of the video with this name."""
        super().begin(video)
        self._video = video

    def expected(self, batch: Batch) -> np.ndarray:
        """The drawn person's intensities."""
        last = batch.first + len(batch)
        return truth_of(self.tools, self._video, last, self.name).performance.aus[batch.first : last]
