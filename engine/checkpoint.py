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

from engine.continuing import go_on
from engine.released import (
    NEWEST,
    Loaded,
    find_set,
    holds_weights,
    optimizer_names,
    same_number,
    set_of,
    training_file,
    unfinished_mark,
    weight_names,
)
from util.errors import UserError
from util.files import replacing, set_aside, write_text
from util.weights_file import read_weights

log = logging.getLogger(__name__)

Owner = Callable[[Any, Any], str | None]
"""Says of a file of weights that does not fit a family to which other one it belongs."""


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
        self._keep_foreign(family, which)
        for path in reversed(self._files(family, number)):
            _link(path, path.with_name(path.name.replace(number, which, 1)))
        if value is not None:
            write_text(self.folder / f"{which}.json", json.dumps({"step": trainer.clock.step, "value": value}))
        self._drop_old(family)

    def best_value(self) -> float | None:
        """By what the best checkpoint so far was chosen; None if there is none."""
        path = self.folder / "best.json"
        return json.loads(path.read_text())["value"] if path.is_file() else None

    def resume(self, trainer: Any, which: str = "latest", owner: Owner | None = None) -> bool:
        """Continue from the newest complete set, or from `which`; False if the folder holds no weights at all.

        Weights of the original, which hold no training state, are continued from as well.
        """
        found = self.complete_set(which)
        if found:
            name, state = found
            load_networks(trainer.family, self.folder, name)
            trainer.load_state_dict(state | self._separate_optimizers(trainer, name))
            log.info("continuing %s at step %d", self.folder, trainer.clock.step)
            return True
        if not holds_weights(self.folder, trainer.family.layout):
            self._refuse_other_weights(trainer.family)
            return False
        try:
            continue_from(trainer, self.folder, which, batch_size=self.options.get("batch_size", 1), owner=owner)
        except UserError as error:
            raise UserError(
                f"--continue_train: {error} Nothing was changed. --init_from FILE takes weights alone, from step 0"
            ) from error
        return True

    def complete_set(self, which: str = "latest") -> tuple[str, dict[str, Any]] | None:
        """The newest complete set that we saved (or the one that is meant by `which`), with its training state.

        None if we saved none; an error if none is complete.
        """
        names = [*reversed(self.numbers()), "latest"] if which in NEWEST else [same_number(which, self.numbers())]
        problems = []
        for name in filter(lambda name: training_file(self.folder, name).is_file(), names):
            state, wrong = self._checked(name)
            if not wrong:
                return name, state
            log.warning("%s: checkpoint %s is not complete; looking for the one before", self.folder, name)
            problems += wrong
        if problems:
            raise UserError(
                f"{self.folder}: no checkpoint is complete: {'; '.join(problems)}. Nothing was changed. Bring the "
                "files back from a copy; --init_from FILE begins at step 0, with weights that are whole"
            )
        return None

    def _checked(self, which: str) -> tuple[dict[str, Any], list[str]]:
        """The training state of a set, and what is wrong with its files."""
        try:
            state = read_weights(training_file(self.folder, which))
        except UserError as error:
            return {}, [str(error)]
        wrong = []
        for name, value in state["checksums"].items():
            file = self.folder / name.format(which=which)
            if not file.is_file():
                wrong.append(f"{file.name} is missing")
            elif _checksum(file) != value:
                wrong.append(f"{file.name} is damaged, or not the one that was saved")
        return state, wrong

    def _refuse_other_weights(self, family: Any) -> None:
        """Refuse to begin in a folder where weights are that are not called as this family's."""
        unfinished = [mark.name.removesuffix("_unfinished") for mark in self.folder.glob("*_unfinished")]
        ours = {file for which in unfinished for file in self._files(family, which)}
        if set(self.folder.glob("[!.]*.pth*")) - ours:
            raise UserError(
                f"--continue_train: {_no_weights(self.folder, family.layout)}. --checkpoint FILE continues from a file "
                "into a new run, --init_from FILE takes its weights alone"
            )

    def set_aside_later(self, trainer: Any) -> None:
        """Move the sets after the present moment out of the way: what is saved next is the newest then."""
        number = self._number(trainer)
        later = [name for name in self.numbers() if int(name) > int(number)]
        files = [file for name in later for file in self._files(trainer.family, name) if file.exists()]
        if files:
            log.info("the checkpoints after %s are now in %s", number, set_aside(self.folder, files))

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
        mark = unfinished_mark(self.folder, number)
        if not mark.exists():
            self._keep_foreign(trainer.family, number)
        write_text(mark, "the saving of these files has not ended\n")
        self._write_files(trainer, number)
        mark.unlink()

    def _keep_foreign(self, family: Any, which: str) -> None:
        """Move files that others left under the names of a set, known by the absence of a training state."""
        training, *files = self._files(family, which)
        foreign = [path for path in files if path.exists()]
        if foreign and not training.exists():
            place = set_aside(self.folder, foreign)
            log.info("to keep them: %s now in %s", ", ".join(path.name for path in foreign), place)

    def _write_files(self, trainer: Any, number: str) -> None:
        layout, networks = trainer.family.layout, trainer.family.networks()
        weights = {name: _released_state(name, network, layout.rename) for name, network in networks.items()}
        checksums = {}
        if "{entry}" in layout.pattern:
            for name, file in weight_names(layout, networks, number).items():
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
        save_file(training_file(self.folder, number), state)

    def _drop_old(self, family: Any) -> None:
        for number in self.numbers()[: -self.keep] if self.keep else []:
            for path in self._files(family, number):
                path.unlink(missing_ok=True)

    def _files(self, family: Any, which: str) -> list[Path]:
        """The files of a set that we save, its training state first."""
        weights = weight_names(family.layout, family.networks(), which).values()
        optimizers = optimizer_names(family.layout, which).values()
        names = dict.fromkeys([*weights, *optimizers])
        return [training_file(self.folder, which), *(self.folder / name for name in names)]


