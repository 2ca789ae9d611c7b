"""Typed option values: each converter accepts values of the command line and of YAML, and rejects invalid ones.

Use them as `type=` of an option: `parser.add_argument("--attn_layer", type=list_of(integer), default=[2, 3])`. --help
shows the converter's `metavar`, or else its name.
"""

import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

VALIDATED = "val/"
"""Prefix of validation values, in curves and for --best_by."""

Converter = Callable[[Any], Any]


def with_metavar(metavar: str, **facts: Any) -> Callable[[Converter], Converter]:
    """Set the metavar that --help shows for a converter's values, and `facts` that forms ask of it: `choices`, the
    words that it takes, or `limits`, the lowest and the highest number."""

    def name(convert: Converter) -> Converter:
        vars(convert).update(facts, metavar=metavar)
        return convert

    return name


def integer(value: Any) -> int:
    """An integer: 2, "2", 2.0 or "1e6"."""
    try:
        if isinstance(value, str):
            value = int(value) if value.strip().lstrip("+-").isdigit() else float(value)
        if isinstance(value, bool) or value != int(value):
            raise ValueError
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentTypeError(f"{value!r} is not a whole number") from None


def number(value: Any) -> float:
    """A finite number: 2, 2.5, "2.5" or "1e-4"."""
    try:
        if isinstance(value, bool) or not math.isfinite(float(value)):
            raise ValueError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentTypeError(f"{value!r} is not a number") from None


def restricted(item: Converter, holds: Callable[[Any], bool], wanted: str, metavar: str, **facts: Any) -> Converter:
    """Convert with `item` and check with `holds`; else raise an error that names what is `wanted`."""

    @with_metavar(metavar, item=item, **facts)
    def convert(value: Any) -> Any:
        converted = item(value)
        if not holds(converted):
            raise ArgumentTypeError(f"{value!r} is not {wanted}")
        return converted

    return convert


def at_least(least: int) -> Converter:
    """An integer of at least `least`."""
    return restricted(integer, lambda value: value >= least, f"a whole number of at least {least}", f"INTEGER>={least}")


def within(low: float, high: float, item: Converter = number) -> Converter:
    """A number from `low` to `high`, both included; an integer if `item` is `integer`."""
    wanted = f"a {'whole ' if item is integer else ''}number from {low} to {high}"
    return restricted(item, lambda value: low <= value <= high, wanted, f"{low}..{high}", limits=(low, high))


count = at_least(1)
positive = restricted(number, lambda value: value > 0, "a number above 0", "NUMBER>0")
not_negative = restricted(number, lambda value: value >= 0, "a number of at least 0", "NUMBER>=0")
share = within(0, 1)
adam_decay = restricted(number, lambda value: 0 <= value < 1, "a number from 0 to below 1", "0<=NUMBER<1")
seed = within(0, 2**32 - 1, integer)
"""A seed that numpy's generators accept."""


@with_metavar("i/N")
def shard(value: Any) -> list[int]:
    """ "i/N", the i-th of N parts of some work, from 1/N to N/N; or these two numbers."""
    try:
        part, parts = map(integer, value.split("/") if isinstance(value, str) else value)
    except (TypeError, ValueError, ArgumentTypeError):
        part, parts = 0, 0
    if not 1 <= part <= parts:
        raise ArgumentTypeError(f"{value!r} is not i/N with i from 1 to N, such as 1/4")
    return [part, parts]


WHOLE = [1, 1]
"""The part that is all of the work."""


def text(value: Any) -> str:
    """A string; a number in a YAML file is used as written there."""
    if isinstance(value, (list, dict, bool)):
        raise ArgumentTypeError(f"{value!r} is not text; put it in quotes")
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
    """One of a few words."""

    @with_metavar("|".join(choices), choices=choices)
    def convert(value: Any) -> str:
        if isinstance(value, bool):  # YAML parses yes, no, on and off as booleans
            value = next((word for word in choices if word in (("yes", "on") if value else ("no", "off"))), value)
        if value not in choices:
            nearest = get_close_matches(str(value), choices, 1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise ArgumentTypeError(f"{value!r} is not one of {', '.join(choices)}{hint}")
        return value

    return convert


def keyword_or(item: Converter, **words: Any) -> Converter:
    """One of a few words, each with a value, or a value of `item`; booleans are the words yes and no."""
    spelled = {"true": "yes", "on": "yes", "false": "no", "off": "no"}

    @with_metavar("|".join([*words, getattr(item, "metavar", item.__name__.upper())]), words=tuple(words))
    def convert(value: Any) -> Any:
        word = str(value) if isinstance(value, (bool, str)) else ""
        word = spelled.get(word.lower(), word)
        return words[word] if word in words else item(value)

    return convert


def list_of(item: Converter, form: str = "", empty: bool = True) -> Converter:
    """A list such as "2,3" or [2, 3]; a single value is a list of one, an empty string an `empty` list if allowed.

    `form` describes the number and meaning of the values, optional ones in brackets: "height,width,[channels]".
    """
    names = form.split(",")
    least, most = sum("[" not in name for name in names), len(names) if form else math.inf

    @with_metavar(form.upper() or "A,B,...")
    def convert(value: Any) -> list:
        parts = value
        if isinstance(value, str):
            inside = value.strip("[]() ")
            parts = [part.strip() for part in inside.split(",")] if inside else []
        values = [item(part) for part in (parts if isinstance(parts, (list, tuple)) else [parts])]
        if not (least <= len(values) <= most or (empty and not values)):
            raise ArgumentTypeError(f"{value!r} is not of the form {form or 'a,b,...'}")
        return values

    return convert


def pairs_of(key: Converter, item: Converter) -> Converter:
    """A mapping such as "2=5,3=3" or {2: 5, 3: 3}."""

    @with_metavar("KEY=VALUE,...")
    def convert(value: Any) -> dict:
        if isinstance(value, dict):
            return {key(left): item(right) for left, right in value.items()}
        pairs = [part.split("=") for part in str(value).split(",") if part.strip()]
        if any(len(pair) != 2 for pair in pairs):
            raise ArgumentTypeError(f"{value!r} is not of the form KEY=VALUE,KEY=VALUE")
        return {key(left.strip()): item(right.strip()) for left, right in pairs}

    return convert
