"""The landmarks of a video's frames, as preparation leaves them: metadata.npz, or the original's metadata.pkl."""

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from util.errors import UserError

NAMES = ("metadata.npz", "metadata.pkl")
PICKLED_SIZE = 256
"""The side of the picture to which the points in a metadata.pkl belong."""
SAFE = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
}
"""All that a pickled list of names and arrays needs; nothing of it runs code."""


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
    try:
        names, points, size = _from_npz(path) if path.suffix == ".npz" else _from_pickle(path)
    except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, IndexError) as error:
        raise UserError(
            f"{path}: not readable as landmarks ({error}); remove it and run script/extract_landmarks.py again"
        ) from error
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: refused or damaged: {error}") from error
    points = np.asarray(points, np.float32)
    if points.shape != (len(names), 68, 2) and (len(names) or points.size):
        raise UserError(f"{path}: {len(names)} frames, but points of shape {points.shape}; (frames, 68, 2) is needed")
    order = sorted(range(len(names)), key=lambda index: names[index])
    return FrameLandmarks([str(names[index]) for index in order], points[order], size)


def _from_npz(path: Path) -> tuple[list[str], np.ndarray, int]:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["names"].tolist(), arrays["landmarks"], int(arrays["size"])


def _from_pickle(path: Path) -> tuple[list[str], np.ndarray, int]:
    with path.open("rb") as file:
        rows = _Restricted(file).load()
    return [name for name, _ in rows], np.array([points for _, points in rows]), PICKLED_SIZE


class _Restricted(pickle.Unpickler):
    """Builds lists, texts, numbers and numpy arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in SAFE:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a list of landmarks does not need")
        return super().find_class(module, name)
