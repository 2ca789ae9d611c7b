"""Coding tables of micro-expressions: CASME II's and SAMM's xlsx files, or a csv of the same columns."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from util.archives import first_damaged, open_zip
from util.cells import read_cells
from util.errors import UserError
from util.reading import reading

COLUMNS = {
    "subject": ("subject",),
    "file": ("filename",),
    "onset": ("onsetframe", "onset"),
    "apex": ("apexframe", "apex"),
    "offset": ("offsetframe", "offset"),
    "units": ("actionunits", "actionunit", "aus", "au"),
    "emotion": ("estimatedemotion", "emotion"),
}
NEEDED = ("subject", "file")
MAX_ROWS, MAX_COLUMNS = 100_000, 200
"""Limits of rows and columns: real tables have up to 500 and 20, but a damaged one may claim 17 billion cells."""


@dataclass(frozen=True)
class Sample:
    """One expression: whose, where, and when; None: not in the table."""

    subject: int
    file: str
    emotion: str = ""
    units: str = ""
    onset: int | None = None
    apex: int | None = None
    offset: int | None = None
    coded: bool = False
    """Whether its frame numbers come from a table."""


def read_table(path: Path) -> list[Sample]:
    """Read the samples; lines above the heading (SAMM has 13) and lines without a file name are skipped."""
    rows = _read_csv(path) if path.suffix.lower() == ".csv" else _read_xlsx(path)
    for number, row in enumerate(rows):
        names = [re.sub(r"[^a-z]", "", str(cell or "").lower()) for cell in row]
        if all(any(name in names for name in COLUMNS[column]) for column in NEEDED):
            indices = {column: _column_index(names, COLUMNS[column]) for column in COLUMNS}
            with reading(f"--table {path}", "a line cannot be read", "correct it"):
                return [sample for row in rows[number + 1 :] if (sample := _sample(row, indices))]
    raise UserError(f"{path}: no line with the headings Subject and Filename: not a coding table of CASME II or SAMM")


def _column_index(names: Sequence[str], accepted: Sequence[str]) -> int | None:
    return next((names.index(name) for name in accepted if name in names), None)


def _sample(row: Sequence, indices: dict[str, int | None]) -> Sample | None:
    def cell(column: str) -> str:
        index = indices[column]
        value = row[index] if index is not None and index < len(row) else None
        return "" if value is None else str(value).strip()

    # Subjects are numbers (1), texts (01, 006) or what a csv made of them (1.0).
    subject = re.search(r"\d+", cell("subject"))
    if not subject or not cell("file"):
        return None
    times = {column: _frame_number(cell(column)) for column in ("onset", "apex", "offset")}
    return Sample(int(subject[0]), cell("file"), cell("emotion").lower(), cell("units"), **times, coded=True)


def _frame_number(text: str) -> int | None:
    """A frame number; the tables write / for unknown ones."""
    match = re.fullmatch(r"(\d+)(\.0+)?", text)
    return int(match[1]) if match else None


def _read_csv(path: Path) -> list[list[str]]:
    return [cells for _, cells in read_cells(path, f"--table {path}")]


def _read_xlsx(path: Path) -> list[tuple]:
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise UserError(
            f"{path}: reading xlsx needs openpyxl (pip install openpyxl); or save the table as csv"
        ) from error
    from openpyxl.utils.exceptions import InvalidFileException

    with reading(f"--table {path}", "cannot be read as xlsx", "save it as xlsx or csv again", (InvalidFileException,)):
        with open_zip(path) as archive:
            if damaged := first_damaged(archive):
                raise ValueError(f"{damaged} does not match its checksum")
        book = load_workbook(path, read_only=True, data_only=True)
        try:
            rows = book.worksheets[0].iter_rows(max_row=MAX_ROWS, max_col=MAX_COLUMNS, values_only=True)
            return list(rows)
        finally:
            book.close()
