"""Detections of other programs, read from tables: a row per frame of a stream, NaN without a detection."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metrics.metric import Video
from util.archives import read_npz
from util.errors import UserError
from util.expressions import UNITS
from util.reading import reading

if TYPE_CHECKING:
    from metrics.parts.streams import Stream
    from metrics.parts.tools import Tools

TABLES = {
    "result_aus": "OpenFace tables of the results (NAME.csv), for au",
    "driving_aus": "OpenFace tables of the driving videos, or of the truth",
    "result_coefficients": "3DMM coefficients of the results (NAME.npz: expression, pose), for aed/3dmm and apd/3dmm",
    "truth_coefficients": "3DMM coefficients of the truth",
    "spotted": "csv of spotted intervals (video, onset, offset, kind), for spotting",
    "annotated": "csv of annotated intervals",
    "drawn_truth": "truth/ of a drawn dataset, for landmarks/truth, pose/truth, au/truth and motion/truth",
}
"""Option -> its description."""
MIN_CONFIDENCE = 0.8
"""OpenFace's rows with a lower confidence are ignored; its authors recommend 0.75 to 0.8."""
COEFFICIENTS = {"expression": 64, "pose": 6}
"""Arrays of a coefficient file: expression (N, 64), pose (N, 6): three angles, then the translation."""


def table_option(kind: str, role: str) -> str:
    """The option that names the tables of a stream; in a reconstruction the driving video is the truth."""
    if kind == "aus":
        return "result_aus" if role == "result" else "driving_aus"
    return "result_coefficients" if role == "result" else "truth_coefficients"


def table_file(tools: Tools, option: str, video: Video, suffix: str, metric: str) -> Path:
    """The table of a video, found by name."""
    if option not in tools.tables:
        raise UserError(f"{metric}: needs tables; set --{option} to their folder (NAME{suffix} per video)")
    folder = Path(tools.tables[option])
    path = folder if folder.is_file() else folder / f"{video.name}{suffix}"
    if not path.is_file():
        raise UserError(f"{metric}: {path} is missing, the table of {video.name}")
    return path


class ActionUnits:
    """Intensities (N, 17) from 0 to 5: from OpenFace's tables if given, otherwise from py-feat."""

    def __init__(self, tools: Tools):
        self._tools = tools

    def __call__(self, stream: Stream) -> np.ndarray:
        option = table_option("aus", stream.role)
        if option not in self._tools.tables:
            return self._seen(stream)
        rows = openface_rows(table_file(self._tools, option, stream.video, ".csv", "au"))
        return rows_of(rows, stream, f"--{option}")

    def _seen(self, stream: Stream) -> np.ndarray:
        from data.expressions.pyfeat import UnitReader

        reader = self._tools.share("py-feat", lambda: UnitReader(device=str(self._tools.device)))
        units = np.full((len(stream), len(UNITS)), np.nan)
        for index, frame in enumerate(stream.bytes):
            try:
                units[index] = reader.read(frame)
            except UserError:  # py-feat finds no face in this frame, which is then missed
                continue
        return units


@lru_cache(maxsize=8)
def openface_rows(path: Path) -> np.ndarray:
    """A row per frame, starting at OpenFace's frame 1; NaN where OpenFace failed or was not confident."""
    from data.expressions.openface import choose_person, read_table

    table = read_table(path)
    if not table.is_sequence:
        raise UserError(f"{path}: a table of pictures; run OpenFace's FeatureExtraction on the video")
    chosen = choose_person(table)
    rows = np.full((int(table.frame[chosen].max()), len(UNITS)), np.nan)
    good = table.good(MIN_CONFIDENCE)[chosen]
    rows[table.frame[chosen][good] - 1] = table.intensities[chosen][good]
    return rows


class Coefficients:
    """Coefficients (N, 70) of a 3D face model, fitted by another program: 64 of expression, 6 of pose."""

    def __init__(self, tools: Tools):
        self._tools = tools

    def __call__(self, stream: Stream) -> np.ndarray:
        option = table_option("coefficients", stream.role)
        rows = coefficient_rows(table_file(self._tools, option, stream.video, ".npz", "aed/3dmm and apd/3dmm"))
        return rows_of(rows, stream, f"--{option}")


@lru_cache(maxsize=8)
def coefficient_rows(path: Path) -> np.ndarray:
    """The coefficients (N, 70) of one video."""
    what = f"needs the arrays {', '.join(COEFFICIENTS)}"
    with reading(path, what):
        parts = [np.asarray(part, np.float64) for part in read_npz(path, what, *COEFFICIENTS).values()]
    widths = [part.shape[1:] for part in parts]
    if widths != [(width,) for width in COEFFICIENTS.values()] or len({len(part) for part in parts}) > 1:
        raise UserError(f"{path}: needs expression (N, 64) and pose (N, 6), a row per frame")
    return np.concatenate(parts, axis=1)


def rows_of(rows: np.ndarray, stream: Stream, what: str) -> np.ndarray:
    """The rows of the current frames."""
    last = stream.first + len(stream)
    if last > len(rows):
        raise UserError(f"{stream.video.name}: {what} has {len(rows)} rows, the video at least {last} frames")
    return rows[stream.first : last]
