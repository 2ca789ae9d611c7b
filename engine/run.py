"""The folder of a training run: whether training may start there, where it resumes, and its lock."""

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
from engine.log_names import LOG_FILE
from engine.sinks import write_picture
from util.errors import UserError
from util.files import folders_in, refuse_unwritable, set_aside, write_text
from util.grid import labelled_grid
from util.yaml_file import read_yaml_file

log = logging.getLogger(__name__)

OPTIONS_FILE = "options.yaml"


@dataclass(frozen=True)
class Start:
    """Where training starts. Without any of these: at step 0, with random weights."""

    resume: bool = False
    """--continue_train: resume the run in this folder."""
    checkpoint: str | None = None
    """--checkpoint: resume from another run, or from the authors' training."""
    weights: str | None = None
    """--init_from: start at step 0 with the weights of another run."""
    which: str = "latest"
    """--which: the checkpoint to use."""

    def check(self) -> None:
        """Refuse contradictory options."""
        if self.weights and (self.resume or self.checkpoint):
            raise UserError(
                "--continue_train and --checkpoint resume, --init_from starts at step 0: use only one of them"
            )
        if self.which not in NEWEST and not (self.resume or self.checkpoint):
            raise UserError(
                f"--which {self.which} chooses the checkpoint to resume from: add --continue_train or --checkpoint"
            )


class Run:
    """One run: its folder, its checkpoints, and where it starts."""

    def __init__(self, checkpoints: Checkpoints, layout: Any, start: Start, processes: Processes):
        """Refuses to overwrite a run, to resume nothing, and to use a folder without write permission."""
        self.checkpoints, self.layout, self.start, self.processes = checkpoints, layout, start, processes
        self.folder = checkpoints.folder
        start.check()
        if start.resume and not (self.folder.is_dir() or start.checkpoint):
            raise UserError(f"--continue_train: no run {self.folder}; runs: {folders_in(self.folder.parent)}")
        if self._contains_run() and not (start.resume or start.weights):
            raise UserError(
                f"{self.folder} contains a run already: resume it with --continue_train, choose another --name, "
                f"restart from weights and keep the old files with --init_from, or remove it"
            )
        if processes.is_main:
            refuse_unwritable(self.folder, "checkpoints_dir")

    def restore(self, trainer: Any, *, batch_size: int, owner: Owner) -> None:
        """Resume the run in the folder, or else the file of --checkpoint."""
        start = self.start
        if start.resume and self.checkpoints.resume(trainer, start.which, owner):
            return
        if start.checkpoint:
            continue_from(trainer, start.checkpoint, start.which, batch_size=batch_size, owner=owner)
        elif start.which not in NEWEST:
            raise UserError(f"--which {start.which}: {self.folder} has no checkpoint yet")
        elif start.resume:
            self._refuse_to_forget_weights()
            log.warning("%s has no checkpoint yet: starting at step 0", self.folder)

    @contextmanager
    def opened(self, trainer: Any, options: str) -> Iterator[None]:
        """Lock the folder for this run while it trains; the main process prepares it for writing."""
        self.processes.wait()  # until every process has read what it needs from the folder
        if not self.processes.is_main:
            self.processes.wait()
            yield
            return
        with claimed(self.folder):
            self._prepare(trainer, options)
            self.processes.wait()
            yield

    def show(self, moment: str, family: Any, dataset: Any) -> None:
        """Write the family's pictures of a milestone (e.g. "before") as MOMENT.png."""
        if not self.processes.is_main:
            return
        family.eval()
        with torch.inference_mode():
            shown = family.milestone(moment, dataset)
        family.train()
        if shown:
            arrays = {title: pictures.float().cpu().numpy() for title, pictures in shown.items()}
            write_picture(self.folder / f"{moment}.png", labelled_grid(arrays, rows=8))

    def _contains_run(self) -> bool:
        """Whether the folder holds output of training or weights of the family."""
        return (self.folder / LOG_FILE).exists() or holds_weights(self.folder, self.layout)

    def _refuse_to_forget_weights(self) -> None:
        """Refuse to resume a run that started from given weights and has not saved anything yet."""
        saved = self.folder / OPTIONS_FILE
        weights = saved.is_file() and read_yaml_file(saved).get("init_from")
        if weights:
            raise UserError(
                f"--continue_train: {self.folder} has no checkpoint yet, and the run started from other weights: use "
                f"--init_from {weights} again instead of --continue_train"
            )

    def _prepare(self, trainer: Any, options: str) -> None:
        if self.start.weights and self._contains_run():
            earlier = [path for path in self.folder.iterdir() if not path.name.startswith(("previous_", "."))]
            log.info("moved the old run in %s to %s", self.folder, set_aside(self.folder, earlier))
        if self.start.which not in NEWEST:
            self.checkpoints.set_aside_later(trainer)
        self.checkpoints.remove_unfinished(trainer.family)
        write_text(self.folder / OPTIONS_FILE, options)
