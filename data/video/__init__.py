"""Reading and writing videos: files, folders of frames, strips of frames, single pictures, packed clips.

What most callers need is here; this wing imports no other one.
"""

from data.video.damage import DamagedVideo, collecting_damage
from data.video.images import IMAGE_SUFFIXES, list_images, natural_key, read_image, side_by_side, write_image
from data.video.opening import (
    PARTS,
    VIDEO_SUFFIXES,
    frames_at,
    list_clips,
    list_videos,
    open_steady,
    open_video,
    parts_of,
    thin,
)
from data.video.reader import Video, frame_rate
from data.video.writer import COMMENT, NOT_WRITTEN, VideoWriter, has_format, unsuffixed

__all__ = [
    "COMMENT",
    "NOT_WRITTEN",
    "IMAGE_SUFFIXES",
    "PARTS",
    "VIDEO_SUFFIXES",
    "DamagedVideo",
    "Video",
    "VideoWriter",
    "frame_rate",
    "frames_at",
    "has_format",
    "list_clips",
    "list_images",
    "list_videos",
    "natural_key",
    "collecting_damage",
    "open_steady",
    "open_video",
    "parts_of",
    "read_image",
    "side_by_side",
    "thin",
    "unsuffixed",
    "write_image",
]
