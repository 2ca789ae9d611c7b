"""What is to be tried: a kind of file, whole examples of it, and what the project reads it with."""

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
    """A reader and the files that it is tried with."""

    name: str
    file: str
    """How the damaged file is called where the reader finds it."""
    make: Callable[[Path], Sequence[bytes]]
    """Whole files; they are made in a folder that is removed afterwards."""
    read: Callable[[Path], Any]
    """What a command does with such a file: all of it is read."""
    tokens: Sequence[bytes] = BINARY_TOKENS
    within: Sequence[Callable[[np.random.Generator, bytes, Damage], bytes]] = ()
    """Ways to change what a file holds, so that it is whole; half of the mutations are made in these ways."""
    checked: bool = False
    """Whether checksums tell any other damage, so that what is read must equal what a whole file holds."""
    names_file: bool = True
    """Whether a refusal names the file; not where its owner does (a table's line, a command)."""


def written(folder: Path, name: str, *writers: Callable[[Path], Any]) -> list[bytes]:
    """The bytes that each of these writes into a file of this name."""
    contents = []
    for writer in writers:
        path = folder / name
        path.unlink(missing_ok=True)
        writer(path)
        contents.append(path.read_bytes())
    return contents


def digest(value: Any, before: int = 0) -> int:
    """A number that other content does not have."""
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
