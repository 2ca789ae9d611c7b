"""Pairs to animate, one or a table of them: what their results are called, and where these go."""

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data.video import NOT_WRITTEN, has_format, unsuffixed
from data.video.sheet_writer import WRITTEN_SUFFIXES
from util.csv_table import Problems, read_rows
from util.errors import UserError
from util.files import path_exists
from util.paths import leads_outside
from util.printable import printable
from util.values import at_least

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """One video to make, as the command or a line of --pairs names it."""

    sources: tuple[Any, ...]
    """Paths; from Python also pictures (H, W, 3) uint8."""
    driving: Path
    output: Path | None = None
    """The result's path; None until it is determined."""
    best_frame: int | None = None
    name: str = ""
    recorded: dict[str, Any] = field(default_factory=dict)
    """Further fields of its entry in the records: line of the table, source, driving."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that name the result, in this order: the driving video, then the first source."""
        return self.driving, *self.sources[:1]

    @property
    def inputs(self) -> dict[str, str]:
        """Inputs that identify its result, since another result may have the same name."""
        source = ", ".join(str(path.resolve()) for path in self.sources)
        driving = str(self.driving.resolve())
        return {
            "sources": printable(source), "driving video": printable(driving), "best frame": str(self.best_frame)
        }  # fmt: skip


def is_never_still(request: Request) -> bool:
    """Default of `is_still`: results are videos."""
    return False


def with_format(name: str, format: str, still: bool = False) -> str:
    """A result's name with the suffix of --format; a folder of frames (png) has none, a picture is a .png."""
    if still:
        return f"{name}.png"
    return name if format == "png" else f"{name}.{format}"


def read_pairs(
    path: Path,
    folder: Path,
    format: str = "mp4",
    best_frame: int | None = None,
    allow_outside: bool = False,
    is_still: Callable[[Request], bool] = is_never_still,
) -> list[Request]:
    """The lines of a csv file with the columns source, driving and, if wanted, frame, output.

    Outputs are relative to `folder` and must stay in it without `allow_outside`. Inputs are looked up here and beside
    the table. One error lists all problems of the table.
    """
    problems = Problems(f"--pairs {path}")
    found: dict[int, Request] = {}
    for line, row in read_rows(path, "--pairs", ("source", "driving"), problems):
        frame, output = best_frame, None
        with problems.of(line):
            output = _listed_output(row.get("output", ""), folder, allow_outside)
        with problems.of(line, "frame: "):
            frame = at_least(0)(row["frame"]) if row.get("frame") else best_frame
        if line in problems.found:
            continue
        recorded = {"line": line, "source": row["source"], "driving": row["driving"]}
        found[line] = Request(
            (_beside(path, row["source"]),), _beside(path, row["driving"]), output, frame, recorded=recorded
        )
    suffixes = {line: with_format("", format, is_still(request)) for line, request in found.items()}
    settled = _with_outputs(found, folder, suffixes)
    _refuse_bad_outputs(settled, problems)
    problems.refuse()
    _warn_missing(path, settled)
    return list(settled.values())


def _listed_output(text: str, folder: Path, allow_outside: bool) -> Path | None:
    """The result's path from a cell of the column output."""
    if not text:
        return None
    output = Path(text)
    if not output.name:
        raise UserError(f"output {text} is not a file name")
    if not allow_outside and leads_outside(output, folder):
        raise UserError(f"output {text} is outside the results folder {folder}; set --allow_outside to permit that")
    refuse_suffix(output)
    return folder / output


def _with_outputs(found: dict[int, Request], folder: Path, suffixes: dict[int, str]) -> dict[int, Request]:
    """The requests with names and outputs: from the table, plus a missing suffix, else from the names of the files."""
    unnamed = [line for line, request in found.items() if request.output is None]
    names = dict(zip(unnamed, unique_names([found[line].paths for line in unnamed]), strict=True))
    settled = {}
    for line, request in found.items():
        if request.output is None:
            output, name = folder / f"{names[line]}{suffixes[line]}", names[line]
        else:
            listed = request.output
            output = listed if listed.suffix else listed.with_name(f"{listed.name}{suffixes[line]}")
            name = os.path.relpath(output.with_name(unsuffixed(output)), folder)
        settled[line] = replace(request, output=output, name=name)
    return settled


