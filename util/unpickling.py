"""The only reader of pickles: dictionaries, lists, strings, numbers and plain numeric arrays; never code.

Python's own unpickler calls whatever a file names. This one knows few names, each mapped to a function or class of this
module that validates its arguments: numpy's own would accept a dtype with objects in it and crash.
"""

import math
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from util.errors import UserError
from util.reading import AGAIN, reading

MAX_BYTES = 2**30
"""Larger files are refused unread."""
MAX_STEPS = 30_000_000
"""Maximum number of instructions; each creates an object of up to a hundred bytes. A million arrays need 22 million."""
LONGEST_DTYPE = 10
KINDS = "biuf"
"""The numpy kinds of arrays: booleans, integers, floats."""


class Dtype:
    """Replaces numpy.dtype: the type of plain numbers, with a byte order."""

    def __init__(self, text: str = "", align: Any = False, copy: Any = False):
        text = text.decode("ascii") if isinstance(text, bytes) else text
        self.dtype = plain_dtype(text)

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, subarray, names, fields, size, alignment, flags), and metadata in newer versions
        order, *structure = state[1:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in structure):
            raise ValueError("a dtype with fields")
        self.dtype = self.dtype.newbyteorder(order)


class Array(np.ndarray):
    """Replaces numpy.ndarray: filled only from exactly as many bytes as its shape and type need."""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, content = state
        filled = _filled(content, dtype, shape, "F" if is_fortran else "C")
        state = (1, filled.shape, filled.dtype, bool(is_fortran), filled.tobytes("A"))
        super().__setstate__(state)


class ArrayClass:
    """Replaces the name numpy.ndarray, which pickles pass on but never call."""


def plain_dtype(text: str, kinds: str = KINDS) -> np.dtype:
    """The dtype of a short string, for plain numbers and other kinds without fields."""
    dtype = np.dtype(text) if isinstance(text, str) and len(text) <= LONGEST_DTYPE else None
    if dtype is None or dtype.kind not in kinds:
        raise ValueError(f"the dtype {text!r:.20} is not one of plain numbers")
    return dtype


def _filled(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """An array from bytes, whose number must match shape and type."""
    if isinstance(content, str):
        content = content.encode("latin1")  # written by Python 2
    if not isinstance(dtype, Dtype) or not isinstance(content, (bytes, bytearray)):
        raise ValueError("an array of something other than plain numbers")
    shape = (shape,) if isinstance(shape, int) else shape
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError("an array without a shape")
    if math.prod(shape) * dtype.dtype.itemsize != len(content):
        raise ValueError(f"{len(content)} bytes do not fill an array {shape} of {dtype.dtype}")
    return np.frombuffer(content, dtype.dtype).reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(kind: Any, shape: Any, code: Any) -> Array:
    """The start of numpy's pickles of an array, which is filled later."""
    return Array(0)


def _scalar(dtype: Any, content: Any = b"") -> Any:
    return _filled(content, dtype, (), "C")[()]


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any = "C") -> np.ndarray:
    return _filled(content, dtype, shape, order).copy()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Python 3's encoding of bytes in old protocols; only latin1 occurs there."""
    if encoding not in ("latin1", "latin-1") or not isinstance(text, str):
        raise ValueError(f"bytes in the codec {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Python 3's encoding of b"" in old protocols."""
    return b""


def _ordered(pairs: Any = ()) -> OrderedDict:
    return OrderedDict(pairs)


_CORES = ("numpy.core", "numpy._core")
NAMES: dict[tuple[str, str], Any] = {
    **{(f"{core}.multiarray", "_reconstruct"): _reconstruct for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _scalar for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _from_buffer for core in _CORES},
    ("numpy", "ndarray"): ArrayClass,
    ("numpy", "dtype"): Dtype,
    ("collections", "OrderedDict"): _ordered,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "bytes"): _no_bytes,
}
"""Module and name in a pickle -> its replacement, for all versions of Python and numpy."""
_CALLED = {id(value) for value in NAMES.values() if value is not ArrayClass}


_LEFT_OUT = b"".join(
    (
        pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.EXT1, pickle.EXT2, pickle.EXT4,
        pickle.NEXT_BUFFER, pickle.READONLY_BUFFER, pickle.EMPTY_SET, pickle.FROZENSET, pickle.ADDITEMS,
    )
)  # fmt: skip
"""Instructions that build objects of other classes, use out-of-band buffers, or make sets."""
LARGEST_KEY = 2**32
"""Larger memo indices can be chosen to collide in a dictionary, whose lookups then take forever."""


