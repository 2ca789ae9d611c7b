"""Reading and writing videos: files, folders of frames, strips of frames and single pictures.

Everything else that needs frames imports from here.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from data.images import IMAGE_SUFFIXES, is_image, list_images, natural_key, read_image, side_by_side, write_image
from data.packed import SUFFIX as PACKED_SUFFIX
from data.packed import PackedClip
from data.video_file import DamagedVideo, VideoFile
from data.video_reader import FrameFolder, Resampled, Strip, Video, frame_rate
from data.video_writer import COMMENT, NOT_WRITTEN, VideoWriter, has_format, unsuffixed
from util.errors import UserError

__all__ = [
    "COMMENT",
    "NOT_WRITTEN",
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "DamagedVideo",
    "Video",
    "VideoWriter",
    "frame_rate",
    "has_format",
    "list_clips",
    "list_images",
    "list_videos",
    "natural_key",
    "open_steady",
    "open_video",
    "read_image",
    "side_by_side",
    "unsuffixed",
    "write_image",
]

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
    if not path.exists():
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
    """Open a video for output at its own rate: one that varies is brought to its average, so that sound stays in step.

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
        if not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path
