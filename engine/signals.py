"""Handle requests to stop a run."""

import logging
import os
import signal
import sys
from types import FrameType
from typing import Any

log = logging.getLogger(__name__)


class StopRequest:
    """Records SIGTERM and Ctrl-C so that training finishes the update and saves; a second signal ends at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def status(self) -> int:
        """Exit status by convention: 128 + signal, or 0."""
        return 128 + self.signal if self.signal else 0

    def _handle(self, number: int, frame: FrameType | None) -> None:
        from_launcher = number == signal.SIGTERM and "TORCHELASTIC_RUN_ID" in os.environ
        if self.signal is not None and not from_launcher:
            os._exit(128 + number)
        if self.signal is None:
            self.signal = number
            log.warning("saving and stopping after this step; interrupt again to stop at once")


def unwind_at_sigterm() -> None:
    """Let SIGTERM end the program through an exception, so that partial files are removed."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
