"""Share of frames in which the result shows no face where the truth shows one."""

from metrics.akd import AkdDlib
from metrics.metric import Batch, Columns, masked
from metrics.parts.landmarks import found


class FaceMissed(AkdDlib):
    """Report it with every metric of faces: those are means over the frames in which a face was found."""

    name = "face_missed"
    says = "share of the frames with a true face in which dlib finds none in the result"
    unit = ""

    def update(self, batch: Batch) -> Columns:
        """1 if the face is missed, 0 if it is found."""
        result, truth = (found(one.find(self.kind)) for one in (batch.result, batch.truth))
        return {self.name: masked(~result, truth)}
