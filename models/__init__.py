"""Families of models, found by the name of their folder."""

import importlib
import inspect
import pkgutil
from difflib import get_close_matches

from models.family import Family, Layout
from util.errors import UserError

__all__ = ["Family", "Layout", "family_names", "find_family", "recognise_family"]


def family_names() -> list[str]:
    """Every family there is: each folder of models/ with a module `family`."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules(__path__)
        if module.ispkg and importlib.util.find_spec(f"{__name__}.{module.name}.family")
    )


def find_family(name: str) -> type[Family]:
    """The class of the family `name`: defined in models/<name>/family.py, or anywhere as "module:Class"."""
    if ":" in name:
        module_name, class_name = name.split(":", 1)
    elif name in family_names():
        module_name, class_name = f"{__name__}.{name}.family", None
    else:
        nearest = get_close_matches(name, family_names(), 1)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        raise UserError(f"--model {name}: there is no such family.{hint} There are: {', '.join(family_names())}")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(f"--model {name}: {error}") from error
    return _class_of(module, class_name, name)


def _class_of(module, class_name: str | None, name: str) -> type[Family]:
    classes = {
        key: value
        for key, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, Family) and value.__module__ == module.__name__
    }
    if class_name is None and len(classes) == 1:
        return next(iter(classes.values()))
    if class_name not in classes:
        raise UserError(f"--model {name}: {module.__name__} defines the families {sorted(classes) or 'none'}")
    return classes[class_name]


def recognise_family(sections: dict) -> str | None:
    """The family to which a nested YAML file of one of the original projects belongs, by its sections."""
    found = {name: find_family(name) for name in family_names()}
    found = {name: family for name, family in found.items() if family.recognises(sections)}
    # A relative recognises some files of the family that it builds on; the most special one is meant.
    special = (name for name, family in found.items() if not any(_extends(other, family) for other in found.values()))
    return next(special, None)


def _extends(one: type[Family], other: type[Family]) -> bool:
    return one is not other and issubclass(one, other)
