"""Clips of drawn people on disk: an mp4 with sound and an npz with the ground truth of every frame."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from data.sample_faces.expression import AU_NAMES
from data.sample_faces.identity import draw_identity
from data.sample_faces.performance import Performance
from data.sample_faces.person import Person
from data.sample_faces.rich import RichPerformance, RichPerson
from data.video.container import open_container
from util.archives import read_npz
from util.files import replacing
from util.reading import reading

FPS = 25
COMMENT = "Drawn by Grimace: a rendered person who does not exist"


VARIETIES = ("plain", "rich")


@lru_cache(maxsize=2)
def person(seed: int, number: int, variety: str = "plain") -> Person:
    """A person of the set drawn from `seed`, cached for the next clip."""
    return RichPerson(seed, number) if variety == "rich" else Person(draw_identity(seed, number))


@dataclass
class Truth:
    """The ground truth of one clip; docs/sample.md describes each array."""

    seed: int
    identity: int
    size: int
    fps: float
    performance: Performance
    landmarks: np.ndarray  # (N, 68, 2)
    visible: np.ndarray  # (N, 68)
    points: np.ndarray  # (N, 68, 3)
    box: np.ndarray  # (N, 4)
    mask: np.ndarray  # (N, H, W) bool
    variety: str = "plain"

    def __len__(self) -> int:
        return len(self.landmarks)

    def motion(self, first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
        """Dense motion between two frames: flow (H, W, 2) in pixels and whether each pixel is seen in the second."""
        subject = person(self.seed, self.identity, self.variety)
        return subject.motion(self.performance.state(first), self.performance.state(second), self.size)

    def save(self, path: Path) -> None:
        """Write the truth; masks are packed, eight pixels a byte."""
        p = self.performance
        with replacing(path) as temporary:
            np.savez_compressed(
                temporary, seed=self.seed, identity=self.identity, size=self.size, fps=self.fps,
                au_names=np.array(AU_NAMES),
                aus=p.aus, rotation=p.rotation, translation=p.translation, gaze=p.gaze, landmarks=self.landmarks,
                visible=self.visible, points=self.points, box=self.box, mask=np.packbits(self.mask, axis=-1),
                **p.more(),
            )  # fmt: skip

    @classmethod
    def load(cls, path: Path | str) -> "Truth":
        """Load a file of `save`."""
        what, remedy = "not the truth of a sample clip", "render it again"
        read = read_npz(path, what, remedy=remedy)
        with reading(path, what, remedy):
            numbers = {name: int(read[name]) for name in ("seed", "identity", "size")}
            variety = "rich" if "clip" in read else "plain"
            performance = (RichPerformance if variety == "rich" else Performance).of(read)
            mask = np.unpackbits(read["mask"], axis=-1, count=numbers["size"]).astype(bool)
            arrays = {name: read[name] for name in ("landmarks", "visible", "points", "box")}
            fps = float(read["fps"])
            return cls(**numbers, fps=fps, performance=performance, **arrays, mask=mask, variety=variety)


def render_clip(seed: int, number: int, performance: Performance, size: int, fps: float) -> tuple[np.ndarray, Truth]:
    """Draw every frame: (N, H, W, 3) and the ground truth; the performance decides the variety."""
    variety = "rich" if isinstance(performance, RichPerformance) else "plain"
    subject = person(seed, number, variety)
    pictures = [subject.draw(performance.state(k), size) for k in range(len(performance))]

    def stack(name: str) -> np.ndarray:
        return np.stack([getattr(picture, name) for picture in pictures])

    names = ("landmarks", "visible", "points", "box", "mask")
    arrays = {name: stack(name) for name in names}
    return stack("image"), Truth(seed, number, size, fps, performance, **arrays, variety=variety)


def write_film(
    path: Path, frames: np.ndarray, fps: Fraction | int, sound: np.ndarray | None, rate: int = 24000
) -> None:
    """Write an mp4 with sound, the same bytes for the same frames.

    Not data.video.VideoWriter: that takes sound from a file and encodes for viewing, with a thread per core; here the
    sound is made on the spot, one thread makes the bytes independent of the machine's cores, and time counts.
    """
    import av

    with replacing(path) as temporary, open_container(temporary, "w", options={"movflags": "+faststart"}) as container:
        container.metadata["comment"] = COMMENT
        video = container.add_stream("libx264", rate=Fraction(fps))
        video.height, video.width, video.pix_fmt = *frames.shape[1:3], "yuv420p"
        video.codec_context.thread_count = 1
        video.options = {"preset": "veryfast", "crf": "15"}
        audio = None
        if sound is not None:
            audio = container.add_stream("aac", rate=rate, layout="mono")
            audio.bit_rate = 64000
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode())
        if audio is not None:
            piece = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="fltp", layout="mono")
            piece.sample_rate = rate
            container.mux(audio.encode(piece))
            container.mux(audio.encode())
