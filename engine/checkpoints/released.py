"""File names of released layouts, and the sets of weights in a folder."""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from util.checksums import file_checksum
from util.errors import UserError
from util.weights_file import read_weights

log = logging.getLogger(__name__)

SAFETENSORS = ".safetensors"
NEWEST = ("latest", "-1")
"""Values of --which that mean the newest set; -1 is GANimation's."""


@dataclass(frozen=True)
class Loaded:
    """The set of weights that networks were loaded from."""

    path: Path
    """The file, or the folder with the files."""
    layout: Any
    which: str
    """The set's name within its file names; empty if they have none."""
    content: Mapping[str, Any]
    """All entries of a single file; empty for one file per network."""
    absent: frozenset[str]
    """The family's networks that the set lacks."""
    unfit: frozenset[str]
    """Networks whose shapes in the set differ; they keep their initial weights, too."""

    @property
    def folder(self) -> Path:
        return self.path if self.path.is_dir() else self.path.parent


def weight_names(layout: Any, networks: Iterable[str], which: str) -> dict[str, str]:
    """The file of each network."""
    return {name: layout.pattern.format(which=which, entry=layout.entries[name]) for name in networks}


def stored_file(path: Path) -> Path:
    """The path itself, or its safetensors variant if only that exists."""
    other = path.with_name(as_safetensors(path.name))
    return other if other.is_file() and not path.is_file() else path


def as_safetensors(name: str) -> str:
    """The file name of the same weights in the safetensors format."""
    return name.removesuffix(".tar").removesuffix(".pth") + SAFETENSORS


def optimizer_names(layout: Any, which: str) -> dict[str, str]:
    """The file of each optimizer, for layouts with separate optimizer files."""
    if not layout.optimizer_pattern:
        return {}
    return {
        name: layout.optimizer_pattern.format(which=which, entry=entry) for name, entry in layout.optimizers.items()
    }


def set_of(file_name: str, layout: Any) -> str | None:
    """The set that a file name belongs to, e.g. "30" for 30_net_G.pth."""
    for entry in layout.entries.values():
        before, after = layout.pattern.format(which="\0", entry=entry).split("\0")
        if file_name.endswith(SAFETENSORS):
            after = as_safetensors(after)
        match = re.fullmatch(f"{re.escape(before)}(.+){re.escape(after)}", file_name)
        if match:
            return match[1]
    return None


def sets_in(folder: Path, layout: Any) -> set[str]:
    """The complete sets in a folder."""
    found = {set_of(path.name, layout) for path in folder.iterdir()} if folder.is_dir() else set()
    return {which for which in found if which and not is_unfinished(folder, which)}


def numbered_sets(folder: Path, layout: Any) -> list[str]:
    """The numbers of the sets in a folder, oldest first."""
    return sorted(filter(str.isdigit, sets_in(folder, layout)), key=int)


def training_file(folder: Path, which: str) -> Path:
    """The path of a set's training state."""
    return folder / f"{which}_training.pth"


def averages_file(folder: Path, which: str) -> Path:
    """The path of the moving averages of a set's networks, for families that keep them."""
    return folder / f"{which}_averaged.pth"


def read_training_state(path: Path, lazily: bool = False) -> dict[str, Any]:
    """Read the training state of a set; `lazily` leaves its tensors in the file."""
    state = read_weights(path, lazily)
    if not (isinstance(state, dict) and {"clock", "optimizers", "checksums"} <= state.keys()):
        raise UserError(f"{path}: not the training state of a checkpoint, despite its name; move it away")
    return state


def refuse_changed(folder: Path, which: str, files: Iterable[Path]) -> None:
    """Refuse weights whose checksums differ from those in the training state beside them."""
    training = training_file(folder, which)
    if not (which and training.is_file()):
        return
    try:
        sums = read_training_state(training, lazily=True)["checksums"]
    except UserError as error:
        log.warning("cannot compare the weights with their checksums: %s", error)
        return
    for file in files:
        expected = sums.get(file.name.replace(which, "{which}", 1))
        if expected is not None and file.is_file() and file_checksum(file) != expected:
            raise UserError(
                f"{file} is damaged or replaced: its checksum differs from the one in {training.name}. Use another "
                f"checkpoint (--which), or copy it again; if you changed it on purpose, move {training.name} away"
            )


def unfinished_mark(folder: Path, which: str) -> Path:
    """The marker file that exists while a set is saved or removed."""
    return folder / f"{which}_unfinished"


def is_unfinished(folder: Path, which: str) -> bool:
    """Whether saving a set was interrupted before its training state was written."""
    return unfinished_mark(folder, which).exists() and not training_file(folder, which).exists()


def same_number(which: str, numbers: Iterable[str]) -> str:
    """The one of `numbers` equal to `which`, leading zeros aside; else `which`."""
    return next((number for number in numbers if which.isdigit() and int(number) == int(which)), which)


def find_set(path: Path, layout: Any, which: str) -> tuple[Any, str]:
    """The layout of a file or folder (the given one or one of its `others`), and the set that `which` means."""
    candidates = (layout, *layout.others)
    for one in candidates:
        if "{entry}" in one.pattern and path.is_file() and (named := set_of(path.name, one)):
            return one, named
        wanted = "latest" if which in NEWEST else same_number(which, numbered_sets(path, one))
        if any(stored_file(path / name).is_file() for name in weight_names(one, one.entries, wanted).values()):
            return one, wanted
    for one in candidates if which in NEWEST else ():
        if numbered_sets(path, one):
            return one, numbered_sets(path, one)[-1]
    return layout, which


def holds_weights(folder: Path, layout: Any) -> bool:
    """Whether a folder holds weights in a layout or one of its `others`."""
    return any(sets_in(folder, one) for one in (layout, *layout.others))
