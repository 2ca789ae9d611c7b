"""Faces read from files that hold the landmarks of each clip."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.faces.detector import POINTS, Detector, Face
from data.video import VIDEO_SUFFIXES
from data.video.images import IMAGE_SUFFIXES, natural_key
from util.archives import Arrays, open_zip
from util.errors import UserError
from util.reading import read_text as text_of
from util.reading import reading

ARRAYS = ("points", "landmarks")


def read_points(path: Path) -> np.ndarray:
    """Landmarks of one clip, (frames, 68, 2), from an npz, a packed clip, a text, or a folder of one text per frame."""
    if path.is_dir():
        texts = [text for text in path.iterdir() if text.suffix == ".txt"]
        points = [read_text(text) for text in sorted(texts, key=lambda text: natural_key(text.name))]
        if not points:
            raise UserError(f"{path}: no .txt files with landmarks in this folder")
        return np.concatenate(points)
    if path.suffix == ".npz":
        return _from_npz(path)
    if path.suffix == ".clip":
        from data.video.packed import PackedClip

        return _checked(path, PackedClip(path).arrays)
    return read_text(path)


def _from_npz(path):
    what = "cannot be read as an npz of landmarks"
    with reading(path, what), open_zip(path) as archive:
        arrays = Arrays(archive)
        if "frames" in arrays and "names" in arrays and int(arrays["frames"]) != len(arrays["names"]):
            raise UserError(
                f"{path}: skips the frames without a face, so its rows do not match the video's frames; track again "
                f"with --on_missing interpolate or hold"
            )
        return _checked(path, {name: arrays[name] for name in arrays.files if name in ARRAYS})


def _checked(path, arrays):
    for name in ARRAYS:
        if name in arrays:
            points = np.asarray(arrays[name], dtype=np.float32)
            if points.ndim == 3 and points.shape[1:] == (POINTS, 2):
                return points
            raise UserError(f"{path}: array {name} has shape {points.shape}; (frames, 68, 2) is needed")
    raise UserError(f"{path}: no array named {' or '.join(ARRAYS)}")


def read_text(path: Path) -> np.ndarray:
    """Landmarks of one or more frames from lines "x,y" (or "x y"), 68 a frame."""
    what = "cannot be read as lines of x,y"
    with reading(path, what):
        values = [line.replace(",", " ").split() for line in text_of(path, what).splitlines()]
        points = np.array([list(map(float, pair)) for pair in values if pair], dtype=np.float32)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) % POINTS:
        raise UserError(f"{path}: each frame needs {POINTS} lines of x,y; it has {len(points)}")
    return points.reshape(-1, POINTS, 2)


class FileDetector(Detector):
    """Landmarks found earlier: a file for one clip, or a folder with an entry named after each clip."""

    can_follow = False

    def __init__(self, path: Path):
        self._path = Path(path)
        if not self._path.exists():
            raise UserError(f"{path}: no such file or folder; set --landmark_model to a file or folder of landmarks")

    def clip(self, name: str, first: int = 0) -> Detector:
        """The landmarks of the clip of exactly this name."""
        return ClipPoints(self._entry(Path(name)), first)

    def _entry(self, name: Path) -> Path:
        own = self._path
        if own.is_file():
            return own
        # Only strip video suffixes: otherwise "id.1" would match the landmarks of "id".
        bases = [name.name, name.stem] if name.suffix.lower() in VIDEO_SUFFIXES + IMAGE_SUFFIXES else [name.name]
        for choice in (own / (base + suffix) for base in bases for suffix in (".npz", ".clip", ".txt", "")):
            if choice.exists() and choice.suffix.lower() not in VIDEO_SUFFIXES + IMAGE_SUFFIXES:
                return choice
        if own.name in bases and any(own.glob("*.txt")):
            return own
        raise UserError(f"{own}: no landmarks for {name.name} ({name.stem}.npz, .clip, .txt or a folder of texts)")

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Always refuses: landmarks are looked up by clip name, and none is given."""
        raise UserError(
            f"--landmarks file: {self._path} lists landmarks by clip name, and this input has no name; use "
            f"--landmarks dlib or face-alignment"
        )


class ClipPoints(Detector):
    """The landmarks of one clip, frame by frame."""

    can_follow = False

    def __init__(self, path: Path, first: int = 0):
        self._path, self._points, self._next = path, read_points(path), first

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """The faces of the next frames; a row with NaN is a frame without a face."""
        rows = self._points[self._next : self._next + len(frames)]
        if len(rows) < len(frames):
            raise UserError(f"{self._path}: has landmarks of {len(self._points)} frames, but the video is longer")
        self._next += len(frames)
        return [[face_of(row)] if np.isfinite(row).all() else [] for row in rows]


def face_of(points: np.ndarray) -> Face:
    """A face whose box encloses its points."""
    return Face(np.concatenate([points.min(0), points.max(0)]).astype(np.float64), points, 1.0)
