"""JSON files that a killed process, a full disk or somebody else may have left."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from util.reading import AGAIN, read_text, reading


def read_json(path: Path | str, what: str, remedy: str = AGAIN) -> Any:
    """The content of a JSON file; `what` completes the error message."""
    text = read_text(path, what, remedy)
    with reading(path, what, remedy):
        return json.loads(text)


def read_report(path: Path) -> Any:
    """What a script reported of one item, beside its results."""
    return read_json(path, "not a report of this script", "remove it: what it is about is done again")


def read_lines(path: Path) -> tuple[list[tuple[bytes, dict[str, Any]]], int]:
    """The lines of a file with one JSON object a line, each also as it is; and how many are damaged and left out.

    A file that is not there has none.
    """
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    read = [(line, entry) for line in lines if line.strip() and (entry := _entry(line)) is not None]
    return read, sum(1 for line in lines if line.strip()) - len(read)


def append_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Add a JSON object as a line to a file, whose folder is made if need be."""
    line = json.dumps(entry) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        # A line that was torn when its writer was killed must not tear this one.
        if file.tell() and file.seek(-1, 2) and file.read(1) != b"\n":
            line = f"\n{line}"
        file.write(line.encode())


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None
