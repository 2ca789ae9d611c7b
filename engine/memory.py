"""How the C library deals with memory that networks free and ask for again."""

import ctypes
import resource
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Names of settings in glibc's malloc.h."""


def keep_freed_memory() -> None:
    """Keep freed memory for the next step, which will ask for as much: new pages cost a sixth of a step on the CPU.

    Only glibc can be told; elsewhere nothing happens. The process holds about a tenth more for it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)


def host_memory_gib() -> float:
    """The most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)  # bytes there, else KiB
