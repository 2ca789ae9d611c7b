"""Weights files of the two earlier implementations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from util.errors import UserError

POSITIONS = {"generator": 3, "embedder": 4, "discriminator": 5}
"""Index of each state dict in the original's lists, which start with epoch, step in the epoch and step."""

LAST_STEP = 2
"""Their index of the last step (from 0)."""

OPTIMIZERS = {"optimizer_animator": 6, "optimizer_discriminator": 7}
"""Their indices of the optimizer states, if present."""


def released_entries(content: Any, path: Path) -> Any:
    """The entries of one of our files or of the original's save_N.pkl; other files are refused with the reason.

    The original's video embeddings are ignored: they belong to that run's list of videos.
    """
    if isinstance(content, Mapping) and "E_state_dict" in content:
        raise UserError(
            f"{path}: these are weights of the second implementation (entries E_state_dict, ...): another network, "
            "with leaky ReLUs, other blocks, spectral norm in its attention and transposed pictures. Renaming can't "
            "make them fit; docs/talking_head.md lists the differences"
        )
    if not isinstance(content, list):
        return content
    if len(content) not in (6, 8) or not all(isinstance(content[i], Mapping) for i in POSITIONS.values()):
        raise UserError(
            f"{path}: this list is not a save_N.pkl, which has 6 or 8 items with state dicts at positions 3, 4 and 5"
        )
    entries = {name: dict(content[position]) for name, position in POSITIONS.items()}
    entries["discriminator"].pop("embedding.weight", None)
    optimizers = {name: content[position] for name, position in OPTIMIZERS.items() if position < len(content)}
    return entries | optimizers | {"step": content[LAST_STEP]}


def released_list(content: Mapping[str, Any], training: Mapping[str, Any]) -> list:
    """The original's list: epoch, step in it, step, and the state dicts; counters are those of the finished step, from
    0.

    The video embeddings, which runs store in their training state, are put into the discriminator as in the original.
    """
    clock = training["clock"]
    step = max(clock["step"] - 1, 0)
    batch = clock["samples"] // max(clock["step"], 1)
    steps_per_epoch = max(1, -(-clock["epoch_size"] // max(batch, 1)))
    states = {name: dict(content[name]) for name in sorted(POSITIONS, key=POSITIONS.get)}
    states["discriminator"]["embedding.weight"] = _every_row(training["rows"]["videos"], clock["epoch_size"])
    return [step // steps_per_epoch, step % steps_per_epoch, step, *states.values()]


def _every_row(table: Mapping[str, Tensor], count: int) -> Tensor:
    """The embeddings of all videos; those not yet trained are random, as the original initialises them."""
    rows = torch.rand(count, table["value"].shape[1])
    rows[table["rows"]] = table["value"]
    return rows
