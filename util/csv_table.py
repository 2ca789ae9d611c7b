"""Tables that people read and write: csv files with a line of column names on top."""

import csv
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from util.cells import read_dicts
from util.errors import UserError
from util.files import replacing
from util.printable import printable

MOST_TOLD = 50
"""Lines of a table about which an error message goes into detail."""


class Problems:
    """What is wrong with the lines of a table, collected so that all of it is told at once."""

    def __init__(self, table: str):
        """`table` is how the message calls it, e.g. "--pairs FILE"."""
        self.table = table
        self.found: dict[int, list[str]] = {}

    def add(self, line: int, reason: str) -> None:
        """Note what is wrong with a line."""
        self.found.setdefault(line, []).append(reason)

    @contextmanager
    def of(self, line: int, prefix: str = "") -> Iterator[None]:
        """Note what the block refuses as a problem of the line, and go on after it."""
        try:
            yield
        except (UserError, ArgumentTypeError) as error:
            self.add(line, f"{prefix}{error}")

    def refuse(self) -> None:
        """An error with everything that was noted, in the order of the lines; nothing where all is well."""
        told = [f"line {line}: {reason}" for line, reasons in sorted(self.found.items()) for reason in reasons]
        if len(told) == 1:
            raise UserError(f"{self.table}, {told[0]}")
        if told:
            rest = [f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []
            lines = "\n  ".join([*told[:MOST_TOLD], *rest])
            raise UserError(f"{self.table}: {len(told)} errors:\n  {lines}")


def read_rows(
    path: Path, option: str, needed: tuple[str, ...], problems: Problems | None = None
) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table that an option names, each with the number of its line; blanks around cells do not count.

    Rows that lack something are left out and noted in `problems`, where the caller looks for more before it refuses.
    """
    own = problems or Problems(f"{option} {path}")
    rows = []
    for line, row in _read(path, option, needed):
        empty = [name for name in needed if not row[name]]
        if empty:
            own.add(line, f"{' and '.join(empty)} is empty")
        else:
            rows.append((line, row))
    if problems is None:
        own.refuse()
    return rows


def _read(path: Path, option: str, needed: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """The lines that are not blank, of a table with the needed columns."""
    header, rows = read_dicts(path, f"{option} {path}")
    missing = [name for name in needed if name not in header]
    if missing:
        found = ", ".join(filter(None, header)) or "nothing"
        raise UserError(
            f"{option} {path}: the first line needs the columns {' and '.join(needed)}; it lacks "
            f"{' and '.join(missing)}, and has {found}"
        )
    if not rows:
        raise UserError(f"{option} {path}: holds the names of its columns and no rows")
    return rows


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table whole or not at all; what a row lacks stays empty, names of files that are no UTF-8 are escaped."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)


def _cell(value: Any) -> str:
    return "" if value is None else printable(value)
