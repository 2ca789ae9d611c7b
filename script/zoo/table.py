"""configs/zoo.yaml: the table of known released files."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from util.errors import UserError
from util.files import write_text
from util.yaml_file import read_yaml_file

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "configs" / "zoo.yaml"


@dataclass(frozen=True)
class File:
    """A released file; None: unknown."""

    bytes: int | None = None
    sha256: str | None = None
    direct: str | None = None
    """A direct link to the file itself."""


@dataclass(frozen=True)
class Model:
    """A released model: one file, or several in folders."""

    name: str
    family: str
    repository: str
    where: tuple[str, ...]
    licence: str
    paper: str
    trained_on: str
    crop: str
    files: Mapping[str, File]
    config: str | None = None
    options: tuple[str, ...] = ()
    published: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    check: tuple[str, ...] = ("--source_image={picture}", "--driving_video={video}")
    """The options with which test.py animates a drawn person."""

    @property
    def arguments(self) -> list[str]:
        """The options that build it, as a command line."""
        return [*([f"--config={ROOT / self.config}"] if self.config else []), *self.options]

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of files."""
        return len(self.files) > 1


def read_table(path: Path = TABLE) -> dict[str, Model]:
    """All models by name."""
    content = read_yaml_file(path)
    try:
        return {name: _model(name, entry, content["sources"]) for name, entry in content["models"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a table of released weights like configs/zoo.yaml ({error!r})") from error


def _model(name: str, entry: Mapping[str, Any], sources: Mapping[str, Any]) -> Model:
    values = {**sources[entry["source"]], **{key: value for key, value in entry.items() if key != "source"}}
    values["files"] = {file: File(**known) for file, known in values["files"].items()}
    for key in ("where", "options", "check"):
        if key in values:
            values[key] = tuple(values[key])
    return Model(name=name, **values)


def named(table: Mapping[str, Model], name: str) -> Model:
    """The model of a name; an error lists all names."""
    if name not in table:
        raise UserError(f"{name}: no such released model; available: {', '.join(table)}")
    return table[name]


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def record(path: Path, model: Model, file: str, size: int, sha256: str) -> None:
    """Write size and hash of a file into the table; the rest of its text stays unchanged."""
    text = path.read_text(encoding="utf-8")
    before = rf"^  {re.escape(model.name)}:\n(?:    .*\n)*?      {re.escape(file)}: "
    line = re.compile(rf"({before})\{{(.*)\}}$", re.MULTILINE)
    known = {"bytes": size, "sha256": sha256, "direct": model.files[file].direct}
    entries = ", ".join(f"{key}: {value}" for key, value in known.items() if value is not None)
    changed, count = line.subn(lambda match: f"{match[1]}{{{entries}}}", text)
    if count != 1:
        raise UserError(f"{path}: cannot find the line of {file} in {model.name}; add it yourself: {{{entries}}}")
    write_text(path, changed)
