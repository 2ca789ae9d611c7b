"""Writing frames in a thread while the network works."""

import queue
import threading

import numpy as np

from data.video.writer import VideoWriter
from util.files import WholeOrNothing

_END = object()


class BackgroundWriter(WholeOrNothing):
    """Writes frames in its own thread, up to `depth` behind; wraps a VideoWriter and has its interface.

    The next `write`, or `close`, raises an error of the thread. Do not modify a frame after passing it.
    """

    def __init__(self, writer: VideoWriter, depth: int = 8):
        self.writer = writer
        self._waiting: queue.Queue = queue.Queue(maxsize=depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def write(self, frame: np.ndarray) -> None:
        """Hand over a frame; waits while `depth` frames are waiting already."""
        self._raise()
        self._waiting.put(frame)

    def close(self) -> None:
        """Wait for the last frame and finish the video."""
        self._stop()
        if self._error is not None:
            self.writer.abort()
        self._raise()
        self.writer.close()

    def abort(self) -> None:
        """Discard the video."""
        self._error = self._error or InterruptedError("writing was aborted")
        self._stop()
        self.writer.abort()

    def _work(self) -> None:
        # After an error keep consuming frames, so that the producer does not block.
        while (frame := self._waiting.get()) is not _END:
            if self._error is None:
                try:
                    self.writer.write(frame)
                except BaseException as error:  # raised again by write or close
                    self._error = error

    def _stop(self) -> None:
        if self._thread.is_alive():
            self._waiting.put(_END)
            self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
