"""Reading files that others made: whatever their damage makes a reader raise becomes one error with the file's name."""

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
"""What readers of the standard library, numpy, Pillow and torch raise for damaged or hostile content.

Among ValueError are errors of encodings and of JSON, among RuntimeError what is nested too deeply or not implemented.
"""
AGAIN = "make it again, or copy it again"


@contextmanager
def reading(path: Path | str, what: str, remedy: str = AGAIN, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Raise what the block raises because of a file's content as a UserError: path, what it is not, why, remedy.

    Only reading and interpreting the file belongs into the block. `also`: errors of a library that reads it.
    """
    raised_by_damage: tuple[type[Exception], ...] = (*RAISED_BY_DAMAGE, *also)
    try:
        yield
    except UserError:
        raise
    except raised_by_damage as error:
        raise UserError(f"{path}: {what} ({reason(error)}); {remedy}") from error


def reason(error: BaseException) -> str:
    """What an error says, in one short line."""
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, KeyError):
        return f"lacks {error}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line.strip() for line in str(error).strip().splitlines()]
    if len(lines) > 1 and lines[0].endswith(":"):  # torch tells on the second line which entries do not fit
        lines[0] += f" {lines[1]}"
    return lines[0][:200] if lines else type(error).__name__


def read_text(path: Path | str, what: str, remedy: str = AGAIN) -> str:
    """A text file in UTF-8, with or without the mark that some programs put first."""
    with reading(path, what, remedy):
        return Path(path).read_text(encoding="utf-8-sig")
