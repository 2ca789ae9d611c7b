"""How many pictures a gif holds by the blocks of its file (GIF89a); decoders stop silently where they are damaged."""

import mmap
import re
from pathlib import Path

HEADER = 13
"""Bytes of the header and the logical screen descriptor."""
EXTENSION, IMAGE, TRAILER = 0x21, 0x2C, 0x3B
BEGIN_OF_IMAGE = re.compile(rb"\x21\xf9\x04.{4}\x00\x2c", re.DOTALL)
"""A graphic control extension and the picture it belongs to: found also where the blocks before it are damaged."""


def is_whole(path: Path) -> bool:
    """Whether a gif ends properly; its decoder does not distinguish a whole frame from half of one."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64))
        return file.read().rstrip(b"\0").endswith(bytes([TRAILER]))


def count_images(path: Path) -> tuple[int, str | None]:
    """The number of pictures, and the position of damaged blocks, where a decoder stops as if the file ended."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        images, end = _walk(content)
        # A damaged length can skip pictures and land on an offset where valid blocks continue.
        found = sum(1 for _ in BEGIN_OF_IMAGE.finditer(content))
        if end < len(content) and content[end] == TRAILER and found <= images:
            return images, None
        at = f" at byte {end} of {len(content)}" if end < len(content) and content[end] != TRAILER else ""
        return max(images, found), f"damaged{at}"


def _walk(content: mmap.mmap) -> tuple[int, int]:
    """Walk the blocks: return the number of pictures, and the offset of the first unknown block."""
    images, offset = 0, HEADER + _colours(content, 10)
    while offset < len(content):
        if content[offset] == EXTENSION:
            data = offset + 2
        elif content[offset] == IMAGE and offset + 10 < len(content):
            images += 1
            data = offset + 11 + _colours(content, offset + 9)
        else:
            break
        while data < len(content) and content[data]:
            data += 1 + content[data]
        offset = data + 1
    return images, min(offset, len(content))


def _colours(content: mmap.mmap, offset: int) -> int:
    """The length of the table of colours that the flags at an offset announce."""
    flags = content[offset] if offset < len(content) else 0
    return 3 * (2 << (flags & 7)) if flags & 0x80 else 0
