"""Landmarks of drawn people compared with the ground truth."""

import numpy as np

from metrics.akd import AkdDlib
from metrics.metric import Batch, Columns, Video
from metrics.parts.drawn import truth_of
from metrics.parts.landmarks import REFERENCE_HEIGHT


class LandmarksTruth(AkdDlib):
    """Unlike AKD it compares with the true positions, not with detections in the true video. The control row "truth"
    gives the detector's own error."""

    name = "landmarks/truth"
    says = "mean Euclidean distance of dlib's points in the result from the drawn person's own landmarks"
    needs = ()
    tables = ("drawn_truth",)

    def begin(self, video: Video) -> None:
        """Open the truth of the video with this name."""
        self._video = video

    def update(self, batch: Batch) -> Columns:
        """The distance per frame, over the 68 points."""
        truth = truth_of(self.tools, self._video, batch.first + len(batch), self.name)
        expected = truth.landmarks[batch.first : batch.first + len(batch)]
        found = batch.result.find(self.kind)
        # Convert between frame sizes so that pixel centres match.
        found, expected = (
            (points + 0.5) * (REFERENCE_HEIGHT / height)
            for points, height in ((found, batch.result.height), (expected, truth.size))
        )
        return {self.name: np.linalg.norm(found - expected, axis=-1).mean(-1)}
