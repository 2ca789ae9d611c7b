"""Tables with one row per training item: stored on the host, a few rows at a time on the device.

Adam without first moment does not change a row without gradient and only decays its second moment. So decaying the
moments of the used rows up to the current step trains them exactly like updates of the whole table.
"""

import logging
import math
import mmap
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from engine.distributed import Processes
from util.errors import UserError

log = logging.getLogger(__name__)

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Adam's names of its moments, in the order of its betas."""


class Declared(Protocol):
    """A table that a family declares (models.family.RowTable)."""

    parameter: str
    optimizer: str
    key: str
    low: float
    high: float


class HostTable:
    """Rows with Adam's moments in memory-mapped files; unwritten rows have random initial values.

    The files are sparse: unwritten rows take neither memory nor disk. With the names of the items, a run whose dataset
    has changed keeps the rows of the remaining items.
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        width: int,
        decays: dict[str, float],
        declared: Declared,
        seed: int,
        names: Sequence[str] | None = None,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self.decays, self._declared, self._seed = decays, declared, seed
        self.names = None if names is None else list(names)
        self._arrays = {
            name: _mapped(folder / f"{name}.float32", (count, width), np.float32) for name in ("value", *decays)
        }
        self._updates = _mapped(folder / "updates.int64", (count,), np.int64)
        self._written = np.zeros(count, bool)

    def read(self, rows: np.ndarray, now: int) -> dict[str, np.ndarray]:
        """Values and moments of some rows, decayed to `now` updates of the whole table."""
        found = {name: array[rows] for name, array in self._arrays.items()}
        for index in np.flatnonzero(~self._written[rows]):
            found["value"][index] = self._start(int(rows[index]), found["value"].shape[1])
        gap = (now - self._updates[rows])[:, None]
        for name, decay in self.decays.items():
            found[name] = (found[name] * np.float64(decay) ** gap).astype(np.float32)
        return found

    def write(self, rows: np.ndarray, arrays: dict[str, np.ndarray], now: int) -> None:
        """Store rows as of `now` updates."""
        for name, array in arrays.items():
            self._arrays[name][rows] = array
        self._updates[rows] = now
        self._written[rows] = True

    def _start(self, row: int, width: int) -> np.ndarray:
        return np.random.default_rng((self._seed, row)).uniform(self._declared.low, self._declared.high, width)

    def state_dict(self) -> dict[str, Any]:
        """The written rows."""
        rows = np.flatnonzero(self._written)
        every = len(rows) == len(self._written)
        arrays = {**self._arrays, "updates": self._updates}
        # If all rows are written, the mapped file is saved directly, without a copy in memory.
        return {"rows": torch.from_numpy(rows), "names": self.names} | {
            name: torch.from_numpy(array if every else array[rows]) for name, array in arrays.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the rows of a state_dict."""
        saved, rows = self._matching(state["rows"].numpy(), state.get("names"))
        self._written[:] = False
        self._written[rows] = True
        for name, array in {**self._arrays, "updates": self._updates}.items():
            array[rows] = state[name].numpy()[saved]

    def _matching(self, rows: np.ndarray, names: list[str] | None) -> tuple[Any, np.ndarray]:
        """The indices of the saved rows whose items remain, and their rows in this table."""
        if names is None or self.names is None or names == self.names:
            if len(rows) and rows.max() >= len(self._written):
                raise UserError(
                    f"the run has rows for at least {rows.max() + 1} items, but the dataset has "
                    f"{len(self._written)}; resume with the original dataset"
                )
            return slice(None), rows
        now = {name: row for row, name in enumerate(self.names)}
        log.warning(
            "the dataset has changed: removed %d items, added %d; keeping the rows of the others",
            len(set(names) - now.keys()),
            len(now.keys() - set(names)),
        )
        kept = [index for index, row in enumerate(rows) if names[row] in now]
        return kept, np.array([now[names[row]] for row in rows[kept]], np.int64)


