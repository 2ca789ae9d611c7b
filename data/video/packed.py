"""Packed clips: one file with a clip's frames as pictures, any of them found by one read, and arrays beside them."""

import struct
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from data.video.images import PNG_SIGNATURE, checked_frame
from data.video.limits import check_canvas
from data.video.packed_file import REMEDY, PackedFile, write_packed
from data.video.reader import Video, frame_rate, stored_rate
from util.errors import UserError
from util.reading import reading

SUFFIX = ".clip"
FRAME_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""The markers of a JPEG after which its size follows."""


def pack(
    path: Path | str,
    frames: Iterable[np.ndarray],
    *,
    fps: Fraction | float,
    format: str = "jpeg",
    quality: int = 95,
    arrays: Mapping[str, np.ndarray] | None = None,
    meta: Mapping | None = None,
) -> None:
    """Write frames of one size and what belongs to them into one file, whole or not at all.

    `format` is "jpeg" (with `quality` to 100) or "png" (lossless, about five times as large).
    """
    if format not in ("jpeg", "png"):
        raise UserError(f"unknown format {format}; choose from jpeg, png")
    encode = _encoder(format, quality)
    size: list[int] = []

    def encoded() -> Iterator[bytes]:
        for frame in map(checked_frame, frames):
            size[:] = size or frame.shape[:2]
            if list(frame.shape[:2]) != size:
                raise UserError(
                    f"{path}: a frame of {frame.shape[:2]} in a clip of {tuple(size)}; resize all frames to one size"
                )
            yield encode(frame)

    def describe() -> dict:
        if not size:
            raise UserError(f"{path}: not packed: no frames")
        return {"fps": str(frame_rate(fps)), "format": format, "size": size, "meta": dict(meta or {})}

    write_packed(path, encoded(), describe, arrays or {})


def _encoder(format: str, quality: int):
    if format == "png":
        suffix, options = ".png", [cv2.IMWRITE_PNG_COMPRESSION, 2]
    else:
        suffix, options = ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality]
        if quality >= 95:
            options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]

    def encode(frame: np.ndarray) -> bytes:
        done, encoded = cv2.imencode(suffix, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), options)
        if not done:
            raise ValueError(f"a frame of shape {frame.shape} cannot be encoded as {format}")
        return encoded.tobytes()

    return encode


def claimed_size(record: bytes) -> tuple[int, int]:
    """Height and width in the header of a PNG (section 11.2.2) or JPEG (ITU-T T.81, B.2.2)."""
    if record.startswith(PNG_SIGNATURE):
        return struct.unpack_from(">II", record, 16)[::-1]
    offset = 2
    while record[offset] == 0xFF:
        marker, length = record[offset + 1], int.from_bytes(record[offset + 2 : offset + 4], "big")
        if marker in FRAME_MARKERS:
            return struct.unpack_from(">HH", record, offset + 5)
        offset += 1 if marker == 0xFF else 2 + length
    raise ValueError("neither PNG nor JPEG")


class PackedClip(Video):
    """The frames and arrays of a packed file; reading a frame is one read and one decoding."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self._open()

    def _open(self) -> None:
        self._pack = PackedFile(self.path)
        text = self._pack.text
        if "size" not in text:
            raise UserError(f"{self.path}: this is an index of clips, not a clip")
        with reading(self.path, "its description is damaged", REMEDY):
            self.fps = stored_rate(self.path, text["fps"])
            height, width = map(int, text["size"])
            self.meta = dict(text["meta"])
        check_canvas(self.path, width, height)
        self.size = height, width

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """What was packed beside the frames, by name; read-only and in place."""
        return self._pack.arrays

    def __len__(self) -> int:
        return self._pack.count

    def read(self, index: int) -> np.ndarray:
        record = self._pack.record(index)
        with reading(f"{self.path}: frame {index}", "cannot be decoded", REMEDY):
            # OpenCV allocates whatever size a record claims.
            if claimed_size(record) != self.size:
                raise ValueError(f"its header claims the size {claimed_size(record)} in a clip of {self.size}")
            frame = cv2.imdecode(np.frombuffer(record, np.uint8), cv2.IMREAD_COLOR_RGB)
        if frame is None or frame.shape[:2] != self.size:
            raise UserError(f"{self.path}: cannot decode frame {index}; {REMEDY}")
        return frame

    def verify(self) -> None:
        """Read the whole file and compare it with its checksums; a UserError names what is damaged."""
        self._pack.verify()

    def __getstate__(self) -> dict:
        return {"path": self.path}

    def __setstate__(self, state: dict) -> None:
        self.path = state["path"]
        self._open()
