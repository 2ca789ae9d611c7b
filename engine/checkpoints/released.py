"""The files of released layouts: how those of a set are called, and which sets lie in a folder."""

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
"""How the newest set is asked for; -1 is GANimation's word."""


@dataclass(frozen=True)
class Loaded:
    """A set of weights that networks were loaded from."""

    path: Path
    """The file, or the folder of the files."""
    layout: Any
    which: str
    """The set, as its files call it; empty where their names tell none."""
    content: Mapping[str, Any]
    """The entries of a single file, the networks' among them; empty for a file per network."""
    absent: frozenset[str]
    """The family's networks that the set does not hold."""
    unfit: frozenset[str]
    """Those that it holds for other options; they stay as they are built, too."""

    @property
    def folder(self) -> Path:
        return self.path if self.path.is_dir() else self.path.parent


def weight_names(layout: Any, networks: Iterable[str], which: str) -> dict[str, str]:
    """The file of each network."""
    return {name: layout.pattern.format(which=which, entry=layout.entries[name]) for name in networks}


def found_as(path: Path) -> Path:
    """A file of weights, or the one in the safetensors format in its place where that alone is there."""
    other = path.with_name(as_safetensors(path.name))
    return other if other.is_file() and not path.is_file() else path


def as_safetensors(name: str) -> str:
    """What a file of weights is called in the safetensors format."""
    return name.removesuffix(".tar").removesuffix(".pth") + SAFETENSORS


def optimizer_names(layout: Any, which: str) -> dict[str, str]:
    """The file of each optimizer, for layouts that keep them in files of their own."""
    if not layout.optimizer_pattern:
        return {}
    return {
        name: layout.optimizer_pattern.format(which=which, entry=entry) for name, entry in layout.optimizers.items()
    }


def set_of(file_name: str, layout: Any) -> str | None:
    """The set to which a file of weights belongs by its name, e.g. "30" for 30_net_G.pth."""
    for entry in layout.entries.values():
        before, after = layout.pattern.format(which="\0", entry=entry).split("\0")
        if file_name.endswith(SAFETENSORS):
            after = as_safetensors(after)
        match = re.fullmatch(f"{re.escape(before)}(.+){re.escape(after)}", file_name)
        if match:
            return match[1]
    return None


def sets_in(folder: Path, layout: Any) -> set[str]:
    """The sets in a folder, less those whose saving was interrupted."""
    found = {set_of(path.name, layout) for path in folder.iterdir()} if folder.is_dir() else set()
    return {which for which in found if which and not is_unfinished(folder, which)}


def numbered_sets(folder: Path, layout: Any) -> list[str]:
    """The numbers of the sets in a folder, oldest first."""
    return sorted(filter(str.isdigit, sets_in(folder, layout)), key=int)


def training_file(folder: Path, which: str) -> Path:
    """Where our training state of a set is."""
    return folder / f"{which}_training.pth"


def averages_file(folder: Path, which: str) -> Path:
    """Where the moving averages of a set's networks are, for families that keep some."""
    return folder / f"{which}_averaged.pth"


def read_training_state(path: Path, lazily: bool = False) -> dict[str, Any]:
    """What our training state of a set holds; `lazily` leaves its tensors in the file."""
    state = read_weights(path, lazily)
    if not (isinstance(state, dict) and {"clock", "optimizers", "checksums"} <= state.keys()):
        raise UserError(f"{path}: is not the training state of a checkpoint, as its name says; move it away")
    return state


def refuse_changed(folder: Path, which: str, files: Iterable[Path]) -> None:
    """Refuse weights that are not those which training saved, by the checksums in its training state beside them."""
    training = training_file(folder, which)
    if not (which and training.is_file()):
        return
    try:
        sums = read_training_state(training, lazily=True)["checksums"]
    except UserError as error:
        log.warning("the weights are not compared with what training saved: %s", error)
        return
    for file in files:
        expected = sums.get(file.name.replace(which, "{which}", 1))
        if expected is not None and file.is_file() and file_checksum(file) != expected:
            raise UserError(
                f"{file} is damaged, or not the one that training saved: its checksum is not the one in "
                f"{training.name}. Take another set (--which), or copy it again; if it was changed on purpose, move "
                f"{training.name} away"
            )


def unfinished_mark(folder: Path, which: str) -> Path:
    """What lies in the folder while a set is saved or removed."""
    return folder / f"{which}_unfinished"


def is_unfinished(folder: Path, which: str) -> bool:
    """Whether the saving of a set was interrupted before its training state was there."""
    return unfinished_mark(folder, which).exists() and not training_file(folder, which).exists()


def same_number(which: str, numbers: Iterable[str]) -> str:
    """The number among some that is meant by `which`, with or without leading zeros; `which` if there is none."""
    return next((number for number in numbers if which.isdigit() and int(number) == int(which)), which)


def find_set(place: Path, layout: Any, which: str) -> tuple[Any, str]:
    """The layout that a file or folder is in, among a layout and those of other implementations, and the set meant."""
    candidates = (layout, *layout.others)
    for one in candidates:
        if "{entry}" in one.pattern and place.is_file() and (named := set_of(place.name, one)):
            return one, named
        wanted = "latest" if which in NEWEST else same_number(which, numbered_sets(place, one))
        if any(found_as(place / name).is_file() for name in weight_names(one, one.entries, wanted).values()):
            return one, wanted
    for one in candidates if which in NEWEST else ():
        if numbered_sets(place, one):
            return one, numbered_sets(place, one)[-1]
    return layout, which


def holds_weights(folder: Path, layout: Any) -> bool:
    """Whether files of a layout, or of those of other implementations, lie in a folder."""
    return any(sets_in(folder, one) for one in (layout, *layout.others))
