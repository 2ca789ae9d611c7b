"""Common frame of all commands: processes, messages, errors, exit status."""

import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta

import torch

from engine.console import configure_logging
from engine.distributed import LOST, Processes, choose_devices, finish, is_launched, is_lost_peer, launch, start
from util.debugging import guard_breakpoints
from util.errors import outcome
from util.memory import keep_freed_memory

log = logging.getLogger(__name__)


def run_on_devices(
    work: Callable[[Processes], int],
    script: str,
    gpu_ids: Sequence[int],
    *,
    patience: timedelta = timedelta(minutes=30),
    debug: bool = False,
) -> int:
    """Run `work` on each device of a command; returns the exit status.

    With several devices the script starts itself once for each, under torchrun. `patience`: how long a process waits
    for the others. `debug`: raise errors for a debugger, and detect anomalies of gradients.
    """
    configure_logging()
    devices = choose_devices(gpu_ids)
    if len(devices) > 1 and not is_launched():
        return launch(script, sys.argv[1:], len(devices))
    processes = start(devices, patience)
    configure_logging(processes.rank if processes.world > 1 else None)
    if processes.device.type == "cpu":
        keep_freed_memory()
    if debug:
        torch.autograd.set_detect_anomaly(True)
        return finish(processes, work(processes))
    guard_breakpoints(alone=processes.world == 1)
    try:
        status = work(processes)
    except Exception as error:
        line, status = outcome(error)
        log.error("%s", LOST if is_lost_peer(error) else line or traceback.format_exc())
    return finish(processes, status)
