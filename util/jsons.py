"""Read JSON files that may be damaged by a killed process or a full disk, or come from elsewhere."""

import json
import math
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
    """The report that a script wrote for one item."""
    return read_json(path, "not a report of this script", "remove it: what it is about is done again")


def read_lines(path: Path) -> tuple[list[tuple[bytes, dict[str, Any]]], int]:
    """The objects of a file with one JSON object per line, each also as text, and the number of damaged lines.

    A missing file has none.
    """
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    read = [(line, entry) for line in lines if line.strip() and (entry := _entry(line)) is not None]
    return read, sum(1 for line in lines if line.strip()) - len(read)


def finite(content: Any, nan: str | None = None) -> Any:
    """Content that JSON can hold: infinite numbers become "inf" and "-inf", NaN becomes `nan`."""
    if isinstance(content, Mapping):
        return {str(key): finite(value, nan) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value, nan) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return nan if math.isnan(content) else str(content)
    return content


def numbers(content: Any) -> Any:
    """Undo `finite(content, "nan")`, in content whose only texts are such numbers."""
    if isinstance(content, Mapping):
        return {key: numbers(value) for key, value in content.items()}
    if isinstance(content, list):
        return [numbers(value) for value in content]
    return float(content) if isinstance(content, str) else content


def append_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Append a JSON object as a line to a file; creates the folder if necessary."""
    line = json.dumps(entry) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        # Start a new line after one that was truncated by a kill.
        if file.tell() and file.seek(-1, 2) and file.read(1) != b"\n":
            line = f"\n{line}"
        file.write(line.encode())


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None