def unique_names(results: Sequence[tuple[Path, ...]]) -> list[str]:
    """A name for each result, built from its files: driving-source.

    Files are called without suffix, or, where results would have one name, with it, then with the folders above that
    tell them apart: 00001, a_00001 and b_00001. Results of identical files keep one name.
    """
    detail = [[0] * len(files) for files in results]
    while True:
        names = ["-".join(map(_part_of_name, files, own)) for files, own in zip(results, detail, strict=True)]
        alike = defaultdict(list)
        for index, name in enumerate(names):
            alike[name].append(index)
        grown = False
        for group in alike.values():
            for part in _differing_parts([results[index] for index in group]):
                for index in group:
                    if detail[index][part] < _most_detail(results[index][part]):
                        detail[index][part] += 1
                        grown = True
        if not grown:
            return names


def _differing_parts(group: list[tuple[Path, ...]]) -> list[int]:
    """Indices of the files that differ between results."""
    if len(group) == 1:
        return []
    return [part for part in range(len(group[0])) if len({files[part].resolve() for files in group}) > 1]


def _part_of_name(path: Path, detail: int) -> str:
    """A file's part of a result's name; more detail adds its suffix, then a folder above instead of it, and so on."""
    count, suffix = divmod(detail, 2)
    folders = _folders_above(path)
    return printable("_".join([*folders[len(folders) - count :], path.name if suffix else path.stem]))


def _folders_above(path: Path) -> list[str]:
    return [part for part in path.absolute().parent.parts[1:] if part != ".."]


def _most_detail(path: Path) -> int:
    return 2 * len(_folders_above(path)) + 1


def refuse_suffix(output: Path) -> None:
    """Fail before any frame is made."""
    if output.suffix and not has_format(output) and output.suffix.lower() not in WRITTEN_SUFFIXES:
        raise UserError(f"output {output}: {NOT_WRITTEN}")


def refuse_inputs(output: Path, wanted: Iterable[Request]) -> None:
    """A result does not take the place of what it, or another one, is made of."""
    _refuse_among(output, _inputs(wanted))


def _refuse_among(output: Path, inputs: set[Path]) -> None:
    if output.resolve() in inputs:
        raise UserError(f"output {output} is, or contains, an input; choose another name")


def _inputs(wanted: Iterable[Request]) -> set[Path]:
    """Paths that must not be overwritten: sources, driving videos, and their folders."""
    files = {path.resolve() for request in wanted for path in (*request.sources, request.driving)}
    return files.union(*(path.parents for path in files))


def _refuse_bad_outputs(found: dict[int, Request], problems: Problems) -> None:
    """Two results must not share a name (the second would count as done), nor may one overwrite an input."""
    lines: dict[Path, int] = {}
    inputs = _inputs(found.values())
    for line, request in found.items():
        with problems.of(line):
            _refuse_among(request.output, inputs)
        first = lines.setdefault(request.output.resolve(), line)
        if first != line:
            problems.add(
                line, f"same result name {request.output.name} as line {first}; set unique names in the column output"
            )


def _warn_missing(path: Path, found: dict[int, Request]) -> None:
    """Warn at the start of missing files; their results fail, the others are made."""
    absent = {line: [file for file in request.paths if not path_exists(file)] for line, request in found.items()}
    missing = [f"line {line}: {', '.join(map(str, files))}" for line, files in absent.items() if files]
    if missing:
        rest = f" and {len(missing) - 10} more lines" if len(missing) > 10 else ""
        log.warning("--pairs %s: no such file: %s%s", path, "; ".join(missing[:10]), rest)


def _beside(table: Path, name: str) -> Path:
    """A path in a table: as given if it exists, else relative to the table's folder."""
    path = Path(name)
    return path if path.is_absolute() or path_exists(path) else table.parent / path
