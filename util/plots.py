"""Small plots for pages: inline SVG without external requests."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from util.printable import printable

WIDTH, HEIGHT, MOST = 240, 40, 240
"""Size of a plot, and maximum number of points per curve."""
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")


def plot(name: str, curves: Mapping[str, Sequence[float | None]]) -> str:
    """Curves of values per frame with a common scale and its range; NaN leaves gaps. Empty without values."""
    known = [value for values in curves.values() for run in _runs(values) for _, value in run]
    if not known:
        return ""
    low, high = min(known), max(known)
    frames = max(map(len, curves.values()))
    caption = escape(f"{printable(name)}: {low:.3g} … {high:.3g}")
    lines = "".join(
        f'<g stroke="{COLOURS[index % len(COLOURS)]}"><title>{escape(printable(label))}</title>'
        + "".join(_line(run, frames, low, high) for run in _runs(values))
        + "</g>"
        for index, (label, values) in enumerate(curves.items())
    )
    return (
        f'<span class="plot">{caption}<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{caption}"><g fill="none" stroke-width="1.2" stroke-linecap="round">{lines}</g></svg></span>'
    )


def legend(labels: Sequence[str]) -> str:
    """The legend of the curves."""
    shown = (f'<b style="color:{COLOURS[index % len(COLOURS)]}">— {escape(printable(label))}</b>'
             for index, label in enumerate(labels))  # fmt: skip
    return " ".join(shown)


def _runs(values: Sequence[float | None]) -> Iterator[list[tuple[int, float]]]:
    """The segments of (frame, value) without gaps."""
    run: list[tuple[int, float]] = []
    for frame, value in enumerate(values):
        if value is not None and math.isfinite(value):
            run.append((frame, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _line(run: list[tuple[int, float]], frames: int, low: float, high: float) -> str:
    """Reduce a long curve to the minimum and maximum of each interval, so that peaks are kept."""
    step = math.ceil(frames / (MOST / 2))
    if step > 2:
        parts = [run[start : start + step] for start in range(0, len(run), step)]
        run = [point for part in parts
               for point in sorted({min(part, key=lambda one: one[1]), max(part, key=lambda one: one[1])})]  # fmt: skip
    across, up = WIDTH / max(frames - 1, 1), (HEIGHT - 4) / (high - low) if high > low else 0.0
    points = " ".join(f"{frame * across:.1f},{HEIGHT - 2 - (value - low) * up:.1f}" for frame, value in run)
    # A single point has no length: round line caps make it a dot.
    return f'<polyline points="{points}{f" {points}" if len(run) == 1 else ""}"/>'
