"""Background edges of the pictures of a sequence, kept in a file: one bit per pixel, a row per picture."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from util.errors import UserError

DIGEST = 16
NAME_LENGTH = 60
"""Letters of a sequence's name at the start of its file's name, for readability."""


def cache_file(folder: Path, name: str, pictures: Path, rows: int, side: int) -> Path:
    """The cache file for a folder's pictures, unique to their folder, number and size."""
    key = hashlib.blake2b(os.fsencode(f"{pictures.resolve()}\n{rows}\n{side}"), digest_size=8).hexdigest()
    return folder / f"{name[:NAME_LENGTH]}-{side}-{key}.edges"


class EdgeCache:
    """Rows by number. A row counts only for the picture file, in the state, that it was made from.

    Several processes may read and write at once: what they write into a row is the same, and a row that is not whole
    does not fit its digest.
    """

    def __init__(self, path: Path, rows: int, side: int):
        self.side, self.row_size = side, DIGEST + (side * side + 7) // 8
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                # Never shrink: another process may map these rows, and reading beyond the end kills it.
                if file.tell() < rows * self.row_size:
                    file.truncate(rows * self.row_size)
            self._rows = np.memmap(path, np.uint8, "r+", shape=(rows, self.row_size))
        except OSError as error:
            raise UserError(
                f"{path}: cannot write the cache of background edges ({error}); set --structure_cache to another "
                f"folder, or to none to disable it"
            ) from error

    def edges(self, row: int, picture: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The edges (side, side) of a picture: from its row, or computed and stored there."""
        state = self._state(picture)
        stored = self._rows[row].tobytes()
        if stored[:DIGEST] == _digest(state, stored[DIGEST:]):
            bits = np.unpackbits(np.frombuffer(stored, np.uint8, offset=DIGEST), count=self.side**2)
            return bits.reshape(self.side, self.side).view(bool)
        edges = make()
        packed = np.packbits(edges).tobytes()
        self._rows[row] = np.frombuffer(_digest(state, packed) + packed, np.uint8)
        return edges

    def _state(self, picture: Path) -> bytes:
        facts = picture.stat()
        return os.fsencode(f"{picture.name} {facts.st_size} {facts.st_mtime_ns} {self.side}")


def _digest(state: bytes, bits: bytes) -> bytes:
    return hashlib.blake2b(state + bits, digest_size=DIGEST).digest()
