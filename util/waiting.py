"""How threads wait for each other."""

import os
import sys


def wait_briefly() -> None:
    """Let threads that share a computation look for new work for some microseconds, then sleep; say so before torch.

    If they went on looking, as they do unless told otherwise, they would take the cores from threads that read and
    write videos. If they slept at once, a network of many small steps would be a fifth slower. The interpreter goes to
    another thread after a fifth of a millisecond, not five, so that networks get on while a video is read.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    sys.setswitchinterval(2e-4)