class _Unpickler(pickle._Unpickler):
    """Python's unpickler in Python, whose memo is a dictionary: C's grows to the largest index that a file names."""

    if TYPE_CHECKING:  # as in Python's class
        memo: dict[int, Any]

        def load_reduce(self) -> None: ...
        def load_setitem(self) -> None: ...
        def load_setitems(self) -> None: ...
        def load_dict(self) -> None: ...

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        code: method for code, method in pickle._Unpickler.dispatch.items() if code not in _LEFT_OUT
    }

    def __init__(self, content: bytes, holds: str):
        self._file = BytesIO(content)
        # Byte strings of Python 2 hold the raw data of arrays.
        super().__init__(self._file, encoding="latin1")
        self._holds = holds

    def load(self) -> Any:
        """Execute the file's instructions, up to a maximum number."""
        self.read, self.readline = self._file.read, self._file.readline
        self.metastack: list[list[Any]] = []
        self.stack: list[Any] = []
        self.append, self.proto = self.stack.append, 0
        dispatch, read = self.dispatch, self._file.read
        try:
            for _ in range(MAX_STEPS):
                code = read(1)
                if not code:
                    raise EOFError("it ends too early")
                method = dispatch.get(code[0])
                if method is None:
                    raise pickle.UnpicklingError(f"the instruction {code!r} is damaged, or builds more than plain data")
                method(self)
        except pickle._Stop as stop:  # type: ignore[attr-defined]
            return stop.value
        raise pickle.UnpicklingError(f"it has more than {MAX_STEPS:,} instructions; save it as npz")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NAMES:
            raise _Refused(
                f"refused: loading it would run or build {module}.{name}. Such a file must contain only "
                f"{self._holds}; do not use it, or ask its author for an npz or csv"
            )
        return NAMES[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused(f"refused: it refers to something outside the file ({pid!r})")

    def _load_frame(self) -> None:
        self.read(8)  # frames only set how much to read at once

    def _load_reduce(self) -> None:
        function, arguments = self.stack[-2:]
        if id(function) not in _CALLED or not isinstance(arguments, tuple):
            raise pickle.UnpicklingError("it calls something that is not a function")
        self.load_reduce()

    def _load_build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], (Array, Dtype)):
            raise pickle.UnpicklingError(f"it changes a {type(self.stack[-1]).__name__}")
        self.stack[-1].__setstate__(state)

    def _load_bytearray(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(min(length, MAX_BYTES))))

    def _load_put(self) -> None:
        self.memo[_memo_key(self.readline())] = self.stack[-1]

    def _load_get(self) -> None:
        self.append(self.memo[_memo_key(self.readline())])

    def _load_setitem(self) -> None:
        _check_keys(self.stack[-2:-1])
        self.load_setitem()

    def _load_setitems(self) -> None:
        _check_keys(self.stack[::2])
        self.load_setitems()

    def _load_dict(self) -> None:
        _check_keys(self.stack[::2])
        self.load_dict()

    dispatch |= {
        pickle.FRAME[0]: _load_frame,
        pickle.REDUCE[0]: _load_reduce,
        pickle.BUILD[0]: _load_build,
        pickle.BYTEARRAY8[0]: _load_bytearray,
        pickle.PUT[0]: _load_put,
        pickle.GET[0]: _load_get,
        pickle.SETITEM[0]: _load_setitem,
        pickle.SETITEMS[0]: _load_setitems,
        pickle.DICT[0]: _load_dict,
    }


class _Refused(Exception):
    """A name that plain data do not need."""


def _memo_key(line: bytes) -> int:
    key = int(line)
    if not 0 <= key < LARGEST_KEY:
        raise pickle.UnpicklingError(f"a memo of the number {key}")
    return key


def _check_keys(keys: Iterable[Any]) -> None:
    """Only strings are keys: their hashes are unpredictable."""
    odd = next((key for key in keys if not isinstance(key, (str, bytes))), None)
    if odd is not None:
        raise pickle.UnpicklingError(f"the key {str(odd)[:40]!r} is not text")


def read_pickle(path: Path | str, holds: str, remedy: str = AGAIN) -> Any:
    """The plain data in a pickle of Python 2 or 3; `holds` describes the expected content in errors."""
    path = Path(path)
    with reading(path, f"cannot be read as a pickle of {holds}", remedy):
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is longer than {MAX_BYTES >> 20} MiB; save it as npz")
        try:
            return _Unpickler(path.read_bytes(), holds).load()
        except _Refused as refused:
            raise UserError(f"{path}: {refused}") from None
