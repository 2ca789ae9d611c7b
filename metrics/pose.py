"""Difference between the head poses of result and driving video."""

from collections.abc import Sequence

import numpy as np

from data.faces.head_pose import POINTS
from metrics.akd import AkdDlib
from metrics.metric import Batch, Columns, Video, masked
from metrics.parts.curves import correlations
from metrics.parts.drawn import truth_of
from metrics.parts.landmarks import SEARCH_EVERY, found
from metrics.parts.poses import difference

AXES = ("yaw", "pitch", "roll")


class Pose(AkdDlib):
    """Also called APD, in degrees. Rotation only: the position in the frame is not included."""

    name = "pose"
    says = "mean absolute difference of yaw, pitch and roll from the driving video, by six of dlib's points; r (.r)"
    unit = "deg"
    needs = ("driving|truth",)
    settings = {
        "solver": "cv2.solvePnP iterative, focal length = width", "points": list(POINTS),
        "landmarks": f"dlib 68, HOG followed, searched every {SEARCH_EVERY}",
    }  # fmt: skip
    libraries = ("dlib-bin", "opencv-python")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns: the mean of the three angles, then each angle."""
        return self.name, *(f"{self.name}.{axis}" for axis in AXES)

    def begin(self, video: Video) -> None:
        """Start the curves of another video, whose name leads to its truth."""
        self._video = video
        self._curves: list[Sequence[np.ndarray]] = []

    def update(self, batch: Batch) -> Columns:
        """Per frame."""
        result, expected = batch.result.find("pose"), self.expected(batch)
        self._curves.append((result, expected))
        each = difference(result, expected)
        values = (each.mean(1), *each.T)
        return {name: masked(column, found(expected)) for name, column in zip(self.columns, values, strict=True)}

    def expected(self, batch: Batch) -> np.ndarray:
        """The pose that the result should have (N, 3)."""
        return batch.either("driving", "truth").find("pose")

    def finish(self) -> dict[str, float]:
        """How the turns of the head go together over the video, whatever their size: Pearson's r of each angle."""
        return correlations(f"{self.name}.r", AXES, self._curves)


class PoseTruth(Pose):
    """Head pose of drawn people compared with the truth. Six points and a mean face err by some degrees; see the
    control row "truth"."""

    name = "pose/truth"
    says = "mean absolute difference of the result's yaw, pitch and roll from the drawn person's own; r (.r)"
    needs = ()
    tables = ("drawn_truth",)

    def expected(self, batch: Batch) -> np.ndarray:
        """The drawn person's own."""
        last = batch.first + len(batch)
        return truth_of(self.tools, self._video, last, self.name).performance.rotation[batch.first : last]
