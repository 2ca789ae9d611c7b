"""Checksums of files, cached until a file changes."""

import time
import zlib
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")
SETTLED = 2.0
"""Seconds after its last change before a file is identified by size and time; file system clocks are coarse."""


def once_per_file(function: Callable[[Path], Result]) -> Callable[[Path], Result]:
    """Cache a function of a file until the file's size or time changes."""

    @lru_cache(maxsize=256)
    def known(path: Path, size: int, changed: int) -> Result:
        return function(path)

    @wraps(function)
    def called(path: Path) -> Result:
        state = path.stat()
        if time.time() - state.st_mtime < SETTLED:
            return function(path)
        return known(path.resolve(), state.st_size, state.st_mtime_ns)

    return called


@once_per_file
def file_checksum(path: Path) -> int:
    """The CRC-32 of a file's bytes."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            value = zlib.crc32(block, value)
    return value
