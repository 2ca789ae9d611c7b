"""The cells of csv files, whoever wrote them."""

import csv
from io import StringIO
from pathlib import Path

from util.errors import UserError
from util.reading import reading

ENCODING = "utf-8-sig"
"""With or without the mark that some programs put first."""


def read_cells(path: Path | str, called: str = "") -> list[tuple[int, list[str]]]:
    """The lines of a csv file that are not blank, each with its number and its cells without blanks around them.

    `called` is how errors call the file, e.g. "--pairs FILE".
    """
    path, called = Path(path), called or str(path)
    if not path.is_file():
        raise UserError(f"{called}: there is no such file")
    try:
        text = path.read_bytes().decode(ENCODING)
    except UnicodeDecodeError:
        raise UserError(f"{called}: is not in UTF-8; save it as CSV UTF-8") from None
    if "\0" in text:
        raise UserError(f"{called}: holds a NUL byte: it is damaged, or no csv in UTF-8; save it as CSV UTF-8")
    with reading(called, "cannot be read as csv"):
        reader = csv.reader(StringIO(text, newline=""))
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if not lines:
        raise UserError(f"{called}: is empty")
    return lines


def read_dicts(path: Path | str, called: str = "") -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The names of the columns in a csv file's first line, and of each other one its number and cells by these names.

    What a line lacks is an empty text.
    """
    (_, header), *lines = read_cells(path, called)
    rows = [(number, dict.fromkeys(header, "") | dict(zip(header, cells, strict=False))) for number, cells in lines]
    return header, rows
