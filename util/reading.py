"""Read foreign files: any error that damaged content causes in a reader becomes one UserError with the file's name."""

import csv
import lzma
import pickle
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from util.errors import UserError

RAISED_BY_DAMAGE = (
    OSError, EOFError, MemoryError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError,
    AssertionError, RuntimeError, SyntaxError, BufferError, StopIteration, struct.error, zlib.error, lzma.LZMAError,
    zipfile.BadZipFile, csv.Error, pickle.UnpicklingError, tokenize.TokenError,
)  # fmt: skip
"""Exceptions that readers of the standard library, numpy, Pillow and torch raise for damaged or hostile content.

ValueError includes errors of encodings and JSON, RuntimeError deep nesting and unsupported features.
"""
AGAIN = "make it again, or copy it again"


@contextmanager
def reading(path: Path | str, what: str, remedy: str = AGAIN, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn errors that a file's content causes in the block into a UserError: path, description, reason, remedy.

    Only code that reads and parses the file belongs into the block. `also`: errors of a library that reads it.
    """
    raised_by_damage: tuple[type[Exception], ...] = (*RAISED_BY_DAMAGE, *also)
    try:
        yield
    except UserError:
        raise
    except raised_by_damage as error:
        raise UserError(f"{path}: {what} ({reason(error)}); {remedy}") from error


def reason(error: BaseException) -> str:
    """The message of an error, in one short line."""
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, KeyError):
        return f"lacks {error}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line.strip() for line in str(error).strip().splitlines()]
    if len(lines) > 1 and lines[0].endswith(":"):  # torch lists the mismatching entries on the second line
        lines[0] += f" {lines[1]}"
    return lines[0][:200] if lines else type(error).__name__


def read_text(path: Path | str, what: str, remedy: str = AGAIN) -> str:
    """A UTF-8 text file, with or without a byte order mark."""
    with reading(path, what, remedy):
        return Path(path).read_text(encoding="utf-8-sig")
