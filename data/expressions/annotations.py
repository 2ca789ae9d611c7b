"""Files of action units by picture: the released pickles (read without running them), and plain npz and csv of ours."""

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.expressions.openface import SLACK
from util.archives import read_npz
from util.cells import read_cells
from util.errors import UserError
from util.expressions import STRONGEST, UNITS, Unit
from util.files import replacing, write_text
from util.reading import reading
from util.unpickling import read_pickle

Annotations = dict[str, np.ndarray]
"""Picture without its suffix -> intensities (C,) float64, 0 to 5, in the order of the units."""
HELD = "a dictionary from pictures to rows of numbers"
"""Expected content of a pickle of action units."""


def read_annotations(path: Path | str, units: Sequence[Unit] = UNITS) -> Annotations:
    """The intensities of all pictures, checked: as many as units, finite, from 0 to 5."""
    path = Path(path)
    readers = {".pkl": _from_pickle, ".pickle": _from_pickle, ".npz": _from_npz, ".csv": _from_csv}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path}: action units are read from {', '.join(readers)}")
    if not path.is_file():
        near = (
            sorted(one.name for one in path.parent.glob("*") if one.suffix in readers) if path.parent.is_dir() else []
        )
        raise UserError(
            f"{path}: no such file; make it with script/prepare_au_annotations.py"
            + (f", or choose another with --aus_file: {', '.join(near[:6])}" if near else "")
        )
    content = readers[path.suffix.lower()](path, units)
    annotations = {_key(path, key): _checked(path, key, value, units) for key, value in content.items()}
    if not annotations:
        raise UserError(f"{path}: contains no pictures")
    if max(float(values.max(initial=0)) for values in annotations.values()) < 1:
        warnings.warn(
            f"{path}: no intensity reaches 1; the range is 0 to 5, so they may already be scaled", stacklevel=2
        )
    return annotations


def write_annotations(path: Path | str, annotations: Mapping[str, np.ndarray], units: Sequence[Unit] = UNITS) -> None:
    """Write .pkl (which the original reads too), .npz or .csv."""
    path = Path(path)
    names = [unit.column for unit in units]
    rows = np.array(list(annotations.values()), np.float64).reshape(len(annotations), len(units))
    if path.suffix == ".csv":
        lines = [",".join(["name", *names])]
        lines += [",".join([name, *(f"{value:g}" for value in row)]) for name, row in annotations.items()]
        write_text(path, "\n".join(lines) + "\n")
        return
    if path.suffix not in (".pkl", ".npz"):
        raise UserError(f"{path}: action units are written as .pkl, .npz or .csv")
    with replacing(path) as temporary:
        if path.suffix == ".npz":
            np.savez(temporary, names=np.array(list(annotations)), aus=rows, au_names=np.array(names))
        else:
            content = {name: np.asarray(values, np.float64) for name, values in annotations.items()}
            temporary.write_bytes(pickle.dumps(content, protocol=2))


def _from_pickle(path: Path, units: Sequence[Unit]) -> Mapping:
    content = read_pickle(path, HELD)
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a dictionary from pictures to intensities")
    return content


def _from_npz(path: Path, units: Sequence[Unit]) -> Mapping:
    arrays = read_npz(path, "needs the plain arrays names, aus and au_names", "names", "aus", "au_names")
    order = _order(path, [str(column) for column in arrays["au_names"].reshape(-1)], units)
    with reading(path, "its arrays differ in length or shape"):
        return {str(name): row[order] for name, row in zip(arrays["names"], arrays["aus"], strict=True)}


def _from_csv(path: Path, units: Sequence[Unit]) -> Mapping:
    rows = read_cells(path)
    order = _order(path, rows[0][1][1:], units)
    with reading(path, "its rows differ in their number of cells"):
        return {row[0]: [row[1:][index] for index in order] for _, row in rows[1:]}


def _order(path: Path, columns: list[str], units: Sequence[Unit]) -> list[int]:
    short = [column.removesuffix("_r") for column in columns]
    missing = [unit.column for unit in units if unit.column not in short]
    if missing:
        raise UserError(f"{path}: lacks the columns {', '.join(missing)}")
    return [short.index(unit.column) for unit in units]


def _key(path: Path, key: Any) -> str:
    if isinstance(key, bytes):
        return key.decode("utf-8", "replace")
    if not isinstance(key, str):
        raise UserError(f"{path}: the key {key!r} is not the name of a picture")
    return key


def _checked(path: Path, key: Any, value: Any, units: Sequence[Unit]) -> np.ndarray:
    try:
        numbers = value if isinstance(value, np.ndarray) else list(value)
        # Nested lists could expand to more numbers than memory holds.
        if numbers is not value and not all(isinstance(one, (int, float, str, np.generic)) for one in numbers):
            raise ValueError("not numbers alone")
        vector = np.array(numbers, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: {key}: not a row of numbers ({error})") from None
    if vector.shape == (len(UNITS),) != (len(units),) and set(units) <= set(UNITS):
        # Seventeen values without names are OpenFace's units, in its order.
        vector = vector[[UNITS.index(unit) for unit in units]]
    if vector.shape != (len(units),):
        raise UserError(
            f"{path}: {key}: {vector.shape} values instead of {len(units)}; set --cond_nc to the number of units"
        )
    if not np.isfinite(vector).all() or vector.min() < -SLACK or vector.max() > STRONGEST + SLACK:
        raise UserError(f"{path}: {key}: intensities from {vector.min():g} to {vector.max():g}; the range is 0 to 5")
    return vector
