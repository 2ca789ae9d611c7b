"""A page that plays the videos of several runs in sync, one row per video, with the table of their numbers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from metrics.evaluation.comparing import Run, better, columns, common_videos, comparison, unequal_videos
from metrics.evaluation.tables import shown
from util.files import write_text
from util.page import link
from util.plots import legend, plot
from util.printable import printable

PLAYED = (".mp4", ".webm", ".m4v")
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 1.5rem; color: #222; background: #fff }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd } section { background: #242424 } }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .15rem .7rem; text-align: right; white-space: nowrap }
td:first-child, th:first-child { text-align: left }
section { margin: 1rem 0; padding: .8rem; border-radius: .5rem; background: #f3f3f3 }
.row { display: flex; flex-wrap: wrap; gap: .8rem } figure { margin: 0; width: var(--side, 256px) }
video { width: 100%; border-radius: .25rem } h2 { font-size: 1rem; margin: 0 0 .4rem; overflow-wrap: anywhere }
.plots div { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .4rem 1rem }
.plot { font-size: .8rem; font-variant-numeric: tabular-nums } .plot svg { width: 100%; height: 3rem; display: block }
input[type=range] { width: min(100%, 40rem) } nav { display: flex; gap: 1rem; flex-wrap: wrap; align-items: center }
"""
SCRIPT = """
// With preload="metadata" Chromium puts players away that are not on screen, without a picture, and shows those with
// sound late: what is nearly seen is loaded whole.
const nearlySeen = new IntersectionObserver(entries => entries.forEach(({ isIntersecting, target }) => {
  if (!isIntersecting) return;
  target.preload = "auto";
  nearlySeen.unobserve(target);
}), { rootMargin: "50%" });
document.querySelectorAll("video").forEach(video => nearlySeen.observe(video));
for (const section of document.querySelectorAll("section")) {
  const videos = [...section.querySelectorAll("video")], time = section.querySelector("input"), first = videos[0];
  if (!first) continue;
  const seek = at => videos.forEach(video => { if (Math.abs(video.currentTime - at) > 0.02) video.currentTime = at; });
  section.querySelector("button").onclick = () => {
    const start = first.paused;
    if (start) seek(first.currentTime);
    videos.forEach(video => start ? video.play() : video.pause());
    if (!start) seek(first.currentTime);
  };
  time.oninput = () => { videos.forEach(video => video.pause()); seek(time.value * (first.duration || 0)); };
  first.ontimeupdate = () => {
    if (first.paused) return;
    time.value = first.currentTime / first.duration;
    const at = first.currentTime;
    videos.slice(1).forEach(video => { if (Math.abs(video.currentTime - at) > 0.06) video.currentTime = at; });
  };
}
const list = document.querySelector("main");
document.getElementById("sort").onchange = event => {
  const key = event.target.value, down = key.startsWith("-");
  const value = one => key === "name" ? one.dataset.name : parseFloat(one.dataset[key.replace("-", "")] ?? "nan");
  const lacking = one => Number.isNaN(value(one));  // comes last, whatever the order
  [...list.children].sort((a, b) => key === "name" ? value(a).localeCompare(value(b)) :
    lacking(a) - lacking(b) || (down ? value(b) - value(a) : value(a) - value(b)) || 0
  ).forEach(one => list.append(one));
};
document.getElementById("size").oninput = event => document.body.style.setProperty("--side", event.target.value + "px");
"""


def write_page(path: Path, runs: Sequence[Run], weighting: str) -> int:
    """Write the page; returns the number of videos on it."""
    names, shared = common_videos(runs), columns(runs)
    sections = "\n".join(_section(path, runs, name, shared) for name in names)
    sorting = "".join(
        f'<option value="-c{index}">{escape(column)}: largest first</option>'
        f'<option value="c{index}">{escape(column)}: smallest first</option>'
        for index, column in enumerate(shared)
    )
    title = " / ".join(run.label for run in runs)
    write_text(
        path,
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n<body>'
        f'<h1>{escape(title)}</h1><div class="wide">{_table(runs, weighting)}</div>{_warning(runs)}'
        "<p>Bold: the best. Differences to the first run: mean over the videos of both, 95 % interval of the bootstrap "
        "over videos; * where it leaves out 0.</p>"
        f'<nav><label>Order <select id="sort"><option value="name">by name</option>{sorting}</select></label>'
        '<label>Size <input id="size" type="range" min="96" max="640" value="256"></label></nav>'
        f"\n<main>\n{sections}\n</main><script>{SCRIPT}</script></body></html>\n",
    )
    return len(names)


def _warning(runs: Sequence[Run]) -> str:
    warning = unequal_videos(runs)
    return f"<p><b>{escape(warning)}.</b></p>" if warning else ""


def _table(runs: Sequence[Run], weighting: str) -> str:
    head, rows = comparison(runs, weighting)
    lines = [f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>"]
    for row in rows:
        cells = (f"<b>{escape(cell.strip('*'))}</b>" if cell.startswith("**") else escape(cell) for cell in row)
        lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _section(path: Path, runs: Sequence[Run], name: str, shared: Sequence[str]) -> str:
    """The videos of one name, played in sync, with the last run's values for sorting."""
    values = [runs[-1].content["videos"][name].get(column) for column in shared]
    data = "".join(f' data-c{index}="{value}"' for index, value in enumerate(values) if value is not None)
    first = runs[0].content.get("files", {}).get(name, {})
    figures = [_figure(path, runs[0].folder, first["truth"], "truth", "")] if "truth" in first else []
    for run in runs:
        own = run.content["videos"][name]
        caption = ", ".join(f"{column} {shown(own.get(column))}" for column in shared[:4])
        file = run.content.get("files", {}).get(name, {}).get("result")
        figures.append(_figure(path, run.folder, file, run.label, caption))
    return (
        f'<section data-name="{escape(name)}"{data}><h2>{escape(name)}</h2><div class="row">{"".join(figures)}</div>'
        '<nav><button>play / pause</button><input type="range" min="0" max="1" step="0.001" value="0"></nav>'
        f"{_plots(runs, name, shared)}</section>"
    )


def _plots(runs: Sequence[Run], name: str, shared: Sequence[str]) -> str:
    """Plots of the values per frame of a video: one plot per metric, without its secondary columns, with all runs."""
    main = [column for column in shared if better(runs, column)]
    curves = {
        column: {run.label: run.frames.get(printable(name), {}).get(column, []) for run in runs} for column in main
    }
    plots = "".join(plot(column, of_runs) for column, of_runs in curves.items())
    shown = f"<summary>frames: {legend([run.label for run in runs])}</summary><div>{plots}</div>"
    return f'<details class="plots" open>{shown}</details>' if plots else ""


def _figure(path: Path, folder: Path, file: str | None, label: str, caption: str) -> str:
    shows = "no file known"
    if file is not None:
        address = link(os.path.relpath(folder / file, path.parent))
        is_played = file.lower().endswith(PLAYED)
        shows = (f'<video src="{address}" muted loop playsinline preload="metadata"></video>' if is_played
                 else f'<a href="{address}">frames</a>')  # fmt: skip
    return f"<figure>{shows}<figcaption><b>{escape(label)}</b> {escape(caption)}</figcaption></figure>"
