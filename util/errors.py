"""What ends a command without a traceback: what a user can put right, and what the machine lacks."""

import errno
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper

from util.printable import harmless

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
NO_MEMORY = "there is not enough memory"


class UserError(Exception):
    """Bad input: the message names the file, key or option and the remedy; commands end with status 2, no traceback."""

    def __str__(self) -> str:
        return harmless(super().__str__())


class RunError(Exception):
    """What ends a run although its input is good: the message says why and what to do; status 1, no traceback."""


def outcome(error: BaseException) -> tuple[str | None, int]:
    """The line that tells an error and the exit status of the command; no line for mistakes of the program."""
    if isinstance(error, UserError):
        return str(error), 1 if full_disk(error) else 2
    if isinstance(error, RunError):
        return str(error), 1
    if isinstance(error, OSError):
        return _of_the_system(error), 1
    if isinstance(error, MemoryError):
        return f"{NO_MEMORY} ({error})" if str(error) else NO_MEMORY, 1
    return None, 1


def full_disk(error: BaseException | None) -> OSError | None:
    """The system's error, where a full disk (or used up quota) is what an error comes from."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return error
        error = error.__cause__
    return None


def _of_the_system(error: OSError) -> str:
    """One line: which file, what the system says, and the remedy where there is one for all."""
    said = " ".join((error.strerror or str(error) or type(error).__name__).split())
    named = f"{error.filename}: {said}" if error.filename else said
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
        # Whoever read our output has gone (`| head`); Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except Exception as error:
        line, status = outcome(error)
        if line is None or "--debug" in sys.argv:  # so that a debugger gets it
            raise
        print(f"error: {line}", file=sys.stderr)
    sys.exit(status or 0)
