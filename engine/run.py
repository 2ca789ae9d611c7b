"""The folder of a training run: whether it may begin there, where it goes on, who else works in it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from engine.checkpoints.load import Owner
from engine.checkpoints.released import NEWEST, holds_weights
from engine.checkpoints.save import Checkpoints, continue_from
from engine.claim import claimed
from engine.distributed import Processes
from engine.sinks import LOG_FILE, write_picture
from util.errors import UserError
from util.files import folders_in, refuse_unwritable, set_aside, write_text
from util.grid import labelled_grid
from util.yaml_file import read_yaml_file

log = logging.getLogger(__name__)

OPTIONS_FILE = "options.yaml"


@dataclass(frozen=True)
class Start:
    """Where training begins. Without any of these: at step 0, with random weights."""

    resume: bool = False
    """--continue_train: where the run of this folder stopped."""
    checkpoint: str | None = None
    """--checkpoint: where another run stopped, or the authors' training."""
    weights: str | None = None
    """--init_from: at step 0, with the weights of another run."""
    which: str = "latest"
    """--which: the checkpoint that is meant."""

    def check(self) -> None:
        """Refuse what contradicts itself."""
        if self.weights and (self.resume or self.checkpoint):
            raise UserError(
                "--continue_train and --checkpoint continue, --init_from begins at step 0: give one of them"
            )
        if self.which not in NEWEST and not (self.resume or self.checkpoint):
            raise UserError(
                f"--which {self.which}: says from where to go on: give --continue_train or --checkpoint, too"
            )


class Run:
    """One run: its folder, its checkpoints, and where it starts."""

    def __init__(self, checkpoints: Checkpoints, layout: Any, start: Start, processes: Processes):
        """Refuses to start over, to resume nothing, and a folder that cannot be written to."""
        self.checkpoints, self.layout, self.start, self.processes = checkpoints, layout, start, processes
        self.folder = checkpoints.folder
        start.check()
        if start.resume and not (self.folder.is_dir() or start.checkpoint):
            raise UserError(f"--continue_train: there is no run {self.folder}; runs: {folders_in(self.folder.parent)}")
        if self._holds_a_run() and not (start.resume or start.weights):
            raise UserError(
                f"{self.folder} holds a run already: continue it with --continue_train, choose another --name, begin "
                "anew with weights and keep what is there with --init_from, or remove it"
            )
        if processes.is_main:
            refuse_unwritable(self.folder, "checkpoints_dir")

    def restore(self, trainer: Any, *, batch_size: int, owner: Owner) -> None:
        """Go on where the run in the folder stopped, else where the file of --checkpoint did."""
        start = self.start
        if start.resume and self.checkpoints.resume(trainer, start.which, owner):
            return
        if start.checkpoint:
            continue_from(trainer, start.checkpoint, start.which, batch_size=batch_size, owner=owner)
        elif start.which not in NEWEST:
            raise UserError(f"--which {start.which}: {self.folder} holds no checkpoint yet")
        elif start.resume:
            self._refuse_to_forget_weights()
            log.warning("%s holds no checkpoint yet: starting at step 0", self.folder)

    @contextmanager
    def opened(self, trainer: Any, options: str) -> Iterator[None]:
        """Hold the folder for this run alone while it trains; the main process makes it ready to be written to."""
        self.processes.wait()  # until every process has read what it needs of the folder
        if not self.processes.is_main:
            self.processes.wait()
            yield
            return
        with claimed(self.folder):
            self._prepare(trainer, options)
            self.processes.wait()
            yield

    def show(self, moment: str, family: Any, dataset: Any) -> None:
        """Write the pictures that a family has of this moment as MOMENT.png."""
        if not self.processes.is_main:
            return
        family.eval()
        with torch.inference_mode():
            shown = family.milestone(moment, dataset)
        family.train()
        if shown:
            arrays = {title: pictures.float().cpu().numpy() for title, pictures in shown.items()}
            write_picture(self.folder / f"{moment}.png", labelled_grid(arrays, rows=8))

    def _holds_a_run(self) -> bool:
        """Whether training left something in the folder, or weights of the family lie there."""
        return (self.folder / LOG_FILE).exists() or holds_weights(self.folder, self.layout)

    def _refuse_to_forget_weights(self) -> None:
        """A run that began with given weights and saved nothing can't be resumed without them."""
        saved = self.folder / OPTIONS_FILE
        weights = saved.is_file() and read_yaml_file(saved).get("init_from")
        if weights:
            raise UserError(
                f"--continue_train: {self.folder} holds no checkpoint yet, and the run began with weights of another "
                f"one: give --init_from {weights} again, in place of --continue_train"
            )

    def _prepare(self, trainer: Any, options: str) -> None:
        if self.start.weights and self._holds_a_run():
            earlier = [path for path in self.folder.iterdir() if not path.name.startswith(("previous_", "."))]
            log.info("the run that was in %s is now in %s", self.folder, set_aside(self.folder, earlier))
        if self.start.which not in NEWEST:
            self.checkpoints.set_aside_later(trainer)
        self.checkpoints.remove_unfinished(trainer.family)
        write_text(self.folder / OPTIONS_FILE, options)
