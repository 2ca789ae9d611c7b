"""How OpenMP threads wait for each other."""

import os
import sys


def wait_briefly() -> None:
    """Let OpenMP threads spin briefly; call before importing torch.

    By default they spin on and take the cores from threads that read and write videos. Without spinning, a network of
    many small operations is a fifth slower. The interpreter switches threads after 0.2 ms instead of 5 ms, so that
    networks continue while a video is read.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    sys.setswitchinterval(2e-4)
