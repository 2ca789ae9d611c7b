"""The files of released layouts: how those of a set are called, and which sets lie in a folder."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NEWEST = ("latest", "-1")
"""How the newest set is asked for; -1 is GANimation's word."""


def weight_names(layout: Any, networks: Iterable[str], which: str) -> dict[str, str]:
    """The file of each network."""
    return {name: layout.pattern.format(which=which, entry=layout.entries[name]) for name in networks}


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
        match = re.fullmatch(f"{re.escape(before)}(.+){re.escape(after)}", file_name)
        if match:
            return match[1]
    return None


def numbered_sets(folder: Path, layout: Any) -> list[str]:
    """The numbers of the sets in a folder, oldest first."""
    found = {set_of(path.name, layout) for path in folder.iterdir()} if folder.is_dir() else set()
    return sorted((number for number in found if number and number.isdigit()), key=int)


def find_set(place: Path, layout: Any, which: str) -> tuple[Any, str]:
    """The layout that a file or folder is in, among a layout and those of other implementations, and the set meant."""
    candidates = (layout, *layout.others)
    for one in candidates:
        if "{entry}" in one.pattern and place.is_file() and set_of(place.name, one):
            return one, set_of(place.name, one)
        wanted = "latest" if which in NEWEST else which
        if any((place / name).is_file() for name in weight_names(one, one.entries, wanted).values()):
            return one, wanted
    for one in candidates if which in NEWEST else ():
        if numbered_sets(place, one):
            return one, numbered_sets(place, one)[-1]
    return layout, which
