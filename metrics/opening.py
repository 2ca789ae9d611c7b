"""How far mouth and eyes are open, beside the driving video."""

import numpy as np

from metrics.akd import AkdDlib
from metrics.metric import Batch, Columns, Video, masked
from metrics.parts.curves import correlation, where_known
from metrics.parts.landmarks import found
from metrics.parts.openings import eyes_opening, mouth_opening


class MouthOpening(AkdDlib):
    """Of another person the size differs; whether it goes with the driving video's, `.r` tells."""

    name = "opening/mouth"
    says = "mean absolute difference of the inner lips' distance, in parts of the outer corners of the eyes'; r (.r)"
    unit = "eye distances"
    needs = ("driving|truth",)
    of = staticmethod(mouth_opening)

    def begin(self, video: Video) -> None:
        """Curves of another video."""
        self._curves: list[tuple[np.ndarray, np.ndarray]] = []

    def update(self, batch: Batch) -> Columns:
        """Per frame; not measured where the driving face was not found."""
        streams = batch.result, batch.either("driving", "truth")
        result, expected = (self.of(stream.find(self.kind))[:, None] for stream in streams)
        self._curves.append((result, expected))
        return {self.name: masked(np.abs(result - expected)[:, 0], found(expected))}

    def finish(self) -> dict[str, float]:
        """Pearson's r over the frames of the video."""
        return {f"{self.name}.r": correlation(*(curve[:, 0] for curve in where_known(self._curves)))}


class EyesOpening(MouthOpening):
    """Blinks are short: `.r` needs videos of some seconds."""

    name = "opening/eyes"
    says = "mean absolute difference of the lids' distance, in parts of the outer corners of the eyes'; r (.r)"
    of = staticmethod(eyes_opening)
