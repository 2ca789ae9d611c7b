"""Typed option values: each accepts what stands on a command line and what a YAML file holds, and refuses the rest.

Use them as `type=` of an option: `parser.add_argument("--attn_layer", type=list_of(integer), default=[2, 3])`.
"""

from argparse import ArgumentTypeError
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

Converter = Callable[[Any], Any]


def integer(value: Any) -> int:
    """2, "2", 2.0 or "1e6"."""
    try:
        if isinstance(value, str):
            value = int(value) if value.strip().lstrip("+-").isdigit() else float(value)
        if isinstance(value, bool) or value != int(value):
            raise ValueError
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentTypeError(f"{value!r} is not a whole number") from None


def at_least(least: int) -> Converter:
    """A whole number that is not smaller."""

    def convert(value: Any) -> int:
        converted = integer(value)
        if converted < least:
            raise ArgumentTypeError(f"{value!r} is less than {least}")
        return converted

    return convert


def number(value: Any) -> float:
    """2, 2.5, "2.5" or "1e-4"."""
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"{value!r} is not a number") from None


def text(value: Any) -> str:
    """A word or a sentence; a number in a YAML file is taken as it is written there."""
    if isinstance(value, (list, dict, bool)):
        raise ArgumentTypeError(f"{value!r} is not a text; put it in quotes")
    return str(value)


def boolean(value: Any) -> bool:
    """yes/no, true/false, on/off, 1/0."""
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in ("yes", "true", "on", "1"):
        return True
    if word in ("no", "false", "off", "0"):
        return False
    raise ArgumentTypeError(f"{value!r} is neither yes nor no")


def one_of(*choices: str) -> Converter:
    """One word out of a few."""

    def convert(value: Any) -> str:
        if isinstance(value, bool):  # YAML reads yes, no, on and off as booleans
            value = next((word for word in choices if word in (("yes", "on") if value else ("no", "off"))), value)
        if value not in choices:
            nearest = get_close_matches(str(value), choices, 1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise ArgumentTypeError(f"{value!r} is not one of {', '.join(choices)}{hint}")
        return value

    convert.choices = choices
    return convert


def list_of(item: Converter, length: int | None = None) -> Converter:
    """ "2,3" or [2, 3]; a single value is a list of one; an empty text is an empty list, whatever the length."""

    def convert(value: Any) -> list:
        if isinstance(value, str):
            value = value.strip("[]() ")
            value = [part.strip() for part in value.split(",")] if value else []
        values = [item(part) for part in (value if isinstance(value, (list, tuple)) else [value])]
        if values and length is not None and len(values) != length:
            raise ArgumentTypeError(f"{value!r} does not have {length} values")
        return values

    return convert


def pairs_of(key: Converter, item: Converter) -> Converter:
    """ "2=5,3=3" or {2: 5, 3: 3}."""

    def convert(value: Any) -> dict:
        if isinstance(value, dict):
            return {key(left): item(right) for left, right in value.items()}
        pairs = [part.split("=") for part in str(value).split(",") if part.strip()]
        if any(len(pair) != 2 for pair in pairs):
            raise ArgumentTypeError(f"{value!r} is not of the form KEY=VALUE,KEY=VALUE")
        return {key(left.strip()): item(right.strip()) for left, right in pairs}

    return convert
