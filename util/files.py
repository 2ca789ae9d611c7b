"""Files that are written whole or not at all."""

import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

Writer = TypeVar("Writer", bound="WholeOrNothing")

LONGEST_NAME = 230
"""In bytes: most file systems have room for 255, of which the names of what is being written need some."""


def is_too_long(name: str) -> bool:
    """Whether a file system may have no room for the name of a file."""
    return len(os.fsencode(name)) > LONGEST_NAME


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends well, and is removed when not.

    The temporary name keeps the suffix, because many writers choose their format by it. An error of the system that
    names no file (a full disk) names this one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write a small text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def set_aside(folder: Path, paths: Iterable[Path]) -> Path:
    """Move files out of the way into a new folder below theirs, one after the other; that folder."""
    names = (folder / f"previous_{number}" for number in itertools.count(1))
    place = next(name for name in names if not name.exists())
    place.mkdir()
    for path in paths:
        path.rename(place / path.name)
    return place


class WholeOrNothing:
    """A writer as context manager: it is closed where the block ends well, and gives up where it does not."""

    def close(self) -> None:
        """Finish what is written."""
        raise NotImplementedError

    def abort(self) -> None:
        """Give up; nothing remains."""
        raise NotImplementedError

    def __enter__(self: Writer) -> Writer:
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed while writing."""
    for path in folder.glob(".*.part*"):
        path.unlink(missing_ok=True)
