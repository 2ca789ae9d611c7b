"""Loading released weights into the networks of a family: every key must match, or the error says what does not."""

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
    found_as,
    holds_weights,
    refuse_changed,
    set_of,
    sets_in,
    weight_names,
)
from util.errors import UserError
from util.weights_file import is_safetensors, nested, read_weights, refuse_unusable

log = logging.getLogger(__name__)

OTHER_WEIGHTS = (
    ". Weights of another family need its --model or --config; a file of another name is named itself (--checkpoint "
    "FILE, --init_from FILE)"
)
Owner = Callable[[Any, Any], str | None]
"""Says of a file of weights that does not fit a family to which other one it belongs."""


def load_networks(
    family: Any,
    place: Path | str,
    which: str = "latest",
    needed: Iterable[str] | None = None,
    owner: Owner | None = None,
    averaged: bool = True,
) -> Path:
    """Load the family's networks from a file or a folder; every key must match. The path that was read.

    `needed` names the networks that must be there (default: all that the family has now, less what it calls optional);
    others are loaded if found. `averaged`: take the moving averages where training kept some.
    """
    return load_set(family, Path(place), which, needed, owner, averaged).path


def load_set(
    family: Any,
    place: Path,
    which: str,
    needed: Iterable[str] | None = None,
    owner: Owner | None = None,
    averaged: bool = True,
) -> Loaded:
    """What load_networks does, and all that it found."""
    if not place.exists():
        raise UserError(_absent(place))
    if (states := family.released_states(place)) is not None:
        return _load_released(family, place, states, needed)
    if place.is_dir() and not holds_weights(place, family.layout):
        raise UserError(no_weights(place, family.layout) + OTHER_WEIGHTS)
    networks = family.networks()
    layout, which = find_set(place, family.layout, which)
    if place.is_dir() and which != "latest" and which not in (sets := sets_in(place, layout)):
        raise UserError(f"--which {which}: {place} holds no such checkpoint; there are: {', '.join(sorted(sets))}")
    which = which if place.is_dir() else set_of(place.name, layout) or ""
    averages = averaged_states(family, place if place.is_dir() else place.parent, which, layout) if averaged else {}
    needed = set(networks if needed is None else needed)
    there = needed - set(family.optional)
    if "{entry}" in layout.pattern:
        path, content = place, {}
        files = _files_of(family, place, layout, which, owner)
        states = {name: read_weights(file) for name, file in files.items() if file.is_file() or name in there}
        unfit = _load_states(family, states | averages, needed, path, layout)
    else:
        path = found_as(place / layout.pattern.format(which=which)) if place.is_dir() else place
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
    log.info("averaged over training: %s (%s)", ", ".join(found), path)
    return found


def restore_averages(trainer: Any, folder: Path, which: str | None, updates: Mapping[str, int]) -> None:
    """Go on with the averages that were saved beside a set; those that were not begin with the present weights."""
    family, averages = trainer.family, trainer.averages
    averages.restart()
    states = averaged_states(family, folder, which, family.layout) if averages.of else {}
    with averages.in_use():
        for name, average in averages.of.items():
            if name in states:
                state, _ = family.convert_state(name, _own_keys(name, states[name], family.layout.rename))
                load_strictly(average.network, state, f"{averages_file(folder, which or '')} ({name})")
                average.updates = updates.get(name, 0)
            elif trainer.clock.step:
                log.warning("%s holds no average of %s: it begins with the weights of now", folder, name)


def _load_released(family: Any, path: Path, states: Mapping[str, Any], needed: Iterable[str] | None) -> Loaded:
    """Load state dicts that the family found in a file or folder of a form of its own."""
    networks = family.networks()
    needed = set(networks if needed is None else needed)
    states = {name: state for name, state in states.items() if name in networks}
    absent = needed - set(states) - set(family.optional)
    if absent:
        raise UserError(f"{path}: holds no weights of {', '.join(sorted(absent))}")
    unfit = _load_states(family, states, needed, path, family.layout)
    return Loaded(path, family.layout, "", {}, frozenset(networks) - set(states), unfit)


def _name_owner(family: Any, path: Path, content: Any, owner: Owner | None, error: UserError | None = None) -> None:
    """Say of a file that does not fit to which other family it belongs, if that is known."""
    other = owner and owner(family, content)
    if other:
        raise UserError(
            f"{path}: this is a checkpoint of the family {other}: --model {other} reads it, with the --config that it "
            "was trained with"
        ) from error


