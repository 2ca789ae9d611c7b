"""The models that the app offers; the last two that were used stay loaded."""

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch

from grimace import Model
from options.declared import Declared, declared_options
from options.resolve import OWN_WEIGHTS
from util.errors import UserError
from util.yaml_file import read_yaml_file

log = logging.getLogger(__name__)
Words = tuple[str, ...]
"""What a command line of test.py says of the model."""
KEPT = 2
"""Models that stay loaded."""
OWN = "the model that ships (drawn people)"
RUNS = Path("result")
"""Where test.py looks for runs unless it is told otherwise."""


@dataclass(frozen=True)
class Known:
    """A run that is offered."""

    label: str
    words: Words
    family: str
    mode: str
    """Its dataset mode."""


def runs_in(folder: Path) -> list[Known]:
    """The runs of a folder, with their families; what holds no options of a family is none."""
    found = []
    for path in sorted(folder.glob("*/options.yaml")):
        try:
            said = read_yaml_file(path)
        except UserError as error:
            log.warning("skipped: %s", error)
            continue
        family = said.get("model") if isinstance(said, dict) else None
        if family:
            where = () if folder.resolve() == RUNS.resolve() else (f"--checkpoints_dir={folder}",)
            name = path.parent.name
            found.append(
                Known(f"{name} ({family})", (f"--name={name}", *where), str(family), str(said.get("dataset_mode")))
            )
    return found


def offered(folder: Path) -> dict[str, Words]:
    """The command-line words of each model, by label; the one that ships is the first."""
    return _own() | {run.label: run.words for run in runs_in(folder)}


def driven_by_videos(folder: Path) -> dict[str, Words]:
    """The same of those that a driving video drives; action units are read from videos by a package of its own."""
    return _own() | {run.label: run.words for run in runs_in(folder) if run.mode != "aus"}


def _own() -> dict[str, Words]:
    here = OWN_WEIGHTS.relative_to(Path.cwd()) if OWN_WEIGHTS.is_relative_to(Path.cwd()) else OWN_WEIGHTS
    own = {OWN: (f"--checkpoint={here}", "--name=own", "--crop_image", "--crop_video")}
    return own if OWN_WEIGHTS.is_dir() else {}


def words_of_file(checkpoint: str, config: str) -> Words:
    """The words for a file of weights; the configuration may lie in it."""
    path = Path(checkpoint.strip()).expanduser()
    if not checkpoint.strip() or not path.exists():
        raise UserError(f"{checkpoint or 'weights'}: no such file or folder; enter a path on this machine")
    return (f"--checkpoint={path}", *([f"--config={config}"] if config else []))


class Models:
    """Loads models, and keeps the last two."""

    def __init__(self, device: torch.device):
        self.device = device
        self._loaded: OrderedDict[tuple[Words, int], Model] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, words: Words) -> Model:
        """The model of these words; one whose run has trained on since is loaded anew."""
        with self._lock:
            for key, model in list(self._loaded.items()):
                if key[0] == words:
                    if key[1] == _changed(model):
                        self._loaded.move_to_end(key)
                        return model
                    del self._loaded[key]
            while len(self._loaded) >= KEPT:
                self._loaded.popitem(last=False)
            model = Model(words, self.device)
            self._loaded[words, _changed(model)] = model
            return model

    def options(self, words: Words) -> list[Declared]:
        """All options that test.py has for a model, and what they are set to."""
        return declared_options(list(words), self.load(words).options)


def _changed(model: Model) -> int:
    folder = model.path if model.path.is_dir() else model.path.parent
    return folder.stat().st_mtime_ns
