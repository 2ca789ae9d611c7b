"""Collects records, failures, commands and metrics of a results folder and writes its page."""

from __future__ import annotations

import csv
import json
import logging
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from engine.records import Commands, Failures, Records, command_key
from util.errors import UserError
from util.files import replacing_folder, write_text
from util.jsons import read_json
from util.page import Figure, Page
from util.printable import printable
from util.reading import reading

log = logging.getLogger(__name__)

PAGE, CURVES = "index.html", ".page/curves"
METRICS, FRAME_METRICS = "metrics.json", "metrics.csv"
SHOWN = ("line", "source", "driving", "frames", "fps", "l1", "l1_of_repeating", "damaged")
"""Fields of a result's record that the page shows."""
LOWER_IS_BETTER = {"l1": "lower"}


def write_page(folder: Path) -> int:
    """Write the page of all results in a folder, whatever command made them; returns their number.

    The metrics are those that script/evaluate.py wrote there.
    """
    commands = Commands(folder).entries()
    last = commands[-1] if commands else {}
    records = Records(folder, {key: last[key] for key in ("weights", "options") if key in last})
    known, failed = records.entries(), Failures.of_folder(folder)
    if not (known or failed):
        return 0
    measured = Measured.of_folder(folder)
    curves = _write_curves(folder, {printable(name) for one in known if (name := measured.name_of(one["output"]))})
    figures = [_figure(folder, entry, measured, curves, commands) for entry in known]
    better = LOWER_IS_BETTER | measured.better
    title = str(last.get("name") or folder.resolve().name)
    commands_shown = [_command_facts(entry) for entry in commands]
    page = Page(title, _facts(records, last) | measured.totals, figures, failed, commands_shown, better, measured.order)
    write_text(folder / PAGE, page.html())
    log.info("%d video(s) on the page %s", len(known), folder / PAGE)
    return len(known)


def _facts(records: Records, last: Mapping[str, Any]) -> dict[str, str]:
    """Facts of all results; L1 is that of the last command only."""
    known = records.entries()
    facts = {"videos": str(len(known))} | ({"model": str(last["model"])} if "model" in last else {})
    if damaged := sum("damaged" in entry for entry in known):
        facts["made of damaged videos"] = str(damaged)
    return facts | summary_of_losses(records.current_entries())


class Measured:
    """The content of a folder's metrics.json (test.py --metrics, script/evaluate.py); empty without that file."""

    def __init__(self, content: Mapping[str, Any]):
        self._videos: dict[str, dict[str, Any]] = {
            name: {column: value for column, value in values.items() if value is not None}
            for name, values in content.get("videos", {}).items()
        }
        names = {file["result"]: name for name, file in content.get("files", {}).items() if "result" in file}
        self._names: dict[str, str] = {name: name for name in self._videos} | names
        definitions = content.get("definitions", {})
        self.better: dict[str, str] = {name: one["better"] for name, one in definitions.items()}
        """Metric -> "lower", "higher" or "like truth"; secondary columns have no direction."""
        of_videos = set().union(*self._videos.values())
        self.order: str | None = next(
            (name for name in content.get("total", {}) if name in definitions and name in of_videos), None
        )
        """The metric by which results are sorted, worst first: the first one of which videos have values."""
        self.totals = _totals(content, self.better)
        """Metric -> its total with the protocol's averaging, and the control row that a model must beat."""

    def name_of(self, output: str) -> str | None:
        """The name of a result in the metrics."""
        path = Path(output)
        return self._names.get(output) or self._names.get(path.with_suffix("").as_posix())

    def facts_of(self, name: str | None) -> dict[str, Any]:
        """The values of a video."""
        return self._videos.get(name or "", {})

    @classmethod
    def of_folder(cls, folder: Path) -> Measured:
        """Read the file, if it exists."""
        path = folder / METRICS
        if not path.is_file():
            return cls({})
        what = "has no metrics of script/evaluate.py"
        try:
            with reading(path, what):
                return cls(read_json(path, what))
        except UserError as error:  # optional for the page
            log.warning("%s", error)
            return cls({})


def _totals(content: Mapping[str, Any], shown_metrics: Container[str]) -> dict[str, str]:
    weighting = content.get("protocol", {}).get("weighting", "frames")
    repeated = content.get("controls", {}).get("first frame repeated", {})
    totals = {}
    for name, total in content.get("total", {}).items():
        if name in shown_metrics:
            control = f" (first frame repeated {_total(repeated[name], weighting)})" if name in repeated else ""
            missed = f", missed in {100 * share:.1f} %" if (share := total.get("missed")) else ""
            totals[f"measured {name}"] = _total(total, weighting) + missed + control
    return totals


