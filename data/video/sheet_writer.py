"""Writing frames into one picture, used like a VideoWriter."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.video.images import WRITTEN_SUFFIXES, checked_frame, write_image
from data.video.writer import COMMENT
from util.tiles import captioned, tile

__all__ = ["WRITTEN_SUFFIXES", "SheetWriter"]


class SheetWriter:
    """Collects frames of one size and writes them as one picture of so many columns when it is closed."""

    def __init__(self, path: Path | str, columns: int = 1, captions: Sequence[str] = (), border: int = 0):
        self.path, self.columns, self.captions, self.border = Path(path), columns, list(captions), border
        self._frames: list[np.ndarray] = []

    def write(self, frame: np.ndarray) -> None:
        """Add a frame; it gets the next caption, if any."""
        frame = checked_frame(frame)
        if self.captions:
            frame = captioned(frame, self.captions[len(self._frames)])
        self._frames.append(frame)

    def close(self) -> None:
        """Write the picture."""
        sheet = tile(self._frames, self.columns, self.border)
        write_image(self.path, sheet, text={"Comment": COMMENT.replace("video", "picture")})

    def abort(self) -> None:
        """Give up; nothing is written."""
        self._frames.clear()
