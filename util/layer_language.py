"""The mini language for the layers of networks, for example "D 64 9 2, I, BA 64 3"."""

from argparse import ArgumentTypeError
from typing import Any

from util.values import integer

Body = list[list]
"""One list per layer: its name, then its numbers."""

NUMBERS = {
    "D": ("channels", "kernel", "pooling"),
    "U": ("channels", "kernel", "scale"),
    "B": ("channels", "kernel"),
    "BA": ("channels", "kernel"),
    "I": (),
    "A": (),
}
"""The parameters of each layer. The original writes a number after A, which has no effect."""


def body(value: Any) -> Body:
    """ "D 64 9 2, I, A" or [[D, 64, 9, 2], [I], [A]]."""
    entries = value.split(",") if isinstance(value, str) else value
    if not isinstance(entries, (list, tuple)) or not entries:
        raise ArgumentTypeError(f'{value!r} is not a list of layers such as "D 64 9 2, I, BA 64 3, U 3 3 2"')
    return [_entry(entry.split() if isinstance(entry, str) else list(entry), i) for i, entry in enumerate(entries)]


def _entry(entry: list, index: int) -> list:
    words = " ".join(map(str, entry))
    if not entry or entry[0] not in NUMBERS:
        raise ArgumentTypeError(f"layer {index} ({words}): choose from {', '.join(NUMBERS)}")
    name, numbers = entry[0], [integer(number) for number in entry[1:]]
    expected = NUMBERS[name]
    if len(numbers) != len(expected) and not (name == "A" and len(numbers) == 1):
        raise ArgumentTypeError(f"layer {index} ({words}): {name} takes {', '.join(expected) or 'no numbers'}")
    if min(numbers, default=1) < 1:
        raise ArgumentTypeError(f"layer {index} ({words}): numbers begin at 1")
    return [name, *numbers]
