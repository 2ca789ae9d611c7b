"""Sequences of frames with key points in folders, and the choice of frames for training clips."""

import itertools
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.video.images import folders_with, is_visible_image, list_images, natural_key
from util.errors import UserError
from util.reading import read_text

log = logging.getLogger(__name__)

POINTS = 68
FARTHEST = 100_000
"""Pixels; no picture is as large."""
MAX_NAMED = 5


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
    lines = read_text(path, "not lines of two numbers x,y", "make it again").splitlines()
    points = [_point(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if len(points) != POINTS:
        raise UserError(
            f"{path}: has {len(points)} points instead of {POINTS}; recreate it with script/obtain_face_kp.py"
        )
    return np.array(points, np.float64)


def _point(path: Path, number: int, line: str) -> tuple[float, float]:
    try:
        x, y = map(float, line.split(","))
    except ValueError:
        raise UserError(
            f"{path}, line {number}: {line.strip()!r} is not two numbers x,y; recreate it with script/obtain_face_kp.py"
        ) from None
    if not (abs(x) <= FARTHEST and abs(y) <= FARTHEST):  # NaN is not, either
        raise UserError(
            f"{path}, line {number}: {line.strip()} is not a point of a picture; recreate it with "
            f"script/obtain_face_kp.py"
        )
    return x, y


def find_sequences(root: Path, phase: str) -> list[Sequence]:
    """The sequences of <root>/<phase>_data, each with its points from <phase>_keypoints (or _keypoint).

    Warns of pictures or points without a partner and skips them.
    """
    pictures, points = _folders(root, phase)
    folders, empty = folders_with(pictures, is_visible_image)
    if not folders:
        raise UserError(f"{pictures}: no folders with pictures in it; see docs/face.md")
    problems = [f"{folder}: {'a link' if folder.is_symlink() else 'no pictures in it'}" for folder in empty]
    found, names = [], set()
    for folder in folders:
        inner = folder.relative_to(pictures)
        frames, unmatched = _pair(folder, points / inner)
        problems += unmatched
        if frames:
            found.append(Sequence(_free_name("_".join(inner.parts) or phase, names), folder, frames))
    known = {points / folder.relative_to(pictures) for folder in folders}
    problems += [
        f"{folder}: key points without pictures" for folder in folders_with(points, _is_text)[0] if folder not in known
    ]
    _report_problems(problems, root, nothing_left=not found)
    return found


def _folders(root: Path, phase: str) -> tuple[Path, Path]:
    """The folders of a phase's pictures and key points."""
    pictures = root / f"{phase}_data"
    if not pictures.is_dir():
        raise UserError(f"--dataroot {root}: no {pictures.name}/<sequence>/<frame>.png; see docs/face.md")
    spellings = f"{phase}_keypoints", f"{phase}_keypoint"
    points = next((root / name for name in spellings if (root / name).is_dir()), None)
    if points is None:
        raise UserError(f"--dataroot {root}: no {phase}_keypoints; make it with script/obtain_face_kp.py --root {root}")
    return pictures, points


def _pair(folder: Path, points_folder: Path) -> tuple[tuple[tuple[Path, Path], ...], list[str]]:
    """Pictures and points by the stems of their names, and a note about the rest."""
    pictures = {path.stem: path for path in list_images(folder)}
    points = {path.stem: path for path in points_folder.glob("*.txt") if _is_text(path.name)}
    both = sorted(pictures.keys() & points.keys(), key=natural_key)
    problems = [
        f"{folder}: {len(unmatched)} {what} ({', '.join(sorted(unmatched, key=natural_key)[:3])})"
        for what, unmatched in (("pictures without key points", pictures.keys() - points.keys()),
                           ("key points without a picture", points.keys() - pictures.keys()))
        if unmatched
    ]  # fmt: skip
    return tuple((pictures[stem], points[stem]) for stem in both), problems


def _free_name(wanted: str, taken: set[str]) -> str:
    """A unique name: a/b and a_b would both become a_b."""
    names = itertools.chain([wanted], (f"{wanted}_{number}" for number in itertools.count(2)))
    name = next(name for name in names if name not in taken)
    taken.add(name)
    return name


def _is_text(name: str) -> bool:
    return name.endswith(".txt") and not name.startswith(".")


def _report_problems(problems: list[str], root: Path, nothing_left: bool) -> None:
    """Warn of skipped data; raise UserError if nothing remains."""
    if not problems:
        return
    more = f"; and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
    summary = f"{'; '.join(problems[:MAX_NAMED])}{more}. script/obtain_face_kp.py --root {root} detects key points"
    if nothing_left:
        raise UserError(f"no frame has both a picture and key points: {summary}")
    log.warning("skipped: %s", summary)


def of_trainable_length(
    found: list[Sequence], *, total: int, chunk: int, min_frames: int, alike: bool
) -> list[Sequence]:
    """The sequences with clips of at least `min_frames` frames, all of one length if `alike`; a warning counts
    the others."""
    lengths = [clip_length(len(one), total, chunk) for one in found]
    needed = max(min_frames, max(lengths)) if alike else min_frames
    short = [one for one, length in zip(found, lengths, strict=True) if length < needed]
    if len(short) == len(found):
        longest = max(found, key=len)
        raise UserError(
            f"{longest.pictures}: the longest sequence has only {len(longest)} frames; --frames_D_V {min_frames} needs "
            f"{min_frames} consecutive ones"
        )
    if short:
        shortest = min(length for length in lengths if length >= min_frames)
        hint = f"; --n_frames_total={shortest} keeps sequences of {shortest} frames" if shortest < needed else ""
        named = ", ".join(f"{one.name} ({len(one)})" for one in short[:MAX_NAMED])
        log.warning(
            "skipped %d of %d sequences, too short for clips of %d frames: %s%s%s",
            len(short), len(found), needed, named, ", ..." if len(short) > MAX_NAMED else "", hint,
        )  # fmt: skip
    return [one for one, length in zip(found, lengths, strict=True) if length >= needed]


def clip_length(frames: int, total: int, chunk: int) -> int:
    """How many frames a clip of a sequence has: whole chunks, or all frames of a sequence shorter than one."""
    max_length = min(total, frames)
    chunk = min(max_length, chunk)
    return chunk * (max_length // chunk)


def choose_frames(frames: int, total: int, chunk: int, max_step: int) -> range:
    """The frames of a training clip: evenly spaced, with a random step and start."""
    length = clip_length(frames, total, chunk)
    step = np.random.randint(min(max_step, frames // length)) + 1
    start = np.random.randint(max(1, frames - (length - 1) * step))
    return range(start, start + length * step, step)
