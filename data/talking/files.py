"""The landmarks of a video's frames, as preparation writes them: metadata.npz, or the original's metadata.pkl."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from util.archives import read_npz
from util.reading import reading
from util.unpickling import read_pickle

NAMES = ("metadata.npz", "metadata.pkl")
PICKLED_SIZE = 256
"""The side of the picture to which the points in a metadata.pkl belong."""
HELD = "a list of names of frames, each with its landmarks"
WHAT = "not readable as landmarks"
REMEDY = "remove it and run script/extract_landmarks.py again"


class FrameLandmarks(NamedTuple):
    """The frames of a video in which a face was found."""

    names: list[str]
    points: np.ndarray
    """(frames, 68, 2) float32, in pixels of the frame squashed to `size` squared."""
    size: int


def find_landmark_file(video: Path) -> Path | None:
    """The file with the landmarks of a folder of frames; None if there is none."""
    return next((video / name for name in NAMES if (video / name).is_file()), None)


def read_frame_landmarks(path: Path) -> FrameLandmarks:
    """The landmarks of one video, the frames sorted by name."""
    with reading(path, WHAT, REMEDY):
        names, points, size = _from_npz(path) if path.suffix == ".npz" else _from_pickle(path)
        points = np.asarray(points, np.float32)
        if points.shape != (len(names), 68, 2) and (len(names) or points.size):
            raise ValueError(f"{len(names)} frames, but points of shape {points.shape}; (frames, 68, 2) is needed")
        odd = [name for name in names if not isinstance(name, str) or name != Path(name).name]
        if odd or size < 1:
            raise ValueError(f"frames called {odd[0]!r:.40}" if odd else f"points in pictures of size {size}")
    order = sorted(range(len(names)), key=lambda index: names[index])
    return FrameLandmarks([names[index] for index in order], points[order], size)


def _from_npz(path: Path) -> tuple[list[str], np.ndarray, int]:
    arrays = read_npz(path, WHAT, "names", "landmarks", "size", remedy=REMEDY)
    return arrays["names"].reshape(-1).tolist(), arrays["landmarks"], int(arrays["size"])


def _from_pickle(path: Path) -> tuple[list[str], np.ndarray, int]:
    rows = read_pickle(path, HELD, REMEDY)
    names, points = [name for name, _ in rows], [points for _, points in rows]
    odd = [name for name, one in rows if not isinstance(one, np.ndarray) or one.shape != (68, 2)]
    if odd:
        raise ValueError(f"{odd[0]!r:.40} has no array (68, 2)")
    return names, np.array(points), PICKLED_SIZE
