"""Checkpoints: weights in the released layout beside a training state, whole or not at all, and never code."""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from engine.checkpoints.load import (
    Owner,
    load_networks,
    load_set,
    no_weights,
    released_state,
    restore_averages,
)
from engine.checkpoints.released import (
    NEWEST,
    averages_file,
    holds_weights,
    is_unfinished,
    optimizer_names,
    read_training_state,
    same_number,
    training_file,
    unfinished_mark,
    weight_names,
)
from engine.checkpoints.resume import resume_training
from util.checksums import file_checksum
from util.errors import UserError
from util.files import replacing, set_aside, write_text
from util.jsons import read_json
from util.reading import reading
from util.weights_file import read_weights

log = logging.getLogger(__name__)
BACK = "restore the files from a backup, or start at step 0 from complete weights with --init_from FILE"


def save_file(path: Path, content: Any) -> int:
    """Write with torch.save, whole or not at all; the checksum of what was written."""
    try:
        with replacing(path) as temporary:
            # An open file, since with a path torch.save hides the system's error.
            with temporary.open("wb") as file:
                torch.save(content, file)
            return file_checksum(temporary)
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise UserError(
            f"cannot write {path} ({cause.strerror}). Earlier checkpoints are complete: --continue_train resumes "
            f"from them"
        ) from error


