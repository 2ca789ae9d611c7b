"""What a folder of results holds and how it came about: results.jsonl, failures.csv."""

import itertools
import json
import logging
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from util.cells import read_dicts
from util.csv_table import write_table
from util.errors import UserError
from util.files import is_there, is_too_long, write_text
from util.jsons import append_line, read_lines
from util.printable import printable
from util.values import WHOLE

log = logging.getLogger(__name__)


def fingerprint_of_weights(network: nn.Module) -> str:
    """The CRC-32 of all weights and their names."""
    value = 0
    for name, tensor in network.state_dict().items():
        array = tensor.detach().cpu().contiguous().flatten().numpy()
        value = zlib.crc32(array.view("u1"), zlib.crc32(name.encode(), value))
    return f"{value:08x}"


def fingerprint_of_options(options: Mapping[str, Any]) -> str:
    """A number that other options do not have."""
    return f"{zlib.crc32(json.dumps(options, sort_keys=True, default=str).encode()):08x}"


def seen_from(root: Path, path: Path) -> str:
    """How a file is called in a folder without links: its name stays, although it may be a link itself."""
    return os.path.relpath(path.parent.resolve() / path.name, root)


def part_of(shard: Sequence[int], rank: int = 0, world: int = 1) -> str:
    """How files are called that only one part of shared work writes; nothing where it is not shared."""
    return ("" if list(shard) == WHOLE else "_{}_of_{}".format(*shard)) + (f"_{rank}" if world > 1 else "")


class Records:
    """The results of a folder, a line of JSON each; the last line of a result counts.

    `made_with` is what all results of this command have in common, by name: what was made with something else is not
    taken for a result of this command, and not replaced unasked. Results are named by their places as seen from the
    folder, so that it may be moved, and called by any of its names.
    """

    def __init__(self, folder: Path, made_with: Mapping[str, str]):
        self.path, self.made_with = folder / "results.jsonl", dict(made_with)
        self._root = folder.resolve()
        self._known = {entry["output"]: entry for entry in self.entries()}

    def _relative(self, path: Path) -> str:
        """A path as the file records it: relative to the folder."""
        return seen_from(self._root, path)

    def has(self, output: Path, made_of: Mapping[str, str], whole: bool = False) -> bool:
        """Whether this very result is there already; an error where another one has its name.

        With `whole` (--strict_video) one that was made of damaged videos does not count.
        """
        if is_too_long(output.name) or not output.exists():
            return False
        known = self.known(output)
        other = [name for name, value in {**self.made_with, **made_of}.items() if known.get(name) != value]
        if other:
            how = f"made with other {' and '.join(other)}" if known else "and nothing is known of how it was made"
            raise UserError(
                f"{output} is there already, {how}: --overwrite replaces what is there, --results_dir NAME keeps it"
            )
        return not (whole and "damaged" in known)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Note a result, whose `output` is a path."""
        recorded = {key: self._relative(value) if isinstance(value, Path) else value for key, value in entry.items()}
        append_line(self.path, {**recorded, **self.made_with})

    def known(self, output: Path) -> dict[str, Any]:
        """What was noted of a result before this command."""
        return self._known.get(self._relative(output), {})

    def entries(self) -> list[dict[str, Any]]:
        """The last entry of every result that is there; damaged lines are counted in a warning."""
        lines, damaged = read_lines(self.path)
        known = [entry for _, entry in lines if isinstance(entry.get("output"), str) and "\0" not in entry["output"]]
        damaged += len(lines) - len(known)
        if damaged:
            log.warning("%s: %d of its lines cannot be read and are left out", self.path, damaged)
        entries = {entry["output"]: entry for entry in known}
        return [entry for output, entry in entries.items() if is_there(self._root / output)]

    def of_this_command(self) -> list[dict[str, Any]]:
        """Those that were made with the same."""
        return [entry for entry in self.entries() if self.made_with.items() <= entry.items()]


class Commands:
    """commands.jsonl: the commands that made the results of a folder; `weights` and `options` tell whose is whose."""

    def __init__(self, folder: Path):
        self.path = folder / "commands.jsonl"

    def add(self, entry: Mapping[str, Any]) -> None:
        """Note a command; of those that make the same with the same, the last one counts."""
        kept = [known for known in self.entries() if maker_of(known) != maker_of(entry)]
        write_text(self.path, "".join(json.dumps(one, default=str) + "\n" for one in [*kept, entry]))

    def entries(self) -> list[dict[str, Any]]:
        """What is known of the commands, in their order."""
        lines, damaged = read_lines(self.path)
        if damaged:
            log.warning("%s: %d of its lines cannot be read and are left out", self.path, damaged)
        return [entry for _, entry in lines]


def maker_of(entry: Mapping[str, Any]) -> tuple[Any, Any]:
    """What a result has in common with the command that made it."""
    return entry.get("weights"), entry.get("options")


class Failures:
    """failures.csv: what could not be made and why; each part of shared work has a file of its own."""

    COLUMNS = ("name", "line", "source", "driving", "output", "reason")
    """What a result is called, the line of --pairs and what that names (where it was one), where it was to go, why."""

    def __init__(self, folder: Path, shard: Sequence[int], rank: int, world: int):
        part = part_of(shard)
        self.path = folder / f"failures{part_of(shard, rank, world)}.csv"
        self._patterns = [f"failures{part}.csv", f"failures{part}_*.csv"]
        self.found: list[dict[str, str]] = []

    def forget(self) -> None:
        """Remove the files of earlier runs of this part of the work."""
        for path in itertools.chain.from_iterable(map(self.path.parent.glob, self._patterns)):
            path.unlink(missing_ok=True)

    def add(self, entry: Mapping[str, Any], reason: str) -> None:
        """Note the failure of a result, of which the entry says what is known; `output` is a path."""
        root = self.path.parent.resolve()
        shown = {key: seen_from(root, value) if isinstance(value, Path) else value for key, value in entry.items()}
        row = {**shown, "reason": reason}
        self.found.append({column: printable(row.get(column, "")) for column in self.COLUMNS})

    @classmethod
    def of_folder(cls, folder: Path) -> list[dict[str, str]]:
        """What could not be made, by the files of all parts of the work."""
        rows: list[dict[str, str]] = []
        for path in sorted(folder.glob("failures*.csv")):
            try:
                found = [row for _, row in read_dicts(path)[1]]
            except UserError as error:  # of an earlier run: the page can do without
                log.warning("%s", error)
                continue
            rows += [{column: row.get(column, "") for column in cls.COLUMNS} for row in found]
        return rows

    def __enter__(self) -> "Failures":
        return self

    def __exit__(self, *error: object) -> None:
        """Write the file, if there is something to say, whatever ended the work."""
        if self.found:
            told = "; ".join(f"{row['name']}: {row['reason']}" for row in self.found[:3])
            log.error("%d failed, see %s: %s", len(self.found), self.path, told)
            write_table(self.path, self.COLUMNS, self.found)