def _total(total: Mapping[str, Any], weighting: str) -> str:
    """A total with the given averaging, or with the only one it has."""
    found = [value for key in (weighting, "frames", "videos") if (value := total.get(key)) is not None]
    return f"{found[0]:.4g}" if found and isinstance(found[0], float) else str(found[0]) if found else "none"


def _figure(
    folder: Path, entry: Mapping[str, Any], measured: Measured, curves: Mapping[str, str],
    commands: Sequence[Mapping[str, Any]],
) -> Figure:  # fmt: skip
    name = measured.name_of(entry["output"])
    files = {
        key: entry[key] for key in ("poster", "truth", "shown_source", "beside") if _file_exists(folder, entry, key)
    }
    # Metrics keep their names, by which the page finds their direction.
    known = {key.replace("_", " "): entry[key] for key in SHOWN if key in entry} | measured.facts_of(name)
    commands_shown = [number for number, one in enumerate(commands) if command_key(one) == command_key(entry)]
    return Figure(
        file=entry["output"],
        files=files,
        facts=known,
        size=entry.get("size"),
        rate=_rate(entry.get("fps")),
        frames=entry.get("frames"),
        is_folder=(folder / entry["output"]).is_dir(),
        curves=curves.get(printable(name)) if name else None,
        command=commands_shown[0] if commands_shown else None,
    )


def _file_exists(folder: Path, entry: Mapping[str, Any], key: str) -> bool:
    return isinstance(entry.get(key), str) and (folder / entry[key]).exists()


def _rate(text: Any) -> float | None:
    try:
        return float(Fraction(text))
    except (TypeError, ValueError, ZeroDivisionError):  # an older or damaged record: the browser guesses
        return None


def _command_facts(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The page's description of a command."""
    shown = ("command", "date", "checkpoint", "weights", "trained", "options", "version", "commit")
    return {key: entry[key] for key in shown if entry.get(key)} | {"differing": entry.get("differing") or {}}


def _write_curves(folder: Path, shown_metrics: Container[str]) -> dict[str, str]:
    """Write the metrics per frame for the page; returns measured name -> file.

    They are scripts, because browsers do not let a local page load data; one file each, because most are never opened.
    """
    path = folder / FRAME_METRICS
    if not path.is_file():
        return {}
    written: dict[str, str] = {}
    try:
        with replacing_folder(folder / CURVES) as temporary, reading(path, "not a table of script/evaluate.py"):
            for name, columns in _frame_metrics(path):
                if name in shown_metrics:
                    file = f"{len(written)}.js"
                    (temporary / file).write_text(f"showCurves({json.dumps(columns)});\n", encoding="utf-8")
                    written[name] = f"{CURVES}/{file}"
    except UserError as error:  # optional for the page
        log.warning("%s", error)
        return {}
    return written


def _frame_metrics(path: Path) -> Iterator[tuple[str, dict[str, list[float | None]]]]:
    """The videos of metrics.csv, each with values per frame and metric; rows of a video are consecutive."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        names = next(rows)[2:]
        for video, of_video in groupby(rows, key=itemgetter(0)):
            values = zip(*(row[2:] for row in of_video), strict=True)
            columns = {name: [_number(cell) for cell in cells] for name, cells in zip(names, values, strict=True)}
            yield (
                printable(video),
                {name: cells for name, cells in columns.items() if any(c is not None for c in cells)},
            )


def _number(cell: str) -> float | None:
    """A cell with five digits; None if nothing was measured or the face was missed."""
    value = float(cell) if cell else math.nan
    return float(f"{value:.5g}") if math.isfinite(value) else None


def summary_of_losses(known: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Log and return the means over all frames of all videos; empty if nothing was measured."""
    known = [entry for entry in known if "l1" in entry]
    if not known:
        return {}
    frames = max(1, sum(entry["frames"] for entry in known))
    loss, repeated = (sum(e[name] * e["frames"] for e in known) / frames for name in ("l1", "l1_of_repeating"))
    below = 100 * (1 - loss / max(repeated, 1e-12))
    log.info("Reconstruction loss: %s", loss)
    log.info("%.1f %% %s repeating the first frame (%s)", abs(below), "above" if below < 0 else "below", repeated)
    return {"L1": f"{loss:.5f}", "L1 of repeating the first frame": f"{repeated:.5f}", "below": f"{below:.1f} %"}