class Checkpoints:
    """The checkpoints in a run's folder.

    Each save writes a numbered set and then links the names of "latest" to the same files. The training state is
    written last and holds the checksums of the weights, which reveals an interrupted save.
    """

    def __init__(self, folder: Path, *, keep: int = 3, options: dict[str, Any] | None = None):
        self.folder, self.keep, self.options = Path(folder), keep, options or {}
        self._written: int | None = None

    def save(self, trainer: Any, which: str = "latest", value: float | None = None) -> None:
        """Save weights and training state of this step under its number and as `which`; only the main process writes.

        `value`, the value that a "best" checkpoint was chosen by, is stored beside it.
        """
        trainer.watch.check()
        if not trainer.processes.is_main:
            return
        family, number = trainer.family, self._number(trainer)
        if trainer.clock.step != self._written:
            with self._marked(family, number):
                self._write_files(trainer, number)
            self._written = trainer.clock.step
        with self._marked(family, which):
            for path, name in reversed([*zip(self._files(family, number), self._files(family, which), strict=True)]):
                if path.exists():
                    _link(path, name)
                else:  # averages that an earlier version of the family kept
                    name.unlink(missing_ok=True)
        if value is not None:
            write_text(self.folder / f"{which}.json", json.dumps({"step": trainer.clock.step, "value": value}))
        self._drop_old(family)

    def best_value(self) -> float | None:
        """The value of the best checkpoint so far; None if there is none."""
        path = self.folder / "best.json"
        if not path.is_file():
            return None
        what = "has no value of the best checkpoint"
        with reading(path, what, "remove it"):
            return float(read_json(path, what, "remove it")["value"])

    def resume(self, trainer: Any, which: str = "latest", owner: Owner | None = None) -> bool:
        """Continue from the newest complete set, or from `which`; False if the folder holds no weights at all.

        Also continues from weights of the original, which have no training state.
        """
        found = self.complete_set(which)
        if found:
            name, state = found
            load_networks(trainer.family, self.folder, name, averaged=False)
            with reading(training_file(self.folder, name), "not the training state of this run", BACK):
                trainer.load_state_dict(state | self._separate_optimizers(trainer, name))
                restore_averages(trainer, self.folder, name, state.get("averages", {}))
            log.info("resuming %s at step %d", self.folder, trainer.clock.step)
            return True
        if not holds_weights(self.folder, trainer.family.layout):
            self._refuse_other_weights(trainer.family)
            return False
        try:
            continue_from(trainer, self.folder, which, batch_size=self.options.get("batch_size", 1), owner=owner)
        except UserError as error:
            raise UserError(
                f"--continue_train: {str(error).removesuffix('.')}. Nothing was changed. To start at step 0 with "
                f"these weights, use --init_from FILE"
            ) from error
        return True

    def complete_set(self, which: str = "latest") -> tuple[str, dict[str, Any]] | None:
        """Our newest complete set, or the set `which`, with its training state.

        None if there is no set of ours; an error if none is complete.
        """
        # Sets numbered by epoch are overwritten within the epoch; if that is interrupted, "latest" is the next newest.
        newest_first = [*self.numbers()[-1:], "latest", *reversed(self.numbers()[:-1])]
        names = newest_first if which in NEWEST else [same_number(which, self.numbers())]
        problems = []
        for name in filter(lambda name: training_file(self.folder, name).is_file(), names):
            state, wrong = self._checked(name)
            if not wrong:
                return name, state
            log.warning("%s: checkpoint %s is incomplete; trying the one before", self.folder, name)
            problems += wrong
        if problems:
            raise UserError(
                f"{self.folder}: no complete checkpoint: {'; '.join(problems)}. Nothing was changed; {BACK}"
            )
        return None

    def _checked(self, which: str) -> tuple[dict[str, Any], list[str]]:
        """The training state of a set, and the problems of its files."""
        path = training_file(self.folder, which)
        try:
            state = read_training_state(path)
            with reading(path, "its checksums are damaged"):
                sums = {name.format(which=which): value for name, value in state["checksums"].items()}
        except UserError as error:
            return {}, [str(error)]
        wrong = []
        for name, value in sums.items():
            file = self.folder / name
            if not file.is_file():
                wrong.append(f"{file.name} is missing")
            elif file_checksum(file) != value:
                wrong.append(f"{file.name} is damaged or replaced")
        return state, wrong

    def _refuse_other_weights(self, family: Any) -> None:
        """Refuse to start in a folder with weights under names of another family."""
        unfinished = [mark.name.removesuffix("_unfinished") for mark in self.folder.glob("*_unfinished")]
        ours = {file for which in unfinished for file in self._files(family, which)}
        if set(self.folder.glob("[!.]*.pth*")) - ours:
            raise UserError(
                f"--continue_train: {no_weights(self.folder, family.layout)}. --checkpoint FILE resumes from a file "
                f"into a new run; --init_from FILE starts at step 0 with its weights"
            )

    def set_aside_later(self, trainer: Any) -> None:
        """Move sets later than the current step away, so that the next save is the newest."""
        number = self._number(trainer)
        later = [name for name in self.numbers() if int(name) > int(number)]
        files = [file for name in later for file in self._files(trainer.family, name) if file.exists()]
        if files:
            log.info("moved the checkpoints after %s to %s", number, set_aside(self.folder, files))

    def remove_unfinished(self, family: Any) -> None:
        """Remove leftovers of interrupted saves."""
        for mark in self.folder.glob("*_unfinished"):
            which = mark.name.removesuffix("_unfinished")
            if is_unfinished(self.folder, which):
                self._remove(family, which)

    def _separate_optimizers(self, trainer: Any, which: str) -> dict[str, Any]:
        names = optimizer_names(trainer.family.layout, which)
        states = {name: read_weights(self.folder / file) for name, file in names.items()}
        return {"optimizers": states} if states else {}

    def _number(self, trainer: Any) -> str:
        """The name of the current set: the step, or the epoch (from 1) of the last step."""
        if trainer.family.layout.numbered_by == "step":
            return f"{trainer.clock.step:08d}"
        return str(self._epoch(trainer) + 1)

    def _epoch(self, trainer: Any) -> int:
        return trainer.clock.last_epoch(self.options.get("batch_size", 1))

    def numbers(self) -> list[str]:
        """The numbered sets, oldest first, found by their training states, which are written last."""
        found = (path.name.removesuffix("_training.pth") for path in self.folder.glob("*_training.pth"))
        return sorted((name for name in found if name.isdigit()), key=int)

    @contextmanager
    def _marked(self, family: Any, which: str) -> Iterator[None]:
        """Mark a set while it is written. Files with its names but without mark or training state are kept."""
        mark = unfinished_mark(self.folder, which)
        if not mark.exists():
            self._keep_foreign(family, which)
        self._write_mark(which)
        yield
        mark.unlink()

    def _write_mark(self, which: str) -> Path:
        mark = unfinished_mark(self.folder, which)
        write_text(mark, "these files are an incomplete checkpoint: being written or removed\n")
        return mark

    def _keep_foreign(self, family: Any, which: str) -> None:
        """Move foreign files with the names of a set away; they have no training state."""
        training, *files = self._files(family, which)
        foreign = [path for path in files if path.exists()]
        if foreign and not training.exists():
            moved_to = set_aside(self.folder, foreign)
            log.info("moved to %s instead of replacing: %s", moved_to, ", ".join(path.name for path in foreign))

    def _write_files(self, trainer: Any, number: str) -> None:
        layout, networks = trainer.family.layout, trainer.family.networks()
        weights = {name: released_state(name, net.state_dict(), layout.rename) for name, net in networks.items()}
        checksums = self._write_averages(trainer, number)
        if "{entry}" in layout.pattern:
            for name, file in weight_names(layout, networks, number).items():
                checksums[file] = save_file(self.folder / file, weights[name])
        else:
            file = layout.pattern.format(which=number)
            content: dict[str, Any] = {layout.entries[name]: state for name, state in weights.items()}
            content[layout.epoch] = self._epoch(trainer)  # without it the original's programs end with a KeyError
            checksums[file] = save_file(self.folder / file, content)
        state = trainer.state_dict()
        for name, file in optimizer_names(layout, number).items():
            checksums[file] = save_file(self.folder / file, state["optimizers"].pop(name))
        state |= {
            "checksums": {file.replace(number, "{which}", 1): value for file, value in checksums.items()},
            "options": self.options,
        }
        save_file(training_file(self.folder, number), state)

    def _write_averages(self, trainer: Any, number: str) -> dict[str, int]:
        """Write the moving averages, if any; return the file's name and checksum."""
        layout, path = trainer.family.layout, averages_file(self.folder, number)
        content = {
            layout.entries[name]: released_state(name, average.values, layout.rename)
            for name, average in trainer.averages.of.items()
        }
        if content:
            return {path.name: save_file(path, content)}
        path.unlink(missing_ok=True)
        return {}

    def _drop_old(self, family: Any) -> None:
        for number in self.numbers()[: -self.keep] if self.keep else []:
            self._remove(family, number)

    def _remove(self, family: Any, which: str) -> None:
        """Remove a set; if interrupted, the set counts as unfinished."""
        mark = self._write_mark(which)
        for path in [*self._files(family, which), mark]:
            path.unlink(missing_ok=True)

    def _files(self, family: Any, which: str) -> list[Path]:
        """The files of a set, its training state first."""
        weights = weight_names(family.layout, family.networks(), which).values()
        optimizers = optimizer_names(family.layout, which).values()
        names = dict.fromkeys([*weights, *optimizers, averages_file(self.folder, which).name])
        return [training_file(self.folder, which), *(self.folder / name for name in names)]


def continue_from(
    trainer: Any,
    location: Path | str,
    which: str = "latest",
    *,
    batch_size: int,
    owner: Owner | None = None,
) -> None:
    """Continue from a file or folder of another run or of the original: weights, optimizers, progress."""
    location, family = Path(location), trainer.family
    found = Checkpoints(location).complete_set(which) if location.is_dir() else None
    loaded = load_set(family, location, found[0] if found else which, family.needed, owner, averaged=False)
    resume_training(trainer, loaded, batch_size)


def _link(path: Path, name: Path) -> None:
    """Hard-link `name` to `path` atomically; copy where the file system has no links."""
    with replacing(name) as temporary:
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)
