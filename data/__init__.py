"""Dataset modes, found by name: a module data/<mode>.py (or a folder of that name) that defines one Dataset."""

import importlib
import inspect
from difflib import get_close_matches
from typing import TYPE_CHECKING

from util.errors import UserError

if TYPE_CHECKING:  # the preparation scripts, which import from data/ too, do without torch
    from data.base import Dataset

__all__ = ["dataset_modes", "find_dataset"]

MODES = {
    "aus": "data.action_units",
    "face": "data.face",
    "frames": "data.frames",
    "frames_prior": "data.frames_prior",
    "person": "data.person",
    "talking_head": "data.talking_head",
}
"""Mode -> module that defines it."""


def dataset_modes() -> list[str]:
    """Every dataset mode there is."""
    return sorted(MODES)


def find_dataset(mode: str) -> "type[Dataset]":
    """The class of a dataset mode; "module:Class" names one anywhere."""
    if ":" in mode:
        module_name, class_name = mode.split(":", 1)
        try:
            return getattr(importlib.import_module(module_name), class_name)
        except (ModuleNotFoundError, AttributeError) as error:
            raise UserError(f"--dataset_mode {mode}: {error}") from error
    if mode not in MODES:
        nearest = get_close_matches(mode, MODES, 1)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        raise UserError(f"--dataset_mode {mode}: there is no such mode.{hint} There are: {', '.join(dataset_modes())}")
    from data.base import Dataset

    module = importlib.import_module(MODES[mode])
    return next(
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, Dataset) and value.__module__ == module.__name__
    )
