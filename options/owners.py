"""The family of a weights file, and the families that read each other's runs."""

from functools import cache
from typing import TYPE_CHECKING, Any

from models import family_names, find_family
from options.resolve import parse

if TYPE_CHECKING:
    from models import Family


def owner_of_weights(family: "Family", content: Any) -> str | None:
    """The family, other than this one, that the content of a weights file belongs to."""
    if family.recognises_weights(content):
        return None
    return next((name for name in family_names() if _of_default_size(name).recognises_weights(content)), None)


@cache
def _of_default_size(name: str) -> "Family":
    """A family with default options on the meta device: shapes only."""
    import torch

    opt = parse([f"--model={name}"], training=True)
    assert opt is not None  # neither help nor version was requested
    with torch.device("meta"):
        return find_family(name)(opt, training=True)
