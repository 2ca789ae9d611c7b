"""Read cells of csv files from any program."""

import csv
from io import StringIO
from pathlib import Path

from util.errors import UserError
from util.reading import reading

ENCODING = "utf-8-sig"
"""UTF-8, with or without a byte order mark."""


def read_cells(path: Path | str, label: str = "") -> list[tuple[int, list[str]]]:
    """The non-blank lines of a csv file: line number and stripped cells.

    `label` names the file in errors, e.g. "--pairs FILE".
    """
    path, label = Path(path), label or str(path)
    if not path.is_file():
        raise UserError(f"{label}: no such file")
    try:
        text = path.read_bytes().decode(ENCODING)
    except UnicodeDecodeError:
        raise UserError(f"{label}: not UTF-8; save it as CSV UTF-8") from None
    if "\0" in text:
        raise UserError(f"{label}: contains a NUL byte: damaged, or not a csv in UTF-8; save it as CSV UTF-8")
    with reading(label, "cannot be read as csv"):
        reader = csv.reader(StringIO(text, newline=""))
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if not lines:
        raise UserError(f"{label}: is empty")
    return lines


def read_dicts(path: Path | str, label: str = "") -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The column names in a csv file's first line; for each other line its number and its cells by column.

    Missing cells are empty strings.
    """
    (_, header), *lines = read_cells(path, label)
    rows = [(number, dict.fromkeys(header, "") | dict(zip(header, cells, strict=False))) for number, cells in lines]
    return header, rows
