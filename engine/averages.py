"""Moving averages of networks (EMA): most generators animate better with them than with their last weights."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from util.errors import UserError


def warmed_up(decay: float, updates: int) -> float:
    """The decay of the next update: small at first, so that an average soon forgets the random weights at the start."""
    return min(decay, (1 + updates) / (10 + updates))


@dataclass
class Average:
    """The moving average of one network, laid out as its state dict."""

    network: nn.Module
    decay: float
    updates: int = 0
    values: dict[str, Tensor] = field(default_factory=dict)
    _moving: frozenset[str] = frozenset()

    def restart(self) -> None:
        """Begin with the network's present weights."""
        self.updates = 0
        self.values = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self._moving = _moving(self.network)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the network's present weights."""
        live = self.network.state_dict(keep_vars=True)
        names = [name for name in live if name in self._moving]
        weight = 1 - warmed_up(self.decay, self.updates)
        torch._foreach_lerp_([self.values[name] for name in names], [live[name].data for name in names], weight)
        for name in live.keys() - self._moving:
            self.values[name].copy_(live[name])
        self.updates += 1

    def swap(self) -> None:
        """Exchange the network's weights with their average, without a copy."""
        live = self.network.state_dict(keep_vars=True)
        shared = {id(value): name for name, value in live.items()}  # a tensor with two names is exchanged once
        for name in shared.values():
            live[name].data, self.values[name] = self.values[name], live[name].data


def _moving(network: nn.Module) -> frozenset[str]:
    """What is averaged: parameters, and the running statistics of batch norms, which go with them.

    Other buffers are copied: the vectors of a spectral norm, for one, are of length 1, and their averages are not.
    """
    names = {name for name, value in network.named_parameters(remove_duplicate=False) if value.is_floating_point()}
    for prefix, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            names |= {f"{prefix}.{name}".removeprefix(".") for name in ("running_mean", "running_var")}
    return frozenset(names)


class Averages:
    """The averages that a family declares (`averaged`), updated when the optimizers of their networks have worked.

    Every process keeps them: weights are the same everywhere, so nothing is exchanged.
    """

    def __init__(self, family: Any, parameters: Mapping[str, Iterable[Tensor]]):
        """`parameters`: what each optimizer trains."""
        _check(family)
        networks = family.networks()
        self.of = {name: Average(networks[name], decay) for name, decay in family.averaged.items()}
        self._optimizers = {
            name: {optimizer for optimizer, trained in parameters.items() if _share(trained, average.network)}
            for name, average in self.of.items()
        }
        self.restart()

    def restart(self) -> None:
        """Begin with the present weights."""
        for average in self.of.values():
            average.restart()

    def update(self, names: Iterable[str]) -> None:
        """Called after each update that happened, with the names of its optimizers."""
        for network, average in self.of.items():
            if not self._optimizers[network].isdisjoint(names):
                average.update()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Within it, networks that have an average work with that."""
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
    """Refuse averages of what is no network, with decays that are none."""
    name, networks = f"{type(family).__name__} ({type(family).__module__}): averaged", family.networks()
    for network, decay in family.averaged.items():
        if network not in networks:
            raise UserError(f"{name} names {network!r}, which is no network; there are: {', '.join(networks)}")
        if not 0 <= decay < 1:
            raise UserError(f"{name} gives {network!r} the decay {decay}; it is from 0 to below 1, e.g. 0.999")
        tables = [table.parameter for table in family.row_tables().values()]
        if any(parameter.startswith(f"{network}.") for parameter in tables):
            raise UserError(f"{name} names {network!r}, whose rows are of other items in every step")
