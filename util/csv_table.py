"""Tables that people write: csv files with a line of column names on top."""

import csv
from pathlib import Path

from util.errors import UserError


def read_rows(path: Path, option: str, needed: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table that an option names, each with the number of its line; blanks around cells do not count."""
    if not path.is_file():
        raise UserError(f"{option} {path}: there is no such file")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except UnicodeDecodeError:
        raise UserError(f"{option} {path}: is not in UTF-8; save it as CSV UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{option} {path}: {error}") from None
    missing = [name for name in needed if name not in header]
    if missing:
        found = ", ".join(filter(None, header)) or "nothing"
        raise UserError(
            f"{option} {path}: the first line needs the columns {' and '.join(needed)}; it lacks "
            f"{' and '.join(missing)}, and has {found}"
        )
    if not lines:
        raise UserError(f"{option} {path}: holds the names of its columns and no rows")
    rows = []
    for line, cells in lines:
        row = dict.fromkeys(header, "") | dict(zip(header, map(str.strip, cells), strict=False))
        empty = [name for name in needed if not row[name]]
        if empty:
            raise UserError(f"{option} {path}, line {line}: {' and '.join(empty)} is empty")
        rows.append((line, row))
    return rows
