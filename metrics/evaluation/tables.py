"""Tables of totals: plain text, Markdown, LaTeX, csv."""

import csv
import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

KINDS = ("text", "md", "latex", "csv")
BETTER = {"lower": "↓", "higher": "↑", "like truth": "→"}
BOLD = re.compile(r"^\*\*(.*)\*\*$")
LATEX_BETTER = {"lower": r"$\downarrow$", "higher": r"$\uparrow$", "like truth": r"$\rightarrow$"}


def table(content: Mapping[str, Any], kind: str = "text", weighting: str = "frames") -> str:
    """The totals of a metrics.json: a row per metric, a column for the result and for each control.

    The result is shown with both averages; `weighting` selects the average of controls and published numbers.
    """
    rows = {f"result ({kind_of})": _values(content["total"], kind_of) for kind_of in ("frames", "videos")}
    rows |= {name: _values(total, weighting) for name, total in content["controls"].items()}
    published = content.get("protocol", {}).get("published", {})
    rows |= {f"{name} (published)": values for name, values in published.get("rows", {}).items()}
    names = list(content["total"])
    facts = {name: content["definitions"].get(name.split(".")[0], {}) for name in names}
    arrows = LATEX_BETTER if kind == "latex" else BETTER
    head = ["metric", *rows, "n", "missed"]
    body = [
        [
            f"{name} {arrows.get(facts[name].get('better', ''), '')}".strip() if "." not in name else name,
            *(shown(values.get(name)) for values in rows.values()),
            str(content["total"][name]["n"]),
            f"{100 * content['total'][name]['missed']:.1f} %",
        ]
        for name in names
    ]
    return format_rows(head, body, kind)


def _values(total: Mapping[str, Mapping[str, Any]], weighting: str) -> dict[str, Any]:
    """The given average of a total, or the only one that it has (a value of a whole set or video)."""
    other = {"frames": "videos", "videos": "frames"}[weighting]
    return {name: one[weighting] if one[weighting] is not None else one[other] for name, one in total.items()}


def shown(value: float | str | None) -> str:
    """Four significant digits; a dash if there was nothing to measure."""
    return "–" if value is None or value != value else value if isinstance(value, str) else f"{value:.4g}"


def format_rows(head: Sequence[str], body: Sequence[Sequence[str]], kind: str) -> str:
    """Format cells as a table of this kind; the `bold` ones are plain numbers in a csv."""
    if kind == "csv":
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            [BOLD.sub(r"\1", cell) for cell in row] for row in (head, *body)
        )
        return text.getvalue().rstrip("\n")
    if kind == "latex":
        lines = [" & ".join(_in_latex(cell) for cell in row) + r" \\" for row in (head, *body)]
        form = "l" + "r" * (len(head) - 1)
        return "\n".join([rf"\begin{{tabular}}{{{form}}}", r"\hline", lines[0], r"\hline", *lines[1:], r"\hline",
                          r"\end{tabular}"])  # fmt: skip
    if kind == "md":
        head, *body = [[cell.replace("|", r"\|") for cell in row] for row in (head, *body)]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    padded = [_padded(row, widths) for row in (head, *body)]
    if kind == "md":
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        return "\n".join(f"| {' | '.join(row)} |" for row in (padded[0], rule, *padded[1:]))
    return "\n".join("  ".join(row).rstrip() for row in padded)


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Align names left, numbers right."""
    return [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]


def bold(cell: str) -> str:
    """A cell that stands out."""
    return f"**{cell}**"


def _in_latex(cell: str) -> str:
    text = BOLD.sub(r"\\textbf{\1}", cell)
    return re.sub(r"(?<!\\)([&#%_])", r"\\\1", text).replace("–", "--")
