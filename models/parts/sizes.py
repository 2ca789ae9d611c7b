"""Valid sizes of pictures for a set of networks."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from util.errors import UserError


def multiple_of(*halvings: tuple[int, float]) -> int:
    """Divisor of both sides, for networks with this many downsampling steps at this scale."""
    return math.lcm(*(round(2**blocks / scale) for blocks, scale in halvings))


def check_size(image: Tensor, multiple: int) -> None:
    """Refuse sizes whose maps would not match after upsampling."""
    if any(side % multiple for side in image.shape[-2:]):
        height, width = image.shape[-2:]
        raise UserError(
            f"pictures of {height} x {width} don't fit: with this configuration both sides must be multiples of "
            f"{multiple}; resize them, or use fewer blocks or a larger scale factor"
        )


def input_channels(content: Any, entry: str) -> int | None:
    """Input channels of the first convolution of an hourglass in a file with one entry per network; None if it has
    none."""
    if not (isinstance(content, Mapping) and isinstance(content.get(entry), Mapping)):
        return None
    state = {key.removeprefix("module."): value for key, value in content[entry].items()}
    weight = state.get("predictor.encoder.down_blocks.0.conv.weight")
    return None if weight is None else weight.shape[1]
