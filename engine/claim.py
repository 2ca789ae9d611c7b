"""A lock that one process at a time holds on a folder."""

import errno
import importlib
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from util.errors import UserError

log = logging.getLogger(__name__)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Lock a folder (created if necessary) during a block, or until this process ends in any way.

    Child processes do not inherit this kind of lock, so those that outlive the process do not hold it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl = importlib.import_module("fcntl")
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (ImportError, OSError) as error:  # not every system or file system has them
            if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                raise UserError(
                    f"{folder}: in use by {file.read().strip() or 'another process'}: wait for its end, stop it, or "
                    f"choose another --name"
                ) from None
            log.warning("cannot lock %s (%s): make sure that no other process trains there", folder, error)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
