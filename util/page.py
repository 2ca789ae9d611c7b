"""A page to look at results: one HTML file beside the videos, nothing fetched from elsewhere."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from util.plots import plot
from util.printable import printable

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #222 }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd } figure { background: #242424 } }
main { display: grid; margin-top: 1.5rem; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem }
figure { margin: 0; padding: .6rem; background: #f3f3f3; border-radius: .5rem }
figure video, figure img { width: 100%; image-rendering: auto; border-radius: .25rem }
figcaption { overflow-wrap: anywhere } dl { display: grid; grid-template-columns: auto 1fr; gap: 0 .8rem; margin: 0 }
dd { margin: 0; font-variant-numeric: tabular-nums }
.damaged, h2 { color: #b3261e } h2 { font-size: 1.1rem; margin: 1.5rem 0 .5rem }
.plot { display: block; width: 100%; margin-top: .4rem; font-size: .8rem } .plot svg { width: 100%; height: 2.2rem }
section { overflow-x: auto } table { border-collapse: collapse }
th, td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #8884 }
td { overflow-wrap: anywhere; min-width: 4rem } td:last-child { min-width: 16rem }
@media (prefers-color-scheme: dark) { .damaged, h2 { color: #ff8a80 } }
"""

DAMAGED = "damaged"
"""The fact of a result that tells what could not be read of the videos that it is made of."""

PLAYED = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
"""Suffixes of videos; what has another one is a folder of frames, whose name may hold dots."""


def results_page(
    title: str,
    facts: Mapping[str, str],
    results: Sequence[tuple[Any, ...]],
    failures: Sequence[Mapping[str, str]] = (),
) -> str:
    """HTML with the facts on top, what failed, and a figure per result.

    A result is (its files relative to the page, facts of its own) and, where there are, curves of its frames by name. A
    failure says what it is by column.
    """
    figures = "\n".join(_figure(*result) for result in results)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f"<body><h1>{_text(title)}</h1>\n{_facts(facts)}\n{_failed(failures)}<main>\n{figures}\n</main></body></html>\n"
    )


def _text(text: str) -> str:
    return escape(printable(text))


def _failed(failures: Sequence[Mapping[str, str]]) -> str:
    """A table of what failed, without the columns that are empty in all of its rows."""
    if not failures:
        return ""
    columns = [name for name in failures[0] if any(row.get(name) for row in failures)]
    head = "".join(f"<th>{_text(name)}</th>" for name in columns)
    rows = "\n".join("<tr>" + "".join(f"<td>{_text(row[name])}</td>" for name in columns) + "</tr>" for row in failures)
    return (
        f"<section><h2>{len(failures)} failed</h2>\n<table><thead><tr>{head}</tr></thead>\n"
        f"<tbody>{rows}</tbody></table></section>\n"
    )


def _figure(
    files: Sequence[str], facts: Mapping[str, str], curves: Mapping[str, Sequence[float | None]] | None = None
) -> str:
    shown = "".join(map(_shown, files))
    plots = "".join(plot(name, values) for name, values in (curves or {}).items())
    return f"<figure>{shown}<figcaption>{_text(Path(files[0]).name)}{_facts(facts)}{plots}</figcaption></figure>"


def _shown(path: str) -> str:
    link, name = quote(os.fsencode(path)), _text(Path(path).name)
    if path.endswith((".png", ".jpg")):
        return f'<a href="{link}"><img src="{link}" alt="{name}" loading="lazy"></a>'
    if path.endswith(".gif"):
        return f'<img src="{link}" alt="{name}" loading="lazy">'
    if path.endswith(PLAYED):
        return f'<video src="{link}" controls autoplay loop muted playsinline></video>'
    return f'<a href="{link}/">frames</a>'


def _facts(facts: Mapping[str, str]) -> str:
    """What is known, by name; what is damaged stands out."""
    marks = {key: ' class="damaged"' if key == DAMAGED else "" for key in facts}
    return "<dl>" + "".join(f"<dt>{_text(k)}</dt><dd{marks[k]}>{_text(v)}</dd>" for k, v in facts.items()) + "</dl>"
