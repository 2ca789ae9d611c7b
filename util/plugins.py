"""Classes outside the checkout, named by an option as "module:Class"."""

import importlib
import sys
from pathlib import Path
from typing import Any

from util.errors import UserError


def find_class(spec: str, option: str) -> Any:
    """The class that `option` names as "module:Class"; also searches the current folder for modules."""
    module_name, _, class_name = spec.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        hint = "" if error.name != module_name.split(".")[0] else (
            f". It is looked for in {here} and on PYTHONPATH: run the command where the folder of the package lies, or "
            "install it (pip install -e)"
        )  # fmt: skip
        raise UserError(f"{option} {spec}: {error}{hint}") from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        there = sorted(name for name, value in vars(module).items() if _is_own(value, module_name))
        raise UserError(
            f"{option} {spec}: {module_name} has no class {class_name!r}; write MODULE:CLASS, with one of: "
            f"{', '.join(there) or 'none'}"
        )
    return found


def _is_own(value: Any, module: str) -> bool:
    return isinstance(value, type) and value.__module__ == module
