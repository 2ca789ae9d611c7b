"""What every family of models provides: networks, a training step, an animation."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from models.parts.blocks import fold_spectral_norms
from models.parts.cpu_convolutions import quicken
from util.epoch_log import epoch_line
from util.errors import UserError


@dataclass(frozen=True)
class Layout:
    """Where the released weights keep which network.

    `pattern` with {entry} means one file per network, e.g. "{which}_net_{entry}.pth"; without it, one file that holds
    a dictionary with one entry per network, e.g. "{which}-checkpoint.pth.tar".
    """

    pattern: str
    entries: dict[str, str]
    """Our network (an attribute of the family) -> its name in the files."""
    rename: dict[str, str] = field(default_factory=dict)
    """Our key prefix, beginning with the network's attribute -> the released prefix (without the network)."""
    optimizers: dict[str, str] = field(default_factory=dict)
    """Our optimizer -> its entry in released training checkpoints, for those that hold optimizers."""
    optimizer_pattern: str = ""
    """Where optimizers have files of their own beside the weights, how those are called."""
    epoch: str = "epoch"
    """The entry of released training checkpoints that holds the index, from 0, of the last finished epoch."""
    numbered_by: str = "step"
    """What the numbers in file names count: "step", or "epoch", 1 for what the first pass over the data gives."""
    others: tuple["Layout", ...] = ()
    """The layouts of other implementations whose files are read too."""


@dataclass(frozen=True)
class RowTable:
    """A table with one row per training item that is too large for the device.

    Only the rows of one step are there, in a parameter; the engine brings them in and takes them back.
    """

    parameter: str
    """Name of that parameter, (items in a step, width)."""
    optimizer: str
    """The optimizer, an Adam, that trains it."""
    key: str
    """What holds the numbers of the items in a batch; a training step finds their rows in the parameter there."""
    low: float = 0.0
    high: float = 1.0
    """A row starts with even random numbers between these two."""


@dataclass(frozen=True)
class ReportFormat:
    """An original's log with a line per report of the losses, for tools that read it."""

    name: str
    """What its file is called."""
    line: Callable[..., str]
    """The line of a report: epoch, step_in_epoch (both from 0), steps_per_epoch, step (steps done), seconds (per
    sample), time (now), numbers (the average losses)."""
    step_of: Callable[[str], int | None]
    """The step that a line is of; None for other lines, e.g. headlines."""


