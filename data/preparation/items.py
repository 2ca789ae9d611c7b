"""Helpers of the preparation scripts: list items, split them, choose frames."""

import argparse
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from data.preparation.jobs import worker_index
from data.video import frame_rate, list_videos
from data.video.images import natural_key
from util.errors import UserError
from util.printable import printable
from util.values import count


def subfolders(folder: Path) -> list[Path]:
    """The folders directly in a folder, in natural order; ignores files and hidden folders."""
    found = (entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return sorted(found, key=lambda entry: natural_key(entry.name))


def existing_folder(folder: Path, option: str, content: str) -> Path:
    """Return the folder; if it is missing, the error names the option and the expected content."""
    if not folder.is_dir():
        raise UserError(f"{option} {folder}: no such folder; it needs {content}")
    return folder


def named_videos(folder: Path) -> dict[str, Path]:
    """The videos in a folder and below it, by path without suffix, which can name a folder."""
    videos: dict[str, Path] = {}
    for path in list_videos(folder):
        name = printable("_".join(path.relative_to(folder).with_suffix("").parts))
        if name in videos:
            raise UserError(f"{videos[name]} and {path} would get the same name {name}: rename or move one of them")
        videos[name] = path
    return videos


def rate(text: str) -> Fraction:
    """Read a frame rate; an argparse type."""
    try:
        return frame_rate(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def part_sizes(text: str) -> tuple[int, int]:
    """Read "900/100", the sizes of the training and test parts; an argparse type."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or int(match[1]) + int(match[2]) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not TRAIN/TEST, such as 900/100")
    return int(match[1]), int(match[2])


def split(names: Iterable[str], sizes: tuple[int, int]) -> dict[str, str]:
    """Phase of each name, in their order: first train, then test; sizes that do not add up are proportions."""
    names = list(names)
    train, test = sizes
    if train + test != len(names):
        # With two names or more, no part is empty.
        minimum = int(test > 0 and len(names) > 1)
        test = min(max(round(len(names) * test / (train + test)), minimum), len(names) - int(train > 0))
    border = len(names) - test
    return {name: "train" if i < border else "test" for i, name in enumerate(names)}


def picture_size(text: str) -> tuple[int | None, int]:
    """Read "256" (the shorter side; aspect kept) or "320x240" (width x height); an argparse type."""
    match = re.fullmatch(r"(?:(\d+)x)?(\d+)", text)
    if not match or 0 in (int(match[1] or 1), int(match[2])):
        raise argparse.ArgumentTypeError(f"'{text}' is not a size such as 256 (the shorter side) or 320x240")
    return (int(match[1]) if match[1] else None), int(match[2])


def resize(frame: np.ndarray, size: tuple[int | None, int] | None) -> np.ndarray:
    """Resize to a size of `picture_size`, with anti-aliasing; None keeps the frame."""
    if size is None:
        return frame
    height, width = frame.shape[:2]
    new_width, new_height = size
    if new_width is None:
        scale = new_height / min(height, width)
        new_width, new_height = round(width * scale), round(height * scale)
    if (new_height, new_width) == (height, width):
        return frame
    import cv2

    shrinks = new_height < height and new_width < width
    return cv2.resize(frame, (new_width, new_height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def square_around(
    low: np.ndarray, high: np.ndarray, margin: float, size: tuple[int, int]
) -> tuple[float, float, float]:
    """Left, top and side of the square around a box, wider by a part of it on each side, moved into a picture of `size`
    (height, width), and smaller where it does not fit."""
    limits = np.array(size[::-1], dtype=np.float64)
    side = min((high - low).max() * (1 + 2 * margin), *limits)
    left, top = np.clip((low + high - side) / 2, 0, limits - side)
    return float(left), float(top), float(side)


def add_gpu_option(parser: argparse.ArgumentParser) -> None:
    """Add the options of detectors that can run on GPUs."""
    group = parser.add_argument_group("devices")
    group.add_argument(
        "--gpu_id",
        type=gpu_numbers,
        default=(),
        metavar="0,1",
        help="GPUs for --landmarks face-alignment, shared out among the --workers; -1: none (default)",
    )
    group.add_argument("--batch_size", type=count, default=8, help="frames at once on a GPU (default: %(default)s)")


def gpu_numbers(text: str) -> tuple[int, ...]:
    """Read "0,1" or "-1"; an argparse type."""
    try:
        numbers = tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of GPUs such as 0,1") from error
    return tuple(number for number in numbers if number >= 0)


def device(gpus: Sequence[int]) -> str:
    """The device for a detector in this worker."""
    return f"cuda:{gpus[worker_index() % len(gpus)]}" if gpus else "cpu"


def reads_points(text: Path) -> bool:
    """Whether a text holds 68 lines "x,y"."""
    from data.faces.file_detector import read_text

    try:
        return len(read_text(text)) == 1
    except UserError:
        return False
