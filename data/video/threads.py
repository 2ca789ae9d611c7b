"""Doing two things at once: frames are read ahead, or written behind, while the network works."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

from data.video.writer import VideoWriter
from util.files import WholeOrNothing

Item = TypeVar("Item")
_END = object()


def prefetch(items: Iterable[Item], depth: int = 8) -> Iterator[Item]:
    """Iterate in a thread of its own, up to `depth` items ahead; its errors are raised here, in their place.

    Leaving the loop early (or closing the generator) ends the thread and closes the iterable.
    """
    waiting: queue.Queue = queue.Queue(maxsize=depth)
    stopped = threading.Event()
    thread = threading.Thread(target=_feed, args=(items, waiting, stopped), name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stopped.set()
        thread.join()


def one_behind(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, each after the next one was asked for: a device works on that while this one is looked at."""
    iterator = iter(items)
    for before in iterator:
        for item in iterator:
            yield before
            before = item
        yield before


def _feed(items: Iterable, waiting: queue.Queue, stopped: threading.Event) -> None:
    """Put the items in the queue, then the end or the error they ended with."""
    iterator, error = None, None
    try:
        iterator = iter(items)
        for item in iterator:
            if not _put(waiting, stopped, (item, None)):
                break
    except BaseException as raised:  # raised again where the items are used
        error = raised
    finally:
        if hasattr(iterator, "close"):
            iterator.close()
    _put(waiting, stopped, (_END, error))


def _put(waiting: queue.Queue, stopped: threading.Event, entry: tuple) -> bool:
    """Wait for room; False if nobody wants the entry any more."""
    while not stopped.is_set():
        try:
            waiting.put(entry, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False


class BackgroundWriter(WholeOrNothing):
    """Writes frames in a thread of its own, up to `depth` behind; wraps a VideoWriter and takes its place.

    An error of the writing is raised by the next `write`, or by `close`. The frames must not be changed once given.
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
        """Give up; nothing of the video remains."""
        self._error = self._error or InterruptedError("writing was given up")
        self._stop()
        self.writer.abort()

    def _work(self) -> None:
        # After an error frames are still taken, so that whoever writes is not left waiting for room.
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
