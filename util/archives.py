"""Open zip archives (npz, weights, xlsx) within size limits."""

import math
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np

from util.reading import AGAIN, reading

MAX_UNPACKED = 2**30
"""Bytes to which any archive may unpack; larger ones may unpack to at most MOST_TIMES their own size."""
MAX_RATIO = 4
LONGEST_HEADER = 2000
"""Characters; a plain array's header has about a hundred, and longer ones are slow to parse."""
KINDS = "biufUS"
"""The numpy kinds of arrays that are read: numbers and strings."""
NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def open_zip(path: Path | str) -> zipfile.ZipFile:
    """Open a zip archive; refuse it before unpacking if it claims to be too large."""
    path = Path(path)
    archive = zipfile.ZipFile(path)
    entries = archive.infolist()
    total, size = sum(entry.file_size for entry in entries), path.stat().st_size
    problem = None
    if total > max(MAX_UNPACKED, MAX_RATIO * size):
        problem = (
            f"{size / 2**20:.1f} MiB that unpack to {total / 2**20:,.0f} MiB, more than {MAX_UNPACKED >> 20} MiB and "
            f"than {MAX_RATIO} times the file; save it without compression if that is meant"
        )
    elif not entries:  # raised for a damaged end of the file
        problem = "it holds nothing"
    elif any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries):
        problem = "it is compressed in another way than numpy and torch do"
    if problem:
        archive.close()
        raise ValueError(problem)
    return archive


def first_damaged(archive: zipfile.ZipFile) -> str | None:
    """The first entry that does not match its checksum; None if all match or the archive has no checksums."""
    # With torch.serialization.set_crc32_options(False) all checksums are zero.
    return archive.testzip() if any(entry.CRC for entry in archive.infolist()) else None


class Arrays:
    """The arrays of an open npz by name, each read on demand: plain numbers and strings, never objects."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        self.files = [name.removesuffix(".npy") for name in archive.namelist()]

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.files:
            raise KeyError(name)
        content = self._archive.read(f"{name}.npy")  # the whole entry, since zipfile compares the checksum at its end
        return _array(content, name)


def _array(content: bytes, name: str) -> np.ndarray:
    """The array of a .npy file; the header must match the size of the data exactly."""
    file = BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in NPY_HEADERS:
        raise ValueError(f"array {name} has fields")
    shape, is_fortran, dtype = NPY_HEADERS[version](file, max_header_size=LONGEST_HEADER)
    if dtype.kind not in KINDS or dtype.fields or dtype.subdtype:
        raise ValueError(f"array {name} holds {dtype}, neither numbers nor text")
    rest = len(content) - file.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != rest:
        raise ValueError(f"array {name}: {rest} bytes do not fill {shape} of {dtype}")
    values = np.frombuffer(content, dtype, offset=file.tell()) if rest else np.zeros(math.prod(shape), dtype)
    return values.reshape(shape, order="F" if is_fortran else "C").copy()


def read_npz(path: Path | str, what: str, *names: str, remedy: str = AGAIN) -> dict[str, np.ndarray]:
    """Arrays of an npz file by name: the given ones, or all; `what` describes the file in errors."""
    with reading(path, what, remedy), open_zip(path) as archive:
        arrays = Arrays(archive)
        return {name: arrays[name] for name in names or arrays.files}
