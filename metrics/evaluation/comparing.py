"""Compare runs: which one is better, by how much, and whether the difference is significant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from metrics.evaluation.results import CSV, JSON
from metrics.evaluation.tables import bold, shown
from util.cells import read_dicts
from util.errors import UserError
from util.jsons import read_json
from util.reading import reading

RESAMPLINGS, INTERVAL = 2000, 0.95
RUNS = Path("eval_results")
NEEDED = ("total", "videos", "definitions", "protocol")


@dataclass(frozen=True)
class Run:
    """The measured values of one run."""

    label: str
    folder: Path
    content: Mapping[str, Any]

    @cached_property
    def frames(self) -> dict[str, dict[str, list[float | None]]]:
        """Video -> column -> values per frame, from metrics.csv; empty without that file."""
        path = self.folder / CSV
        found: dict[str, dict[str, list[float | None]]] = {}
        for line, row in read_dicts(path)[1] if path.is_file() else ():
            with reading(path, f"line {line}: no column video", "measure again"):
                curves = found.setdefault(row.pop("video"), {})
            for column, cell in row.items():
                with reading(path, f"line {line}: {column} is not a number", "measure again"):
                    curves.setdefault(column, []).append(float(cell) if cell else None)
        return found

    @property
    def sizes(self) -> dict[str, str]:
        """Video -> the size of its frames when they were measured, whatever brought them to it; earlier versions wrote
        none."""
        with reading(self.folder / JSON, "sizes are not width and height of each video", "measure again"):
            return {name: f"{width}x{height}" for name, (width, height) in self.content.get("sizes", {}).items()}

    def values(self, column: str) -> dict[str, float]:
        """Video -> value, for the videos that have one."""
        found = {name: values.get(column) for name, values in self.content["videos"].items()}
        return {name: float(value) for name, value in found.items() if value is not None}


def read_run(given: str) -> Run:
    """Read a run: a folder with metrics.json, such a file, or a name in eval_results/."""
    path = Path(given)
    choices = [path, path / JSON, RUNS / given / JSON]
    found = next((choice for choice in choices if choice.is_file()), None)
    if found is None:
        raise UserError(f"{given}: no {JSON}; measure it first with script/evaluate.py --generated {given} ...")
    what, remedy = "not what script/evaluate.py writes", "measure again"
    with reading(found, what, remedy):
        content = read_json(found, what, remedy)
        return Run(found.parent.name, found.parent, {**content, **{key: content[key] for key in NEEDED}})


def read_runs(given: Sequence[str], labels: Sequence[str] | None = None) -> list[Run]:
    """Read several runs, with distinct labels; their metrics must have the same definitions."""
    runs = [read_run(one) for one in given]
    if labels and len(labels) != len(runs):
        raise UserError(f"--labels: {len(labels)} names for {len(runs)} runs")
    names = list(labels or [run.label for run in runs])
    if len(set(names)) < len(names):
        names = [str(run.folder) for run in runs] if not labels else names
    if len(set(names)) < len(names):
        raise UserError("two runs have the same name; set --labels A,B,...")
    runs = [Run(name, run.folder, run.content) for name, run in zip(names, runs, strict=True)]
    for run in runs[1:]:
        _check_alike(runs[0], run)
    if not common_videos(runs):
        raise UserError(f"{', '.join(run.label for run in runs)} have no video in common; measure the same videos")
    return runs


def common_videos(runs: Sequence[Run]) -> list[str]:
    """The videos that all runs have, in the order of the first run."""
    return [name for name in runs[0].content["videos"] if all(name in run.content["videos"] for run in runs)]


def unequal_videos(runs: Sequence[Run]) -> str:
    """A warning if the runs measured different videos, so that their totals cannot be compared; else empty."""
    common = len(common_videos(runs))
    counts = {run.label: len(run.content["videos"]) for run in runs}
    if all(count == common for count in counts.values()):
        return ""
    listed = ", ".join(f"{label} {count}" for label, count in counts.items())
    return (
        f"the runs have {common} videos in common ({listed}): each total is over the run's own videos, the differences "
        f"are over common ones"
    )


def _check_alike(one: Run, other: Run) -> None:
    """Refuse to compare numbers with different definitions, sizes or weights."""
    for name in set(one.content["definitions"]) & set(other.content["definitions"]):
        mine, theirs = one.content["definitions"][name], other.content["definitions"][name]
        differing = [key for key in ("settings", "weights") if mine[key] != theirs[key]]
        if differing:
            raise UserError(
                f"{name}: {one.label} and {other.label} differ in its {' and '.join(differing)}; measure both with "
                f"the same settings"
            )
    sizes = {run.label: run.sizes for run in (one, other)}
    for video in sorted(set(sizes[one.label]) & set(sizes[other.label])):
        mine, theirs = (known[video] for known in sizes.values())
        if mine != theirs:
            raise UserError(
                f"{video} was measured at different sizes, {one.label} at {mine}, {other.label} at {theirs}; measure "
                f"both with the same --size"
            )


@dataclass(frozen=True)
class Difference:
    """The difference of one run from the first, over their common videos."""

    mean: float
    low: float
    high: float
    videos: int

    @property
    def includes_zero(self) -> bool:
        """Whether the interval contains 0, so that the difference may be chance; or has no ends."""
        return not (self.low > 0 or self.high < 0)

    def __str__(self) -> str:
        return f"{self.mean:+.3g} [{self.low:+.3g}, {self.high:+.3g}]" + ("" if self.includes_zero else " *")


def difference(first: Run, other: Run, column: str) -> Difference | None:
    """The paired bootstrap over videos; None with fewer than two common videos."""
    mine, theirs = first.values(column), other.values(column)
    common = sorted(set(mine) & set(theirs))
    if len(common) < 2:
        return None
    values = np.array([theirs[name] - mine[name] for name in common])
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (RESAMPLINGS, len(values)))].mean(1)
    low, high = np.quantile(means, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return Difference(float(values.mean()), float(low), float(high), len(common))


def columns(runs: Sequence[Run]) -> list[str]:
    """The columns that all runs have, in the order of the first run."""
    shared = [name for name in runs[0].content["total"] if all(name in run.content["total"] for run in runs)]
    if not shared:
        raise UserError("the runs have no metric in common; measure the same ones")
    return shared


def better(runs: Sequence[Run], column: str) -> str:
    """ "lower", "higher" or "like truth"; empty for a secondary column."""
    return runs[0].content["definitions"].get(column, {}).get("better", "")


def best(runs: Sequence[Run], column: str, weighting: str) -> int | None:
    """The best value among the runs, if the column has a direction and at least two values differ."""
    direction = better(runs, column)
    values = [total_of(run, column, weighting) for run in runs]
    if not direction or any(not isinstance(value, float | int) for value in values) or len(set(values)) == 1:
        return None
    if direction == "like truth":
        goals = [total_of(run, f"{column}.truth", weighting) for run in runs]
        if any(goal is None for goal in goals):
            return None
        return int(np.argmin([abs(value - goal) for value, goal in zip(values, goals, strict=True)]))
    return int(np.argmin(values) if direction == "lower" else np.argmax(values))


def total_of(run: Run, column: str, weighting: str) -> Any:
    """A total with the given averaging, or with the only one it has."""
    total = run.content["total"].get(column, {})
    value = total.get(weighting)
    return value if value is not None else total.get("videos" if weighting == "frames" else "frames")


def comparison(runs: Sequence[Run], weighting: str = "videos") -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table: values with the best in bold, then differences from the first run.

    Where a run misses faces, the next row has the shares.
    """
    others = [run.label for run in runs[1:]]
    head = ["metric", *(run.label for run in runs), *(f"{label} - {runs[0].label}" for label in others)]
    rows = []
    for column in columns(runs):
        winner = best(runs, column, weighting)
        cells = [shown(total_of(run, column, weighting)) for run in runs]
        cells = [bold(cell) if index == winner else cell for index, cell in enumerate(cells)]
        found = [difference(runs[0], run, column) for run in runs[1:]]
        rows.append([column, *cells, *("–" if one is None else str(one) for one in found)])
        if better(runs, column) and any(lacking := [missed(run, column) for run in runs]):
            rows.append([f"{column}: missed", *(f"{100 * share:.1f} %" for share in lacking), *["–"] * len(others)])
    return head, rows


def missed(run: Run, column: str) -> float:
    """The share of frames or videos without a value: a run that misses faces is better in the others only."""
    return float(run.content["total"][column].get("missed") or 0)


def facts(runs: Sequence[Run], weighting: str) -> dict[str, Any]:
    """The comparison as data, for --json."""
    return {
        column: {
            "values": {run.label: total_of(run, column, weighting) for run in runs},
            "missed": {run.label: missed(run, column) for run in runs},
            "best": None if (winner := best(runs, column, weighting)) is None else runs[winner].label,
            "differences": {
                run.label: vars(found) for run in runs[1:] if (found := difference(runs[0], run, column)) is not None
            },
        }
        for column in columns(runs)
    }