def _mapped(path: Path, shape: tuple[int, ...], kind: type) -> np.ndarray:
    """A new array of zeros in a file."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    with path.open("w+b") as file:
        file.truncate(size)
        mapping = mmap.mmap(file.fileno(), size)
    if hasattr(mmap, "MADV_RANDOM"):
        # Otherwise the system reads megabytes ahead of every row, which costs milliseconds and memory.
        mapping.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapping, kind).reshape(shape)


class StepRows:
    """Copies the rows of a step from the table into a parameter, and back when the step is done.

    Only the main process holds the table; it sends the few rows to the others.
    """

    def __init__(
        self,
        declared: Declared,
        parameter: torch.nn.Parameter,
        optimizer: torch.optim.Optimizer,
        processes: Processes,
        *,
        count: int,
        folder: Path,
        seed: int,
        names: Sequence[str] | None = None,
    ):
        self.declared, self.parameter, self.optimizer, self.processes = declared, parameter, optimizer, processes
        self._settings: dict[str, Any] = {"folder": folder, "count": count, "seed": seed, "names": names}
        betas = _betas(optimizer, parameter, declared)
        self._decays = {name: beta for name, beta in zip(MOMENTS, betas, strict=True) if beta}
        self._rows: np.ndarray = np.zeros(0, np.int64)

    @cached_property
    def table(self) -> HostTable:
        """The whole table, created on first use in the main process."""
        return HostTable(**self._settings, width=self.parameter.shape[1], decays=self._decays, declared=self.declared)

    def load(self, micro_batches: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Fill the parameter; return the micro-batches with indices into it instead of item numbers."""
        own = torch.cat([batch[self.declared.key] for batch in micro_batches])
        rows, indices = self.processes.gather(own).unique(return_inverse=True)
        if len(rows) > len(self.parameter):
            raise RuntimeError(f"{len(rows)} rows in a step; {self.declared.parameter} fits {len(self.parameter)}")
        self._rows = rows.numpy()
        self._fill()
        mine = indices.view(self.processes.world, -1)[self.processes.rank]
        parts = mine.split([len(batch[self.declared.key]) for batch in micro_batches])
        return [batch | {self.declared.key: part} for batch, part in zip(micro_batches, parts, strict=True)]

    def _fill(self) -> None:
        found = self.table.read(self._rows, self._updates()) if self.processes.is_main else {}
        for name, tensor in self._device_tensors().items():
            tensor.zero_()
            if found:
                tensor[: len(self._rows)].copy_(torch.from_numpy(found[name]))
            self.processes.share([tensor])

    def store(self) -> None:
        """Write the rows of the finished step into the table."""
        if self.processes.is_main:
            kept = {name: tensor[: len(self._rows)].cpu().numpy() for name, tensor in self._device_tensors().items()}
            self.table.write(self._rows, kept, self._updates())

    def _device_tensors(self) -> dict[str, Tensor]:
        state = self._state()
        return {"value": self.parameter.data} | {name: state[name] for name in self._decays}

    def _updates(self) -> int:
        return int(self._state()["step"])

    def _state(self) -> dict[str, Tensor]:
        """Adam's state of the parameter; initialised here, since a resumed state may fit another batch size."""
        state = self.optimizer.state[self.parameter]
        state.setdefault("step", torch.zeros(()))
        for name in MOMENTS:
            if name not in state or state[name].shape != self.parameter.shape:
                state[name] = torch.zeros_like(self.parameter)
        return state


def build_rows(
    family: Any, optimizers: dict[str, torch.optim.Optimizer], processes: Processes, *, folder: Path, **settings: Any
) -> dict[str, StepRows]:
    """A StepRows for each table that a family declares."""
    return {
        name: StepRows(
            declared,
            family.get_parameter(declared.parameter),
            optimizers[declared.optimizer],
            processes,
            folder=folder / name,
            **settings,
        )
        for name, declared in family.row_tables().items()
    }


def _betas(optimizer: torch.optim.Optimizer, parameter: torch.nn.Parameter, declared: Declared) -> Iterator[float]:
    groups = [group for group in optimizer.param_groups if any(p is parameter for p in group["params"])]
    if not isinstance(optimizer, torch.optim.Adam) or not groups or groups[0]["weight_decay"] or groups[0]["amsgrad"]:
        raise ValueError(f"{declared.parameter} must belong to the optimizer {declared.optimizer}, a plain Adam")
    return groups[0]["betas"]
