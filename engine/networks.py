"""Build networks whose weights are read, move them to their device, compile them, check what checkpoints hold."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import nn

from engine.distributed import Processes
from util.errors import UserError

log = logging.getLogger(__name__)

RANDOM = (
    "uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_",
    "orthogonal_",
)  # fmt: skip
"""The functions of torch.nn.init that draw random weights."""


class HasNetworks(Protocol):
    """The part of a family's interface that these functions use."""

    layout: Any

    def networks(self) -> dict[str, nn.Module]: ...
    def modules(self) -> Iterator[nn.Module]: ...
    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...


@contextmanager
def without_random_weights() -> Iterator[None]:
    """Leave the weights of new networks undefined, if they are read from a file next."""
    drawn = {name: getattr(nn.init, name) for name in RANDOM}
    try:
        for name in RANDOM:
            setattr(nn.init, name, _unchanged)
        yield
    finally:
        for name, function in drawn.items():
            setattr(nn.init, name, function)


def _unchanged(tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return tensor


def to_device(family: nn.Module, processes: Processes, channels_last: bool) -> None:
    """Move a family to this process's device, synchronise batch norms, and broadcast the weights."""
    if processes.world > 1 and processes.device.type == "cuda":
        for name, child in list(family.named_children()):
            setattr(family, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
    family.to(processes.device)
    if channels_last:
        use_channels_last(family)
    processes.share([value.data for value in [*family.parameters(), *family.buffers()]])


def list_networks(networks: Mapping[str, nn.Module]) -> None:
    """Log the layers and the number of parameters of each network."""
    for name, network in networks.items():
        count = sum(parameter.numel() for parameter in network.parameters())
        log.info("%s, %s parameters:\n%s", name, f"{count:,}", network)


def refuse_unsaved(family: HasNetworks, parameters: Mapping[str, Iterable[torch.Tensor]]) -> None:
    """Refuse a family that trains parameters outside all checkpoints: resuming would reset them to random values.

    `parameters`: those of each optimizer.
    """
    name, entries = f"{type(family).__name__} ({type(family).__module__})", family.layout.entries
    absent = [entry for entry in entries if not isinstance(getattr(family, entry, 0), nn.Module | None)]
    if absent:
        raise UserError(
            f"{name}: layout.entries names {', '.join(absent)}, which is not a network of the family: set "
            f"self.{absent[0]} in __init__ or prepare_training (to None if absent), or remove the entry"
        )
    saved = {id(value) for network in family.networks().values() for value in network.parameters()}
    for optimizer, trained in parameters.items():
        lost = names_of([value for value in trained if id(value) not in saved], family)
        if lost:
            raise UserError(
                f"{name}: the optimizer {optimizer!r} trains {lost}, which no checkpoint would save: no network in "
                f"layout.entries ({', '.join(entries)}) owns them. Add their network to the entries; move a bare "
                f"nn.Parameter into one of the networks"
            )


def names_of(parameters: Iterable[torch.Tensor], family: HasNetworks, limit: int = 4) -> str:
    """Names of the first few parameters and the number of the others, for messages."""
    known = {id(value): key for key, value in family.named_parameters()}
    names = [known.get(id(parameter), "(not of the family)") for parameter in parameters]
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def use_channels_last(family: nn.Module) -> None:
    """Convert 2-D convolution weights to channels_last; 3-D weights stay as they are."""
    for value in (*family.parameters(), *family.buffers()):
        if value.ndim == 4:
            value.data = value.data.contiguous(memory_format=torch.channels_last)


def freeze_norms(family: HasNetworks) -> None:
    """Put batch norms into eval mode, where they use their running statistics."""
    for module in family.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def compile_networks(networks: Mapping[str, nn.Module], leave: Iterable[str] = ()) -> None:
    """Compile each network in place, which keeps its entry names, except those in `leave` (double backward)."""
    torch._dynamo.config.recompile_limit = 64  # shared by all networks; beyond it they silently run eagerly
    for name, network in networks.items():
        if name in leave:
            log.info("not compiling %s: its loss needs second derivatives", name)
        else:
            network.compile()
