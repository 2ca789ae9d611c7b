"""Reading ahead in a thread while something else works."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
_END = object()


def prefetch(items: Iterable[Item], depth: int = 8) -> Iterator[Item]:
    """Iterate in a thread of its own, up to `depth` items ahead; its errors are raised here, in order.

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
        close = getattr(iterator, "close", None)  # generators have it, other iterators may
        if close is not None:
            close()
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
