"""Averages of gradients over processes, exchanged in buckets while the backward pass still works on others."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from engine.distributed import Processes

BUCKET = 25 * 2**20
"""Bytes of gradients that are exchanged at once: enough to use the network well, few enough to start early."""
COMPRESSIONS = {"none": None, "bf16": torch.bfloat16}
"""The words of --gradient_compression, and in which type gradients travel."""
Names = tuple[str, ...]


class GradientAverage:
    """Replaces the gradients of some optimizers by their averages over all processes.

    A bucket of gradients travels as soon as the last backward pass before an update has completed it. Buckets hold the
    parameters in the order in which the main process's first backward pass reached them, and travel in this order in
    all processes, so that averages do not depend on timing: without overlap they are the same, bit for bit.
    """

    def __init__(
        self, processes: Processes, parameters: Mapping[str, Sequence[nn.Parameter]], compression: str = "none", *,
        overlap: bool = True,
    ):  # fmt: skip
        """`parameters`: those of each optimizer. `overlap`: exchange during the backward pass, not after it."""
        self._processes, self._parameters = processes, parameters
        self._type, self._overlap = COMPRESSIONS[compression], overlap
        self._plans: dict[Names, list[list[nn.Parameter]]] = {}
        self._exchange: _Exchange | None = None
        self._order: list[nn.Parameter] = []
        """In the first backward pass for an update: the parameters as they get their gradients."""
        if processes.world > 1:
            for parameter in {id(p): p for some in parameters.values() for p in some}.values():
                parameter.register_post_accumulate_grad_hook(self._arrive)

    @contextmanager
    def last_backward(self, names: Names) -> Iterator[None]:
        """Around the last backward pass before an update of these optimizers, after which no gradient changes."""
        self._order.clear()
        if self._overlap and names in self._plans:
            self._exchange = self._begin(names)
        yield

    def _begin(self, names: Names) -> "_Exchange":
        return _Exchange(self._processes, self._plans[names], self._type)

    def _arrive(self, parameter: nn.Parameter) -> None:
        if self._exchange is not None:
            self._exchange.arrive(parameter)
        else:
            self._order.append(parameter)

    def finish(self, names: Names) -> None:
        """Average what has not travelled yet, and wait for all of it. Missing gradients count as zero."""
        parameters = [p for name in names for p in self._parameters[name]]
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self._processes.world == 1:
            return
        if names not in self._plans:
            self._plans[names] = self._planned(parameters)
        exchange = self._exchange or self._begin(names)
        self._exchange = None
        exchange.finish()

    def _planned(self, parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
        """The buckets of an update, equal in all processes."""
        numbers = {id(parameter): number for number, parameter in enumerate(parameters)}
        reached = [numbers[id(parameter)] for parameter in self._order if id(parameter) in numbers]
        order = list(dict.fromkeys([*reached, *sorted(numbers.values())]))
        shared = torch.tensor(order, device=self._processes.device)
        self._processes.share([shared])
        return list(buckets_of([parameters[number] for number in shared.tolist()], BUCKET))


class _Exchange:
    """The buckets of one update on their way."""

    def __init__(self, processes: Processes, buckets: Sequence[list[nn.Parameter]], kind: torch.dtype | None):
        self._processes, self._buckets, self._type = processes, buckets, kind
        self._bucket_of = {id(parameter): number for number, some in enumerate(buckets) for parameter in some}
        self._missing = [len(some) for some in buckets]
        self._sent: list[tuple[Tensor, Any]] = []

    def arrive(self, parameter: nn.Parameter) -> None:
        """A parameter has its gradient."""
        number = self._bucket_of.get(id(parameter))
        if number is None:
            return
        self._missing[number] -= 1
        while len(self._sent) < len(self._buckets) and not self._missing[len(self._sent)]:
            self._send()

    def _send(self) -> None:
        """Let the next bucket travel."""
        flat = torch.cat([_gradient(parameter).reshape(-1) for parameter in self._buckets[len(self._sent)]])
        flat /= self._processes.world  # before rounding and summing, so that no sum overflows a narrow type
        flat = flat if self._type is None else flat.to(self._type)
        self._sent.append((flat, self._processes.begin_sum(flat)))

    def finish(self) -> None:
        """Send the rest, and put the averages in place."""
        while len(self._sent) < len(self._buckets):
            self._send()
        for some, (flat, work) in zip(self._buckets, self._sent, strict=True):
            work.wait()
            parts = flat.split([parameter.numel() for parameter in some])
            for parameter, part in zip(some, parts, strict=True):
                _gradient(parameter).copy_(part.view_as(parameter))


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None  # it arrived, or `finish` made it zero
    return parameter.grad


def buckets_of(parameters: Sequence[nn.Parameter], max_bytes: int) -> Iterator[list[nn.Parameter]]:
    """Parameters in their order, in lists of one number type and of at most so many bytes, but of one at least."""
    bucket: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        bytes_of_it = parameter.numel() * parameter.element_size()
        if bucket and (size + bytes_of_it > max_bytes or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += bytes_of_it
    if bucket:
        yield bucket
