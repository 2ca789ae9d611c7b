"""Weights files of the two implementations that came before."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from util.errors import UserError

POSITIONS = {"generator": 3, "embedder": 4, "discriminator": 5}
"""Where the original's lists hold which state dict; before them epoch, step in the epoch and step."""

LAST_STEP = 2
"""Where they hold the index, from 0, of the last step."""

OPTIMIZERS = {"optimizer_animator": 6, "optimizer_discriminator": 7}
"""Where they hold the states of the optimizers, if they do."""


def released_entries(content: Any, path: Path) -> Any:
    """The entries of one of our files or of the original's save_N.pkl; other files are refused with the reason.

    The rows of the original's videos are left out: they belong to that run's list of videos.
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
            f"{path}: this list is not a save_N.pkl: those hold 6 or 8 items, state dicts at positions 3, 4 and 5"
        )
    entries = {name: dict(content[position]) for name, position in POSITIONS.items()}
    entries["discriminator"].pop("embedding.weight", None)
    optimizers = {name: content[position] for name, position in OPTIMIZERS.items() if position < len(content)}
    return entries | optimizers | {"step": content[LAST_STEP]}
