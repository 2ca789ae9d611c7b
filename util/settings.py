"""Named settings from resolved options, for code below families and datasets."""

from dataclasses import MISSING, fields
from typing import Any, TypeVar

Kind = TypeVar("Kind")


def settings_of(kind: type[Kind], options: Any, **others: Any) -> Kind:
    """Fill a dataclass whose fields are named like options; `others` are the fields that are no options.

    A field with a default may be an option that the current family or dataset mode lacks.
    """
    known = vars(options)
    wanted = [each for each in fields(kind) if each.name not in others]  # type: ignore[arg-type]
    needed = [each.name for each in wanted if each.name in known or each.default is MISSING]
    return kind(**{name: known[name] for name in needed}, **others)
