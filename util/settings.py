"""Named settings out of resolved options, for what lies below families and datasets."""

from dataclasses import MISSING, fields
from typing import Any, TypeVar

Kind = TypeVar("Kind")


def settings_of(kind: type[Kind], options: Any, **others: Any) -> Kind:
    """A dataclass whose fields have the names of options; `others` are those that no option is called like.

    A field with a default may be an option that the family or the dataset mode at work does not have.
    """
    known = vars(options)
    wanted = [each for each in fields(kind) if each.name not in others]  # type: ignore[arg-type]
    needed = [each.name for each in wanted if each.name in known or each.default is MISSING]
    return kind(**{name: known[name] for name in needed}, **others)
