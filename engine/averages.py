"""Moving averages of weights (EMA): most generators animate better with them than with their last weights."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from util.errors import UserError


def warmed_up(decay: float, updates: int) -> float:
    """The decay of the next update: small at first, so that the random initial weights lose their influence quickly."""
    return min(decay, (1 + updates) / (10 + updates))


@dataclass
class Average:
    """The moving average of one network, with the keys of its state dict."""

    network: nn.Module
    decay: float
    updates: int = 0
    values: dict[str, Tensor] = field(default_factory=dict)
    _moving: frozenset[str] = frozenset()

    def restart(self) -> None:
        """Start from the network's current weights."""
        self.updates = 0
        self.values = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self._moving = _moving(self.network)

    @torch.no_grad()
    def update(self) -> None:
        """Update with the network's current weights."""
        live = self.network.state_dict(keep_vars=True)
        names = [name for name in live if name in self._moving]
        weight = 1 - warmed_up(self.decay, self.updates)
        torch._foreach_lerp_([self.values[name] for name in names], [live[name].data for name in names], weight)
        for name in live.keys() - self._moving:
            self.values[name].copy_(live[name])
        self.updates += 1

    def swap(self) -> None:
        """Swap the network's weights with their average, in place."""
        live = self.network.state_dict(keep_vars=True)
        shared = {id(value): name for name, value in live.items()}  # swap a tensor with two names once
        for name in shared.values():
            live[name].data, self.values[name] = self.values[name], live[name].data


def _moving(network: nn.Module) -> frozenset[str]:
    """The averaged tensors: parameters, and the running statistics of batch norms.

    Other buffers are copied: vectors of a spectral norm, for example, have length 1, which their averages would not
    have.
    """
    names = {name for name, value in network.named_parameters(remove_duplicate=False) if value.is_floating_point()}
    for prefix, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            names |= {f"{prefix}.{name}".removeprefix(".") for name in ("running_mean", "running_var")}
    return frozenset(names)


class Averages:
    """The averages that a family declares (`averaged`), updated after each update of their networks.

    Every process keeps them: weights are equal everywhere, so nothing is communicated.
    """

    def __init__(self, family: Any, parameters: Mapping[str, Iterable[Tensor]]):
        """`parameters`: those of each optimizer."""
        _check(family)
        networks = family.networks()
        self.of = {name: Average(networks[name], decay) for name, decay in family.averaged.items()}
        self._optimizers = {
            name: {optimizer for optimizer, trained in parameters.items() if _share(trained, average.network)}
            for name, average in self.of.items()
        }
        self.restart()

    def restart(self) -> None:
        """Start from the current weights."""
        for average in self.of.values():
            average.restart()

    def update(self, names: Iterable[str]) -> None:
        """Called after each successful update, with the names of its optimizers."""
        for network, average in self.of.items():
            if not self._optimizers[network].isdisjoint(names):
                average.update()

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within this context, networks with an average use it."""
        for average in self.of.values():
            average.swap()
        try:
            yield
        finally:
            for average in self.of.values():
                average.swap()


def _share(trained: Iterable[Tensor], network: nn.Module) -> bool:
    own = {id(value) for value in network.parameters()}
    return any(id(value) in own for value in trained)


def _check(family: Any) -> None:
    """Refuse averages of anything but networks, and invalid decays."""
    name, networks = f"{type(family).__name__} ({type(family).__module__}): averaged", family.networks()
    for network, decay in family.averaged.items():
        if network not in networks:
            raise UserError(f"{name} names {network!r}, which is not a network; available: {', '.join(networks)}")
        if not 0 <= decay < 1:
            raise UserError(f"{name} gives {network!r} the decay {decay}; choose one in [0, 1), e.g. 0.999")
        tables = [table.parameter for table in family.row_tables().values()]
        if any(parameter.startswith(f"{network}.") for parameter in tables):
            raise UserError(f"{name} names {network!r}, whose rows belong to different items in every step; remove it")
