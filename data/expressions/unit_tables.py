"""From many tables of OpenFace, or from pictures, to the annotations that GANimation trains on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.expressions.annotations import Annotations
from data.expressions.openface import Table, choose_face, choose_person, read_table
from data.expressions.pyfeat import UnitReader
from data.video.images import read_image
from util.errors import UserError
from util.expressions import UNITS, Unit

STRONG = 1.0
"""An intensity from which a unit is clearly active."""


@dataclass
class Collected:
    """Annotations, skipped items and choices between faces."""

    annotations: Annotations = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """Skipped pictures or tables, with the reason."""
    chosen: list[tuple[str, str]] = field(default_factory=list)
    """Pictures of several faces, with the one that was chosen."""

    def add(self, name: str, values: np.ndarray) -> None:
        """Annotate a picture; two tables for one are a mistake."""
        if name in self.annotations:
            raise UserError(f"{name}: annotated twice; choose a --frame_name that is unique over all videos")
        self.annotations[name] = values


def collect(
    tables: Iterable[Path],
    units: Sequence[Unit] = UNITS,
    *,
    face: str = "largest",
    min_confidence: float = 0.75,
    frame_name: str = "{name}_{frame:05d}",
) -> Collected:
    """Read tables of pictures and videos; skip damaged ones, and faces of low confidence, by name."""
    collected = Collected()
    for path in tables:
        try:
            table = read_table(path, units)
        except UserError as error:
            collected.left_out.append((path.stem, str(error)))
            continue
        if table.is_sequence:
            _add_frames(collected, table, min_confidence, frame_name)
        else:
            _add_picture(collected, table, face, min_confidence)
    return collected


def _add_picture(collected: Collected, table: Table, face: str, min_confidence: float) -> None:
    row, why = choose_face(table, face)
    if len(table.confidence) > 1:
        collected.chosen.append((table.path.stem, why))
    if not table.good(min_confidence)[row]:
        collected.left_out.append((table.path.stem, f"confidence {table.confidence[row]:g} < {min_confidence:g}"))
        return
    collected.add(table.path.stem, table.intensities[row])


def _add_frames(collected: Collected, table: Table, min_confidence: float, frame_name: str) -> None:
    rows, good = choose_person(table), table.good(min_confidence)
    people = len(np.unique(table.face))
    if people > 1:
        collected.chosen.append((table.path.stem, f"the most frequent of {people} faces"))
    for row in rows:
        name = frame_name.format(name=table.path.stem, frame=int(table.frame[row]))
        if good[row]:
            collected.add(name, table.intensities[row])
        else:
            reason = f"confidence {table.confidence[row]:g}" if table.success[row] else "not tracked"
            collected.left_out.append((name, reason))


def collect_pictures(pictures: Iterable[Path], reader: UnitReader) -> Collected:
    """Measure pictures with py-feat."""
    collected = Collected()
    for path in pictures:
        try:
            collected.add(path.stem, reader.read(read_image(path)).astype(np.float64))
        except UserError as error:
            collected.left_out.append((path.stem, str(error)))
    return collected


def means_table(annotations: Annotations, units: Sequence[Unit] = UNITS) -> list[list[str]]:
    """Summary rows: for each unit the mean, the largest intensity, and the share of pictures that show it clearly."""
    values = np.array(list(annotations.values()))
    rows = [["unit", "name", "mean", "largest", f"share from {STRONG:g}"]]
    for unit, column in zip(units, values.T, strict=True):
        share = float((column >= STRONG).mean())
        rows.append([unit.column, unit.name, f"{column.mean():.3f}", f"{column.max():.2f}", f"{share:.3f}"])
    return rows
