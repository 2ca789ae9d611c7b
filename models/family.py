"""Base class of model families: networks, a training step, animation."""

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
from util.attributes import KeepsMethods
from util.epoch_log import epoch_line
from util.errors import UserError
from util.run_options import RunOptions
from util.schedules import Clock


@dataclass(frozen=True)
class Layout:
    """Names of the networks in released weights files.

    `pattern` with {entry} means one file per network, e.g. "{which}_net_{entry}.pth"; without it, one file that holds a
    dictionary with one entry per network, e.g. "{which}-checkpoint.pth.tar".
    """

    pattern: str
    entries: dict[str, str]
    """Network (an attribute of the family) -> its name in the files."""
    rename: dict[str, str] = field(default_factory=dict)
    """Our key prefix, starting with the network's attribute -> the released prefix (without the network)."""
    optimizers: dict[str, str] = field(default_factory=dict)
    """Optimizer -> its entry in released training checkpoints, if they contain optimizers."""
    optimizer_pattern: str = ""
    """Pattern of separate optimizer files beside the weights, if the layout has them."""
    epoch: str = "epoch"
    """Entry of released training checkpoints with the zero-based index of the last finished epoch."""
    numbered_by: str = "step"
    """Unit of the numbers in file names: "step", or "epoch", counted from 1."""
    others: tuple["Layout", ...] = ()
    """Layouts of other implementations whose files are read too."""


@dataclass(frozen=True)
class RowTable:
    """A table with one row per training item that is too large for the device.

    A parameter holds only the rows of one step; the engine copies them in and back.
    """

    parameter: str
    """Name of that parameter, (items in a step, width)."""
    optimizer: str
    """The optimizer, an Adam, of the parameter."""
    key: str
    """Key of a batch with the item numbers; in a training step it holds their rows in the parameter instead."""
    low: float = 0.0
    high: float = 1.0
    """Range of the uniform distribution that initialises a row."""


@dataclass(frozen=True)
class ReportFormat:
    """An original's log with a line per report of the losses, for tools that read it."""

    name: str
    """Name of its file."""
    line: Callable[..., str]
    """The line of a report: epoch, step_in_epoch (both from 0), steps_per_epoch, step (finished steps), seconds (per
    sample), time (now), numbers (average losses)."""
    step_of: Callable[[str], int | None]
    """The step of a line; None for other lines, e.g. headings."""


