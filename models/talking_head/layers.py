"""The mini language of layers in which the bodies of the networks are written, for example "D 64 9 2, I, BA 64 3"."""

from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from models.talking_head.blocks import AdaptiveResidual, Down, Residual, SelfAttention, Up
from util.errors import UserError
from util.values import integer

Body = list[list]
"""One list per layer: its name, then its numbers."""

NUMBERS = {
    "D": ("channels", "kernel", "pooling"),
    "U": ("channels", "kernel", "scale"),
    "B": ("channels", "kernel"),
    "BA": ("channels", "kernel"),
    "I": (),
    "A": (),
}
"""What the numbers of each layer mean. A number after A is the original's way of writing; it has no effect."""


def body(value: Any) -> Body:
    """ "D 64 9 2, I, A" or [[D, 64, 9, 2], [I], [A]]."""
    entries = value.split(",") if isinstance(value, str) else value
    if not isinstance(entries, (list, tuple)) or not entries:
        raise ArgumentTypeError(f'{value!r} is not a list of layers such as "D 64 9 2, I, BA 64 3, U 3 3 2"')
    return [_entry(entry.split() if isinstance(entry, str) else list(entry), i) for i, entry in enumerate(entries)]


def _entry(entry: list, index: int) -> list:
    words = " ".join(map(str, entry))
    if not entry or entry[0] not in NUMBERS:
        raise ArgumentTypeError(f"layer {index} ({words}): there are {', '.join(NUMBERS)}")
    name, numbers = entry[0], [integer(number) for number in entry[1:]]
    expected = NUMBERS[name]
    if len(numbers) != len(expected) and not (name == "A" and len(numbers) == 1):
        raise ArgumentTypeError(f"layer {index} ({words}): {name} takes {', '.join(expected) or 'no numbers'}")
    if min(numbers, default=1) < 1:
        raise ArgumentTypeError(f"layer {index} ({words}): numbers begin at 1")
    return [name, *numbers]


@dataclass(frozen=True)
class Flow:
    """What goes from one layer to the next: channels, and the side of the map."""

    channels: int
    size: int


def build_layers(entries: Body, flow: Flow, *, network: str, upsample: str = "bilinear") -> tuple[nn.ModuleList, Flow]:
    """The layers of a body, checked against the channels and sizes that flow through them, and what comes out."""
    layers = nn.ModuleList()
    for index, (name, *numbers) in enumerate(entries):
        try:
            layer, flow = BUILDERS[name](flow, upsample, *numbers)
        except ValueError as error:
            words = " ".join(map(str, (name, *numbers)))
            raise UserError(f"--{network}_layers: layer {index} ({words}): {error}") from None
        layers.append(layer)
    return layers, flow


def only(entries: Body, allowed: Sequence[str], network: str) -> None:
    """Refuse layers that a network can't have."""
    for index, entry in enumerate(entries):
        if entry[0] not in allowed:
            where = f"--{network}_layers: layer {index} ({' '.join(map(str, entry))})"
            raise UserError(f"{where}: this network is made of {', '.join(allowed)}")


def _down(flow: Flow, _: str, channels: int, kernel: int, pooling: int) -> tuple[nn.Module, Flow]:
    _check_kernel(kernel)
    if flow.size % pooling:
        raise ValueError(f"a map of {flow.size} x {flow.size} can't be pooled by {pooling}")
    return Down(flow.channels, channels, kernel, pooling), Flow(channels, flow.size // pooling)


def _up(flow: Flow, mode: str, channels: int, kernel: int, scale: int) -> tuple[nn.Module, Flow]:
    _check_kernel(kernel)
    _check_adaptive(flow)
    return Up(flow.channels, channels, kernel, scale, mode), Flow(channels, flow.size * scale)


def _residual(flow: Flow, _: str, channels: int, kernel: int) -> tuple[nn.Module, Flow]:
    _check_kernel(kernel)
    _check_kept(flow, channels)
    return Residual(channels, kernel), flow


def _adaptive(flow: Flow, _: str, channels: int, kernel: int) -> tuple[nn.Module, Flow]:
    _check_kernel(kernel)
    _check_kept(flow, channels)
    _check_adaptive(flow)
    return AdaptiveResidual(channels, kernel), flow


def _norm(flow: Flow, _: str) -> tuple[nn.Module, Flow]:
    return nn.InstanceNorm2d(flow.channels, affine=True), flow


def _attention(flow: Flow, _: str, unused: int = 0) -> tuple[nn.Module, Flow]:
    if flow.channels < 8:
        raise ValueError(f"attention needs at least 8 channels, {flow.channels} come in")
    return SelfAttention(flow.channels), flow


BUILDERS: dict[str, Callable[..., tuple[nn.Module, Flow]]] = {
    "D": _down,
    "U": _up,
    "B": _residual,
    "BA": _adaptive,
    "I": _norm,
    "A": _attention,
}


def _check_kernel(kernel: int) -> None:
    if kernel % 2 == 0:
        raise ValueError(f"the kernel is odd, so that the map keeps its size, not {kernel}")


def _check_kept(flow: Flow, channels: int) -> None:
    if channels != flow.channels:
        raise ValueError(f"it adds to what comes in, which has {flow.channels} channels, not {channels}")


def _check_adaptive(flow: Flow) -> None:
    if flow.size < 2:
        raise ValueError("the map is 1 x 1, which has no deviation for AdaIN; pool less, or take larger pictures")