def _absent(place: Path) -> str:
    """What to say of a run or a file that is not there."""
    near = [path for path in place.parent.glob("[!.]*") if path.is_dir() or ".pth" in path.name]
    return (
        f"{place}: there is no such file or folder; in {place.parent} there are: "
        f"{_shorten(sorted(path.name for path in near), 20) or 'none'}. --name takes a run of --checkpoints_dir, "
        "--checkpoint the weights themselves"
    )


def no_weights(folder: Path, layout: Any) -> str:
    """What to say of a folder that holds no weights of a layout."""
    found = sorted(path.name for path in folder.glob("[!.]*.pth*"))
    expected = dict.fromkeys(weight_names(layout, layout.entries, "latest").values())
    return (
        f"{folder}: no weights in it are called as this family's, {', '.join(expected)}; there are: "
        f"{_shorten(found) or 'none'}"
    )


def _load_states(family: Any, states: Mapping[str, Any], needed: set[str], path: Path, layout: Any) -> frozenset[str]:
    """Load state dicts under their released names into the family's networks; those that don't fit."""
    networks, unfit = family.networks(), set()
    for name in needed - set(states):
        log.info("%s holds no %s: it stays as it is built", path, name)
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
            log.warning("starting %s afresh: %s", name, error)
            unfit.add(name)
    return frozenset(unfit)


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load a state dict of which every key and every shape must match; the error lists what does not."""
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
            + ". Give the options the model was trained with (--config, or its options.yaml beside it), or its --model."
        )
    with torch.no_grad():
        network.load_state_dict({**own, **state})


def _shorten(keys: list[str], most: int = 6) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def _entries(path: Path, content: Any, entries: Mapping[str, str], networks: Mapping, needed: set[str]) -> dict:
    """The state dicts of the networks out of a file that holds one entry each."""
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds a {type(content).__name__}, not the entries {', '.join(entries.values())}")
    if is_safetensors(path):
        content = nested(content, entries.values())
    absent = [entries[name] for name in networks if name in needed and entries[name] not in content]
    if absent:
        raise UserError(
            f"{path}: lacks the entries {', '.join(absent)}; it has {_shorten([str(key) for key in content], 10)}. "
            "It may belong to another family: name that one with --model."
        )
    return {name: content[entries[name]] for name in networks if entries[name] in content}


def _files_of(family: Any, place: Path, layout: Any, which: str, owner: Owner | None) -> dict[str, Path]:
    """The file of each network, in a folder or beside the file that is named; none is another than training saved."""
    folder = place if place.is_dir() else place.parent
    if place.is_dir():
        names = weight_names(layout, family.networks(), which)
        files = {name: found_as(place / file) for name, file in names.items()}
    else:
        files = _siblings(family, place, layout, owner)
    refuse_changed(folder, which, files.values())
    return files


def _siblings(family: Any, file: Path, layout: Any, owner: Owner | None) -> dict[str, Path]:
    """Where one of several weight files is named: the files of all networks beside it."""
    which = set_of(file.name, layout)
    if which:
        names = weight_names(layout, family.networks(), which)
        return {name: found_as(file.with_name(other)) for name, other in names.items()}
    _name_owner(family, file, read_weights(file), owner)
    expected = ", ".join(weight_names(layout, layout.entries, "latest").values())
    raise UserError(
        f"{file}: the name tells no network; names are like {expected}. Or give the folder. Weights of another family "
        "need its --model or --config"
    )


def released_state(name: str, state: Mapping[str, Tensor], rename: Mapping[str, str]) -> dict[str, Tensor]:
    """A network's state dict on the CPU under the released names."""
    prefixes = _prefixes(name, rename)
    state = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    return {_replace_prefix(key, prefixes): value for key, value in state.items()}


def _own_keys(name: str, state: Mapping[str, Tensor], rename: Mapping[str, str]) -> dict[str, Tensor]:
    """The opposite of released_state, without the prefix of DataParallel."""
    if not isinstance(state, Mapping):
        raise UserError(f"the entry for {name} holds a {type(state).__name__}, not a state dict")
    prefixes = {released: own for own, released in _prefixes(name, rename).items()}
    return {_replace_prefix(key.removeprefix("module."), prefixes): value for key, value in state.items()}


def _prefixes(name: str, rename: Mapping[str, str]) -> dict[str, str]:
    return {own.removeprefix(f"{name}."): released for own, released in rename.items() if own.startswith(f"{name}.")}


def _replace_prefix(key: str, prefixes: Mapping[str, str]) -> str:
    for old in sorted(prefixes, key=len, reverse=True):
        if key.startswith(old):
            return prefixes[old] + key[len(old) :]
    return key
