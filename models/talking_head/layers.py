"""Build the layers of a body from the mini language, with checks of channels and sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from models.talking_head.blocks import AdaptiveResidual, Down, Residual, SelfAttention, Up
from util.errors import UserError
from util.layer_language import Body


@dataclass(frozen=True)
class Flow:
    """Shape between two layers: channels, and the side of the map."""

    channels: int
    size: int


def build_layers(entries: Body, flow: Flow, *, network: str, upsample: str = "bilinear") -> tuple[nn.ModuleList, Flow]:
    """Build the layers of a body, checking channels and sizes; also returns the output shape."""
    layers = nn.ModuleList()
    for index, (name, *numbers) in enumerate(entries):
        try:
            layer, flow = BUILDERS[name](flow, upsample, *numbers)
        except ValueError as error:
            words = " ".join(map(str, (name, *numbers)))
            raise UserError(f"--{network}_layers: layer {index} ({words}): {error}") from None
        layers.append(layer)
    return layers, flow


def check_layers(entries: Body, allowed: Sequence[str], network: str) -> None:
    """Refuse invalid layers."""
    for index, entry in enumerate(entries):
        if entry[0] not in allowed:
            where = f"--{network}_layers: layer {index} ({' '.join(map(str, entry))})"
            raise UserError(f"{where}: this network allows {', '.join(allowed)}")


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
        raise ValueError(f"attention needs at least 8 input channels, not {flow.channels}")
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
        raise ValueError(f"the kernel must be odd to keep the size of the map, not {kernel}")


def _check_kept(flow: Flow, channels: int) -> None:
    if channels != flow.channels:
        raise ValueError(f"it adds to its input, which has {flow.channels} channels, not {channels}")


def _check_adaptive(flow: Flow) -> None:
    if flow.size < 2:
        raise ValueError("a 1 x 1 map has no deviation for AdaIN; pool less, or use larger pictures")
