"""Valid files with an odd value: one of their values replaced by another type, shape or number."""

import csv
import io
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import yaml

from script.fuzzing.damage import Damage

VALUES = (
    None, True, -1, 0, 3, 2**70, -0.5, float("nan"), float("inf"), 1e300, "", "x" * 300, "\0", "../x", "nan", "1e3",
    "2021-01-01", "é\u2028\x1b[2J", [], {}, [[]], {"a": 1}, [None], [1, [2, [3]]], ["a", "b", "c"],
)  # fmt: skip
"""Odd values in JSON, YAML and pickles."""
CELLS = (
    "",
    "-1",
    "0",
    "1e3",
    "nan",
    "inf",
    "-1e400",
    "1_0",
    "0x1",
    "9" * 30,
    "x" * 300,
    "../x",
    "/x",
    "a\nb",
    "\x1b[2J",
    "é",
)
KINDS = ("<f8", "<f2", ">f4", "|u1", "<i8", "|b1", "<U3", "|S2")
NUMBERS = (np.nan, np.inf, -1.0, 0.0, 1e30, 60000.0)


def within(read: Callable[[bytes], Any], write: Callable[[Any], bytes]) -> Callable[..., bytes]:
    """A way to change files: read one, put an odd value into it, write it again."""

    def way(rng: np.random.Generator, content: bytes, damage: Damage) -> bytes:
        return write(odd(rng, read(content)))

    return way


def odd(rng: np.random.Generator, value: Any) -> Any:
    """The value with an odd value at a random position."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = list(value)[rng.integers(len(value))]
        rest = {name: one for name, one in value.items() if name != key}
        way = rng.random()
        return (
            rest
            if way < 0.1
            else {**rest, f"{key}x": value[key]}
            if way < 0.2
            else {**value, key: odd(rng, value[key])}
        )
    if isinstance(value, (list, tuple)) and value and rng.random() < 0.9:
        position, way = int(rng.integers(len(value))), rng.random()
        new = [] if way < 0.1 else [value[position]] * 2 if way < 0.2 else [odd(rng, value[position])]
        return type(value)([*value[:position], *new, *value[position + 1 :]])
    if isinstance(value, np.ndarray):
        return odd_array(rng, value)
    if isinstance(value, torch.Tensor):
        return odd_tensor(rng, value)
    return VALUES[rng.integers(len(VALUES))]


def odd_array(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """An array with another type or shape, or with odd numbers."""
    way = rng.integers(6)
    if way == 0 and array.dtype.kind in "biuf":
        with np.errstate(all="ignore"):
            return array.astype(KINDS[rng.integers(len(KINDS))])
    if way == 1:
        return array.reshape(-1)
    if way == 2:
        return array[None] if rng.random() < 0.5 else np.asarray(array.T)
    if way == 3:
        return array[:0] if array.ndim else np.zeros((0, 4), array.dtype)
    if way == 4 and array.ndim:
        return array[: int(rng.integers(len(array) + 1))]
    changed = array.astype(np.float64, copy=True) if array.dtype.kind in "fiu" else np.array(array, np.dtype("<U9"))
    if changed.size:
        number = NUMBERS[rng.integers(len(NUMBERS))]
        changed.reshape(-1)[rng.integers(changed.size)] = number if changed.dtype.kind == "f" else "../é\0"
    with np.errstate(all="ignore"):
        return changed.astype(array.dtype) if array.dtype.kind in "fiu" else changed


def odd_tensor(rng: np.random.Generator, tensor: torch.Tensor) -> torch.Tensor:
    """A tensor with another type, shape or layout, or with odd numbers."""
    ways = (
        lambda: tensor.to(torch.complex64), lambda: tensor.to(torch.int32), lambda: tensor.to(torch.float16),
        lambda: tensor.reshape(-1), lambda: tensor[None], lambda: tensor.reshape(-1)[:0], lambda: tensor > 0,
        lambda: torch.full_like(tensor, torch.nan) if tensor.is_floating_point() else -tensor,
        lambda: tensor.reshape(-1)[:1].expand(10**12), lambda: tensor.to_sparse(), lambda: tensor.to("meta"),
    )  # fmt: skip
    return ways[rng.integers(len(ways))]()


def _npz(content: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(content)) as arrays:
        return dict(arrays)


def _write_npz(arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **(arrays if isinstance(arrays, dict) else {"a": 1}))
    return out.getvalue()


def _write_csv(rows: Any) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def in_csv(rng: np.random.Generator, content: bytes, damage: Damage) -> bytes:
    """A row with an odd cell, or with a cell too many or too few."""
    rows = list(csv.reader(io.StringIO(content.decode())))
    row = rows[rng.integers(len(rows))]
    position = int(rng.integers(len(row)))
    cell = CELLS[rng.integers(len(CELLS))]
    row[position : position + 1] = ([cell], [cell], [cell], [], [cell, cell])[rng.integers(5)]
    return _write_csv(rows)


def _write_torch(content: Any) -> bytes:
    out = io.BytesIO()
    torch.save(content, out)
    return out.getvalue()


def _write_lines(entries: Any) -> bytes:
    entries = entries if isinstance(entries, list) else [entries]
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


in_json = within(json.loads, lambda value: json.dumps(value).encode())
in_lines = within(lambda content: [json.loads(line) for line in content.splitlines()], _write_lines)
in_yaml = within(yaml.safe_load, lambda value: yaml.safe_dump(value, allow_unicode=True).encode())
in_npz = within(_npz, _write_npz)
in_pickle = within(pickle.loads, lambda value: pickle.dumps(value, 2))
in_torch = within(lambda content: torch.load(io.BytesIO(content), weights_only=False), _write_torch)
