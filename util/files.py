"""Atomic writing of files and folders, and removal of the leftovers of killed processes.

While a target is written, its data are in a private folder beside it, `.HOST.PROCESS.RANDOM.part`, under the target's
own name. The system creates that folder for us only, under an unused name, so nobody can plant a link there. Its name
tells whether its process is alive; docs/reliability.md describes this for users.
"""

import errno
import hashlib
import itertools
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import TypeVar

from util.errors import UserError
from util.printable import printable

Writer = TypeVar("Writer", bound="WholeOrNothing")

LONGEST_NAME = 230
"""Maximum length of a name in bytes: most file systems allow 255, and files beside a result need some of them."""

AGE_LIMIT = 7 * 24 * 3600
"""Seconds without a change after which the temporary files of another host's process count as leftovers."""


def is_too_long(name: str) -> bool:
    """Whether the name of a file may be too long for a file system."""
    return len(os.fsencode(name)) > LONGEST_NAME


def path_exists(path: Path) -> bool:
    """Whether a path exists; False for a name that is too long for the system."""
    try:
        return path.exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def refuse_long_name(output: Path) -> None:
    """Refuse the name of a result that is too long for some file systems."""
    if is_too_long(output.name):
        raise UserError(f"{output.name}: file name too long; set --output, or the column output of --pairs")


def is_hidden_below(path: Path, folder: Path) -> bool:
    """Whether a path is hidden, or inside something hidden below a folder; hidden files are no data."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` when the block succeeds and is removed when it fails.

    Both have the same name, because writers choose their format by it, and some write it into the file.
    """
    path = Path(path)
    with _temporary(path) as temporary:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


@contextmanager
def replacing_folder(path: Path | str) -> Iterator[Path]:
    """Yield an empty folder that replaces `path` when the block succeeds and is removed when it fails."""
    path = Path(path)
    with _temporary(path) as temporary:
        temporary.mkdir()
        yield temporary
        try:
            temporary.rename(path)
        except OSError:
            # An older folder exists, perhaps since a moment ago: a worker of a killed run can finish its item.
            if path.is_symlink() or not path.is_dir():
                raise
            path.rename(temporary.with_name(f"{path.name}.replaced"))
            temporary.rename(path)


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A free path named like `path` in a private folder beside it, which is removed afterwards.

    A system error without a file name (a full disk), or with the temporary one, is raised with `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers_once(path.parent.resolve())
    try:
        private = Path(tempfile.mkdtemp(".part", f".{_host()}.{os.getpid()}-{_start_of(os.getpid())}.", path.parent))
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        yield private / path.name
    except OSError as error:
        if error.filename is None or private.name in str(error.filename):
            error.filename = str(path)
        raise
    finally:
        shutil.rmtree(private, ignore_errors=True)


def refuse_unwritable(folder: Path, option: str) -> None:
    """Raise a UserError that names the option if a folder is not writable, before work starts."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise UserError(f"--{option}: cannot write into {folder} ({error.strerror})") from error


def write_text(path: Path | str, text: str) -> None:
    """Write a small text file whole or not at all; file names that are not UTF-8 are escaped."""
    with replacing(path) as temporary:
        temporary.write_text(printable(text), encoding="utf-8")


def set_aside(folder: Path, paths: Iterable[Path]) -> Path:
    """Move files into a new subfolder previous_N and return it."""
    names = (folder / f"previous_{number}" for number in itertools.count(1))
    moved_to = next(name for name in names if not name.exists())
    moved_to.mkdir()
    for path in paths:
        path.rename(moved_to / path.name)
    return moved_to


class WholeOrNothing:
    """A writer as context manager: closed when the block succeeds, aborted when it fails."""

    def close(self) -> None:
        """Finish the file."""
        raise NotImplementedError

    def abort(self) -> None:
        """Abort; remove everything written."""
        raise NotImplementedError

    def __enter__(self: Writer) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


UNKNOWN = "0"
"""Start time of a process on systems that do not provide it; there the number alone identifies a process."""

_TEMPORARY = re.compile(r"\.(?P<host>[\w-]+)\.(?P<process>\d+)-(?P<start>\d+)\.\w{8}\.part")
_EARLIER = re.compile(r"\..+\.(?P<process>\d{1,7})\.part(\.\w+)?")
"""Names of Grimace's temporary files and folders from before they contained the host."""


def remove_leftovers(folder: Path | str) -> None:
    """Remove leftovers of killed processes from a folder; every write through this module does so first.

    Files of live processes of this host are kept, and those of other hosts until they are AGE_LIMIT old, since their
    processes cannot be checked from here.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if ".part" in entry.name]
    except OSError:
        return  # missing or not readable; the caller gets the error when it writes
    for path in map(Path(folder).joinpath, names):
        try:
            if not _is_left_behind(path):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError:
            continue  # another process removes it right now, or it belongs to another user: continue


@lru_cache(maxsize=4096)
def _remove_leftovers_once(folder: Path) -> None:
    """Once per process, before its first write into the folder: listing large folders takes time."""
    remove_leftovers(folder)


def _is_left_behind(path: Path) -> bool:
    if match := _TEMPORARY.fullmatch(path.name):
        if match["host"] != _host():
            return time.time() - _last_change(path) > AGE_LIMIT
        return _start_of(int(match["process"])) not in (match["start"], UNKNOWN)
    if match := _EARLIER.fullmatch(path.name):
        process = int(match["process"])
        return process == os.getpid() or _start_of(process) is None
    return False


def _last_change(path: Path) -> float:
    """Time of the last change of a file, or of a folder's content."""
    return max(one.lstat().st_mtime for one in (path, *path.rglob("*")))


@cache
def _host() -> str:
    """Identifier of the system in which process numbers are unique: a boot, and within it a container.

    Containers may have equal names, and each has a process 1.
    """
    name = socket.gethostname()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        container = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:  # not Linux
        boot, container = "", 0
    mark = hashlib.sha256(f"{name} {boot} {container}".encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9-]', '-', name)[:32]}-{mark}"


def _start_of(process: int) -> str | None:
    """The start time of a process, to distinguish it from a later one with its number; None if none runs."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:  # another user's
        pass
    try:
        # The program's name, in parentheses, may contain anything; state and start are the 3rd and 22nd field.
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:  # not Linux, or not readable for us
        return UNKNOWN
    return None if fields[0] in "ZX" else fields[19]


def folders_in(folder: Path) -> str:
    """The names of a folder's subfolders, for errors that list the choices."""
    return ", ".join(sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())) or "none"
