"""Files that are written whole or not at all."""

import itertools
import os
import re
import shutil
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


LEFTOVER = re.compile(r"\.(.+)\.(\d+)\.part(\.\w+)?")
"""The temporary names of `replacing` and `replacing_folder`."""


@contextmanager
def replacing_folder(path: Path | str) -> Iterator[Path]:
    """Yield an empty folder beside `path` that takes its place when the block ends well, and is removed when not."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        try:
            temporary.rename(path)
        except OSError:
            # An older folder is in the way, perhaps of this moment: a worker of a killed run ends its item.
            shutil.rmtree(path)
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers_of(targets: Iterable[Path]) -> None:
    """Remove what killed processes left unfinished of these files and folders, and of clips called <target>#...

    Nothing else is touched: other machines may be at work beside it. It is for a process that is writing nothing
    itself, because in a container each run has the number of the one before it.
    """
    names: dict[Path, set[str]] = {}
    for target in targets:
        names.setdefault(target.parent, set()).add(target.name)
    for folder, wanted in names.items():
        for entry in folder.iterdir() if folder.is_dir() else ():
            match = LEFTOVER.fullmatch(entry.name)
            if match and not _is_running(int(match[2])) and _is_part_of(f"{match[1]}{match[3] or ''}", wanted):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _is_part_of(name: str, wanted: set[str]) -> bool:
    """Whether a name is wanted as it is, or without what follows one of its #."""
    places = [place for place, letter in enumerate(name) if letter == "#"]
    return name in wanted or any(name[:place] in wanted for place in places)


def _is_running(process: int) -> bool:
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
