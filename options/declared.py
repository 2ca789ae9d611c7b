"""The options that a model has, as forms show them: what each is for, which values it takes, what it is set to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from options.parser import OptionParser, Options, spelled
from options.resolve import parser_of
from util.values import boolean, integer, number

KINDS = {boolean: "switch", integer: "whole number", number: "number"}


@dataclass(frozen=True)
class Declared:
    """An option of a command."""

    name: str
    part: str
    """The titled part of --help that it is in."""
    help: str
    kind: str
    """"switch", "choice", "whole number", "number" or "text"."""
    value: Any
    """What it is set to."""
    choices: tuple[str, ...] = ()
    limits: tuple[float, float] | None = None
    advanced: bool = False

    def word(self, value: Any) -> str:
        """The option with a value, as it stands on a command line."""
        return f"--{self.name}={spelled(value)}"


def declared_options(arguments: list[str], options: Options) -> list[Declared]:
    """The options of test.py that a command line has, in the order of --help, with their resolved values."""
    parser = parser_of(arguments, training=False)
    return [
        _declared(parser, name, group.title, getattr(options, name))
        for group in parser.groups.values()
        for name in group.names
    ]


def _declared(parser: OptionParser, name: str, part: str, value: Any) -> Declared:
    action = parser.actions[name]
    read: Any = action.type
    choices: Sequence[str] = tuple(parser.keywords.get(name, ())) or getattr(read, "choices", ())
    kind = "choice" if choices else KINDS.get(getattr(read, "item", read), "text")
    return Declared(
        name, part, parser.plain_help(name), "text" if action.nargs == "+" else kind, value, tuple(choices),
        getattr(read, "limits", None), name in parser.advanced,
    )  # fmt: skip
