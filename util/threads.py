"""Work in threads: prefetching, and single calls."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
_END = object()


def prefetch(items: Iterable[Item], depth: int = 8) -> Iterator[Item]:
    """Iterate in a separate thread, up to `depth` items ahead; its errors are raised here, in order.

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


def begin(function: Callable[..., Item], *arguments: Any) -> Callable[[], Item]:
    """Call a function in a separate thread; the returned function waits for its result, or raises its error."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(function, *arguments)
    pool.shutdown(wait=False)
    return future.result


def one_behind(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, each yielded after the next one was requested, so that a device computes ahead."""
    iterator = iter(items)
    for before in iterator:
        for item in iterator:
            yield before
            before = item
        yield before


def _feed(items: Iterable, waiting: queue.Queue, stopped: threading.Event) -> None:
    """Put the items into the queue, then the end or the error."""
    iterator, error = None, None
    try:
        iterator = iter(items)
        for item in iterator:
            if not _put(waiting, stopped, (item, None)):
                break
    except BaseException as raised:  # raised again in the consumer
        error = raised
    finally:
        close = getattr(iterator, "close", None)  # generators have it, other iterators may
        if close is not None:
            close()
    _put(waiting, stopped, (_END, error))


def _put(waiting: queue.Queue, stopped: threading.Event, entry: tuple) -> bool:
    """Wait for space; False if the consumer has stopped."""
    while not stopped.is_set():
        try:
            waiting.put(entry, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False
