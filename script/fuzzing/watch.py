"""Runs a reader on damaged files in a separate process, and reports the outcome of each: read, refused, or a fault."""

import faulthandler
import json
import logging
import os
import resource
import select
import shutil
import signal
import tempfile
import time
import traceback
import unicodedata
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from script.fuzzing.damage import damaged
from script.fuzzing.target import Target, digest
from util.errors import UserError

READ, REFUSED, FAULT = "read", "refused", "fault"
TO_MAKE = 120.0
"""Seconds to make the valid files and import their readers."""
CASE, KEPT, TRACE = "case", "damaged{}", "trace.txt"
"""Folder of the damaged file, its unmodified copy, and the file for a crash's traceback."""
Case = Callable[[Sequence[bytes], int], tuple[bytes, bool]]
"""Makes a damaged file from valid files and a number; also returns whether checksums reveal its damage."""
ODD = ("Cc", "Cs")
"""Categories of characters that control a terminal, or cannot be shown."""
NO_MEMORY = ("memory", "alloc")
"""Messages of libraries without memory; some continue with less."""


@dataclass(frozen=True)
class Limits:
    """Limits for reading one file."""

    seconds: float = 20.0
    gigabytes: float = 4.0


@dataclass
class Report:
    """Outcomes of a target's mutations."""

    counts: Counter = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, 0)
    """Seconds, and the number of the mutation."""
    faults: dict[int, str] = field(default_factory=dict)
    """Number of a mutation -> the fault's first line."""


def mutations(target: Target, seed: int) -> Case:
    """The mutations of a seed."""

    def case(wholes: Sequence[bytes], number: int) -> tuple[bytes, bool]:
        rng = np.random.default_rng([seed, number, zlib.crc32(target.name.encode())])
        whole = wholes[rng.integers(len(wholes))]
        if target.within and rng.random() < 0.5:
            way, parts = target.within[rng.integers(len(target.within))], (whole[:1024], *target.tokens)
            return way(rng, whole, lambda part: damaged(rng, part, parts, target.tokens)), False
        return damaged(rng, whole, wholes, target.tokens), target.checked

    return case


def fuzz(target: Target, case: Case, numbers: range, kept: Path, limits: Limits | None = None) -> Report:
    """Run the reader on cases; files of faults are kept in a folder, named by their stem and number."""
    report, limits = Report(), limits or Limits()
    while numbers:
        with tempfile.TemporaryDirectory(prefix="grimace_fuzz_") as folder:
            numbers = _Watched(target, Path(folder), limits, report, kept).run(case, numbers)
    return report


class _Watched:
    """A process that reads mutation after mutation until it is done, dies, or has to be killed."""

    def __init__(self, target: Target, folder: Path, limits: Limits, report: Report, kept: Path):
        self.target, self.folder, self.limits, self.report, self.kept = target, folder, limits, report, kept

    def run(self, case: Case, numbers: range) -> range:
        """Returns the numbers that another process must continue with."""
        reader, writer = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(reader)
            _child(self.target, self.folder, self.limits, case, numbers, writer)
        os.close(writer)
        try:
            with os.fdopen(reader, "rb", buffering=0) as stream:
                done = self._listen(process, stream)
        finally:
            _end(process)
        return range(numbers.stop if done is None else done + 1, numbers.stop)

    def _listen(self, process: int, stream) -> int | None:
        """Follow the messages of the process; returns the number at which it died or was killed."""
        number = None
        while True:
            try:
                line = _line(stream, self.limits.seconds if number is not None else TO_MAKE)
            except TimeoutError:
                self._note(number, FAULT, f"hangs for more than {self.limits.seconds:g} s")
                return number
            if line is None:
                self._note(number, FAULT, self._death(process))
                return number
            if "end" in line:
                return None
            if "begin" in line:
                number = line["begin"]
            else:
                self.report.slowest = max(self.report.slowest, (line["seconds"], number))
                self._note(number, line["kind"], line["reason"])

    def _death(self, process: int) -> str:
        """Description of how the process ended."""
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return f"ends the process ({name})\n{self._trace()}"

    def _trace(self) -> str:
        return (self.folder / TRACE).read_text(encoding="utf-8", errors="replace")

    def _note(self, number: int | None, kind: str, reason: str) -> None:
        if number is None:
            raise RuntimeError(f"{self.target.name}: cannot make and read the undamaged files: it {reason}")
        self.report.counts[kind] += 1
        if kind != FAULT:
            return
        self.report.faults[number] = reason.splitlines()[0]
        self.kept.mkdir(parents=True, exist_ok=True)
        stem = f"{self.target.name}-{number}"
        shutil.copyfile(self.folder / KEPT.format(number), self.kept / f"{stem}.{self.target.file}")
        (self.kept / f"{stem}.txt").write_text(f"{reason}\n", encoding="utf-8", errors="backslashreplace")


