"""Errors that a user can put right."""

import sys
from collections.abc import Callable
from io import TextIOWrapper


class UserError(Exception):
    """Bad input: the message names the file, key or option and the remedy; commands end with status 2, no traceback."""


def run_main(main: Callable[[], int | None]) -> None:
    """Run a command's main function and turn what it raises or returns into an exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    try:
        status = main()
    except UserError as error:
        if "--debug" in sys.argv:  # so that a debugger gets it
            raise
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    sys.exit(status or 0)
