"""Tables that people read and write: csv files with column names in the first line."""

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

MAX_ERRORS = 50
"""Number of lines that an error message describes in detail."""


class Problems:
    """Collects the errors in the lines of a table, to report all of them at once."""

    def __init__(self, table: str):
        """`table` names the file in the message, e.g. "--pairs FILE"."""
        self.table = table
        self.found: dict[int, list[str]] = {}

    def add(self, line: int, reason: str) -> None:
        """Add an error in a line."""
        self.found.setdefault(line, []).append(reason)

    @contextmanager
    def of(self, line: int, prefix: str = "") -> Iterator[None]:
        """Turn a UserError raised in the block into an error of the line, and continue."""
        try:
            yield
        except (UserError, ArgumentTypeError) as error:
            self.add(line, f"{prefix}{error}")

    def refuse(self) -> None:
        """Raise one error with all collected ones, in order of the lines; does nothing without errors."""
        lines = [f"line {line}: {reason}" for line, reasons in sorted(self.found.items()) for reason in reasons]
        if len(lines) == 1:
            raise UserError(f"{self.table}, {lines[0]}")
        if lines:
            rest = [f"and {len(lines) - MAX_ERRORS} more"] if len(lines) > MAX_ERRORS else []
            listed = "\n  ".join([*lines[:MAX_ERRORS], *rest])
            raise UserError(f"{self.table}: {len(lines)} errors:\n  {listed}")


def read_rows(
    path: Path, option: str, needed: tuple[str, ...], problems: Problems | None = None
) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table named by an option, each with its line number; cells are stripped.

    Incomplete rows are skipped and added to `problems`, which the caller raises after its own checks.
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
    """The non-blank lines of a table that has the required columns."""
    header, rows = read_dicts(path, f"{option} {path}")
    missing = [name for name in needed if name not in header]
    if missing:
        found = ", ".join(filter(None, header)) or "nothing"
        raise UserError(
            f"{option} {path}: the first line needs the columns {' and '.join(needed)}; it lacks "
            f"{' and '.join(missing)}, and has {found}"
        )
    if not rows:
        raise UserError(f"{option} {path}: has a header but no rows")
    return rows


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table whole or not at all; missing cells are empty, file names that are not UTF-8 are escaped."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)


def _cell(value: Any) -> str:
    return "" if value is None else printable(value)
