"""A page to look at results: one HTML file beside the videos, nothing fetched from elsewhere."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #222 }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd } figure { background: #242424 } }
main { display: grid; margin-top: 1.5rem; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem }
figure { margin: 0; padding: .6rem; background: #f3f3f3; border-radius: .5rem }
figure video, figure img { width: 100%; image-rendering: auto; border-radius: .25rem }
figcaption { overflow-wrap: anywhere } dl { display: grid; grid-template-columns: auto 1fr; gap: 0 .8rem; margin: 0 }
dd { margin: 0; font-variant-numeric: tabular-nums }
"""

PLAYED = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
"""Suffixes of videos; what has another one is a folder of frames, whose name may hold dots."""


def results_page(
    title: str, facts: Mapping[str, str], results: Sequence[tuple[Sequence[str], Mapping[str, str]]]
) -> str:
    """HTML with the facts on top and a figure per result: (its files relative to the page, facts of its own)."""
    figures = "\n".join(_figure(files, own) for files, own in results)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f"<body><h1>{escape(title)}</h1>\n{_facts(facts)}\n<main>\n{figures}\n</main></body></html>\n"
    )


def _figure(files: Sequence[str], facts: Mapping[str, str]) -> str:
    shown = "".join(map(_shown, files))
    return f"<figure>{shown}<figcaption>{escape(Path(files[0]).name)}{_facts(facts)}</figcaption></figure>"


def _shown(path: str) -> str:
    link, name = quote(path), escape(Path(path).name)
    if path.endswith((".png", ".jpg")):
        return f'<a href="{link}"><img src="{link}" alt="{name}" loading="lazy"></a>'
    if path.endswith(".gif"):
        return f'<img src="{link}" alt="{name}" loading="lazy">'
    if path.endswith(PLAYED):
        return f'<video src="{link}" controls autoplay loop muted playsinline></video>'
    return f'<a href="{link}/">frames</a>'


def _facts(facts: Mapping[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items()) + "</dl>"
