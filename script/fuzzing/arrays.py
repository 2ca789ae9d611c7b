"""Arrays in npz files and pickles: annotations, landmarks, tracks, motion, the truth of drawn people."""

import pickle
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from data.expressions.annotations import read_annotations, write_annotations
from data.faces.file_detector import ARRAYS, read_points
from data.faces.tracking import Track
from data.sample_faces import Truth
from data.sample_faces.motion import MotionTruth
from data.sample_faces.performance import Performance
from data.talking.files import read_frame_landmarks
from data.video.index import IndexCache, index_of_packets
from metrics.evaluation.running import motion_of
from metrics.parts.tables import COEFFICIENTS, coefficient_rows
from script.fuzzing.damage import PICKLE_TOKENS, in_zip
from script.fuzzing.oddities import in_npz, in_pickle
from script.fuzzing.target import Target, written
from script.pack_frames import read_arrays
from util.motion_template import OPTIONAL, SHAPES, read_template, write_template

FRAMES = 3


def some(*shape: int, kind: Any = np.float32) -> np.ndarray:
    """Numbers from 0 to 4.75."""
    return (np.arange(np.prod(shape, dtype=int)) % 20 / 4).astype(kind).reshape(shape)


def npz(**arrays: Any) -> Callable[[Path], list[bytes]]:
    """Writes npz files with these arrays, compressed and uncompressed."""
    saves = (np.savez, np.savez_compressed)
    return lambda folder: written(folder, "a.npz", *(lambda path, save=save: save(path, **arrays) for save in saves))


def pickles(*contents: Any) -> Callable[[Path], list[bytes]]:
    """Writes pickles in the common protocols."""
    return lambda folder: [pickle.dumps(content, protocol) for content in contents for protocol in (0, 2, 4, 5)]


ANNOTATIONS = {f"{number}_é": some(17, kind=np.float64) for number in range(4)}
METADATA = [(f"{number:04}.png", some(68, 2)) for number in range(FRAMES)]
MOTION = {
    "output_fps": 25, "n_frames": FRAMES,
    "motion": [{name: some(1, *shape) for name, shape in (SHAPES | {"kp": OPTIONAL["kp"]}).items()}] * FRAMES,
    "c_eyes_lst": [some(1, 2)] * FRAMES, "c_lip_lst": [some(1, 1)] * FRAMES,
}  # fmt: skip


def _annotations(suffix: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: written(folder, f"a{suffix}", lambda path: write_annotations(path, ANNOTATIONS))


def _tracks(folder: Path) -> list[bytes]:
    count = np.zeros(FRAMES, np.uint8)
    track = Track(some(FRAMES, 68, 2), some(FRAMES, 4), some(FRAMES), count, count.astype(np.int32), 1, [1], "a")
    return written(folder, "a.npz", track.save)


def _truths(folder: Path) -> list[bytes]:
    performance = Performance(some(FRAMES, 17), some(FRAMES, 3), some(FRAMES, 3), some(FRAMES, 2))
    mask = np.ones((FRAMES, 16, 16), bool)
    truth = Truth(1, 2, 16, 25.0, performance, some(FRAMES, 68, 2), mask[:, 0, :1] & np.ones((FRAMES, 68), bool),
                  some(FRAMES, 68, 3), some(FRAMES, 4), mask)  # fmt: skip
    return written(folder, "a.npz", truth.save)


def _motions(folder: Path) -> list[bytes]:
    truth = MotionTruth(np.array([[0, 1]], np.int16), some(1, 8, 8, 2, kind=np.float16), np.ones((1, 8, 8), bool))
    return written(folder, "a.npz", truth.save)


def _templates(folder: Path) -> list[bytes]:
    pieces = [{name: some(FRAMES, *shape) for name, shape in kinds.items()} for kinds in (SHAPES, SHAPES | OPTIONAL)]
    return written(
        folder, "a.npz", *(lambda path, one=one: write_template(path, [one], Fraction(30000, 1001)) for one in pieces)
    )


def _frame_indexes(folder: Path) -> list[bytes]:
    video = folder / "a.mp4"
    video.write_bytes(b"a video")
    cache = IndexCache(video, folder)
    cache.save(index_of_packets(range(0, 90, 30), [(0, 500)], 30))
    return [cache.path.read_bytes()]


def read_index(path: Path) -> Any:
    """A cached index from an earlier run; a damaged one is ignored."""
    video = path.with_name("a.mp4")
    video.write_bytes(b"a video")
    cache = IndexCache(video, path.parent)
    cache.path = path
    stored = cache.load()
    return None if stored is None else vars(stored)


def read_grids(path: Path) -> Any:
    """Dense motion for `script/evaluate.py --motion`."""
    pair, plan = SimpleNamespace(name=path.stem), SimpleNamespace(tables={"motion": path.parent})
    motion_of.__globals__["_grids"].cache_clear()
    return motion_of(pair, plan, 0, 2)


def read_coefficients(path: Path) -> Any:
    """Coefficients of a 3D face model."""
    coefficient_rows.cache_clear()
    return coefficient_rows(path)


def _zip(name: str, make: Callable, read: Callable) -> Target:
    return Target(name, "case.npz", make, read, within=(in_zip, in_npz), checked=True)


def _pickle(name: str, file: str, make: Callable, read: Callable) -> Target:
    return Target(name, file, make, read, tokens=PICKLE_TOKENS, within=(in_pickle,))


TARGETS = (
    _pickle("aus_pickle", "aus_openface.pkl", pickles(ANNOTATIONS), read_annotations),
    _pickle("landmark_pickle", "metadata.pkl", pickles(METADATA), read_frame_landmarks),
    _pickle("template_pickle", "case.pkl", pickles(MOTION), read_template),
    _zip("aus_npz", _annotations(".npz"), read_annotations),
    _zip(
        "landmark_npz", npz(names=np.array(["a.png", "b.png"]), landmarks=some(2, 68, 2), size=64), read_frame_landmarks
    ),
    _zip("points_npz", npz(**{ARRAYS[0]: some(FRAMES, 68, 2)}), read_points),
    _zip("track", _tracks, Track.load),
    _zip("template_npz", _templates, read_template),
    _zip("frame_index", _frame_indexes, read_index),
    _zip("arrays", npz(a=some(2, 3), names=np.array(["é", "b"]), flags=np.array([True])), read_arrays),
    _zip("truth", _truths, Truth.load),
    _zip("motion", _motions, MotionTruth.load),
    _zip("grids", npz(grid=some(FRAMES, 4, 4, 2)), read_grids),
    _zip("coefficients", npz(**{name: some(FRAMES, width) for name, width in COEFFICIENTS.items()}), read_coefficients),
)
