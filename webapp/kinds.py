"""Inputs of models: a picture and a driving video, action units, or only a driving video."""

from dataclasses import dataclass

from data import find_dataset
from grimace import Model
from util.expressions import Unit


@dataclass(frozen=True)
class Kind:
    """The inputs of a model."""

    units: tuple[Unit, ...] = ()
    """Its action units, if they drive it."""
    source: bool = True
    several: bool = False
    """Whether several pictures may show the person."""
    live: bool = True
    """Whether frames can drive it one by one."""


def kind_of(model: Model) -> Kind:
    """The inputs of a model, by its dataset mode."""
    mode = find_dataset(model.options.dataset_mode)
    if hasattr(mode, "unit_items"):
        return Kind(units=tuple(mode(model.options, training=False).units), live=False)
    return Kind(source=mode.needs_source, several=mode.several_sources, live=not mode.needs_landmarks)
