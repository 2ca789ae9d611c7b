"""Measures frames per second."""

import time


class Stopwatch:
    """Frames per second since the first frame was requested."""

    def __init__(self) -> None:
        self.frames = 0
        self._begin = time.monotonic()

    def add(self, frames: int) -> None:
        """Count finished frames."""
        self.frames += frames

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.frames / max(time.monotonic() - self._begin, 1e-9)
