"""Difference between the head poses of result and driving video."""

from metrics.akd import AkdDlib
from metrics.metric import Batch, Columns, Video, masked
from metrics.parts.drawn import truth_of
from metrics.parts.landmarks import SEARCH_EVERY, found
from metrics.parts.poses import POINTS, difference


class Pose(AkdDlib):
    """Also called APD, in degrees. Rotation only: the position in the frame is not included."""

    name = "pose"
    says = "mean absolute difference of yaw, pitch and roll from the driving video, by six of dlib's points"
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
        return self.name, *(f"{self.name}.{axis}" for axis in ("yaw", "pitch", "roll"))

    def update(self, batch: Batch) -> Columns:
        """Per frame."""
        result, driving = (one.find("pose") for one in (batch.result, batch.either("driving", "truth")))
        each, there = difference(result, driving), found(driving)
        values = (each.mean(1), *each.T)
        return {name: masked(column, there) for name, column in zip(self.columns, values, strict=True)}


class PoseTruth(Pose):
    """Head pose of drawn people compared with the truth. Six points and a mean face err by some degrees; see the
    control row "truth"."""

    name = "pose/truth"
    says = "mean absolute difference of the result's yaw, pitch and roll from the drawn person's own"
    needs = ()
    tables = ("drawn_truth",)

    def begin(self, video: Video) -> None:
        """Open the truth of the video with this name."""
        self._video = video

    def update(self, batch: Batch) -> Columns:
        """Per frame."""
        last = batch.first + len(batch)
        truth = truth_of(self.tools, self._video, last, self.name).performance.rotation[batch.first : last]
        each = difference(batch.result.find("pose"), truth)
        return dict(zip(self.columns, (each.mean(1), *each.T), strict=True))
