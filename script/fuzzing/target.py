"""The targets of the fuzzer: a kind of file, valid examples, and Grimace's reader of it."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from script.fuzzing.damage import BINARY_TOKENS, Damage


@dataclass(frozen=True)
class Target:
    """A reader and the files to try it with."""

    name: str
    file: str
    """Name of the damaged file for the reader."""
    make: Callable[[Path], Sequence[bytes]]
    """Valid files; they are made in a temporary folder."""
    read: Callable[[Path], Any]
    """The command's use of such a file: reads all of it."""
    tokens: Sequence[bytes] = BINARY_TOKENS
    within: Sequence[Callable[[np.random.Generator, bytes, Damage], bytes]] = ()
    """Ways to change the content of a file but keep it valid; half of the mutations use them."""
    checked: bool = False
    """Whether checksums reveal all other damage, so that whatever is read must equal the content of a valid file."""
    names_file: bool = True
    """Whether a refusal names the file; not if its caller does (a table's line, a command)."""


def written(folder: Path, name: str, *writers: Callable[[Path], Any]) -> list[bytes]:
    """The bytes that each of these functions writes into a file of this name."""
    contents = []
    for writer in writers:
        path = folder / name
        path.unlink(missing_ok=True)
        writer(path)
        contents.append(path.read_bytes())
    return contents


def digest(value: Any, before: int = 0) -> int:
    """A fingerprint of content."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            before = digest(one, zlib.crc32(repr(key).encode(), before))
        return before
    if isinstance(value, (list, tuple)):
        for one in value:
            before = digest(one, before)
        return zlib.crc32(f"{len(value)}".encode(), before)
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return zlib.crc32(f"{value.shape} {value.dtype}".encode() + value.tobytes(), before)
    if value is None or isinstance(value, (str, bytes, int, float, Fraction, Path, np.generic)):
        return zlib.crc32(repr(value).encode(), before)
    return digest(vars(value), before)
