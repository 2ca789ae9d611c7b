"""Motion templates: the motion of a driving video as numbers in a file; the original's pickles are read as data
only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from util.archives import read_npz
from util.errors import UserError
from util.files import replacing
from util.reading import reading
from util.unpickling import read_pickle

SUFFIXES = (".npz", ".pkl")
FORMAT = "motion template 1"
NUM_KP = 21
SHAPES = {"scale": (1,), "R": (3, 3), "exp": (NUM_KP, 3), "t": (3,)}
"""The arrays per frame; kp (canonical points) and openness (eyes, lips) are optional."""
OPTIONAL = {"kp": (NUM_KP, 3), "openness": (3,)}
WHAT = "refused: not a motion template of numbers alone"


@dataclass(frozen=True)
class MotionTemplate:
    """Arrays with a row per frame, by the names of SHAPES and OPTIONAL, and the frame rate."""

    arrays: Mapping[str, np.ndarray]
    fps: Fraction

    def __len__(self) -> int:
        return len(self.arrays["R"])


def read_template(path: Path | str) -> MotionTemplate:
    """Read a template of ours (.npz) or of the original (.pkl)."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"--driving_video {path}: no such file")
    return _read_npz(path) if path.suffix.lower() == ".npz" else _read_pickle(path)


def _read_npz(path: Path) -> MotionTemplate:
    what, remedy = "not a motion template written by --save_template", "write it again"
    arrays = read_npz(path, what, remedy=remedy)
    with reading(path, what, remedy):
        if str(arrays.pop("format")) != FORMAT:
            raise ValueError("another format")
        fps = Fraction(*(int(part) for part in arrays.pop("fps")))
    return _checked(path, arrays, fps)


def _read_pickle(path: Path) -> MotionTemplate:
    content = read_pickle(path, "a motion template: arrays by frame")
    with reading(path, WHAT, "make it again with the original"):
        frames, fps = list(content["motion"]), Fraction(content.get("output_fps", 25)).limit_denominator(1001)
        # Names in the original's first versions.
        frames = [{**frame, "R": frame["R"] if "R" in frame else frame["R_d"]} for frame in frames]
        names = [*SHAPES, *(["kp"] if all("kp" in frame for frame in frames) else [])]
        arrays = {name: np.stack([np.asarray(frame[name], np.float32) for frame in frames]) for name in names}
        arrays = {name: array.reshape(len(frames), *(SHAPES | OPTIONAL)[name]) for name, array in arrays.items()}
        eyes, lips = (content.get(f"c_{part}_lst", content.get(f"c_d_{part}_lst")) for part in ("eyes", "lip"))
        if eyes is not None and lips is not None and len(eyes):
            rows = [np.hstack([np.ravel(eye)[:2], np.ravel(lip)[:1]]) for eye, lip in zip(eyes, lips, strict=True)]
            arrays["openness"] = np.array(rows, np.float32)
    return _checked(path, arrays, fps)


def _checked(path: Path, arrays: dict[str, np.ndarray], fps: Fraction) -> MotionTemplate:
    """Validate the arrays: their shapes must match, and all values must be finite."""
    missing = [name for name in SHAPES if name not in arrays]
    if missing:
        raise UserError(f"{path}: this motion template lacks {', '.join(missing)}; recreate it with --save_template")
    known = {name: arrays[name] for name in (*SHAPES, *OPTIONAL) if name in arrays}
    count = len(np.atleast_1d(known["R"]))
    for name, array in known.items():
        wanted = (count, *(SHAPES | OPTIONAL)[name])
        if array.shape != wanted or not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
            raise UserError(
                f"{path}: {name} is {array.dtype} {array.shape}, but must be {wanted} with finite numbers; recreate "
                f"it with --save_template"
            )
    if not count or fps <= 0:
        raise UserError(
            f"{path}: this motion template has {count} frames at {fps} per second; recreate it with --save_template"
        )
    return MotionTemplate({name: array.astype(np.float32) for name, array in known.items()}, fps)


def write_template(path: Path | str, pieces: Iterable[Mapping[str, np.ndarray]], fps: Fraction) -> None:
    """Write the motion of consecutive chunks of a driving video."""
    parts: dict[str, list[np.ndarray]] = {}
    for piece in pieces:
        for name in (*SHAPES, *OPTIONAL):
            if name in piece:
                parts.setdefault(name, []).append(np.asarray(piece[name], np.float32))
    arrays: dict[str, Any] = {name: np.concatenate(several) for name, several in parts.items()}
    rate = np.array([fps.numerator, fps.denominator])
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, format=FORMAT, fps=rate, **arrays)


def is_template(path: Path | str) -> bool:
    """Whether a file is a motion template by its name."""
    return Path(path).suffix.lower() in SUFFIXES


def items_of(template: MotionTemplate, indices: Sequence[int]) -> Iterable[dict[str, Any]]:
    """The driving items of a template's frames."""
    for index in indices:
        row = {name: array[index] for name, array in template.arrays.items()}
        openness = {"openness": row.pop("openness")} if "openness" in row else {}
        yield {"motion": row} | openness
