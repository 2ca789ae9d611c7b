"""Families of models, found by the name of their folder."""

import importlib
import importlib.util
import inspect
import pkgutil
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from util.errors import UserError
from util.plugins import find_class

if TYPE_CHECKING:
    from models.family import Family, Layout

__all__ = [
    "Family",
    "Layout",
    "add_family_options",
    "family_names",
    "find_family",
    "first_stages",
    "recognise_family",
    "run_name",
]


def __getattr__(name: str) -> Any:
    """Family and Layout, imported when asked for: they bring torch, without which --help answers."""
    if name in ("Family", "Layout"):
        return getattr(importlib.import_module("models.family"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def family_names() -> list[str]:
    """The names of all families: each folder of models/ with a module `family`."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules(__path__)
        if module.ispkg and importlib.util.find_spec(f"{__name__}.{module.name}.family")
    )


def find_family(name: str) -> "type[Family]":
    """The class of the family `name`: defined in models/<name>/family.py, or elsewhere as "module:Class"."""
    from models.family import Family

    if ":" in name:
        return _checked(find_class(name, "--model"), name)
    _refuse_unknown(name)
    module = importlib.import_module(f"{__name__}.{name}.family")
    classes = {
        key: value
        for key, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, Family) and value.__module__ == module.__name__
    }
    if len(classes) != 1:
        raise UserError(
            f"--model {name}: {module.__name__} defines {', '.join(sorted(classes)) or 'no family'}; specify one as "
            f"MODULE:CLASS"
        )
    return next(iter(classes.values()))


def add_family_options(name: str, parser: Any, training: bool) -> None:
    """Declare the options of a family."""
    declared = _declarations(name)
    (declared or find_family(name)).add_options(parser, training)


def first_stages(name: str) -> tuple[str, ...]:
    """For a second stage of training: the families whose weights it starts from (`Family.begins_with`)."""
    declared = _declarations(name)
    return getattr(declared, "BEGINS_WITH", ()) if declared else find_family(name).begins_with


def run_name(name: str) -> str:
    """The run that commands mean which name none, where it is not called like the family (`Family.run_name`)."""
    declared = _declarations(name)
    return getattr(declared, "RUN_NAME", "") if declared else find_family(name).run_name


def _declarations(name: str) -> Any:
    """The module models/<name>/options.py if it declares all options of the family: without torch, unlike the class."""
    if ":" in name:
        return None
    _refuse_unknown(name)
    module = f"{__name__}.{name}.options"
    found = importlib.import_module(module) if importlib.util.find_spec(module) else None
    return found if hasattr(found, "add_options") else None


def _refuse_unknown(name: str) -> None:
    if name not in family_names():
        nearest = get_close_matches(name, family_names(), 1)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        raise UserError(f"--model {name}: no such family.{hint} Available: {', '.join(family_names())}")


def _checked(found: type, name: str) -> "type[Family]":
    from models.family import Family

    if not issubclass(found, Family):
        raise UserError(f"--model {name}: not a family; a family is a subclass of models.Family")
    return found


def recognise_family(sections: dict) -> str | None:
    """The family that recognises a nested YAML file of an original project, by its sections."""
    found = {name: find_family(name) for name in family_names()}
    found = {name: family for name, family in found.items() if family.recognises(sections)}
    # A relative also recognises some files of the family that it builds on; the most derived class wins.
    special = (name for name, family in found.items() if not any(_extends(other, family) for other in found.values()))
    return next(special, None)


def _extends(one: "type[Family]", other: "type[Family]") -> bool:
    return one is not other and issubclass(one, other)
