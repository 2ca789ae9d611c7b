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


def results_page(title: str, facts: Mapping[str, str], results: Sequence[tuple[str, Mapping[str, str]]]) -> str:
    """HTML with the facts on top and a figure per result: (path relative to the page, facts of its own)."""
    figures = "\n".join(_figure(path, own) for path, own in results)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f"<body><h1>{escape(title)}</h1>\n{_facts(facts)}\n<main>\n{figures}\n</main></body></html>\n"
    )


def _figure(path: str, facts: Mapping[str, str]) -> str:
    link, name = quote(path), escape(Path(path).name)
    if path.endswith((".gif", ".png", ".jpg")):
        shown = f'<img src="{link}" alt="{name}" loading="lazy">'
    elif Path(path).suffix:
        shown = f'<video src="{link}" controls autoplay loop muted playsinline></video>'
    else:
        shown = f'<a href="{link}/">frames</a>'
    return f"<figure>{shown}<figcaption>{name}{_facts(facts)}</figcaption></figure>"


def _facts(facts: Mapping[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items()) + "</dl>"
