"""Families of models, found by the name of their folder."""

import importlib
import inspect
import pkgutil
from difflib import get_close_matches

from models.family import Family, Layout
from util.errors import UserError
from util.plugins import find_class

__all__ = ["Family", "Layout", "family_names", "find_family", "recognise_family"]


def family_names() -> list[str]:
    """The names of all families: each folder of models/ with a module `family`."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules(__path__)
        if module.ispkg and importlib.util.find_spec(f"{__name__}.{module.name}.family")
    )


def find_family(name: str) -> type[Family]:
    """The class of the family `name`: defined in models/<name>/family.py, or elsewhere as "module:Class"."""
    if ":" in name:
        return _checked(find_class(name, "--model"), name)
    if name not in family_names():
        nearest = get_close_matches(name, family_names(), 1)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        raise UserError(f"--model {name}: there is no such family.{hint} There are: {', '.join(family_names())}")
    module = importlib.import_module(f"{__name__}.{name}.family")
    classes = {
        key: value
        for key, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, Family) and value.__module__ == module.__name__
    }
    if len(classes) != 1:
        raise UserError(
            f"--model {name}: {module.__name__} defines {', '.join(sorted(classes)) or 'no family'}; one is meant"
        )
    return next(iter(classes.values()))


def _checked(found: type, name: str) -> type[Family]:
    if not issubclass(found, Family):
        raise UserError(f"--model {name}: is no family; one is a subclass of models.Family")
    return found


def recognise_family(sections: dict) -> str | None:
    """The family that recognises a nested YAML file of an original project, by its sections."""
    found = {name: find_family(name) for name in family_names()}
    found = {name: family for name, family in found.items() if family.recognises(sections)}
    # A relative also recognises some files of the family that it builds on; the most derived class wins.
    special = (name for name, family in found.items() if not any(_extends(other, family) for other in found.values()))
    return next(special, None)


def _extends(one: type[Family], other: type[Family]) -> bool:
    return one is not other and issubclass(one, other)
