"""Putting networks on their device and compiling them."""

import logging
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from engine.distributed import Processes

log = logging.getLogger(__name__)


def place(family: nn.Module, processes: Processes, channels_last: bool) -> None:
    """Move a family to this process's device; the same weights everywhere; batch norms that see the whole batch."""
    if processes.world > 1 and processes.device.type == "cuda":
        for name, child in list(family.named_children()):
            setattr(family, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
    family.to(processes.device)
    if channels_last:
        family.to(memory_format=torch.channels_last)
    processes.share([value.data for value in [*family.parameters(), *family.buffers()]])


def freeze_norms(family: nn.Module) -> None:
    """Let batch norms use their running statistics from now on, as they do after training."""
    for module in family.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def compile_networks(networks: Mapping[str, nn.Module], leave: Iterable[str] = ()) -> None:
    """Compile in place, so that entry names stay; networks with a double backward can't be compiled."""
    torch._dynamo.config.recompile_limit = 64  # shared by all networks; beyond it they silently run eagerly
    for name, network in networks.items():
        if name in leave:
            log.info("%s is not compiled: its loss differentiates twice", name)
        else:
            network.compile()
