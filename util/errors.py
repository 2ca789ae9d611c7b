"""Errors that end a command without a traceback: bad input, and failures of the machine."""

import errno
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper

from util.printable import sanitized

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
NO_MEMORY = "there is not enough memory"


class UserError(Exception):
    """Bad input: the message names the file, key or option and the remedy; commands end with status 2, no traceback."""

    def __str__(self) -> str:
        return sanitized(super().__str__())


class RunError(Exception):
    """A failure despite good input: the message names the cause and the remedy; status 1, no traceback."""


def outcome(error: BaseException) -> tuple[str | None, int]:
    """The message and exit status for an error; no message for bugs, which show a traceback."""
    if isinstance(error, UserError):
        return str(error), 1 if full_disk(error) else 2
    if isinstance(error, RunError):
        return str(error), 1
    if isinstance(error, OSError):
        return _system_message(error), 1
    if isinstance(error, MemoryError):
        return f"{NO_MEMORY} ({error})" if str(error) else NO_MEMORY, 1
    return None, 1


def full_disk(error: BaseException | None) -> OSError | None:
    """The OSError for a full disk (or quota) among the causes of an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return error
        error = error.__cause__
    return None


def _system_message(error: OSError) -> str:
    """One line: the file, the system's message, and a general remedy if there is one."""
    message = " ".join((error.strerror or str(error) or type(error).__name__).split())
    named = f"{error.filename}: {message}" if error.filename else message
    if error.errno in DISK_FULL:
        return f"{named}; make room and start the command again: what is complete is kept"
    return named


def run_main(main: Callable[[], int | None]) -> None:
    """Run a command's main function and turn what it raises or returns into an exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        # The reader of our output has exited (`| head`); Python would report it again in its final flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except Exception as error:
        line, status = outcome(error)
        if line is None or "--debug" in sys.argv:  # so that a debugger gets it
            raise
        print(f"error: {line}", file=sys.stderr)
    sys.exit(status or 0)