class Family(nn.Module):
    """A set of networks, how they are trained, how they animate a face."""

    layout: Layout
    begins_with: tuple[str, ...] = ()
    """For a second stage of training: the families whose weights it may begin with (--init_from), beside its own."""
    not_compiled: tuple[str, ...] = ()
    """Networks that --compile leaves alone, e.g. a critic with a gradient penalty (double backward)."""
    optional: tuple[str, ...] = ()
    """Networks that a file of weights may lack; they are then as they are built."""
    needed: frozenset[str] | None = None
    """The networks that weights must hold to begin or to continue with: those of inference, less the optional ones.

    Who prepares the training sets it before; None: all that there are.
    """
    run_name: str = ""
    """The run that commands mean which name none; default: the family's name."""
    results_beside_weights: bool = False
    """Whether test.py writes into the folder of the weights where no other is named, as the original does."""
    explained_modes: tuple[str, ...] = ()
    """The modes of test.py in which the original's results are pictures of how each frame came about (`explain`)."""
    report_format: ReportFormat | None = None
    """The original's log with a line per report, where it has one."""
    log_lines: str = ""
    """What has a line in log.txt, for tools that read the original's: "epoch", "step"; "": there is no such file."""
    log_to: Callable[..., None] | None = None
    """Where `log` goes; the engine sets it in training."""
    averaged: Mapping[str, float] = MappingProxyType({})
    """Networks of which a moving average is kept (EMA), and its decay, e.g. {"generator": 0.999}.

    The engine updates it after each update of the network, saves it beside the weights, and animates with it. The
    decay after n updates is at most (1 + n) / (10 + n). Set it in `prepare_training` where an option decides.
    """
    planned_epochs: int | None = None
    """How long training is, by the family's schedule, where neither --epochs nor --steps says it."""
    planned_steps: int | None = None
    """The same in steps."""

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        """Declare the family's options; `parser.set_defaults` for shared ones (dataset_mode, batch_size)."""

    @staticmethod
    def recognises(sections: dict) -> bool:
        """Whether a nested YAML file of the original project, given as its sections, is one of this family's."""
        return False

    def __init__(self, opt: Any, training: bool):
        """Build the networks that inference needs, from named arguments; `training`: opt has the options of train.py.

        What only training needs, such as discriminators, follows in `prepare_training`.
        """
        super().__init__()

    @classmethod
    def for_training(cls, opt: Any) -> "Family":
        """A family with all that training needs. Weights to begin with must hold what inference needs of it."""
        family = cls(opt, training=True)
        family.needed = frozenset(family.networks())
        family.prepare_training(opt)
        return family.train()

    def prepare_training(self, opt: Any) -> None:
        """Add discriminators and losses."""

    def convert_state(self, network: str, state: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], list[str]]:
        """A state dict from a file under our entry names, and the names of the entries that are dropped."""
        return state, []

    def milestone(self, moment: str, dataset: Any) -> dict[str, Tensor]:
        """Called when the weights of --init_from are "loaded", "before" the first step and "after" the last one.

        Returns the pictures {title: (N, C, H, W)} to write as MOMENT.png; {}: none.
        """
        return {}

    def number_of_steps(self, epochs: float | None, steps: int | None, samples: int, batch_size: int) -> int:
        """How long training is, by --epochs or --steps, whichever ends first, else by the family's own schedule."""
        if not (epochs or steps):
            epochs, steps = self.planned_epochs, self.planned_steps
        limits = [steps, epochs and math.ceil(epochs * samples / batch_size)]
        if not any(limits):
            raise UserError("how long to train? give --epochs or --steps")
        return min(limit for limit in limits if limit)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimizers by name, with the rates at the start."""
        raise NotImplementedError

    def released_entries(self, content: Any, path: Path) -> Any:
        """The layout's entries out of a file of another form, e.g. of an older implementation; others as they are."""
        return content

    def released_states(self, path: Path) -> Mapping[str, Mapping[str, Tensor]] | None:
        """State dicts by network from a file or folder that no layout describes; None if it is not of that kind."""
        return None

    def trained_for(self, content: Mapping[str, Any]) -> dict[str, int]:
        """How long a file's weights were trained: {"epochs": N} or {"steps": N}; {} where its entries don't tell."""
        return {"epochs": int(content[self.layout.epoch]) + 1} if self.layout.epoch in content else {}

    @classmethod
    def exported(cls, content: dict[str, Any], training: Mapping[str, Any]) -> Any:
        """A checkpoint of ours as the original's programs train on from it, out of our file and our training state.

        By default one file that holds the optimizers under their released names, too.
        """
        names = cls.layout.optimizers
        return content | {names[name]: state for name, state in training["optimizers"].items() if name in names}

    def rate(self, name: str, clock: Any) -> float:
        """Factor on the starting learning rate of optimizer `name`: a pure function of the clock (util.schedules)."""
        return 1.0

    def log_line(self, epoch: int, step_in_epoch: int, step: int, numbers: Mapping[str, float]) -> str:
        """The line of log.txt, as the original writes it, of average losses; all counts are from 0."""
        return epoch_line(epoch, numbers)

    def row_tables(self) -> dict[str, RowTable]:
        """Tables with one row per training item that are too large for the device, by name."""
        return {}

    def training_step(self, batch: dict[str, Any], clock: Any) -> Iterator[tuple]:
        """Yield (optimizer name or names, {term: weighted loss}) once per update; return {name: image batch} to show.

        A third item, {name: number}, is reported instead of the terms. Code after a `yield` runs once per
        micro-batch, also where the update was left out (--on_nan skip, an overflow of fp16): what belongs to an update
        itself goes into `after_update`.

        What a network computed does not outlive its update: detach it or compute it again.
        """
        raise NotImplementedError

    def before_update(self, names: tuple[str, ...]) -> None:
        """Called when the gradients are averaged and unscaled; clip them here if the paper does."""

    def after_update(self, names: tuple[str, ...]) -> None:
        """Called once for each update that happened, without gradients, with the names of the optimizers that worked.

        It is not called for an update that was left out (--on_nan skip, an overflow of fp16).
        """

    def log(self, name: str, value: Any, kind: str | None = None) -> None:
        """Show a value of a training step beside its losses: a number, a batch of pictures, or a histogram.

        It may be a tensor on the device: nothing waits for it. Numbers are averaged as losses are; of pictures and
        histograms, those of the step that is reported are shown. `kind`: "number", "pictures" or "histogram", where
        the shape does not say it. Outside training nothing happens.
        """
        if self.log_to is not None:
            self.log_to(name, value, kind)

    def prepare_inference(self) -> None:
        """Rebuild the loaded networks for speed; no training or saving after it.

        A family whose batch norms can be folded into its convolutions does so first.
        """
        fold_spectral_norms(self)
        quicken(self)

    def encode_source(self, source: dict[str, Any]) -> dict[str, Any]:
        """Everything that does not depend on the driving frames; `source` is a batch of one."""
        raise NotImplementedError

    def begin_with(self, state: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
        """The state after a driving frame that is shown before all others, without a result of its own."""
        return self.animate(state, first)[1]

    def animate(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """Consecutive driving frames (a batch) to frames (N, 3, H, W) in [0, 1], and the next state.

        No memory in self; the frames are the same however the driving video is cut into batches. Where a frame depends
        on later driving frames there are fewer, or none; what is held back is in the state, and comes next time or by
        `finish`.
        """
        raise NotImplementedError

    def finish(self, state: dict[str, Any], most: int) -> tuple[Tensor, dict[str, Any]]:
        """At most so many of the frames that `animate` held back, when there are no later driving frames."""
        raise NotImplementedError

    def measure(self, driving: dict[str, Any]) -> dict[str, Tensor]:
        """The motion of driving frames (a batch) as numbers, for a motion template."""
        raise UserError("--save_template: this family has no motion templates; leave the option out")

    def explain(
        self, source: dict[str, Any], state: dict[str, Any], driving: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any], dict[str, Tensor]]:
        """What `animate` returns, and pictures of how the frames came about: {column: (N, C, h, w)}."""
        raise UserError("--visualize: this family has no pictures of how its frames come about; leave the option out")

    def recognises_weights(self, content: Any) -> bool:
        """Whether the content of a file of weights is one of this family's; asked about files that fit no other one.

        By default one that holds exactly the networks of the layout, with the shapes that they have here. A family
        whose shapes hang on options says by what else its files are known.
        """
        networks = self.networks()
        if "{entry}" in self.layout.pattern:
            return any(_shapes(content) == _shapes(network.state_dict()) for network in networks.values())
        return self.holds_entries(content) and all(
            _shapes(content[entry]) == _shapes(network.state_dict())
            for name, network in networks.items()
            if (entry := self.layout.entries[name]) in content
        )

    def holds_entries(self, content: Any, less: tuple[str, ...] = ()) -> bool:
        """Whether a file holds the networks of inference, `less` those it may lack, and none that the layout lacks."""
        if not isinstance(content, Mapping):
            return False
        found = {entry for entry, state in content.items() if _shapes(state) is not None}
        needed = {self.layout.entries[name] for name in self.networks() if name not in (*self.optional, *less)}
        return needed <= found <= set(self.layout.entries.values())

    def networks(self) -> dict[str, nn.Module]:
        """The networks that exist now, in the layout's order."""
        return {
            name: getattr(self, name)
            for name in self.layout.entries
            if isinstance(getattr(self, name, None), nn.Module)
        }


def _shapes(state: Any) -> list[tuple[int, ...]] | None:
    """The shapes of a state dict in order of size; None for what is no state dict.

    Names are left out: the layout may rename them, and old files lack the counters of batch norms.
    """
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        return None
    return sorted(tuple(value.shape) for name, value in state.items() if not str(name).endswith("num_batches_tracked"))
