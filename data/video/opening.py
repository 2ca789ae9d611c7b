"""Opens and lists videos of every kind: files, folders of frames, strips of frames, pictures, packed clips."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from data.video.file import VideoFile
from data.video.images import is_image, natural_key
from data.video.packed import SUFFIX as PACKED_SUFFIX
from data.video.packed import PackedClip
from data.video.reader import FrameFolder, Resampled, Strip, Video, frame_rate
from util.errors import UserError
from util.files import is_hidden_below, path_exists

PARTS = ("train", "test")
"""The splits of a dataset of clips, as subfolders; without them its folder holds the clips of both."""

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".gif", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv")


def open_video(
    path: Path | str,
    fps: Fraction | float | None = None,
    cache: Path | None = None,
    frame_width: int | None = None,
) -> Video:
    """Open a video file, a gif, a folder of frames, a strip of frames, a picture (one frame) or a packed clip.

    `fps` gives the video another, constant rate, and time runs as before; where there is no rate (folders, strips), it
    says what it is. `cache` is a folder for the indexes of random access; without it those of large files go into
    `.grimace_cache` beside them. `frame_width` is that of a strip's frames if they are not square.
    """
    path = Path(path)
    rate = None if fps is None else frame_rate(fps)
    if not path_exists(path):
        raise UserError(f"{path}: no such video")
    if path.is_dir():
        video: Video = FrameFolder(path, rate)
    elif path.suffix == PACKED_SUFFIX:
        video = PackedClip(path)
    elif is_image(path):
        video = Strip(path, rate, frame_width)
    else:
        video = VideoFile(path, cache)
    if rate is None or (rate == video.fps and not video.is_variable):
        return video
    return Resampled(video, rate)


def open_steady(path: Path | str, fps: Fraction | float | None = None, cache: Path | None = None) -> Video:
    """Open a video for output at its own rate: a variable rate becomes its average, so that sound stays in sync.

    Videos are written at a constant rate; frame by frame, one of variable rate (most phones') would drift.
    """
    video = open_video(path, fps, cache)
    return Resampled(video, video.fps) if fps is None and video.is_variable else video


def list_videos(folder: Path | str) -> list[Path]:
    """The video files in a folder and the folders below it, in natural order; hidden ones are not data."""
    files = (path for path in _visible(Path(folder)) if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    return sorted(files, key=natural_key)


def list_clips(folder: Path | str) -> list[Path]:
    """The video files and the folders of frames in a folder and below it, in natural order."""
    folders = {path.parent for path in _visible(Path(folder)) if is_image(path)} - {Path(folder)}
    return sorted([*list_videos(folder), *folders], key=natural_key)


def _visible(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    for path in folder.rglob("*"):
        if not is_hidden_below(path, folder):
            yield path


def parts_of(root: Path) -> list[Path]:
    """The splits that a dataset has; animation needs test/ only."""
    return [root / part for part in PARTS if (root / part).is_dir()]


def thin(count: int, wanted: int) -> list[int]:
    """At most `wanted` indices of `count` frames, evenly first to last, as VoxCeleb's scripts take them."""
    if count <= wanted:
        return list(range(count))
    if wanted == 1:
        return [0]
    return sorted({round(i * (count - 1) / (wanted - 1)) for i in range(wanted)})


def frames_at(video: Video, indices: Sequence[int]) -> Iterator[np.ndarray]:
    """Frames at increasing indices in one pass; a video with a damaged end yields those before it and warns."""
    wanted = iter(indices)
    index = next(wanted, None)
    for position, frame in enumerate(video):
        if index is None:
            return
        if position == index:
            yield frame
            index = next(wanted, None)
