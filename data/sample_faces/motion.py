"""Dense motion between frames of a clip on disk, so that networks can learn from it without drawing."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.sample_faces.clips import Truth, person
from util.archives import read_npz
from util.files import replacing
from util.reading import reading

PAIRS = 24
"""Number of pairs to keep per clip."""


@dataclass
class MotionTruth:
    """Optical flow with visibility for some ordered pairs of a clip's frames."""

    pairs: np.ndarray  # (P, 2) numbers of the first and the second frame
    flow: np.ndarray  # (P, h, w, 2) float16: shares of the picture's side, to the right and down
    seen: np.ndarray  # (P, h, w) bool: whether the surface is visible in the second frame

    def save(self, path: Path) -> None:
        """Write it uncompressed, so that one item can be read fast."""
        with replacing(path) as temporary:
            np.savez(temporary, pairs=self.pairs, flow=self.flow, seen=np.packbits(self.seen, axis=-1))

    @classmethod
    def load(cls, path: Path | str) -> "MotionTruth":
        """Load a file of `save`."""
        what, remedy = "not the dense motion of a sample clip", "draw the set again with --layouts motion"
        pairs, flow, seen = read_npz(path, what, "pairs", "flow", "seen", remedy=remedy).values()
        with reading(path, what, remedy):
            return cls(pairs, flow, np.unpackbits(seen, axis=-1, count=flow.shape[2]).astype(bool))


def motion_truth(truth: Truth, rng: np.random.Generator, count: int = PAIRS) -> MotionTruth:
    """The motion of up to `count` random pairs at half the picture's size."""
    n, size = len(truth), truth.size // 2
    every = [(one, two) for one in range(n) for two in range(n) if one != two] or [(0, 0)]
    chosen = sorted(rng.permutation(len(every))[:count])
    pairs = np.array([every[k] for k in chosen], np.int16)
    subject = person(truth.seed, truth.identity, truth.variety)
    views = [subject.view(truth.performance.state(k), size) for k in range(n)]
    flow, seen = zip(*(subject.motion_between(views[one], views[two]) for one, two in pairs), strict=True)
    return MotionTruth(pairs, (np.stack(flow) / size).astype(np.float16), np.stack(seen))
