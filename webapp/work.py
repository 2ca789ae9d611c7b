"""Long work in its own thread: the page reads its progress and can stop it."""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from util.errors import RunError, outcome

log = logging.getLogger(__name__)
EVERY = 0.25
"""Seconds between two updates of the progress."""


class Stopped(Exception):
    """The work was stopped, by a button or a closed browser."""


@dataclass(frozen=True)
class Progress:
    """The progress of some work."""

    text: str
    done: int = 0
    of: int | None = None
    rate: float | None = None
    """Units per second, if known yet."""

    @property
    def left(self) -> float | None:
        """Remaining seconds, if known."""
        return (self.of - self.done) / self.rate if self.of and self.rate else None

    def line(self) -> str:
        """The progress as text."""
        if not self.of:
            return f"{self.text}, {self.done}" if self.done else self.text
        rate = f", {self.rate:.1f} a second" if self.rate else ""
        left = f", {duration_text(self.left)} left" if self.left is not None else ""
        return f"{self.text}: {self.done} of {self.of}{rate}{left}"


def duration_text(seconds: float) -> str:
    """A duration as text."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


class Work:
    """A job in a thread. It reports its progress by `report`, which raises Stopped after `stop`."""

    def __init__(self, do: Callable[["Work"], Any]):
        self._do, self._stop = do, threading.Event()
        self._progress, self._began = Progress("starting"), (0, 0.0)
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="work", daemon=True)

    def start(self) -> "Work":
        """Start the thread."""
        self._thread.start()
        return self

    def report(self, text: str, done: int = 0, of: int | None = None) -> None:
        """Report the progress; called by the work itself."""
        if self._stop.is_set():
            raise Stopped
        now = time.monotonic()
        if text != self._progress.text:
            self._began = done, now
        first, began = self._began
        self._progress = Progress(text, done, of, (done - first) / (now - began) if done > first else None)

    def stop(self) -> None:
        """Ask the work to stop at its next step."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether the work was asked to stop."""
        return self._stop.is_set()

    def updates(self) -> Iterator[Progress]:
        """Yield the progress until the work is over; closing the iterator stops the work."""
        try:
            while self._thread.is_alive():
                yield self._progress
                self._thread.join(EVERY)
        except GeneratorExit:
            self.stop()
            raise

    def result(self) -> Any:
        """The result of the finished work; raises its error."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._do(self)
        except Exception as error:  # raised again by result()
            self._error = error


class Workshop:
    """The jobs of all browsers, one each."""

    def __init__(self) -> None:
        self._working: dict[str, Work] = {}
        self._lock = threading.Lock()

    def begin(self, browser: str, do: Callable[[Work], Any]) -> Work:
        """Start a job for a browser, after stopping its current one."""
        self.stop(browser)
        with self._lock:
            work = self._working[browser] = Work(do)
        return work.start()

    def stop(self, browser: str) -> bool:
        """Stop the job of a browser, if any."""
        with self._lock:
            work = self._working.pop(browser, None)
        if work:
            work.stop()
        return bool(work)

    def stop_all(self) -> None:
        """Stop the jobs of all browsers, when the app ends."""
        for browser in list(self._working):
            self.stop(browser)


def message_of(error: BaseException) -> str:
    """The message of an error; bugs also go to the log."""
    line, _ = outcome(error)
    if line is None:
        log.error("%s", "".join(traceback.format_exception(error)))
        return f"{type(error).__name__}: {error} (a bug of the app; see the traceback in its log)"
    return line


__all__ = ["Progress", "RunError", "Stopped", "Work", "Workshop", "duration_text", "message_of"]
