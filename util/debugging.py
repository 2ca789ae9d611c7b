"""breakpoint() in a command: starts a debugger in the main process; elsewhere the error explains how to get one."""

import os
import sys
import warnings
from types import FrameType
from typing import Any, NoReturn

from util.errors import RunError

ADVICE = (
    "--debug loads the data in this process, shows errors where they happen, and looks for anomalies; "
    "python -m pdb train.py ... --debug also stops at errors"
)


class NoDebugger(RunError):
    """A breakpoint() in a process without a terminal."""


def guard_breakpoints(*, alone: bool) -> None:
    """Say what to do at breakpoint() in a command without --debug; `alone`: it is the command's only process.

    A debugger that PYTHONBREAKPOINT names is left as it is.
    """
    if "PYTHONBREAKPOINT" not in os.environ:
        sys.breakpointhook = _advise if alone else _refuse


def _advise(*arguments: Any, **settings: Any) -> None:
    import pdb

    frame = sys._getframe(1)
    warnings.warn(f"{_position(frame)}: {ADVICE}", stacklevel=2)
    pdb.Pdb(nosigint=True).set_trace(frame)


def _refuse(*arguments: Any, **settings: Any) -> NoReturn:
    raise NoDebugger(
        f"{_position(sys._getframe(1))}: a debugger cannot run in this process, as it loads data or is one of "
        f"several. Start the command with --debug and one device, so that everything runs in the main process"
    )


def _position(frame: FrameType) -> str:
    return f"breakpoint() in {frame.f_code.co_filename}, line {frame.f_lineno}"
