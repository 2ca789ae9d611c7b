"""Long work in a thread of its own: the page reads how far it is, and stops it."""

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
"""Seconds between two looks at the progress."""


class Stopped(Exception):
    """Somebody stopped the work: a button, or a browser that was closed."""


@dataclass(frozen=True)
class Progress:
    """How far some work is."""

    text: str
    done: int = 0
    of: int | None = None
    rate: float | None = None
    """How much is done in a second, if that is known yet."""

    @property
    def left(self) -> float | None:
        """Seconds that are left, if that can be told."""
        return (self.of - self.done) / self.rate if self.of and self.rate else None

    def line(self) -> str:
        """The progress for people."""
        if not self.of:
            return f"{self.text}, {self.done}" if self.done else self.text
        rate = f", {self.rate:.1f} a second" if self.rate else ""
        left = f", {in_words(self.left)} left" if self.left is not None else ""
        return f"{self.text}: {self.done} of {self.of}{rate}{left}"


def in_words(seconds: float) -> str:
    """A duration."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


class Work:
    """A job in a thread. It tells how far it is by `tell`, which ends it where somebody has asked for that."""

    def __init__(self, do: Callable[["Work"], Any]):
        self._do, self._stop = do, threading.Event()
        self._progress, self._began = Progress("starting"), (0, 0.0)
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="work", daemon=True)

    def start(self) -> "Work":
        """Begin."""
        self._thread.start()
        return self

    def tell(self, text: str, done: int = 0, of: int | None = None) -> None:
        """Say how far the work is; called by the work itself."""
        if self._stop.is_set():
            raise Stopped
        now = time.monotonic()
        if text != self._progress.text:
            self._began = done, now
        first, began = self._began
        self._progress = Progress(text, done, of, (done - first) / (now - began) if done > first else None)

    def stop(self) -> None:
        """Ask the work to end; it does so at its next step."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether somebody has asked the work to end."""
        return self._stop.is_set()

    def updates(self) -> Iterator[Progress]:
        """How far it is, now and then, until it is over; whoever stops reading stops the work."""
        try:
            while self._thread.is_alive():
                yield self._progress
                self._thread.join(EVERY)
        except GeneratorExit:
            self.stop()
            raise

    def result(self) -> Any:
        """What the work returned, once it is over; its error, if there was one."""
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
    """Who works for which browser: one job each."""

    def __init__(self) -> None:
        self._working: dict[str, Work] = {}
        self._lock = threading.Lock()

    def begin(self, browser: str, do: Callable[[Work], Any]) -> Work:
        """Start a job for a browser; one that it still has is stopped."""
        self.stop(browser)
        with self._lock:
            work = self._working[browser] = Work(do)
        return work.start()

    def stop(self, browser: str) -> bool:
        """Stop the job of a browser, if it has one."""
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
    """An error for people; that of a bug also goes to the log."""
    line, _ = outcome(error)
    if line is None:
        log.error("%s", "".join(traceback.format_exception(error)))
        return f"{type(error).__name__}: {error} (a fault of the app; its log has the traceback)"
    return line


__all__ = ["Progress", "RunError", "Stopped", "Work", "Workshop", "in_words", "message_of"]
