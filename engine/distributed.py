"""Processes: start one per GPU, communicate, and end them."""

import logging
import os
import sys
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.elastic.multiprocessing.api import SignalException

from util.errors import UserError

log = logging.getLogger(__name__)

_PLACE = {"LOCAL_RANK": 0, "RANK": 0, "WORLD_SIZE": 1}
"""The environment variables of torchrun, and their defaults without it."""

UNHURRIED = timedelta(days=365)
"""Timeout for processes that share work of very different lengths; a process that dies ends the others anyway."""


class Processes:
    """This process within the group: its device, its rank, and the collective operations that training needs."""

    def __init__(self, device: torch.device, rank: int = 0, world: int = 1, patience: timedelta | None = None):
        self.device, self.rank, self.world = device, rank, world
        on_gpu = device.type == "cuda"
        control = dist.new_group(backend="gloo", timeout=patience) if world > 1 and on_gpu else None
        self._control = cast("dist.ProcessGroup | None", control)  # every process is a member

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def begin_sum(self, tensor: Tensor) -> Any:
        """Start to replace a tensor by its sum over all processes; `wait()` of the returned handle waits for it."""
        return dist.all_reduce(tensor, async_op=True)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their average over all processes, with one all-reduce per dtype."""
        if self.world == 1:
            return
        for kind in {tensor.dtype for tensor in tensors}:
            some = [tensor for tensor in tensors if tensor.dtype == kind]
            flat = torch.cat([tensor.reshape(-1) for tensor in some])
            dist.all_reduce(flat)
            flat /= self.world
            for tensor, part in zip(some, flat.split([tensor.numel() for tensor in some]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def any(self, value: bool) -> bool:
        """Whether the flag is set in any process. Uses the CPU, so that the devices are not synchronised."""
        if self.world == 1:
            return value
        flag = torch.tensor(float(value))
        dist.all_reduce(flag, group=self._control)
        return bool(flag > 0)

    def gather(self, value: Tensor) -> Tensor:
        """Gather the values of all processes in order of rank; equally many from each, on the CPU."""
        if self.world == 1:
            return value
        parts = [torch.empty_like(value) for _ in range(self.world)]
        dist.all_gather(parts, value, group=self._control)
        return torch.cat(parts)

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Broadcast values of the main process."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def wait(self) -> None:
        """Wait for all processes."""
        if self.world > 1:
            dist.barrier(group=self._control)


def choose_devices(gpu_ids: Sequence[int]) -> list[int]:
    """One entry per process to start: the index of its GPU, or -1 for the CPU ("-1,-1": two on the CPU)."""
    wanted = [gpu for gpu in gpu_ids if gpu >= 0]
    if wanted and not torch.cuda.is_available():
        log.warning("no CUDA device: using the CPU (--gpu_id=-1 avoids this warning)")
        return [-1]
    missing = [gpu for gpu in wanted if gpu >= torch.cuda.device_count()]
    if missing:
        raise UserError(f"--gpu_id: no GPU {missing[0]}; this machine has {torch.cuda.device_count()}")
    if wanted and len(wanted) < len(gpu_ids):
        raise UserError("--gpu_id: choose GPUs or the CPU (-1), not both")
    return wanted or [-1] * max(1, len(gpu_ids))


def is_launched() -> bool:
    """Whether torchrun, or `launch`, started this process."""
    return "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ


def launch(script: str, arguments: Sequence[str], count: int) -> int:
    """Run this command again in `count` processes under torchrun's agent; the exit status of the first that failed."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the processes print their own messages
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
    )
    try:
        elastic_launch(config, sys.executable)("-u", script, *arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        log.error("process %d exited with status %d; ended all others", rank, failure.exitcode)
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    except SignalException as error:
        return 128 + error.sigval
    return 0


def start(gpus: Sequence[int], patience: timedelta = timedelta(minutes=30)) -> Processes:
    """Join the process group, if there is one, and select this process's device.

    `patience`: the timeout of collective operations.
    """
    local, rank, world = (int(os.environ.get(name, default)) for name, default in _PLACE.items())
    on_gpu = gpus[0] >= 0
    device = torch.device("cuda", gpus[local] if local < len(gpus) else local) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    if world > 1:
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=patience)
    return Processes(device, rank, world, patience)


LOST = "another process has exited; see its message"


def is_lost_peer(error: Exception) -> bool:
    """Whether a communication error only means that another process has ended."""
    return isinstance(error, RuntimeError) and "by peer" in str(error)


def finish(processes: Processes, status: int) -> int:
    """End a worker process at once, because the interpreter's clean-up sometimes aborts under gloo. Single process:
    return the status."""
    if processes.world == 1:
        return status
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def machine(processes: Processes) -> str:
    """Description of the devices, for the log."""
    on_gpu = processes.device.type == "cuda"
    device = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    return f"{processes.world} x {device}, torch {torch.__version__}"
