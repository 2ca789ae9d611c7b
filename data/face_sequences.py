"""Sequences of frames with key points in folders, and which frames of them make a training clip."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.images import is_image, natural_key
from util.errors import UserError

POINTS = 68
MOST_NAMED = 5


@dataclass(frozen=True)
class Sequence:
    """One video: its name, its folder of pictures, and each picture with its file of points."""

    name: str
    pictures: Path
    frames: tuple[tuple[Path, Path], ...]

    def __len__(self) -> int:
        return len(self.frames)

    def points(self, index: int) -> np.ndarray:
        """The key points (68, 2) of a frame."""
        return read_points(self.frames[index][1])


def read_points(path: Path) -> np.ndarray:
    """The 68 lines "x,y" of a file, as they are."""
    try:
        points = np.array([line.split(",") for line in path.read_text(encoding="utf-8").split()], np.float64)
    except ValueError as error:
        raise UserError(f"{path}: not lines of two numbers x,y ({error}); make it again") from None
    if points.shape != (POINTS, 2):
        raise UserError(f"{path}: holds {len(points)} points, {POINTS} are needed; make it again")
    return points


def find_sequences(root: Path, phase: str) -> list[Sequence]:
    """The sequences of <root>/<phase>_data, each with its points from <phase>_keypoints (or _keypoint)."""
    pictures = root / f"{phase}_data"
    if not pictures.is_dir():
        raise UserError(f"--dataroot {root}: there is no {pictures.name}/<sequence>/<frame>.png; see docs/face.md")
    points = next((root / name for name in _spellings(phase) if (root / name).is_dir()), None)
    if points is None:
        raise UserError(
            f"--dataroot {root}: there is no {phase}_keypoints; script/obtain_face_kp.py --root {root} makes it"
        )
    folders = sorted({path.parent for path in pictures.rglob("*") if is_image(path)}, key=natural_key)
    if not folders:
        raise UserError(f"{pictures}: no folders with pictures in it; see docs/face.md")
    found, problems = [], []
    for folder in folders:
        name = folder.relative_to(pictures)
        sequence, problem = _pair("_".join(name.parts) or phase, folder, points / name)
        found.append(sequence)
        problems += [problem] if problem else []
    if problems:
        more = f"; and {len(problems) - MOST_NAMED} more" if len(problems) > MOST_NAMED else ""
        raise UserError(
            f"{'; '.join(problems[:MOST_NAMED])}{more}. script/obtain_face_kp.py --root {root} finds key points; "
            "move out what has none"
        )
    return found


def _spellings(phase: str) -> tuple[str, str]:
    return f"{phase}_keypoints", f"{phase}_keypoint"


def _pair(name: str, folder: Path, points_folder: Path) -> tuple[Sequence, str]:
    """A sequence by the stems of its files, and what is wrong with it."""
    pictures = {path.stem: path for path in folder.iterdir() if is_image(path) and not path.name.startswith(".")}
    points = {path.stem: path for path in points_folder.glob("*.txt")}
    both = sorted(pictures.keys() & points.keys(), key=natural_key)
    problem = ""
    for what, lone in (("pictures without key points", pictures.keys() - points.keys()),
                       ("key points without a picture", points.keys() - pictures.keys())):  # fmt: skip
        if lone:
            problem = f"{folder}: {len(lone)} {what} ({', '.join(sorted(lone, key=natural_key)[:3])})"
    return Sequence(name, folder, tuple((pictures[stem], points[stem]) for stem in both)), problem


def clip_length(frames: int, total: int, chunk: int) -> int:
    """How many frames a clip of a sequence has: whole chunks, or all frames of a sequence shorter than one."""
    most = min(total, frames)
    chunk = min(most, chunk)
    return chunk * (most // chunk)


def choose_frames(frames: int, total: int, chunk: int, max_step: int) -> range:
    """The frames of a training clip: evenly spaced, with a random step and start."""
    length = clip_length(frames, total, chunk)
    step = np.random.randint(min(max_step, frames // length)) + 1
    start = np.random.randint(max(1, frames - (length - 1) * step))
    return range(start, start + length * step, step)