def _line(stream, seconds: float) -> dict | None:
    """The next message; None after the end of the process."""
    content = b""
    deadline = time.monotonic() + seconds
    while not content.endswith(b"\n"):
        ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        if not (byte := stream.read(1)):
            return None
        content += byte
    return json.loads(content)


def _end(process: int) -> None:
    """End a process and its children."""
    try:
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
    except (ProcessLookupError, ChildProcessError):  # it has exited
        return


def _child(target: Target, folder: Path, limits: Limits, case: Case, numbers: range, writer: int) -> None:
    """Become the reading process."""
    os.setpgid(0, 0)
    trace = (folder / TRACE).open("w", encoding="utf-8")
    status = 1
    try:
        os.dup2(trace.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        faulthandler.enable(trace)
        logging.disable(logging.CRITICAL)
        with os.fdopen(writer, "w", buffering=1, encoding="utf-8") as tell:
            _read_all(target, folder, limits, case, numbers, tell)
        status = 0
    except BaseException:
        traceback.print_exc(file=trace)
    finally:
        trace.flush()
        os._exit(status)


def _read_all(target: Target, folder: Path, limits: Limits, case: Case, numbers: range, tell) -> None:
    undamaged = folder / "made"
    undamaged.mkdir()
    wholes = target.make(undamaged)
    path = folder / CASE / target.file
    path.parent.mkdir()
    known = set()
    for whole in wholes:  # import the reader's modules before memory is limited
        path.write_bytes(whole)
        known.add(digest(target.read(path)))
    _limit_memory(limits.gigabytes)
    for number in numbers:
        content, is_checked = case(wholes, number)
        kept = folder / KEPT.format(number)
        kept.write_bytes(content)
        path.write_bytes(content)
        tell.write(json.dumps({"begin": number}) + "\n")
        start = time.perf_counter()
        kind, reason = _outcome(target, path, known if is_checked else None)
        if kind != FAULT:
            kept.unlink()
        tell.write(json.dumps({"kind": kind, "reason": reason, "seconds": time.perf_counter() - start}) + "\n")
    tell.write('{"end": true}\n')


def _limit_memory(gigabytes: float) -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _outcome(target: Target, path: Path, known: set[int] | None) -> tuple[str, str]:
    """The outcome of a reader on a file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            content = digest(target.read(path))
        except UserError as error:
            reason = _fault_of_refusal(target, path, error)
            return (FAULT, f"{reason}\n{traceback.format_exc()}") if reason else (REFUSED, str(error))
        except Exception as error:
            return FAULT, f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
    if lacking := next((str(one.message) for one in caught if _lacks_memory(str(one.message))), None):
        return FAULT, f"asks for more memory than there is: {lacking}"
    if known is not None and content not in known:
        return FAULT, "is read with another content than a whole file, although checksums tell"
    return READ, ""


def _fault_of_refusal(target: Target, path: Path, error: UserError) -> str | None:
    """The problem with a refusal, or None."""
    text, chain = str(error), error
    while chain is not None:
        if isinstance(chain, MemoryError) or _lacks_memory(str(chain)):
            return f"asks for more memory than there is: {text}"
        chain = chain.__cause__ or chain.__context__
    first, *more = text.splitlines()
    if any(not line.startswith("  ") for line in more) or any(unicodedata.category(sign) in ODD for sign in first):
        return f"is refused in more than a line, or unprintably: {text!r:.300}"
    if target.names_file and str(path) not in text:
        return f"is refused without its name: {text}"
    return None


def _lacks_memory(text: str) -> bool:
    return any(word in text.lower() for word in NO_MEMORY)
