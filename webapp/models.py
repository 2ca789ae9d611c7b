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
ModelArguments = tuple[str, ...]
"""The arguments of test.py that choose a model."""
MAX_LOADED = 2
"""Number of models that stay loaded."""
OWN_LABEL = "Grimace's own model (drawn people)"
RUNS = Path("result")
"""Default folder of runs."""


@dataclass(frozen=True)
class RunChoice:
    """A run to choose from."""

    label: str
    arguments: ModelArguments
    family: str
    mode: str
    """Its dataset mode."""


def runs_in(folder: Path) -> list[RunChoice]:
    """The runs of a folder with their families; folders without saved options are ignored."""
    found = []
    for path in sorted(folder.glob("*/options.yaml")):
        try:
            saved = read_yaml_file(path)
        except UserError as error:
            log.warning("skipped: %s", error)
            continue
        family = saved.get("model") if isinstance(saved, dict) else None
        if family:
            where = () if folder.resolve() == RUNS.resolve() else (f"--checkpoints_dir={folder}",)
            name = path.parent.name
            found.append(
                RunChoice(f"{name} ({family})", (f"--name={name}", *where), str(family), str(saved.get("dataset_mode")))
            )
    return found


def available_models(folder: Path) -> dict[str, ModelArguments]:
    """The arguments of each model, by label; Grimace's own model is the first."""
    return _own_model() | {run.label: run.arguments for run in runs_in(folder)}


def driven_by_videos(folder: Path) -> dict[str, ModelArguments]:
    """The same for models driven by video; reading action units from videos needs an extra package."""
    return _own_model() | {run.label: run.arguments for run in runs_in(folder) if run.mode != "aus"}


def _own_model() -> dict[str, ModelArguments]:
    here = OWN_WEIGHTS.relative_to(Path.cwd()) if OWN_WEIGHTS.is_relative_to(Path.cwd()) else OWN_WEIGHTS
    own = {OWN_LABEL: (f"--checkpoint={here}", "--name=own", "--crop_image", "--crop_video")}
    return own if OWN_WEIGHTS.is_dir() else {}


def arguments_of_file(checkpoint: str, config: str) -> ModelArguments:
    """The arguments for a weights file, which may contain its configuration."""
    path = Path(checkpoint.strip()).expanduser()
    if not checkpoint.strip() or not path.exists():
        raise UserError(f"{checkpoint or 'weights'}: no such file or folder; enter a path on this machine")
    return (f"--checkpoint={path}", *([f"--config={config}"] if config else []))


class Models:
    """Loads models, and keeps the last two."""

    def __init__(self, device: torch.device):
        self.device = device
        self._loaded: OrderedDict[tuple[ModelArguments, int], Model] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, arguments: ModelArguments) -> Model:
        """The model of these arguments; it is loaded again if its run has trained on since."""
        with self._lock:
            for key, model in list(self._loaded.items()):
                if key[0] == arguments:
                    if key[1] == _changed(model):
                        self._loaded.move_to_end(key)
                        return model
                    del self._loaded[key]
            while len(self._loaded) >= MAX_LOADED:
                self._loaded.popitem(last=False)
            model = Model(arguments, self.device)
            self._loaded[arguments, _changed(model)] = model
            return model

    def options(self, arguments: ModelArguments) -> list[Declared]:
        """All options of test.py for a model, with their values."""
        return declared_options(list(arguments), self.load(arguments).options)


def _changed(model: Model) -> int:
    folder = model.path if model.path.is_dir() else model.path.parent
    return folder.stat().st_mtime_ns
