"""Resume training from the weights of another run or of the original: clock, optimizers, averages, rows."""

import logging
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from engine.checkpoints.load import restore_averages
from engine.checkpoints.released import Loaded, numbered_sets, optimizer_names, read_training_state, training_file
from engine.clock import Clock
from util.errors import UserError
from util.reading import reading
from util.weights_file import read_weights

log = logging.getLogger(__name__)


def resume_training(trainer: Any, loaded: Loaded, batch_size: int) -> None:
    """Restore clock, optimizers, averages and rows of a trainer whose networks are loaded.

    They come from our training state beside the weights, or from the original's files. Whatever is missing or does not
    fit starts afresh.
    """
    training = _training_state(trainer, loaded)
    with reading(loaded.path, "its record of the training length is damaged", "--init_from FILE starts at step 0"):
        trained_for = _trained_for(trainer.family, loaded, training)
    _set_clock(trainer.clock, batch_size, **trained_for)
    unknown = "" if trained_for else "; its length of training is unknown"
    log.info("resuming %s after %d epochs, at step %d%s", loaded.path, trainer.clock.epoch, trainer.clock.step, unknown)
    if loaded.absent:
        log.warning("%s has no %s: reinitialising missing networks", loaded.path, ", ".join(sorted(loaded.absent)))
    for name, optimizer in trainer.optimizers.items():
        try:
            _refuse_new_networks(trainer.family, optimizer, loaded)
            with reading(loaded.path, "the optimizer's state is damaged"):
                _adopt(optimizer, _optimizer_state(name, loaded, training), _row_parameters(trainer.family))
        except UserError as error:
            log.warning("resetting the optimizer of %s: %s", name, error)
    try:
        with reading(loaded.path, "its averages are damaged"):
            restore_averages(trainer, loaded.folder, loaded.which, training.get("averages", {}))
    except UserError as error:
        log.warning("restarting the averages from the current weights: %s", error)
        trainer.averages.restart()
    for name, rows in trainer.rows.items() if trainer.processes.is_main else ():
        try:
            with reading(loaded.path, "its rows are damaged"):
                rows.table.load_state_dict(_stored(training.get("rows", {}), name, loaded))
        except UserError as error:
            log.warning("reinitialising the rows of %s: %s", name, error)


def _training_state(trainer: Any, loaded: Loaded) -> dict[str, Any]:
    """Our training state beside the weights; empty if there is none or it belongs to another stage."""
    path = training_file(loaded.folder, loaded.which)
    if not (loaded.which and path.is_file()):
        return {}
    state = read_training_state(path)
    other = state["optimizers"] and state["optimizers"].keys().isdisjoint(trainer.optimizers)
    return {} if other else state


def _trained_for(family: Any, loaded: Loaded, training: Mapping[str, Any]) -> dict[str, Any]:
    """How long the weights were trained: {"steps": N} or {"epochs": N}; {} if unknown."""
    if training:
        clock = training["clock"]
        if family.planned_steps:
            return {"steps": clock["step"]}
        return {"epochs": Fraction(clock["samples"], clock["epoch_size"])}
    if "{entry}" not in loaded.layout.pattern:
        return family.trained_for(loaded.content)
    # The original's "latest" has no number: take the largest number beside it.
    numbers = [loaded.which] if loaded.which.isdigit() else numbered_sets(loaded.folder, loaded.layout)
    return {f"{loaded.layout.numbered_by}s": int(numbers[-1])} if numbers else {}


def describe_duration(family: Any, loaded: Loaded) -> str:
    """How long loaded weights were trained, e.g. "1200 steps"; "" if unknown."""
    path = training_file(loaded.folder, loaded.which or "")
    if not loaded.which and "{entry}" in loaded.layout.pattern:
        return ""
    try:
        with reading(loaded.path, "its record of the training length is damaged"):
            if path.is_file():
                return f"{int(read_training_state(path, lazily=True)['clock']['step'])} steps"
            length = _trained_for(family, loaded, {})
    except UserError as error:  # the weights themselves are loaded
        log.warning("%s", error)
        return ""
    return " ".join(f"{count} {unit}" for unit, count in length.items())


def _set_clock(clock: Clock, batch_size: int, steps: int = 0, epochs: Fraction | int = 0) -> None:
    clock.samples = steps * batch_size or int(epochs * clock.epoch_size)
    clock.step = clock.samples // batch_size


def _optimizer_state(name: str, loaded: Loaded, training: Mapping[str, Any]) -> Any:
    """The state of an optimizer: from its own file, our training state, or an entry beside the weights."""
    files = optimizer_names(loaded.layout, loaded.which)
    if name in files:
        return read_weights(loaded.folder / files[name])
    if training:
        return _stored(training["optimizers"], name, loaded)
    if name not in loaded.layout.optimizers:
        raise UserError("these weights come without optimizer state")
    return _stored(loaded.content, loaded.layout.optimizers[name], loaded)


def _stored(states: Mapping[str, Any], name: str, loaded: Loaded) -> Any:
    if name not in states:
        raise UserError(f"{loaded.path} has no {name}")
    return states[name]


def _refuse_new_networks(family: Any, optimizer: torch.optim.Optimizer, loaded: Loaded) -> None:
    """Refuse the optimizer state of reinitialised networks: its moments belong to other weights."""
    networks = family.networks()
    trained = set(_parameters(optimizer))
    new = [name for name in sorted(loaded.absent | loaded.unfit) if trained & set(networks[name].parameters())]
    if new:
        raise UserError(f"it also trains reinitialised networks: {', '.join(new)}")


def _adopt(optimizer: torch.optim.Optimizer, state: Any, rows: Iterable[Tensor]) -> None:
    """Load the moments of each parameter; learning rate, betas and the like stay those of the options."""
    if not (isinstance(state, Mapping) and {"state", "param_groups"} <= state.keys()):
        raise UserError("the stored entry is not an optimizer's state")
    own, theirs = optimizer.state_dict()["param_groups"], state["param_groups"]
    if [len(group["params"]) for group in own] != [len(group["params"]) for group in theirs]:
        raise UserError("it trains other parameters")
    numbers = [number for group in theirs for number in group["params"]]
    free = {id(row) for row in rows}
    for number, parameter in zip(numbers, _parameters(optimizer), strict=True):
        moments = [value for value in state["state"].get(number, {}).values() if isinstance(value, Tensor)]
        if id(parameter) not in free and any(value.ndim and value.shape != parameter.shape for value in moments):
            raise UserError("its parameters have other shapes")
    groups = [group | {"params": their["params"]} for group, their in zip(own, theirs, strict=True)]
    optimizer.load_state_dict({"state": state["state"], "param_groups": groups})


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _row_parameters(family: Any) -> list[Tensor]:
    """Parameters that hold the rows of a step; their size depends on the batch, not on the stored state."""
    return [family.get_parameter(table.parameter) for table in family.row_tables().values()]
