"""Load released weights into the networks of a family: every key must match, or the error lists the mismatches."""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.checkpoints.released import (
    Loaded,
    averages_file,
    find_set,
    holds_weights,
    refuse_changed,
    set_of,
    sets_in,
    stored_file,
    weight_names,
)
from util.errors import UserError
from util.weights_file import is_safetensors, nested, read_weights, refuse_unusable

log = logging.getLogger(__name__)

OTHER_WEIGHTS = (
    ". For weights of another family set its --model or --config; for a file with another name, give its path "
    "(--checkpoint FILE, --init_from FILE)"
)
Owner = Callable[[Any, Any], str | None]
"""Names the family that a weights file belongs to."""


def load_networks(
    family: Any,
    location: Path | str,
    which: str = "latest",
    needed: Iterable[str] | None = None,
    owner: Owner | None = None,
    averaged: bool = True,
) -> Path:
    """Load the family's networks from a file or a folder; every key must match. Returns the path read.

    `needed` names the required networks (default: all of the family but its optional ones); others are loaded if
    found. `averaged`: load the moving averages of the weights where training saved them.
    """
    return load_set(family, Path(location), which, needed, owner, averaged).path


def load_set(
    family: Any,
    location: Path,
    which: str,
    needed: Iterable[str] | None = None,
    owner: Owner | None = None,
    averaged: bool = True,
) -> Loaded:
    """Like load_networks, but return everything found."""
    if not location.exists():
        raise UserError(_absent(location))
    if (states := family.released_states(location)) is not None:
        return _load_released(family, location, states, needed)
    if location.is_dir() and not holds_weights(location, family.layout):
        raise UserError(no_weights(location, family.layout) + OTHER_WEIGHTS)
    networks = family.networks()
    layout, which = find_set(location, family.layout, which)
    if location.is_dir() and which != "latest" and which not in (sets := sets_in(location, layout)):
        raise UserError(f"--which {which}: {location} has no such checkpoint; available: {', '.join(sorted(sets))}")
    folder, which = (location, which) if location.is_dir() else (location.parent, set_of(location.name, layout) or "")
    averages = averaged_states(family, folder, which, layout) if averaged else {}
    needed = set(networks if needed is None else needed)
    there = needed - set(family.optional)
    if "{entry}" in layout.pattern:
        path, content = location, {}
        files = _files_of(family, location, layout, which, owner)
        states = {name: read_weights(file) for name, file in files.items() if file.is_file() or name in there}
        unfit = _load_states(family, states | averages, needed, path, layout)
    else:
        path = stored_file(location / layout.pattern.format(which=which)) if location.is_dir() else location
        refuse_changed(path.parent, which, [path])
        content = read_weights(path)
        try:
            content = family.released_entries(content, path)
            states = _entries(path, content, layout.entries, networks, there)
            unfit = _load_states(family, states | averages, needed, path, layout)
        except UserError as error:
            _name_owner(family, path, content, owner, error)
            raise
    return Loaded(path, layout, which, content, frozenset(networks) - set(states), unfit)


def averaged_states(family: Any, folder: Path, which: str | None, layout: Any) -> dict[str, Mapping[str, Tensor]]:
    """The moving averages that training saved beside a set, by network, under their released names."""
    path = averages_file(folder, which or "")
    if not which or not path.is_file():
        return {}
    refuse_changed(folder, which, [path])
    content, entries = read_weights(path), {name: layout.entries[name] for name in family.networks()}
    found = {name: content[entry] for name, entry in entries.items() if entry in content}
    log.info("loaded the moving average of %s (%s)", ", ".join(found), path)
    return found


def restore_averages(trainer: Any, folder: Path, which: str | None, updates: Mapping[str, int]) -> None:
    """Resume the averages saved beside a set; missing ones start from the current weights."""
    family, averages = trainer.family, trainer.averages
    averages.restart()
    states = averaged_states(family, folder, which, family.layout) if averages.of else {}
    with averages.applied():
        for name, average in averages.of.items():
            if name in states:
                state, _ = family.convert_state(name, _own_keys(name, states[name], family.layout.rename))
                load_strictly(average.network, state, f"{averages_file(folder, which or '')} ({name})")
                average.updates = updates.get(name, 0)
            elif trainer.clock.step:
                log.warning("%s has no average of %s: starting from the current weights", folder, name)


def _load_released(family: Any, path: Path, states: Mapping[str, Any], needed: Iterable[str] | None) -> Loaded:
    """Load state dicts that the family read from a file or folder in its own format."""
    networks = family.networks()
    needed = set(networks if needed is None else needed)
    states = {name: state for name, state in states.items() if name in networks}
    absent = needed - set(states) - set(family.optional)
    if absent:
        raise UserError(f"{path}: has no weights of {', '.join(sorted(absent))}")
    unfit = _load_states(family, states, needed, path, family.layout)
    return Loaded(path, family.layout, "", {}, frozenset(networks) - set(states), unfit)


def _name_owner(family: Any, path: Path, content: Any, owner: Owner | None, error: UserError | None = None) -> None:
    """Raise an error that names the family a file belongs to, if that is known."""
    other = owner and owner(family, content)
    if other:
        raise UserError(
            f"{path}: this is a checkpoint of the family {other}: load it with --model {other} and the --config of "
            f"its training"
        ) from error


