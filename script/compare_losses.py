"""Compare the losses of two runs step by step, to see whether a change of the code or of the machine changed training.

Each is a run's folder, its log.jsonl, or a file of script/store_losses.py. Compared are the losses, and the numbers
that the family logs, of the steps that both report; speed, memory, rates, gradients and validation are left out."""

import argparse
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.log_names import LOG_FILE, RESERVED
from util.errors import UserError, run_main
from util.jsons import read_lines

EPILOG = """examples:
  python script/compare_losses.py result/before result/after
  python script/compare_losses.py tests/losses/fomm.jsonl result/fomm --tolerance 1e-3

A difference is relative to the larger of both values, and to 0.001 where they are smaller. Two runs of one seed on one
machine have no difference; report every step (--print_every 1) to see where they part. Exit status: 0 if all losses are
within the tolerance in all steps, 1 if some are not, 2 for mistakes in the command."""
TOLERANCE = 1e-5
SMALLEST = 1e-3
"""Values below it are compared as if they were it."""
LEFT_OUT = ("lr/", "gradient/", "val/")
INFINITE = ("inf", "-inf")
"""Infinite losses in a log; those that are not numbers are null."""
Losses = dict[int, dict[str, float]]
"""Step -> loss -> value."""


@dataclass(frozen=True)
class Comparison:
    """One loss in two runs."""

    name: str
    steps: int
    """That both report."""
    largest: float
    parts_at: int | None
    """The first step whose difference is above the tolerance."""
    last: tuple[float, float]


def main() -> int:
    """Print the table and the first step at which the runs part."""
    args = read_arguments()
    one, other = read_losses(args.one), read_losses(args.other)
    found = compare(one, other, args.tolerance)
    if not found:
        raise UserError(f"{args.one} and {args.other} report no loss at the same step; compare runs with equal "
                        "--print_every")  # fmt: skip
    print(table(found))
    return print_verdict(found, args.tolerance, missing(one, other))


def read_arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("one", type=Path, metavar="A", help="run or file")
    parser.add_argument("other", type=Path, metavar="B", help="run or file")
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE, help="largest difference that counts as equal (%(default)s)"
    )
    return parser.parse_args()


def read_losses(path: Path) -> Losses:
    """The losses of a run or a file by step."""
    file = path / LOG_FILE if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{path}: neither a run with a {LOG_FILE} nor a file")
    lines, damaged = read_lines(file)
    if damaged:
        print(f"{file}: skipped {damaged} damaged lines", file=sys.stderr)
    losses: Losses = {}
    for _, entry in lines:
        if isinstance(entry.get("step"), int):
            losses.setdefault(entry["step"], {}).update(losses_of(entry))
    if not losses:
        raise UserError(f"{file}: contains no losses; use a log of train.py")
    return losses


def losses_of(entry: Mapping[str, Any]) -> dict[str, float]:
    """The losses and logged numbers in a line of a log."""
    found = {
        name: math.nan if value is None else value
        for name, value in entry.items()
        if name not in RESERVED and not name.startswith(LEFT_OUT)
    }
    return {name: float(value) for name, value in found.items() if isinstance(value, (int, float)) or value in INFINITE}


def difference(one: float, other: float) -> float:
    """The relative difference of two values; of two that are no numbers there is none."""
    if one == other or (one != one and other != other):
        return 0.0
    apart = abs(one - other) / max(abs(one), abs(other), SMALLEST)
    return apart if apart == apart else float("inf")


def compare(one: Losses, other: Losses, tolerance: float = TOLERANCE) -> list[Comparison]:
    """Every loss that both report at one step at least."""
    steps = sorted(one.keys() & other.keys())
    names = dict.fromkeys(name for step in steps for name in one[step] if name in other[step])
    found = []
    for name in names:
        own = [step for step in steps if name in one[step] and name in other[step]]
        apart = [difference(one[step][name], other[step][name]) for step in own]
        parts_at = next((step for step, value in zip(own, apart, strict=True) if value > tolerance), None)
        found.append(Comparison(name, len(own), max(apart), parts_at, (one[own[-1]][name], other[own[-1]][name])))
    return found


def missing(one: Losses, other: Losses) -> list[str]:
    """Losses that only one of the two has at a step of both."""
    steps = one.keys() & other.keys()
    return sorted({name for step in steps for name in one[step].keys() ^ other[step].keys()})


def table(found: list[Comparison]) -> str:
    """A line for each loss."""
    width = max(4, *(len(each.name) for each in found))
    head = f"{'loss':<{width}}   steps  largest difference  parts at step        last A        last B"
    lines = [
        f"{each.name:<{width}}  {each.steps:>6}  {each.largest:>18.2e}  {each.parts_at or '-':>13}  "
        f"{each.last[0]:>12.6g}  {each.last[1]:>12.6g}"
        for each in found
    ]
    return "\n".join([head, *lines])


def print_verdict(found: list[Comparison], tolerance: float, missing: list[str]) -> int:
    """Say where the runs part; the exit status."""
    if missing:
        print(f"only one of the two has: {', '.join(missing)}")
    parting = [each for each in found if each.parts_at is not None]
    if parting:
        first = min(parting, key=lambda each: each.parts_at)
        print(f"they diverge at step {first.parts_at} ({first.name}), by more than {tolerance:g}")
    elif not missing:
        print(f"equal within {tolerance:g} in {max(each.steps for each in found)} steps")
    return 1 if parting or missing else 0


if __name__ == "__main__":
    run_main(main)
