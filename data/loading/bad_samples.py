"""Bad samples: their reasons, errors that are no sample's fault, and the limit on their number.

Any exception makes a sample bad, and another sample replaces it: damaged files raise more kinds of errors than readers
can foresee. Two kinds of errors end the run instead: missing resources (memory, disk, open files), and a dataset
without any good sample, since a mistake in the program or its options is then likelier than damage everywhere.
"""

import errno
import logging
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from util.debugging import NoDebugger
from util.errors import DISK_FULL, NO_MEMORY, RunError, UserError, outcome
from util.printable import printable

RESOURCE_ERRORS = (*DISK_FULL, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
SHOWN = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """What is wrong with a sample."""

    index: int
    reason: str
    raised_at: str = ""
    """File and line of an unexpected error, which may be a bug; empty for bad input and errors of the system."""
    trace: str = ""
    ends_run: bool = False

    def __str__(self) -> str:
        return f"sample {self.index}: {self.reason}"


def problem_of(index: int, name: str, error: Exception) -> Problem:
    """The problem that an error shows. `name` precedes unexpected errors, which may not name a file."""
    if _is_resource_error(error):
        return Problem(index, printable(outcome(error)[0] or f"{NO_MEMORY} ({error})"), ends_run=True)
    line, _ = outcome(error)
    if line is not None:
        return Problem(index, printable(line), ends_run=isinstance(error, NoDebugger))
    frame = traceback.extract_tb(error.__traceback__)[-1]
    message = " ".join(str(error).split())
    raised_at = f"{Path(frame.filename).name}, line {frame.lineno}"
    reason = f"{name}: {type(error).__name__}: {message} ({raised_at})"
    trace = "".join(traceback.format_exception(error))
    return Problem(index, printable(reason.removeprefix(": ")), raised_at, printable(trace))


def _is_resource_error(error: BaseException) -> bool:
    """Whether memory, disk or open files are exhausted. Libraries report a lack of memory in their own ways."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in RESOURCE_ERRORS):
        return True
    message = str(error)
    of_torch = isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in message or "out of memory" in message)
    of_opencv = type(error).__module__.startswith("cv2") and "Insufficient memory" in message
    if of_torch or of_opencv:
        return True
    # A reader may raise its own error when too many files are open.
    cause = error.__cause__
    return isinstance(cause, OSError) and _is_resource_error(cause)


class BadSamples:
    """Counts bad samples, lists them in a file, and stops the run when they are too many."""

    def __init__(self, path: Path, size: int, share: float):
        self.path, self.allowed = path, share * size
        self.seen: dict[int, Problem] = {}
        self._shown: set[str] = set()

    def add(self, problems: Sequence[Problem]) -> None:
        """Record new problems."""
        for problem in problems:
            if problem.index in self.seen:
                continue
            self.seen[problem.index] = problem
            log.warning("replaced a bad sample: %s", problem)
            self._write(problem)
        if len(self.seen) > self.allowed:
            raise UserError(
                f"{len(self.seen)} bad samples exceed --max_bad; {self.path} lists them. Fix or remove "
                f"them:{_listed(self.seen.values())}{self._hint()}"
            )

    def all_bad_error(self, problems: Sequence[Problem]) -> Exception:
        """The error that ends a run if none of several samples could be made."""
        for problem in problems:
            if problem.ends_run:
                return RunError(f"loading samples: {problem.reason}{_remedy(problem)}")
        listed = _listed(problems)
        trace = next((problem.trace for problem in problems if problem.trace), "")
        if not trace:
            return UserError(f"none of these samples could be read:{listed}")
        return RunError(
            f"none of these samples could be made; probably a bug in the dataset mode or a wrong option, not damaged "
            f"files:{listed}\n{trace.rstrip()}"
        )

    def _write(self, problem: Problem) -> None:
        """Append a line, with a traceback for the first error from each line of code."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{problem}\n")
            if problem.raised_at and problem.raised_at not in self._shown:
                self._shown.add(problem.raised_at)
                file.write("".join(f"    {line}\n" for line in problem.trace.rstrip().splitlines()))

    def _hint(self) -> str:
        if not self._shown:
            return ""
        return f"\n{self.path} has the file and line of unexpected errors; they may be bugs of Grimace"


def _listed(problems: Sequence[Problem]) -> str:
    lines = sorted(map(str, problems))
    return "".join(f"\n  {line}" for line in lines[:SHOWN])


def _remedy(problem: Problem) -> str:
    return "; use fewer processes (--nThreads) or smaller samples" if NO_MEMORY in problem.reason else ""
