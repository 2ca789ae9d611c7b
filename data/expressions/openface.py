"""Reading OpenFace's tables by the names of their columns: of pictures (a row a face), of videos (a row a frame)."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from util.cells import read_cells
from util.errors import UserError
from util.expressions import STRONGEST, UNITS, Unit

SLACK = 0.05
"""Tolerance for rounding beyond 0 and 5."""
LANDMARKS = 68
SLOWEST, FASTEST = 0.01, 1000
"""Highest plausible frames per second."""
LARGEST_NUMBER = 10_000_000
"""Of a frame or a face; four days of video."""


@dataclass(frozen=True)
class Table:
    """The action units of one table."""

    path: Path
    intensities: np.ndarray  # (rows, C), 0 to 5
    confidence: np.ndarray  # (rows,)
    success: np.ndarray  # (rows,) bool; True in tables of pictures
    face: np.ndarray  # (rows,) number of the face
    frame: np.ndarray | None  # (rows,) number of the frame, None in tables of pictures
    timestamp: np.ndarray | None  # (rows,) seconds
    size: np.ndarray | None  # (rows,) side of the face, where the table has landmarks or their scale

    @property
    def is_sequence(self) -> bool:
        """Whether the rows are frames, not faces of one picture."""
        return self.frame is not None

    def good(self, min_confidence: float) -> np.ndarray:
        """Which rows can be relied on."""
        return self.success & (self.confidence >= min_confidence)

    def fps(self) -> Fraction:
        """Frames per second by the timestamps, which are rounded to milliseconds."""
        if self.timestamp is None or self.frame is None or len(self.timestamp) < 2:
            raise UserError(f"{self.path}: fewer than two timestamps, so the frame rate is unknown; set --fps")
        seconds = float(self.timestamp[-1] - self.timestamp[0])
        frames = float(self.frame[-1] - self.frame[0])
        if seconds <= 0 or frames <= 0:
            raise UserError(f"{self.path}: its timestamps do not increase; set --fps")
        rate = frames / seconds
        if not SLOWEST <= rate <= FASTEST:
            raise UserError(f"{self.path}: its timestamps give {rate:g} frames per second; set --fps")
        # Snap nearly whole rates, and 29.97 and the like, to the exact rate.
        candidates = [Fraction(round(rate)), Fraction(round(rate * 1.001) * 1000, 1001)]
        exact = min(candidates, key=lambda one: abs(float(one) - rate))
        return (
            exact
            if abs(float(exact) / rate - 1) < max(2e-3 / seconds, 1e-4)
            else Fraction(rate).limit_denominator(1000)
        )


def read_table(path: Path | str, units: Sequence[Unit] = UNITS) -> Table:
    """A table of OpenFace, whichever groups of columns it has and however its names are spaced."""
    path = Path(path)
    header, rows = _read_rows(path)
    columns = {name: index for index, name in enumerate(header)}
    wanted = [f"{unit.column}_r" for unit in units]
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise UserError(
            f"{path}: lacks the columns {', '.join(missing)}; run OpenFace with -aus (or all columns), or list the "
            f"units it has with --units"
        )
    numbers = _numbers(path, header, rows)

    for name in ("face", "face_id", "frame"):
        if name in columns and not (np.abs(numbers[:, columns[name]]) <= LARGEST_NUMBER).all():
            raise UserError(f"{path}: column {name} contains no frame or face numbers; run OpenFace again")

    def column(name: str) -> np.ndarray | None:
        return numbers[:, columns[name]] if name in columns else None

    table = Table(
        path=path,
        intensities=numbers[:, [columns[name] for name in wanted]],
        confidence=_or(column("confidence"), np.ones(len(rows))),
        success=_or(column("success"), np.ones(len(rows))) > 0.5,
        face=_or(_or(column("face"), column("face_id")), np.zeros(len(rows))).astype(int),
        frame=None if column("frame") is None else column("frame").astype(int),
        timestamp=column("timestamp"),
        size=_sizes(numbers, columns),
    )
    _check_range(table, wanted)
    return table


def choose_face(table: Table, by: str = "largest") -> tuple[int, str]:
    """The row of a picture's face to use, and why: the largest (if the table has sizes), or the most confident."""
    if len(table.confidence) == 1:
        return 0, "the only face"
    if by == "largest" and table.size is not None:
        return int(np.argmax(table.size)), f"the largest of {len(table.size)} faces"
    note = "" if by == "confident" else "; the table has no sizes"
    return int(np.argmax(table.confidence)), f"the most confident of {len(table.confidence)} faces{note}"


def choose_person(table: Table) -> np.ndarray:
    """Rows of a sequence in order, one per frame: the face present in most frames, the more confident on a tie."""
    ids, counts = np.unique(table.face, return_counts=True)
    best = max(ids, key=lambda one: (counts[ids == one][0], table.confidence[table.face == one].mean()))
    rows = np.flatnonzero(table.face == best)
    return rows[np.argsort(table.frame[rows], kind="stable")]


def _read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    (_, header), *lines = read_cells(path)
    rows = [cells for _, cells in lines]
    if not rows:
        raise UserError(f"{path}: has a header and no rows: OpenFace found no face")
    ragged = next((number for number, row in enumerate(rows, 2) if len(row) != len(header)), None)
    if ragged:
        raise UserError(f"{path}: line {ragged} and the header differ in their number of cells; run OpenFace again")
    return header, rows


def _numbers(path: Path, header: list[str], rows: list[list[str]]) -> np.ndarray:
    try:
        return np.array(rows, np.float64)
    except ValueError:
        cells = ((line, name, cell) for line, row in enumerate(rows, 2) for name, cell in zip(header, row, strict=True))
        line, name, cell = next(one for one in cells if not _is_number(one[2]))
        raise UserError(f"{path}: line {line}, column {name}: {cell!r} is not a number") from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
        return True
    except ValueError:
        return False


def _or(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    return second if first is None else first


def _sizes(numbers: np.ndarray, columns: dict[str, int]) -> np.ndarray | None:
    """The side of each row's face: of the box around its landmarks, or else the scale of the shape model."""
    if f"x_{LANDMARKS - 1}" not in columns:
        return numbers[:, columns["p_scale"]] if "p_scale" in columns else None
    sides = [np.ptp(numbers[:, [columns[f"{axis}_{i}"] for i in range(LANDMARKS)]], axis=1) for axis in "xy"]
    return np.sqrt(sides[0] * sides[1])


def _check_range(table: Table, names: list[str]) -> None:
    inside = (table.intensities >= -SLACK) & (table.intensities <= STRONGEST + SLACK)
    if inside.all():
        return
    row, unit = np.argwhere(~inside)[0]
    raise UserError(
        f"{table.path}: line {row + 2}, {names[unit]} is {table.intensities[row, unit]:g}; the range is 0 to 5"
    )
