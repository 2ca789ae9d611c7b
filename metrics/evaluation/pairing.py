"""Match results with truth, driving video and source by name, in folders written by any program."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from data.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Video, list_images, natural_key, open_video
from metrics.metric import Video as Measured
from util.cells import read_dicts
from util.errors import UserError
from util.files import path_exists
from util.resizing import resize

log = logging.getLogger(__name__)

SUFFIXES = (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES, ".clip")
LOSSLESS = "png"
"""Subfolder in which test.py --strips keeps lossless frames; it is read when named explicitly and is no clip itself."""


@dataclass(frozen=True)
class Pair:
    """A result and its counterparts; paths by role: result, truth, driving, source."""

    name: str
    files: Mapping[str, Path]


def find_clips(folder: Path, option: str) -> dict[str, Path]:
    """Name -> video file, strip, packed clip or folder of frames in a folder (not nested); a single file is one
    clip."""
    folder = Path(folder)
    if not folder.exists():
        raise UserError(f"{option} {folder}: no such folder")
    if folder.is_file():
        return {folder.stem: folder}
    found: dict[str, Path] = {}
    skipped = []
    for path in sorted(folder.iterdir(), key=natural_key):
        if path.name.startswith("."):
            continue
        is_frames = path.is_dir() and path.name != LOSSLESS and any(list_images(path))
        if not (is_frames or (path.suffix.lower() in SUFFIXES and path.is_file())):
            skipped += [path.name] if _holds_videos(path) else []
            continue
        name = path.name if is_frames else path.stem
        if name in found:
            raise UserError(
                f"{option} {folder}: {found[name].name} and {path.name} have the same name {name}; keep one"
            )
        found[name] = path
    if not found:
        below = f"; its subfolders are not searched: {', '.join(skipped)}" if skipped else ""
        raise UserError(f"{option} {folder}: contains no videos, folders of frames or pictures{below}")
    if skipped:
        log.warning(
            "%s %s: left out the videos in subfolders (%s); list them with --pairs", option, folder, ", ".join(skipped)
        )
    return found


def _holds_videos(path: Path) -> bool:
    """Whether a path is a folder with videos."""
    return path.is_dir() and any(one.suffix.lower() in VIDEO_SUFFIXES for one in path.iterdir())


def pairs(folders: Mapping[str, Path | None]) -> list[Pair]:
    """Match results with files of the same name in the other folders; an error lists results without a counterpart."""
    results = find_clips(folders["result"], "--generated")
    others = {
        role: find_clips(folder, f"--{'real' if role == 'truth' else role}")
        for role, folder in folders.items()
        if folder is not None and role != "result"
    }
    found = []
    for name, path in results.items():
        files = {role: _counterpart(name, clips) for role, clips in others.items()}
        found.append((name, {"result": path, **files}))
    lacking = [f"{name} ({', '.join(role for role, path in files.items() if path is None)})"
               for name, files in found if None in files.values()]  # fmt: skip
    if lacking:
        more = f" and {len(lacking) - 10} more" if len(lacking) > 10 else ""
        raise UserError(
            f"no counterpart of {len(lacking)} of {len(results)} results: {', '.join(lacking[:10])}{more}; files are "
            f"matched by name, without the suffix"
        )
    paths = {path for _, files in found for path in files.values()}
    without = [name for name, path in others.get("truth", {}).items() if path not in paths]
    if without:
        log.warning(
            "%d of %d true videos have no result and are not measured: %s", len(without), len(others["truth"]),
            ", ".join(without[:10]) + (" ..." if len(without) > 10 else ""),
        )  # fmt: skip
    return [Pair(name, files) for name, files in found]


COLUMNS = {"generated": "result", "real": "truth", "driving": "driving", "source": "source"}


def listed_pairs(path: Path, folders: Mapping[str, Path | None]) -> list[Pair]:
    """The pairs of a csv with the columns generated, real, driving, source: names of files in the folders of these
    options."""
    _, rows = read_dicts(path, f"--pairs {path}")
    roles = {column: role for column, role in COLUMNS.items() if folders.get(role) is not None}
    found, missing = [], []
    for line, row in rows:
        if not all(row.get(column) for column in roles):
            raise UserError(f"--pairs {path}: line {line} needs the columns {', '.join(roles)}, one per given folder")
        files = {role: Path(folders[role]) / row[column] for column, role in roles.items()}
        missing += [f"{one} (line {line})" for one in files.values() if not path_exists(one)]
        found.append((row["generated"], files))
    if missing:
        raise UserError(f"--pairs {path}: missing: {', '.join(missing[:10])}")
    if not found:
        raise UserError(f"--pairs {path}: has a header but no rows")
    listed = [Pair(_listed_name(entry, files["result"]), files) for entry, files in found]
    twice = [name for name, times in Counter(pair.name for pair in listed).items() if times > 1]
    if twice:
        raise UserError(f"--pairs {path}: these results stand in several lines: {', '.join(twice[:10])}; keep one each")
    return listed


def _listed_name(entry: str, path: Path) -> str:
    """The name of a result in a list: with its subfolders, and without the suffix of a file."""
    name = Path(path.name) if Path(entry).is_absolute() else Path(entry)
    return (name if path.is_dir() else name.with_suffix("")).as_posix()


def _counterpart(name: str, clips: Mapping[str, Path]) -> Path | None:
    """The clip with the same name; the first-order projects append ".mp4" to it once more."""
    if name in clips:
        return clips[name]
    return next((clips[short] for suffix in VIDEO_SUFFIXES if (short := name.removesuffix(suffix)) in clips), None)


class OpenPair:
    """Reads the frames of a pair in batches of tensors."""

    def __init__(self, pair: Pair, size: int | None, fps: Fraction | None = None):
        """`size`: crop all frames to their centre square and resize it first."""
        self.pair, self.size = pair, size
        files = {role: path for role, path in pair.files.items() if role != "source"}
        self.videos: dict[str, Video] = {role: open_video(path, fps) for role, path in files.items()}
        self._check_lengths()

    def __len__(self) -> int:
        return len(self.videos["result"])

    @property
    def described(self) -> Measured:
        """The facts of a video that metrics get before its frames."""
        return Measured(self.pair.name, Fraction(self.videos["result"].fps), dict(self.pair.files))

    def _check_lengths(self) -> None:
        lengths = {role: len(video) for role, video in self.videos.items()}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{role} {count}" for role, count in lengths.items())
            raise UserError(
                f"{self.pair.name}: unequal numbers of frames ({counts}); frames are compared one by one. Cut the "
                f"longer one, or convert both to the same rate with --fps"
            )

    def source(self) -> torch.Tensor | None:
        """The source picture (1, 3, H, W): the first frame of the source file."""
        if "source" not in self.pair.files:
            return None
        with open_video(self.pair.files["source"]) as video:
            return self._tensor([video[0]])

    def batches(self, count: int) -> Iterator[dict[str, torch.Tensor]]:
        """Role -> the next frames (N, 3, H, W) in [0, 1], at most `count`."""
        waiting: dict[str, list[np.ndarray]] = {role: [] for role in self.videos}
        for frames in zip(*self.videos.values(), strict=True):
            for role, frame in zip(self.videos, frames, strict=True):
                waiting[role].append(frame)
            if len(waiting["result"]) == count:
                yield {role: self._tensor(frames) for role, frames in waiting.items()}
                waiting = {role: [] for role in self.videos}
        if waiting["result"]:
            yield {role: self._tensor(frames) for role, frames in waiting.items()}

    def _tensor(self, frames: list[np.ndarray]) -> torch.Tensor:
        if self.size is not None:
            frames = [squared(frame, self.size) for frame in frames]
        return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous().float().div_(255)

    def close(self) -> None:
        """Close the files."""
        for video in self.videos.values():
            video.close()


def squared(frame: np.ndarray, size: int) -> np.ndarray:
    """The centre square of a frame (bytes, or floats in [0, 1]), resized."""
    height, width = frame.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    frame = frame[top : top + side, left : left + side]
    if side == size:
        return frame
    resized = resize(frame, (size, size))
    return np.rint(255 * resized).astype(np.uint8) if frame.dtype == np.uint8 else resized
