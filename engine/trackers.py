"""Experiment trackers with the same interface: Weights & Biases and trackio."""

import importlib
from typing import Any

import numpy as np

from engine.sinks import RunInfo, Sink, numbers_of
from util.errors import UserError
from util.files import write_text
from util.version import VERSION


class Tracker(Sink):
    """Sends numbers, histograms and pictures of a run to the project "grimace" of a service."""

    module = ""

    def __init__(self, run: RunInfo):
        try:
            self.service: Any = importlib.import_module(self.module)
        except ImportError as error:
            raise UserError(f"--sink {self.module}: {error}; pip install {self.module}") from error
        self.run = self.begin(run)

    def begin(self, run: RunInfo) -> Any:
        """Start the run at the service, or resume it."""
        raise NotImplementedError

    def report(self, entry: dict[str, Any]) -> None:
        histograms = {name: self.service.Histogram(values) for name, values in entry["histograms"].items()}
        self.log(numbers_of(entry) | histograms, entry["step"])

    def show(self, step: int, picture: np.ndarray) -> None:
        self.log({"pictures": self.service.Image(picture)}, step)

    def validated(self, entry: dict[str, Any]) -> None:
        self.log(entry["values"], entry["step"])

    def show_validation(self, step: int, picture: np.ndarray) -> None:
        self.log({"validation": self.service.Image(picture)}, step)

    def log(self, values: dict[str, Any], step: int) -> None:
        """Send values of a step."""
        self.run.log(values, step=step)

    def close(self) -> None:
        self.run.finish()


class WandB(Tracker):
    """Weights & Biases; WANDB_MODE=offline keeps everything in the run's folder."""

    module = "wandb"

    def begin(self, run: RunInfo) -> Any:
        path = run.folder / "wandb_id.txt"
        if not path.is_file():
            write_text(path, self.service.util.generate_id())
        begun = self.service.init(
            project="grimace", name=run.name, id=path.read_text(encoding="utf-8").strip(), resume="allow",
            dir=str(run.folder), config=dict(run.options) | {"grimace": VERSION},
        )  # fmt: skip
        begun.define_metric("*", step_metric="step")
        return begun

    def log(self, values: dict[str, Any], step: int) -> None:
        # The service's own step counter only rises; repeated steps of a resumed run are drawn over by this one.
        self.run.log(values | {"step": step})


class Trackio(Tracker):
    """trackio, whose page runs on this machine: `trackio show --project grimace`."""

    module = "trackio"

    def begin(self, run: RunInfo) -> Any:
        settings = {key: str(value) for key, value in run.options.items()}
        return self.service.init(project="grimace", name=run.name, config=settings, resume="allow")