def continue_from(
    trainer: Any,
    place: Path | str,
    which: str = "latest",
    *,
    batch_size: int,
    owner: Owner | None = None,
) -> None:
    """Go on from a file or folder that another run left, or the original: weights, optimizers, how far it was."""
    place, family = Path(place), trainer.family
    found = Checkpoints(place).complete_set(which) if place.is_dir() else None
    loaded = load_set(family, place, found[0] if found else which, family.needed, owner)
    go_on(trainer, loaded, batch_size)


def load_networks(
    family: Any,
    place: Path | str,
    which: str = "latest",
    needed: Iterable[str] | None = None,
    owner: Owner | None = None,
) -> Path:
    """Load the family's networks from a file or a folder; every key must match. The path that was read.

    `needed` names the networks that must be there (default: all that the family has now, less what it calls optional);
    others are loaded if found.
    """
    return load_set(family, Path(place), which, needed, owner).path


def load_set(
    family: Any,
    place: Path,
    which: str,
    needed: Iterable[str] | None = None,
    owner: Owner | None = None,
) -> Loaded:
    """What load_networks does, and all that it found."""
    if not place.exists():
        raise UserError(_absent(place))
    if place.is_dir() and not holds_weights(place, family.layout):
        raise UserError(
            f"{_no_weights(place, family.layout)}. Weights of another family need its --model or --config; a file of "
            "another name is named itself (--checkpoint FILE, --init_from FILE)"
        )
    networks = family.networks()
    layout, which = find_set(place, family.layout, which)
    needed = set(networks if needed is None else needed)
    there = needed - set(family.optional)
    if "{entry}" in layout.pattern:
        path, content = place, {}
        files = {name: place / file for name, file in weight_names(layout, networks, which).items()}
        if place.is_file():
            files = _siblings(family, place, layout, owner)
        states = {name: read_weights(file) for name, file in files.items() if file.is_file() or name in there}
        unfit = _load_states(family, states, needed, path, layout)
    else:
        path = place / layout.pattern.format(which=which) if place.is_dir() else place
        which = set_of(path.name, layout)
        content = read_weights(path)
        try:
            content = family.released_entries(content, path)
            states = _entries(path, content, layout.entries, networks, there)
            unfit = _load_states(family, states, needed, path, layout)
        except UserError as error:
            _name_owner(family, path, content, owner, error)
            raise
    return Loaded(path, layout, which, content, frozenset(networks) - set(states), unfit)


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


def _no_weights(folder: Path, layout: Any) -> str:
    """What to say of a folder that holds no weights of a layout."""
    found = sorted(path.name for path in folder.glob("[!.]*.pth*"))
    expected = dict.fromkeys(weight_names(layout, layout.entries, "latest").values())
    return (
        f"{folder} holds {_shorten(found) or 'nothing'}, but no weights that are called as this family's, "
        f"{', '.join(expected)}"
    )


def _load_states(family: Any, states: Mapping[str, Any], needed: set[str], path: Path, layout: Any) -> frozenset[str]:
    """Load state dicts under their released names into the family's networks; those that don't fit."""
    networks, unfit = family.networks(), set()
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
    absent = [entries[name] for name in networks if name in needed and entries[name] not in content]
    if absent:
        raise UserError(
            f"{path}: lacks the entries {', '.join(absent)}; it has {_shorten([str(key) for key in content], 10)}. "
            "It may belong to another family: name that one with --model."
        )
    return {name: content[entries[name]] for name in networks if entries[name] in content}


def _siblings(family: Any, file: Path, layout: Any, owner: Owner | None) -> dict[str, Path]:
    """Where one of several weight files is named: the files of all networks beside it."""
    which = set_of(file.name, layout)
    if which:
        return {name: file.with_name(other) for name, other in weight_names(layout, family.networks(), which).items()}
    _name_owner(family, file, read_weights(file), owner)
    expected = ", ".join(weight_names(layout, layout.entries, "latest").values())
    raise UserError(
        f"{file}: the name tells no network; names are like {expected}. Or give the folder. Weights of another family "
        "need its --model or --config"
    )


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
