"""Writing the frames of a video side by side into one lossless picture, without holding them."""

import struct
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from data.video.images import checked_frame
from data.video.writer import COMMENT
from util.files import WholeOrNothing, replacing

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COMPRESSION = 4


class StripWriter(WholeOrNothing):
    """Collects frames of one size in a temporary file and writes them as one PNG, row by row, on close.

    Every row of the picture has a part of every frame, so none can be written before the last frame.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.count = 0
        self._shape: tuple[int, ...] = ()
        self._frames = tempfile.TemporaryFile(dir=self.path.parent)  # noqa: SIM115 - closed by close and abort

    def write(self, frame: np.ndarray) -> None:
        """Add a frame at the right end."""
        frame = checked_frame(frame)
        if self.count and frame.shape != self._shape:
            raise ValueError(f"{self.path}: a frame of {frame.shape[:2]} in a strip of {self._shape[:2]}")
        self._shape = frame.shape
        self._frames.write(frame.data)
        self.count += 1

    def write_all(self, frames: Iterable[np.ndarray]) -> None:
        """Add frames one after the other."""
        for frame in frames:
            self.write(frame)

    def close(self) -> None:
        """Write the picture, if there is any frame."""
        if self.count:
            with replacing(self.path) as temporary, temporary.open("wb") as file:
                self._write_png(file)
        self._frames.close()

    def abort(self) -> None:
        """Discard the picture."""
        self._frames.close()

    def _write_png(self, file: BinaryIO) -> None:
        height, width, _ = self._shape
        self._frames.flush()
        frames = np.memmap(self._frames, np.uint8, "r", shape=(self.count, *self._shape))
        file.write(SIGNATURE)
        _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", self.count * width, height, 8, 2, 0, 0, 0))
        _write_chunk(file, b"tEXt", b"Comment\0" + COMMENT.replace("video", "picture").encode("latin-1"))
        packer = zlib.compressobj(COMPRESSION)
        for number in range(height):
            pixels = frames[:, number].reshape(-1, 3)
            # Filter type 1 (Sub): a pixel minus the one to its left.
            filtered = np.diff(pixels, axis=0, prepend=np.zeros((1, 3), np.uint8))
            _write_chunk(file, b"IDAT", packer.compress(b"\x01" + filtered.tobytes()))
        _write_chunk(file, b"IDAT", packer.flush())
        _write_chunk(file, b"IEND", b"")


def _write_chunk(file: BinaryIO, kind: bytes, content: bytes) -> None:
    """A chunk of a PNG: length, kind, content, checksum."""
    if content or kind == b"IEND":
        file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)))
