"""The page of results: one HTML file beside the videos, without external requests.

It includes `page.css` and `page.js` from this folder. The facts about results are JSON in the page; the script renders
only visible results, so that thousands open at once.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from util.printable import printable

DAMAGED = "damaged"
"""The fact of a result with the damage of its videos."""
PLAYED = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
IMAGES = (".png", ".jpg", ".gif")
DEFAULT_SIZE = [256, 256]
"""Width and height of results without a known size."""
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Figure:
    """A result; file names are relative to the page."""

    file: str
    facts: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)
    """The existing ones of `poster`, `truth`, `shown_source`, `beside`."""
    size: Sequence[int] | None = None
    """Width and height of the frames."""
    rate: float | None = None
    frames: int | None = None
    is_folder: bool = False
    """Whether it is a folder of frames 000000.png, 000001.png ..."""
    curves: str | None = None
    """The script that passes the metrics of its frames to `showCurves`."""
    command: int | None = None
    """The index of the command that made it."""


@dataclass(frozen=True)
class Page:
    """The content of a page."""

    title: str
    facts: Mapping[str, str]
    """Facts of all results."""
    figures: Sequence[Figure]
    failures: Sequence[Mapping[str, str]] = ()
    """The failures, by column."""
    commands: Sequence[Mapping[str, Any]] = ()
    """The commands that made the results; `differing`: options by name."""
    better: Mapping[str, str] = field(default_factory=dict)
    """Fact -> "lower", "higher" or "like truth", if it has a direction."""
    order: str | None = None
    """The fact by which results are sorted initially, worst first."""

    def html(self) -> str:
        """The HTML of the page."""
        content = {
            "results": [_result(figure) for figure in self.figures],
            "better": dict(self.better),
            "order": self.order,
        }
        links = "\n".join(f'<li><a href="{link(one.file)}">{_text(one.file)}</a></li>' for one in self.figures)
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_text(self.title)}</title>\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>\n{_asset('page.css')}</style></head>\n<body>\n<header><h1>{_text(self.title)}</h1>\n"
            f"{_facts(self.facts)}\n{_commands(self.commands)}\n{_failed(self.failures)}</header>\n"
            f"{_asset('page.html')}<noscript><ul>\n{links}\n</ul></noscript>\n"
            f'<script type="application/json" id="content">{_json(content)}</script>\n'
            f"<script>\n{_asset('page.js')}</script></body></html>\n"
        )


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _json(content: Any) -> str:
    """JSON that is safe inside a script element: nothing in it ends the script or starts a comment."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _result(figure: Figure) -> dict[str, Any]:
    """The page's data about a result."""
    width, height = figure.size or DEFAULT_SIZE
    facts = {
        "name": printable(figure.file),
        "file": link(figure.file),
        "kind": _kind(figure),
        "width": width,
        "height": height,
        "rate": figure.rate,
        "frames": figure.frames,
        "facts": {printable(key): _value(value) for key, value in figure.facts.items()},
        "curves": figure.curves and link(figure.curves),
        "made": figure.command,
    } | {key: link(file) for key, file in figure.files.items()}
    return {key: value for key, value in facts.items() if value is not None}


def _kind(figure: Figure) -> str:
    """How a browser shows it: a video, frames, an image, or a link otherwise."""
    if figure.is_folder:
        return "frames"
    ending = Path(figure.file).suffix.lower()
    return "video" if ending in PLAYED else "image" if ending in IMAGES else "file"


def _value(value: Any) -> Any:
    """Keep numbers, which results are sorted by; convert values that JSON lacks to text."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value if isinstance(value, int) else printable(value)


def link(path: str) -> str:
    """The address of a file, whatever its name, for attributes of a page beside it."""
    return quote(os.fsencode(path))


def _text(text: object) -> str:
    return escape(printable(text))


def _failed(failures: Sequence[Mapping[str, str]]) -> str:
    """A table of failures, without columns that are empty in all rows."""
    if not failures:
        return ""
    columns = [name for name in failures[0] if any(row.get(name) for row in failures)]
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in columns)
    rows = "\n".join("<tr>" + "".join(f"<td>{_text(row[name])}</td>" for name in columns) + "</tr>" for row in failures)
    return (
        f'<section class="lost"><h2>{len(failures)} failed</h2>\n<div class="wide"><table><thead><tr>{head}</tr>'
        f"</thead>\n<tbody>{rows}</tbody></table></div></section>\n"
    )


def _commands(commands: Sequence[Mapping[str, Any]]) -> str:
    """How the results were made, a section per command."""
    return "\n".join(_command(number, one, len(commands)) for number, one in enumerate(commands))


def _command(number: int, command: Mapping[str, Any], count: int) -> str:
    facts = {key: value for key, value in command.items() if key != "differing"}
    options = command.get("differing") or {}
    rows = "\n".join(f'<tr><th scope="row">{_text(k)}</th><td>{_text(v)}</td></tr>' for k, v in options.items())
    title = "What made them" if count == 1 else f"What made them: command {number + 1}"
    return (
        f'<details class="made" id="made{number}"><summary>{title}</summary>{_facts(facts)}'
        f'<p>Options that differ from the defaults:</p><div class="wide"><table><tbody>{rows}</tbody></table></div>'
        "</details>"
    )


def _facts(facts: Mapping[str, Any]) -> str:
    return "<dl>" + "".join(f"<dt>{_text(key)}</dt><dd>{_text(value)}</dd>" for key, value in facts.items()) + "</dl>"