class Family(KeepsMethods, nn.Module):
    """A set of networks with their training and animation."""

    layout: Layout
    begins_with: tuple[str, ...] = ()
    """Second stages: the families whose weights it may start from (--init_from), besides its own."""
    adds: tuple[str, ...] = ()
    """Second stages: its networks that the first stage's weights lack; they keep their initial weights."""
    resting: tuple[str, ...] = ()
    """Networks that stay frozen while others learn: in training, too, their norms and dropout are those of evaluation.
    Leave them out of `optimizers`."""
    not_compiled: tuple[str, ...] = ()
    """Networks that --compile skips, e.g. a critic with a gradient penalty (double backward)."""
    optional: tuple[str, ...] = ()
    """Networks that a weights file may lack; they keep their initial weights."""
    needed: frozenset[str] | None = None
    """The networks that weights must contain to start from or to resume: those of inference without the optional ones.

    Set before `prepare_training`; None: all present networks.
    """
    run_name: str = ""
    """The default run of commands without --name; default: the family's name."""
    results_beside_weights: bool = False
    """Whether test.py writes into the folder of the weights by default, as the original does."""
    tells_motion: bool = False
    """Whether `animate_with_motion` returns where in the source each pixel is from."""
    explained_modes: tuple[str, ...] = ()
    """The modes of test.py in which the original writes visualisations of intermediate results (`explain`)."""
    report_format: ReportFormat | None = None
    """The original's log with a line per report, if it has one."""
    log_lines: str = ""
    """Unit of a line in log.txt, for tools that read the original's: "epoch" or "step"; "": no such file."""
    log_to: Callable[..., None] | None = None
    """Receives the values of `log`; the engine sets it in training."""
    averaged: Mapping[str, float] = MappingProxyType({})
    """Networks with a moving average (EMA), and its decay, e.g. {"generator": 0.999}.

    The engine updates the average after each update of the network, saves it beside the weights, and animates with it.
    The decay after n updates is at most (1 + n) / (10 + n). Set it in `prepare_training` if an option controls it.
    """
    planned_epochs: int | None = None
    """Length of training in epochs by the family's schedule, without --epochs and --steps."""
    planned_steps: int | None = None
    """The same in steps."""

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        """Declare the family's options; use `parser.set_defaults` for shared ones (dataset_mode, batch_size)."""

    @staticmethod
    def recognises(sections: dict) -> bool:
        """Whether a nested YAML file of the original project, given as its sections, belongs to this family."""
        return False

    def __init__(self, opt: RunOptions, training: bool):
        """Build the networks of inference from named arguments; `training`: opt has the options of train.py.

        Networks that only training needs, such as discriminators, follow in `prepare_training`.
        """
        super().__init__()

    @classmethod
    def for_training(cls, opt: RunOptions) -> "Family":
        """Build a family ready for training. Weights to start from must contain its networks of inference."""
        family = cls(opt, training=True)
        family.needed = frozenset(family.networks()) - frozenset(cls.adds)
        family.prepare_training(opt)
        return family.train()

    def prepare_training(self, opt: RunOptions) -> None:
        """Add discriminators and losses."""

    def train(self, mode: bool = True) -> "Family":
        """Training mode for all networks but those that rest."""
        super().train(mode)
        networks = self.networks()
        for name in set(self.resting) & networks.keys():
            networks[name].eval()
        return self

    def convert_state(self, network: str, state: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], list[str]]:
        """A state dict from a file under our entry names, and the names of dropped entries."""
        return state, []

    def milestone(self, moment: str, dataset: Any) -> dict[str, Tensor]:
        """Called with "loaded" after the weights of --init_from are loaded, "before" the first step and "after" the
        last one.

        Returns pictures {title: (N, C, H, W)} to write as MOMENT.png; {}: none.
        """
        return {}

    def number_of_steps(self, epochs: float | None, steps: int | None, samples: int, batch_size: int) -> int:
        """Length of training in steps, by --epochs or --steps, whichever is shorter, or by the family's own
        schedule."""
        if not (epochs or steps):
            epochs, steps = self.planned_epochs, self.planned_steps
        limits = [steps, epochs and math.ceil(epochs * samples / batch_size)]
        if not any(limits):
            raise UserError("the length of training is unknown; set --epochs or --steps")
        return min(limit for limit in limits if limit)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimizers by name, with their initial learning rates."""
        raise NotImplementedError

    def released_entries(self, content: Any, path: Path) -> Any:
        """The layout's entries from a file of another form, e.g. of an older implementation; other content is
        unchanged."""
        return content

    def released_states(self, path: Path) -> Mapping[str, Mapping[str, Tensor]] | None:
        """State dicts by network from a file or folder that no layout describes; None if it is of another kind."""
        return None

    def trained_for(self, content: Mapping[str, Any]) -> dict[str, int]:
        """How long a file's weights were trained: {"epochs": N} or {"steps": N}; {} if the file does not say."""
        return {"epochs": int(content[self.layout.epoch]) + 1} if self.layout.epoch in content else {}

    @classmethod
    def exported(cls, content: dict[str, Any], training: Mapping[str, Any]) -> Any:
        """A checkpoint from which the original's programs resume, made of our weights file and training state.

        By default one file that also holds the optimizers, under their released names.
        """
        names = cls.layout.optimizers
        return content | {names[name]: state for name, state in training["optimizers"].items() if name in names}

    def rate(self, name: str, clock: Clock) -> float:
        """Factor on the initial learning rate of optimizer `name`: a pure function of the clock (util.schedules)."""
        return 1.0

    def log_line(self, epoch: int, step_in_epoch: int, step: int, numbers: Mapping[str, float]) -> str:
        """The line of log.txt in the original's format, with average losses; all counts are from 0."""
        return epoch_line(epoch, numbers)

    def row_tables(self) -> dict[str, RowTable]:
        """Tables with one row per training item that are too large for the device, by name."""
        return {}

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        """Yield (optimizer name or names, {term: weighted loss}) once per update; return {name: image batch} to show.

        An optional third item, {name: number}, is reported instead of the terms. Code after a `yield` runs once per
        micro-batch, even if the update was skipped (--on_nan skip, an overflow of fp16): code that belongs to an update
        goes into `after_update`.

        Outputs of a network are valid for one update: detach them or compute them again.
        """
        raise NotImplementedError

    def before_update(self, names: tuple[str, ...]) -> None:
        """Called after gradients are averaged and unscaled; clip them here if the paper does."""

    def after_update(self, names: tuple[str, ...]) -> None:
        """Called once per performed update, without gradients, with the names of the updated optimizers.

        Skipped updates (--on_nan skip, an overflow of fp16) do not call it.
        """

    def log(self, name: str, value: Any, kind: str | None = None) -> None:
        """Log a value of a training step besides its losses: a number, a batch of pictures, or a histogram.

        It may be a tensor on the device, which is not synchronised. Numbers are averaged like losses; pictures and
        histograms are those of the reported step. `kind`: "number", "pictures" or "histogram", if the shape is
        ambiguous. Outside training it does nothing.
        """
        if self.log_to is not None:
            self.log_to(name, value, kind)

    def prepare_inference(self) -> None:
        """Rebuild the loaded networks for speed; no training or saving afterwards.

        A family with batch norms that can be folded into its convolutions does so first.
        """
        fold_spectral_norms(self)
        quicken(self)

    def encode_source(self, source: dict[str, Any]) -> dict[str, Any]:
        """Compute everything that does not depend on the driving frames; `source` is a batch of one."""
        raise NotImplementedError

    def begin_with(self, state: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
        """The state after a driving frame that comes before all others and has no result."""
        return self.animate(state, first)[1]

    def animate(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """Consecutive driving frames (a batch) to frames (N, 3, H, W) in [0, 1], and the next state.

        Keeps no memory in self; results do not depend on how the driving video is cut into batches. A family whose
        frames depend on later driving frames returns fewer frames, or none; the state holds the pending ones for the
        next call or for `finish`.
        """
        raise NotImplementedError

    def animate_with_motion(
        self, state: dict[str, Any], driving: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any], Tensor]:
        """What `animate` returns, and the dense motion behind it (N, h, w, 2): where in the source each pixel is from.

        x and y are in [-1, 1] between the middles of the outermost pixels; families with `tells_motion` have it.
        """
        raise UserError("motion/truth: this family has no dense motion; remove the metric")

    def finish(self, state: dict[str, Any], max_frames: int) -> tuple[Tensor, dict[str, Any]]:
        """Return at most this many pending frames, when there are no more driving frames."""
        raise NotImplementedError

    def measure(self, driving: dict[str, Any]) -> dict[str, Tensor]:
        """The motion of driving frames (a batch) as arrays, for a motion template."""
        raise UserError("--save_template: this family has no motion templates; remove the option")

    def explain(
        self, source: dict[str, Any], state: dict[str, Any], driving: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any], dict[str, Tensor]]:
        """The results of `animate`, and visualisations of intermediate results: {column: (N, C, h, w)}."""
        raise UserError("--visualize: this family has no visualisations; remove the option")

    def recognises_weights(self, content: Any) -> bool:
        """Whether the content of a weights file belongs to this family; asked about files that fit no other family.

        By default a file with exactly the networks of the layout, in the shapes that they have here. A family whose
        shapes depend on options overrides it.
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
        """Whether a file has the networks of inference, except `less`, and none that the layout lacks."""
        if not isinstance(content, Mapping):
            return False
        found = {entry for entry, state in content.items() if _shapes(state) is not None}
        needed = {self.layout.entries[name] for name in self.networks() if name not in (*self.optional, *less)}
        return needed <= found <= set(self.layout.entries.values())

    def networks(self) -> dict[str, nn.Module]:
        """The present networks, in the layout's order."""
        return {
            name: getattr(self, name)
            for name in self.layout.entries
            if isinstance(getattr(self, name, None), nn.Module)
        }


def _shapes(state: Any) -> list[tuple[int, ...]] | None:
    """The sorted shapes of a state dict; None if it is not a state dict.

    Names are ignored: the layout may rename them, and old files lack the counters of batch norms.
    """
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        return None
    return sorted(tuple(value.shape) for name, value in state.items() if not str(name).endswith("num_batches_tracked"))
