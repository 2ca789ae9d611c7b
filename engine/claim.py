"""One process at a time in a folder."""

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
    """Keep other processes out of a folder (made if need be) during a block, or until this process ends in any way.

    The lock is of a kind that processes which this one starts do not inherit: those that outlive it do not hold it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl = importlib.import_module("fcntl")
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (ImportError, OSError) as error:  # not every system has them, nor every file system
            if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                raise UserError(
                    f"{folder}: {file.read().strip() or 'another process'} works in it at this moment: wait for its "
                    "end, stop it, or choose another --name"
                ) from None
            log.warning("%s cannot be locked (%s): let no other process train there", folder, error)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
