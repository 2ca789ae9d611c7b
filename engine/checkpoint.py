"""Checkpoints: weights in the released layout beside a training state, whole or not at all, and never code."""

import json
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.released import find_set, numbered_sets, optimizer_names, weight_names
from util.errors import UserError
from util.files import replacing, write_text
from util.weights_file import read_weights

log = logging.getLogger(__name__)


def save_file(path: Path, content: Any) -> int:
    """Write with torch.save, whole or not at all; the checksum of what was written."""
    with replacing(path) as temporary:
        torch.save(content, temporary)
        checksum = _checksum(temporary)
    return checksum


class Checkpoints:
    """The checkpoints of one run's folder.

    Every saving writes a numbered set (its training state last, with the checksums of the weights, so that an
    interrupted saving is noticed) and then lets the names of "latest" point to the same files.
    """

    def __init__(self, folder: Path, *, keep: int = 3, options: dict[str, Any] | None = None):
        self.folder, self.keep, self.options = Path(folder), keep, options or {}
        self._written: int | None = None

    def save(self, trainer: Any, which: str = "latest", value: float | None = None) -> None:
        """Save weights and training state of this step under its number and as `which`; only the main process writes.

        `value` is kept beside it: by what a "best" checkpoint was chosen.
        """
        trainer.watch.check()
        if not trainer.processes.is_main:
            return
        family, number = trainer.family, self._number(trainer)
        if trainer.clock.step != self._written:
            self._write(trainer, number)
            self._written = trainer.clock.step
        optimizers = optimizer_names(family.layout, number).values()
        for name in [*self._weight_names(family, number).values(), *optimizers, self._training_file(number).name]:
            _link(self.folder / name, self.folder / name.replace(number, which, 1))
        if value is not None:
            write_text(self.folder / f"{which}.json", json.dumps({"step": trainer.clock.step, "value": value}))
        self._drop_old(family)

    def best_value(self) -> float | None:
        """By what the best checkpoint so far was chosen; None if there is none."""
        path = self.folder / "best.json"
        return json.loads(path.read_text())["value"] if path.is_file() else None

    def resume(self, trainer: Any, which: str = "latest") -> bool:
        """Continue from the newest complete set (or from `which`, e.g. "best"); False if there is none."""
        names = [*reversed(self.numbers()), which] if which == "latest" else [which]
        for name in filter(lambda name: self._training_file(name).is_file(), names):
            state = read_weights(self._training_file(name))
            if not self._complete(state, name):
                log.warning("%s: checkpoint %s is not complete; looking for the one before", self.folder, name)
                continue
            load_networks(trainer.family, self.folder, name)
            trainer.load_state_dict(state | self._separate_optimizers(trainer, name))
            log.info("continuing %s at step %d", self.folder, trainer.clock.step)
            return True
        return self._resume_released(trainer)

    def _resume_released(self, trainer: Any) -> bool:
        """Continue from files of the original project, which hold no training state, where epochs number them."""
        layout, clock = trainer.family.layout, trainer.clock
        released = numbered_sets(self.folder, layout) if layout.numbered_by == "epoch" else []
        if not released:
            return False
        load_networks(trainer.family, self.folder, released[-1])
        clock.samples = int(released[-1]) * clock.epoch_size
        clock.step = clock.samples // self.options.get("batch_size", 1)
        for name, file in optimizer_names(layout, released[-1]).items():
            try:
                trainer.optimizers[name].load_state_dict(read_weights(self.folder / file))
            except (UserError, ValueError) as error:
                log.warning("the optimizer of %s starts afresh: %s", name, error)
        log.info("continuing the original's run in %s after epoch %s", self.folder, released[-1])
        return True

    def _separate_optimizers(self, trainer: Any, which: str) -> dict[str, Any]:
        names = optimizer_names(trainer.family.layout, which)
        states = {name: read_weights(self.folder / file) for name, file in names.items()}
        return {"optimizers": states} if states else {}

    def _number(self, trainer: Any) -> str:
        """What this moment's set is called: by the step, or by the epoch, from 1, in which the last step began."""
        if trainer.family.layout.numbered_by == "step":
            return f"{trainer.clock.step:08d}"
        before = max(0, trainer.clock.samples - self.options.get("batch_size", 1))
        return str(before // trainer.clock.epoch_size + 1)

    def numbers(self) -> list[str]:
        """The numbered sets there are, oldest first; the training state is written last and stands for its set."""
        found = (path.name.removesuffix("_training.pth") for path in self.folder.glob("*_training.pth"))
        return sorted((name for name in found if name.isdigit()), key=int)

    def _write(self, trainer: Any, number: str) -> None:
        layout, networks = trainer.family.layout, trainer.family.networks()
        weights = {name: _released_state(name, network, layout.rename) for name, network in networks.items()}
        checksums = {}
        if "{entry}" in layout.pattern:
            for name, file in self._weight_names(trainer.family, number).items():
                checksums[file] = save_file(self.folder / file, weights[name])
        else:
            file = layout.pattern.format(which=number)
            content = {layout.entries[name]: state for name, state in weights.items()}
            checksums[file] = save_file(self.folder / file, content)
        state = trainer.state_dict()
        for name, file in optimizer_names(layout, number).items():
            checksums[file] = save_file(self.folder / file, state["optimizers"].pop(name))
        state |= {
            "checksums": {file.replace(number, "{which}", 1): value for file, value in checksums.items()},
            "options": self.options,
        }
        save_file(self._training_file(number), state)

    def _complete(self, state: dict[str, Any], which: str) -> bool:
        files = {self.folder / file.format(which=which): value for file, value in state["checksums"].items()}
        return all(file.is_file() and _checksum(file) == value for file, value in files.items())

    def _drop_old(self, family: Any) -> None:
        for number in self.numbers()[: -self.keep] if self.keep else []:
            self._training_file(number).unlink()
            for name in {
                *self._weight_names(family, number).values(),
                *optimizer_names(family.layout, number).values(),
            }:
                (self.folder / name).unlink(missing_ok=True)

    def _weight_names(self, family: Any, which: str) -> dict[str, str]:
        return weight_names(family.layout, family.networks(), which)

    def _training_file(self, which: str) -> Path:
        return self.folder / f"{which}_training.pth"


def load_networks(
    family: Any,
    place: Path | str,
    which: str = "latest",
    needed: Iterable[str] | None = None,
    owner: Callable[[Any, Any], str | None] | None = None,
) -> Path:
    """Load the family's networks from a file or a folder; every key must match. The path that was read.

    `needed` names the networks that must be there (default: all that the family has now, less what it calls optional);
    others are loaded if found. `owner` says of a file that does not fit the family to which other one it belongs.
    """
    place, networks = Path(place), family.networks()
    layout, which = find_set(place, family.layout, which)
    needed = set(networks if needed is None else needed)
    there = needed - set(family.optional)
    if "{entry}" in layout.pattern:
        path = place
        files = {name: place / file for name, file in weight_names(layout, networks, which).items()}
        if place.is_file():
            files = _siblings(place, layout, networks)
        states = {name: read_weights(file) for name, file in files.items() if file.is_file() or name in there}
        _load_states(family, states, needed, path, layout)
        return path
    path = place / layout.pattern.format(which=which) if place.is_dir() else place
    content = read_weights(path)
    try:
        states = _entries(path, family.released_entries(content, path), layout.entries, networks, there)
        _load_states(family, states, needed, path, layout)
    except UserError as error:
        other = owner and owner(family, content)
        if not other:
            raise
        raise UserError(f"{path}: this is a checkpoint of the family {other}: --model {other} reads it") from error
    return path


def _load_states(family: Any, states: Mapping[str, Any], needed: set[str], path: Path, layout: Any) -> None:
    """Load state dicts under their released names into the family's networks."""
    networks = family.networks()
    for name in needed - set(states):
        log.info("%s holds no %s: it stays as it is built", path, name)
    for name, state in states.items():
        where = f"{path} ({layout.entries[name]})"
        try:
            state, dropped = family.adopt(name, _own_keys(name, state, layout.rename))
            if dropped:
                log.info(
                    "%s: %d entries have no place here and are dropped: %s", where, len(dropped), ", ".join(dropped)
                )
            load_strictly(networks[name], state, where)
        except UserError as error:
            if name in needed:
                raise
            log.warning("starting %s afresh: %s", name, error)


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
    absent = [entries[name] for name in networks if name in needed and entries[name] not in content]
    if absent:
        raise UserError(
            f"{path}: lacks the entries {', '.join(absent)}; it has {_shorten([str(key) for key in content], 10)}. "
            "It may belong to another family: name that one with --model."
        )
    return {name: content[entries[name]] for name in networks if entries[name] in content}


def _siblings(file: Path, layout: Any, networks: Mapping) -> dict[str, Path]:
    """Where one of several weight files is named: the files of all networks beside it."""
    for entry in layout.entries.values():
        marker = layout.pattern.format(which="\0", entry=entry)
        before, after = marker.split("\0") if "\0" in marker else (marker, "")
        if file.name.startswith(before) and file.name.endswith(after) and "\0" in marker:
            which = file.name[len(before) : len(file.name) - len(after)]
            return {
                name: file.with_name(layout.pattern.format(which=which, entry=layout.entries[name]))
                for name in networks
            }
    expected = ", ".join(layout.pattern.format(which="latest", entry=entry) for entry in layout.entries.values())
    raise UserError(f"--checkpoint {file}: the name tells no network; names are like {expected}. Or give the folder.")


def _released_state(name: str, network: nn.Module, rename: Mapping[str, str]) -> dict[str, Tensor]:
    """A network's state dict on the CPU under the released names."""
    prefixes = _prefixes(name, rename)
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    return {_replace_prefix(key, prefixes): value for key, value in state.items()}


def _own_keys(name: str, state: Mapping[str, Tensor], rename: Mapping[str, str]) -> dict[str, Tensor]:
    """The opposite of _released_state, without the prefix of DataParallel."""
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


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            value = zlib.crc32(block, value)
    return value


def _link(path: Path, name: Path) -> None:
    """Let `name` be the same file as `path`, at once; a copy where the file system knows no links."""
    with replacing(name) as temporary:
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)
