"""Opening the files that PyAV reads and writes."""

import gc
import os
from pathlib import Path
from typing import Any

# Containers are in reference cycles. If a forked process collected one of its parent's, the decoder would wait for
# threads that exist only in the parent: the collector of a fork leaves alone what was there before.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=gc.freeze)

# No playlists or other indirections: an untrusted video must not make us open other files.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpegts,mpeg,mpegvideo,flv,asf,ogg,m4v,h264,hevc,mjpeg,ivf,nut,mxf"
)
SOUNDS = "wav,mp3,flac,aac,ac3,aiff"


def open_to_read(path: Path | str, formats: str = CONTAINERS) -> Any:
    """PyAV's container for an untrusted file: only these formats, and no access to other files."""
    options = {"format_whitelist": formats, "protocol_whitelist": "file"}
    return open_container(path, options=options, metadata_errors="replace")


def open_container(path: Path | str, mode: str = "r", **settings: Any) -> Any:
    """PyAV's container for the file at this path."""
    import av

    # Some versions of torchvision forward FFmpeg's log to Python: a decoding thread with a message waits for
    # the interpreter, and whoever closes the decoder holds the interpreter and waits for that thread.
    av.logging.set_level(None)
    # "file:" keeps FFmpeg from reading names with a colon as URLs.
    return av.open(f"file:{path}", mode, **settings)
