"""Records of a results folder: results.jsonl, failures.csv and commands.jsonl."""

import itertools
import json
import logging
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from util.cells import read_dicts
from util.csv_table import write_table
from util.errors import UserError
from util.files import is_too_long, path_exists, write_text
from util.jsons import append_line, read_lines
from util.printable import printable
from util.threads import begin
from util.values import WHOLE

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)


def fingerprint_of_weights(state: Mapping[str, "Tensor"]) -> str:
    """The CRC-32 of all weights of a state dict and their names."""
    value = 0
    for name, tensor in state.items():
        array = tensor.detach().cpu().contiguous().flatten().numpy()
        value = zlib.crc32(array.view("u1").data, zlib.crc32(name.encode(), value))
    return f"{value:08x}"


def fingerprint_of_options(options: Mapping[str, Any]) -> str:
    """Fingerprint of options."""
    return f"{zlib.crc32(json.dumps(options, sort_keys=True, default=str).encode()):08x}"


def begin_fingerprints(network: "nn.Module", options: Mapping[str, Any]) -> Callable[[], dict[str, str]]:
    """Start to compute the fingerprints of weights and options in a thread; the function waits for them.

    Meanwhile the network may be rebuilt, but nothing may write into its current weights.
    """
    weights = begin(fingerprint_of_weights, network.state_dict())
    return lambda: {"weights": weights(), "options": fingerprint_of_options(options)}


def relative_to(root: Path, path: Path) -> str:
    """The file's path in a folder with resolved links; the file itself may be a link and keeps its name."""
    return os.path.relpath(path.parent.resolve() / path.name, root)


def shard_suffix(shard: Sequence[int], rank: int = 0, world: int = 1) -> str:
    """Suffix of files that one shard of shared work writes; empty without shards."""
    return ("" if list(shard) == WHOLE else "_{}_of_{}".format(*shard)) + (f"_{rank}" if world > 1 else "")


class Records:
    """The results of a folder, a line of JSON each; the last line of a result is valid.

    `common_inputs` are those of all results of this command, or a function that returns them, called when they are
    needed. A result with other inputs does not count as existing and is not overwritten without --overwrite. Paths
    are relative to the folder, so that it can be moved and reached through links.
    """

    def __init__(self, folder: Path, common_inputs: Mapping[str, str] | Callable[[], Mapping[str, str]]):
        self.path, self._common_inputs = folder / "results.jsonl", common_inputs
        self._root = folder.resolve()
        self._known = {entry["output"]: entry for entry in self.entries()}

    @cached_property
    def common_inputs(self) -> dict[str, str]:
        """The common inputs of this command's results."""
        return dict(self._common_inputs() if callable(self._common_inputs) else self._common_inputs)

    def _relative(self, path: Path) -> str:
        """A path as recorded: relative to the folder."""
        return relative_to(self._root, path)

    def has(self, output: Path, inputs: Mapping[str, str], whole: bool = False) -> bool:
        """Whether this result exists already; an error if a different one has its name.

        With `whole` (--strict_video) a result of damaged videos does not count.
        """
        if is_too_long(output.name) or not output.exists():
            return False
        known = self.known(output)
        other = [name for name, value in {**self.common_inputs, **inputs}.items() if known.get(name) != value]
        if other:
            how = f"made with other {' and '.join(other)}" if known else "and no record tells how it was made"
            raise UserError(
                f"{output} exists already, {how}: replace it with --overwrite, or keep it with --results_dir NAME"
            )
        return not (whole and "damaged" in known)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Record a result; `output` is a path."""
        recorded = {key: self._relative(value) if isinstance(value, Path) else value for key, value in entry.items()}
        append_line(self.path, {**recorded, **self.common_inputs})

    def known(self, output: Path) -> dict[str, Any]:
        """The record of a result from before this command."""
        return self._known.get(self._relative(output), {})

    def entries(self) -> list[dict[str, Any]]:
        """The last entry of every existing result; damaged lines are counted in a warning."""
        lines, damaged = read_lines(self.path)
        known = [entry for _, entry in lines if isinstance(entry.get("output"), str) and "\0" not in entry["output"]]
        damaged += len(lines) - len(known)
        if damaged:
            log.warning("%s: skipped %d unreadable lines", self.path, damaged)
        entries = {entry["output"]: entry for entry in known}
        return [entry for output, entry in entries.items() if path_exists(self._root / output)]

    def current_entries(self) -> list[dict[str, Any]]:
        """The entries with the same inputs."""
        return [entry for entry in self.entries() if self.common_inputs.items() <= entry.items()]


class Commands:
    """commands.jsonl: the commands that made a folder's results; `weights` and `options` link results to them."""

    def __init__(self, folder: Path):
        self.path = folder / "commands.jsonl"

    def add(self, entry: Mapping[str, Any]) -> None:
        """Record a command; it replaces an earlier one with the same inputs."""
        kept = [known for known in self.entries() if command_key(known) != command_key(entry)]
        write_text(self.path, "".join(json.dumps(one, default=str) + "\n" for one in [*kept, entry]))

    def entries(self) -> list[dict[str, Any]]:
        """The recorded commands, in order."""
        lines, damaged = read_lines(self.path)
        if damaged:
            log.warning("%s: skipped %d unreadable lines", self.path, damaged)
        return [entry for _, entry in lines]


def command_key(entry: Mapping[str, Any]) -> tuple[Any, Any]:
    """The fields that link a result to its command."""
    return entry.get("weights"), entry.get("options")


class Failures:
    """failures.csv: failed items with reasons; each shard writes its own file."""

    COLUMNS = ("name", "line", "source", "driving", "output", "reason")
    """Name of the result, line of --pairs and its entries (if given), output, reason."""

    def __init__(self, folder: Path, shard: Sequence[int], rank: int, world: int):
        part = shard_suffix(shard)
        self.path = folder / f"failures{shard_suffix(shard, rank, world)}.csv"
        self._patterns = [f"failures{part}.csv", f"failures{part}_*.csv"]
        self.found: list[dict[str, str]] = []

    def clear(self) -> None:
        """Remove the files of earlier runs of this shard."""
        for path in itertools.chain.from_iterable(map(self.path.parent.glob, self._patterns)):
            path.unlink(missing_ok=True)

    def add(self, entry: Mapping[str, Any], reason: str) -> None:
        """Record a failure; `entry` has the known facts, `output` is a path."""
        root = self.path.parent.resolve()
        shown = {key: relative_to(root, value) if isinstance(value, Path) else value for key, value in entry.items()}
        row = {**shown, "reason": reason}
        self.found.append({column: printable(row.get(column, "")) for column in self.COLUMNS})

    @classmethod
    def of_folder(cls, folder: Path) -> list[dict[str, str]]:
        """The failures from the files of all shards."""
        rows: list[dict[str, str]] = []
        for path in sorted(folder.glob("failures*.csv")):
            try:
                found = [row for _, row in read_dicts(path)[1]]
            except UserError as error:  # from an earlier run: optional for the page
                log.warning("%s", error)
                continue
            rows += [{column: row.get(column, "") for column in cls.COLUMNS} for row in found]
        return rows

    def __enter__(self) -> "Failures":
        return self

    def __exit__(self, *error: object) -> None:
        """Write the file if there are failures, also after an error."""
        if self.found:
            reasons = "; ".join(f"{row['name']}: {row['reason']}" for row in self.found[:3])
            log.error("%d failed, see %s: %s", len(self.found), self.path, reasons)
            write_table(self.path, self.COLUMNS, self.found)
