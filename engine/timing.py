"""How fast frames are made."""

import time


class Stopwatch:
    """Frames per second since the first frame was asked for."""

    def __init__(self) -> None:
        self.frames = 0
        self._begin = time.monotonic()

    def add(self, frames: int) -> None:
        """Count frames that are done."""
        self.frames += frames

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.frames / max(time.monotonic() - self._begin, 1e-9)
