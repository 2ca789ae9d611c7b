"""Files of measured values: metrics.csv (a row per frame), metrics.json (totals, videos, definitions), and a table."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metrics.metric import RESULT, Metric, sets
from metrics.parts.weights import sha256
from util.files import replacing, write_text
from util.jsons import finite, numbers
from util.printable import printable

if TYPE_CHECKING:
    from metrics.evaluation.measuring import Measurement

Record = Mapping[str, Any]
"""The values of one video in `VideoMeasurement.record`."""
Totals = dict[str, dict[str, float | int | None]]
"""Column -> {"frames": mean over frames, "videos": mean over videos, "n": frames, "missed": share}."""
CSV, JSON = "metrics.csv", "metrics.json"


def totals(records: Sequence[Record], metrics: Sequence[Metric], row: str = RESULT) -> Totals:
    """Totals of one row with both averages, independent of the order of the records."""
    found: Totals = {}
    for metric in metrics:
        for column in metric.columns:
            found[column] = _mean([record["rows"][row][0][column] for record in records if row in record["rows"]])
        found |= _own_totals(records, metric, row)
        for name, (above, below) in metric.ratios.items():
            found[name] = {key: _ratio(found[above][key], found[below][key]) for key in ("frames", "videos")} | {
                key: found[above][key] for key in ("n", "missed")
            }
    for metric in sets(metrics):
        value, count = metric.total()
        found[metric.name] = {"frames": value, "videos": None, "n": count, "missed": 0.0}
    return found


def _mean(summaries: Sequence[Mapping[str, float]]) -> dict[str, float | int | None]:
    count, missed = (sum(int(one[key]) for one in summaries) for key in ("n", "missed"))
    means = [one["sum"] / one["n"] for one in summaries if one["n"]]
    return {
        "frames": math.fsum(one["sum"] for one in summaries) / count if count else None,
        "videos": math.fsum(means) / len(means) if means else None,
        "n": count,
        "missed": missed / (count + missed) if count + missed else 0.0,
    }


def _own_totals(records: Sequence[Record], metric: Metric, row: str) -> Totals:
    """Totals of values that are no means over frames: over the videos that have them, or as the metric defines."""
    own = [record["rows"][row][1].get(metric.name, {}) for record in records if row in record["rows"]]
    found: Totals = {}
    for name in sorted({name for values in own for name in values if not name.startswith("_")}):
        known = [values[name] for values in own if not math.isnan(values.get(name, math.nan))]
        mean = math.fsum(known) / len(known) if known else None
        found[name] = {"frames": None, "videos": mean, "n": len(known), "missed": 1 - len(known) / len(own)}
    special = metric.totals(own)
    return found | {name: {"frames": None, "videos": value, "n": len(own), "missed": 0.0}
                    for name, value in special.items()}  # fmt: skip


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def of_video(record: Record, metrics: Sequence[Metric], row: str = RESULT) -> dict[str, float | None]:
    """Column -> the value of one video."""
    return {name: value["frames"] if value["frames"] is not None else value["videos"]
            for name, value in totals([record], [one for one in metrics if one not in sets(metrics)], row).items()
            }  # fmt: skip


def definition(metric: Metric) -> dict[str, Any]:
    """The definition of a metric as data: everything that its values depend on."""
    return {
        "name": metric.name,
        "says": metric.says,
        "used_by": metric.used_by,
        "unit": metric.unit,
        "better": metric.better,
        "settings": dict(metric.settings),
        "weights": {what: {"file": path.name, "sha256": sha256(path)} for what, path in metric.weights().items()},
        "libraries": {name: version(name) for name in metric.libraries},
    }


def version(package: str) -> str | None:
    """The version of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def report(
    measurement: Measurement, records: Sequence[Record], protocol: Mapping[str, Any], command: Sequence[str]
) -> dict[str, Any]:
    """The content of metrics.json."""
    records = sorted(records, key=lambda record: record["video"])
    rows = {row: totals(records, metrics, row) for row, metrics in measurement.rows.items()}
    definitions = {metric.name: definition(metric) for metric in measurement.metrics}
    packages = {"torch", "numpy", "opencv-python"} | {name for one in definitions.values() for name in one["libraries"]}
    return {
        "total": rows.pop(RESULT),
        "controls": rows,
        "videos": {record["video"]: of_video(record, measurement.metrics) for record in records},
        "controls_of_videos": {
            row: {record["video"]: of_video(record, measurement.metrics, row) for record in records} for row in rows
        },
        "frames": {record["video"]: record["frames"] for record in records},
        "sizes": {record["video"]: record["size"] for record in records},
        "protocol": dict(protocol),
        "definitions": definitions,
        "weights": {f"{name}: {what}": file["sha256"] for name, one in definitions.items()
                    for what, file in one["weights"].items()},
        "versions": {name: version(name) for name in sorted(packages)},
        "command": list(command),
    }  # fmt: skip


def to_json(content: Any) -> str:
    """JSON that every program can read: infinite values become "inf", NaN becomes null."""
    text = json.dumps(finite(content), ensure_ascii=False, indent=1)
    # A file name that is not UTF-8 is escaped, which JSON requires.
    return text.encode(errors="backslashreplace").decode()


def to_line(content: Any) -> str:
    """One line of JSON, for other programs."""
    return json.dumps(finite(content))


NUMBERS = ("rows", "values")
"""The parts of a record that hold numbers only."""


def stored(record: Record) -> Record:
    """A record as JSON can hold it: missed frames, which are NaN, become "nan"."""
    return {**record, **{part: finite(record[part], "nan") for part in NUMBERS}}


def restored(record: Record) -> Record:
    """The record that was `stored`."""
    return {**record, **{part: numbers(record[part]) for part in NUMBERS}}


def write(folder: Path, content: Mapping[str, Any], records: Iterable[Record], columns: Sequence[str]) -> None:
    """Write metrics.csv and metrics.json, each whole or not at all."""
    with replacing(folder / CSV) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "frame", *columns])
        for record in sorted(records, key=lambda record: record["video"]):
            cells = [map(_cell, record["values"][column]) for column in columns]
            frames = range(record["frames"])
            writer.writerows(zip([printable(record["video"])] * len(frames), frames, *cells, strict=True))
    write_text(folder / JSON, to_json(content) + "\n")


def _cell(value: float | None) -> str:
    """Empty: nothing to measure; nan: the result's face was missed."""
    return "" if value is None else repr(value)


def columns_of(metrics: Iterable[Metric]) -> list[str]:
    """The columns of metrics.csv after video and frame."""
    return [column for metric in metrics for column in metric.columns]
