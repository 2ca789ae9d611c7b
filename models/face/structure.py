"""Structure maps as the networks read them."""

import torch
from torch import Tensor

from util.errors import UserError

DISTANCES = 14
"""Maps of the distance to one curve of the face each."""


def structure_channels(given: int | None, no_dist_map: bool) -> int:
    """The channels of structure maps: edges, distances, face parts. The option must agree."""
    channels = 2 if no_dist_map else 2 + DISTANCES
    if given not in (None, channels):
        raise UserError(
            f"--structure_nc {given}: expected {channels} channels {'with' if no_dist_map else 'without'} "
            "--no_dist_map; remove the option"
        )
    return channels


def as_maps(coded: Tensor) -> Tensor:
    """Bytes (..., C, H, W) as maps: all but the last channel in [0, 1], the last one the face part's number."""
    if coded.is_floating_point():
        return coded
    maps = coded.to(torch.float32)
    maps[..., :-1, :, :] /= 255
    return maps
