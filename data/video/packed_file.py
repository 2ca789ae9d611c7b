"""The packed file: records found by one read each, arrays used in place, checksums over all of it.

Layout of a file, numbers little-endian (docs/data_video.md specifies it for other programs):

    header   64 bytes: magic, version, number of records, offset and length of the description, checksums
    data     records (a clip's frames as JPEG or PNG files), then arrays as raw numbers, each at a multiple of 64
    table    (number of records + 1) offsets as uint64, then one CRC-32 per record as uint32
    text     JSON: where the arrays are, and the writer's own fields

The header is at a fixed offset and leads to the table and the text, which one read fetches.
"""

import json
import math
import mmap
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import numpy as np

from util.archives import KINDS
from util.errors import UserError
from util.files import replacing
from util.reading import reading
from util.unpickling import plain_dtype

MAGIC = b"GRMPACK\x1a"
VERSION = 1
# magic, version, flags (0), records, offset of the table, lengths of table, text and file, CRC-32 of table and text
_HEADER = struct.Struct("<8sIIQQQQQI")
HEADER_SIZE = 64
ALIGNMENT = 64
REMEDY = "pack it again with script/pack_frames.py, or copy it again"


def write_packed(path: Path | str, records: Iterable[bytes], describe, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a packed file, whole or not at all; `describe()` gives its text once the last record is written."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(bytes(HEADER_SIZE))
        offsets, sums = [HEADER_SIZE], []
        for record in records:
            file.write(record)
            offsets.append(offsets[-1] + len(record))
            sums.append(zlib.crc32(record))
        text = {**describe(), "arrays": {name: _write_array(file, name, array) for name, array in arrays.items()}}
        _finish(file, offsets, sums, text)


def _finish(file: BinaryIO, offsets: list[int], sums: list[int], text: dict) -> None:
    """Write the table and the text, then the header that leads to them."""
    table_offset = _align(file)
    table = np.asarray(offsets, "<u8").tobytes() + np.asarray(sums, "<u4").tobytes()
    # File names that are not UTF-8 become escapes that JSON can hold.
    encoded = json.dumps(text, ensure_ascii=False, sort_keys=True).encode(errors="backslashreplace")
    file.write(table + encoded)
    fields = (len(sums), table_offset, len(table), len(encoded), file.tell(), zlib.crc32(table + encoded))
    header = _HEADER.pack(MAGIC, VERSION, 0, *fields)
    file.seek(0)
    file.write(header + struct.pack("<I", zlib.crc32(header)))


def _write_array(file: BinaryIO, name: str, array: np.ndarray) -> dict:
    array = np.asarray(array)
    if array.dtype.hasobject:
        raise ValueError(f"array {name} contains Python objects; only numbers and fixed text can be packed")
    offset = _align(file)
    content = array.tobytes()
    file.write(content)
    return {"dtype": array.dtype.str, "shape": list(array.shape), "place": offset, "crc": zlib.crc32(content)}


def _align(file: BinaryIO) -> int:
    """Pad to the alignment of arrays, so that they can be used in place."""
    file.write(bytes(-file.tell() % ALIGNMENT))
    return file.tell()


class PackedFile:
    """An open packed file: its table and text in memory, its arrays memory-mapped."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise UserError(f"{path}: cannot open it ({error.strerror})") from None
        self.count, table_offset, table_length, text_length, size, tail_sum = self._read_header()
        if table_length != 12 * self.count + 8 or table_offset + table_length + text_length != size:
            raise self.damaged("its header is inconsistent")
        tail = self._read(table_offset, table_length + text_length)
        if zlib.crc32(tail) != tail_sum:
            raise self.damaged("its table does not match its checksum")
        self.offsets = np.frombuffer(tail, "<u8", self.count + 1)
        self.sums = np.frombuffer(tail, "<u4", self.count, offset=8 * (self.count + 1))
        if self.offsets[-1] > table_offset or np.any(self.offsets[1:] < self.offsets[:-1]):
            raise self.damaged("its table is inconsistent")
        with reading(path, "its description is damaged", REMEDY):
            self.text: dict = dict(json.loads(tail[table_length:]))

    def _read_header(self) -> tuple[int, ...]:
        header = os.pread(self._file, HEADER_SIZE, 0)
        if not header.startswith(MAGIC):
            raise self.damaged("it does not begin like a packed file") if header else self.damaged("it is empty")
        if len(header) < HEADER_SIZE:
            raise self.damaged("it ends within its header")
        magic, version, _, *fields = _HEADER.unpack_from(header)
        if version != VERSION:
            raise UserError(f"{self.path}: has format {version}, but this version of Grimace reads {VERSION}; {REMEDY}")
        if struct.unpack_from("<I", header, _HEADER.size)[0] != zlib.crc32(header[: _HEADER.size]):
            raise self.damaged("its header does not match its checksum")
        if os.fstat(self._file).st_size != fields[4]:
            raise self.damaged(f"{os.fstat(self._file).st_size} bytes long instead of {fields[4]}")
        return tuple(fields)

    def _read(self, offset: int, length: int) -> bytes:
        content = os.pread(self._file, length, offset)
        if len(content) != length:
            raise self.damaged("it ends too early")
        return content

    def damaged(self, reason: str) -> UserError:
        return UserError(f"{self.path}: damaged or not a packed file ({reason}); {REMEDY}")

    def record(self, index: int) -> bytes:
        """One record, by one read."""
        offset = int(self.offsets[index])
        content = self._read(offset, int(self.offsets[index + 1]) - offset)
        if zlib.crc32(content) != self.sums[index]:
            raise self.damaged(f"record {index} does not match its checksum")
        return content

    @cached_property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """The arrays, memory-mapped: only accessed parts are read."""
        try:
            described = self.text["arrays"]
            if not described:
                return MappingProxyType({})
            content = mmap.mmap(self._file, 0, access=mmap.ACCESS_READ)
            return MappingProxyType({name: _array(content, entry) for name, entry in described.items()})
        except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
            raise self.damaged(f"wrong positions of its arrays: {error}") from None

    def verify(self) -> None:
        """Read everything and compare it with its checksums; UserError names what is damaged."""
        for index in range(self.count):
            self.record(index)
        for name in self.arrays:
            self.array(name)

    def array(self, name: str) -> np.ndarray:
        """One array, compared with its checksum."""
        if name not in self.arrays:
            raise self.damaged(f"it lacks the array {name}")
        if zlib.crc32(self.arrays[name].tobytes()) != self.text["arrays"][name].get("crc"):
            raise self.damaged(f"array {name} does not match its checksum")
        return self.arrays[name]

    def __del__(self) -> None:
        # At interpreter exit the module os may be gone already.
        if os is not None and hasattr(self, "_file"):
            os.close(self._file)


def _array(content: mmap.mmap, entry: dict) -> np.ndarray:
    shape, dtype = tuple(map(int, entry["shape"])), plain_dtype(entry["dtype"], KINDS)
    if min(shape, default=0) < 0:
        raise ValueError(f"the shape {shape}")
    count = math.prod(shape)
    if count == 0:
        return np.empty(shape, dtype)
    return np.frombuffer(content, dtype, count, entry["place"]).reshape(shape)