def _absent(location: Path) -> str:
    """The error text for a missing run or file."""
    near = [path for path in location.parent.glob("[!.]*") if path.is_dir() or ".pth" in path.name]
    return (
        f"{location}: no such file or folder; {location.parent} contains: "
        f"{_shorten(sorted(path.name for path in near), 20) or 'none'}. Choose a run in --checkpoints_dir with "
        f"--name, or weights with --checkpoint"
    )


def no_weights(folder: Path, layout: Any) -> str:
    """The error text for a folder without weights in a layout."""
    found = sorted(path.name for path in folder.glob("[!.]*.pth*"))
    expected = dict.fromkeys(weight_names(layout, layout.entries, "latest").values())
    return (
        f"{folder}: no file has a name of this family's weights, {', '.join(expected)}; the folder contains: "
        f"{_shorten(found) or 'none'}"
    )


def _load_states(family: Any, states: Mapping[str, Any], needed: set[str], path: Path, layout: Any) -> frozenset[str]:
    """Load state dicts with released names into the family's networks; return the names that do not fit."""
    networks, unfit = family.networks(), set()
    for name in needed - set(states):
        log.info("%s has no %s: keeping its initial weights", path, name)
    for name, state in states.items():
        where = f"{path} ({layout.entries[name]})"
        try:
            refuse_unusable(state, where)
            state, dropped = family.convert_state(name, _own_keys(name, state, layout.rename))
            if dropped:
                log.info(
                    "%s: dropped %d entries that the network does not use: %s", where, len(dropped), ", ".join(dropped)
                )
            load_strictly(networks[name], state, where)
        except UserError as error:
            if name in needed:
                raise
            log.warning("reinitialising %s: %s", name, error)
            unfit.add(name)
    return frozenset(unfit)


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load a state dict whose keys and shapes must all match; the error lists the mismatches."""
    state = {key.removeprefix("module."): value for key, value in state.items()}
    own = network.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} is {tuple(state[key].shape)} in the file, {tuple(own[key].shape)} in the network"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if missing or unexpected or shapes:
        lists = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
        raise UserError(
            f"{where} does not fit {type(network).__name__}: "
            + "; ".join(f"{len(keys)} {kind}: {_shorten(keys)}" for kind, keys in lists.items() if keys)
            + ". Use the options of its training (--config, or its options.yaml beside it), or its --model."
        )
    with torch.no_grad():
        network.load_state_dict({**own, **state})


def _shorten(keys: list[str], limit: int = 6) -> str:
    return ", ".join(keys[:limit]) + (f" and {len(keys) - limit} more" if len(keys) > limit else "")


def _entries(path: Path, content: Any, entries: Mapping[str, str], networks: Mapping, needed: set[str]) -> dict:
    """The networks' state dicts from a file with one entry per network."""
    if not isinstance(content, Mapping):
        raise UserError(
            f"{path}: contains a {type(content).__name__} instead of the entries {', '.join(entries.values())}"
        )
    if is_safetensors(path):
        content = nested(content, entries.values())
    absent = [entries[name] for name in networks if name in needed and entries[name] not in content]
    if absent:
        raise UserError(
            f"{path}: lacks the entries {', '.join(absent)}; it has {_shorten([str(key) for key in content], 10)}. "
            "It may belong to another family: set --model."
        )
    return {name: content[entries[name]] for name in networks if entries[name] in content}


def _files_of(family: Any, location: Path, layout: Any, which: str, owner: Owner | None) -> dict[str, Path]:
    """The file of each network, in a folder or beside a named file, checked against the saved checksums."""
    folder = location if location.is_dir() else location.parent
    if location.is_dir():
        names = weight_names(layout, family.networks(), which)
        files = {name: stored_file(location / file) for name, file in names.items()}
    else:
        files = _siblings(family, location, layout, owner)
    refuse_changed(folder, which, files.values())
    return files


def _siblings(family: Any, file: Path, layout: Any, owner: Owner | None) -> dict[str, Path]:
    """The files of all networks, given one of them."""
    which = set_of(file.name, layout)
    if which:
        names = weight_names(layout, family.networks(), which)
        return {name: stored_file(file.with_name(other)) for name, other in names.items()}
    _name_owner(family, file, read_weights(file), owner)
    expected = ", ".join(weight_names(layout, layout.entries, "latest").values())
    raise UserError(
        f"{file}: no network has this file name; use a name like {expected}, or give the folder. For weights of "
        f"another family set its --model or --config"
    )


def released_state(name: str, state: Mapping[str, Tensor], rename: Mapping[str, str]) -> dict[str, Tensor]:
    """A network's state dict on the CPU with released names."""
    prefixes = _prefixes(name, rename)
    state = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    return {_replace_prefix(key, prefixes): value for key, value in state.items()}


def _own_keys(name: str, state: Mapping[str, Tensor], rename: Mapping[str, str]) -> dict[str, Tensor]:
    """The inverse of released_state; also strips the prefix of DataParallel."""
    if not isinstance(state, Mapping):
        raise UserError(f"the entry for {name} is a {type(state).__name__}, not a state dict")
    prefixes = {released: own for own, released in _prefixes(name, rename).items()}
    return {_replace_prefix(key.removeprefix("module."), prefixes): value for key, value in state.items()}


def _prefixes(name: str, rename: Mapping[str, str]) -> dict[str, str]:
    return {own.removeprefix(f"{name}."): released for own, released in rename.items() if own.startswith(f"{name}.")}


def _replace_prefix(key: str, prefixes: Mapping[str, str]) -> str:
    for old in sorted(prefixes, key=len, reverse=True):
        if key.startswith(old):
            return prefixes[old] + key[len(old) :]
    return key
