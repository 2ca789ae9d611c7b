"""Dataset modes, found by name: data/<mode>.py defines one Dataset, called ...Dataset."""

import importlib
import inspect
import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from util.errors import UserError
from util.plugins import find_class

if TYPE_CHECKING:  # the preparation scripts, which import from data/ too, do without torch
    from data.base import Dataset

__all__ = ["dataset_modes", "find_dataset"]

DEFINES_A_MODE = re.compile(r"^class \w+Dataset\(", re.MULTILINE)


def dataset_modes() -> list[str]:
    """All dataset modes: the modules of data/ that define a class called ...Dataset."""
    files = (path for path in Path(__file__).parent.glob("*.py") if path.stem not in ("__init__", "base"))
    return sorted(path.stem for path in files if DEFINES_A_MODE.search(path.read_text(encoding="utf-8")))


def find_dataset(mode: str) -> "type[Dataset]":
    """The class of a dataset mode; "module:Class" names one anywhere."""
    if ":" in mode:
        return _checked(find_class(mode, "--dataset_mode"), mode)
    modes = dataset_modes()
    if mode not in modes:
        nearest = get_close_matches(mode, modes, 1)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        raise UserError(f"--dataset_mode {mode}: no such mode.{hint} Available: {', '.join(modes)}")
    from data.base import Dataset

    module = importlib.import_module(f"data.{mode}")
    return next(
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, Dataset) and value.__module__ == module.__name__
    )


def _checked(found: type, mode: str) -> "type[Dataset]":
    from data.base import Dataset

    if not issubclass(found, Dataset):
        raise UserError(f"--dataset_mode {mode}: not a dataset mode; a mode is a subclass of data.base.Dataset")
    return found
