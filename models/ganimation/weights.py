"""Foreign weights under our entry names: early files of the original, and the second public implementation."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

MARK_OF_REPLICATE = ("au_top.0.weight", "aus_top.weight")
"""Entries that identify its generator and its discriminator."""

REPLICATE = (
    (r"model\.(\d+)\.conv_block\.0\.weight", r"main.\1.main.0.weight"),
    # With its dropout the second convolution has index 4.
    (r"model\.(\d+)\.conv_block\.[34]\.weight", r"main.\1.main.3.weight"),
    (r"model\.(\d+)\.(weight|bias)", r"main.\1.\2"),
    (r"color_top\.0\.weight", "img_reg.0.weight"),
    (r"au_top\.0\.weight", "attetion_reg.0.weight"),
    (r"dis_top\.weight", "conv1.weight"),
    (r"aus_top\.weight", "conv2.weight"),
)
"""Its entries -> ours. Some biases of its generator have no counterpart: an instance norm after them removes
constants."""

STATISTICS = re.compile(r".*\.(running_mean|running_var|num_batches_tracked)")
"""Unused statistics that libraries before 0.4 stored for instance norms."""


def convert_state(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], layout: str = "auto"
) -> tuple[dict[str, Tensor], list[str]]:
    """A state dict under the names of `own`, the network's current one, and the names of dropped entries."""
    state = {key.removeprefix("module."): value for key, value in state.items()}
    if layout == "replicate" or (layout == "auto" and any(mark in state for mark in MARK_OF_REPLICATE)):
        return _from_replicate(state, own)
    dropped = [key for key in state if STATISTICS.fullmatch(key)]
    return {key: value for key, value in state.items() if key not in dropped}, dropped


def _from_replicate(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    converted, dropped = {}, []
    for key, value in state.items():
        name = _renamed(key)
        if key.endswith(".bias") and "au_top.0.weight" in state:
            dropped.append(key)
        else:
            converted[name] = value
    # Its instance norms have no scale and shift: 1 and 0.
    for name, value in own.items():
        if name not in converted and value.ndim == 1 and "au_top.0.weight" in state:
            converted[name] = torch.ones_like(value) if name.endswith("weight") else torch.zeros_like(value)
    return converted, dropped


def _renamed(key: str) -> str:
    for pattern, name in REPLICATE:
        if re.fullmatch(pattern, key):
            return re.sub(pattern, name, key)
    return key
