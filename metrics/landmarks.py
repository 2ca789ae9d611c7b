"""Landmarks of drawn people against the truth."""

import numpy as np

from metrics.akd import AkdDlib
from metrics.metric import Batch, Columns, Video
from metrics.parts.drawn import truth_of
from metrics.parts.landmarks import REFERENCE_HEIGHT


class LandmarksTruth(AkdDlib):
    """Unlike AKD it compares with where the points are, not with where a detector sees them in the true video; the
    control row "truth" says how far the detector itself is off."""

    name = "landmarks/truth"
    says = "mean Euclidean distance of dlib's points in the result from the drawn person's own landmarks"
    needs = ()
    tables = ("drawn_truth",)

    def begin(self, video: Video) -> None:
        """The truth is found by the name of the video."""
        self._video = video

    def update(self, batch: Batch) -> Columns:
        """Per frame, over the 68 points."""
        truth = truth_of(self.tools, self._video, batch.first + len(batch), self.name)
        wanted = truth.landmarks[batch.first : batch.first + len(batch)]
        found = batch.result.find(self.kind)
        # Pixels of frames of another size meet in the middles of pixels.
        found, wanted = (
            (points + 0.5) * (REFERENCE_HEIGHT / height)
            for points, height in ((found, batch.result.height), (wanted, truth.size))
        )
        return {self.name: np.linalg.norm(found - wanted, axis=-1).mean(-1)}
