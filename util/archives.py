"""Opening zip archives (npz, weights, xlsx) whose contents are not larger than what they claim to be for."""

import math
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np

from util.reading import AGAIN, reading

MOST_UNPACKED = 2**30
"""Bytes to which any archive may unpack; larger ones only up to MOST_TIMES their own size."""
MOST_TIMES = 4
LONGEST_HEADER = 2000
"""Letters; that of a plain array has about a hundred, and longer ones are slow to interpret."""
KINDS = "biufUS"
"""The numpy kinds of arrays that are read: numbers and texts."""
NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def open_zip(path: Path | str) -> zipfile.ZipFile:
    """A zip archive, refused before anything of it is unpacked if its contents claim to be too large."""
    path = Path(path)
    archive = zipfile.ZipFile(path)
    entries = archive.infolist()
    total, size = sum(entry.file_size for entry in entries), path.stat().st_size
    problem = None
    if total > max(MOST_UNPACKED, MOST_TIMES * size):
        problem = (
            f"{size / 2**20:.1f} MiB that unpack to {total / 2**20:,.0f} MiB, more than {MOST_UNPACKED >> 20} MiB and "
            f"than {MOST_TIMES} times the file; save it without compression if that is meant"
        )
    elif not entries:  # a damaged end of the file can say so
        problem = "it holds nothing"
    elif any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries):
        problem = "it is compressed in another way than numpy and torch do"
    if problem:
        archive.close()
        raise ValueError(problem)
    return archive


def first_damaged(archive: zipfile.ZipFile) -> str | None:
    """The first entry that does not match its checksum; None if all do, or where the archive keeps no checksums."""
    # torch.serialization.set_crc32_options(False) has zeros written for all.
    return archive.testzip() if any(entry.CRC for entry in archive.infolist()) else None


class Arrays:
    """The arrays of an opened npz by name, each read when asked for: plain numbers and texts, never objects."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        self.files = [name.removesuffix(".npy") for name in archive.namelist()]

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.files:
            raise KeyError(name)
        content = self._archive.read(f"{name}.npy")  # the whole entry, or else its check sum is not compared
        return _array(content, name)


def _array(content: bytes, name: str) -> np.ndarray:
    """The array of a .npy file, whose header must claim exactly what follows it."""
    file = BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in NPY_HEADERS:
        raise ValueError(f"array {name} has fields")
    shape, is_fortran, dtype = NPY_HEADERS[version](file, max_header_size=LONGEST_HEADER)
    if dtype.kind not in KINDS or dtype.fields or dtype.subdtype:
        raise ValueError(f"array {name} holds {dtype}, neither numbers nor texts")
    rest = len(content) - file.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != rest:
        raise ValueError(f"array {name}: {rest} bytes do not fill {shape} of {dtype}")
    values = np.frombuffer(content, dtype, offset=file.tell()) if rest else np.zeros(math.prod(shape), dtype)
    return values.reshape(shape, order="F" if is_fortran else "C").copy()


def read_npz(path: Path | str, what: str, *names: str, remedy: str = AGAIN) -> dict[str, np.ndarray]:
    """Arrays of an npz file by name: those named, or all; an error says `what` the file is not."""
    with reading(path, what, remedy), open_zip(path) as archive:
        arrays = Arrays(archive)
        return {name: arrays[name] for name in names or arrays.files}
