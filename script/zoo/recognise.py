"""The released model of a file: by its entries and their shapes, then by its hash or its name."""

import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from engine.checkpoints.load import load_set
from models import find_family
from options import Options, parse
from script.zoo.table import Model, sha256_of
from util.errors import UserError
from util.weights_file import read_weights


def options_of(model: Model) -> Options:
    """The options with which a released model animates."""
    opt = parse([*model.arguments, f"--name={model.name}", "--cpu"], training=False)
    assert opt is not None  # no --help among them
    return opt


def fitting(table: Mapping[str, Model], path: Path) -> tuple[list[Model], list[str]]:
    """The models whose networks a file holds, and the mismatches of the others; each set of networks is tried once."""
    if path.is_file():
        read_weights(path, lazily=True)  # what is no file of weights is reported once, not for each family
    tried: dict[tuple, str] = {}
    for model in table.values():
        key = _networks_of(model)
        if key not in tried:
            tried[key] = _mismatch(model, path)
    found = [model for model in table.values() if not tried[_networks_of(model)]]
    return found, sorted(set(filter(None, tried.values())))


def chosen(found: list[Model], path: Path, name: str | None) -> Model:
    """The selected one of several: by --as, by the hash of the file, by its name."""
    if name is not None:
        matching = [model for model in found if model.name == name]
    elif len(found) > 1 and path.is_file():
        digest = sha256_of(path)
        matching = [one for one in found if any(file.sha256 == digest for file in one.files.values())]
        matching = matching or [one for one in found if path.name in one.files]
    else:
        matching = found
    if len(matching) == 1:
        return matching[0]
    names = ", ".join(model.name for model in found)
    if name is not None:
        raise UserError(f"{path}: --as {name} has other networks; these belong to {names}")
    raise UserError(f"{path}: {len(found)} released models have these networks: choose one with --as NAME: {names}")


@cache
def _networks(arguments: tuple[str, ...], name: str) -> tuple:
    opt = parse([*arguments, f"--name={name}", "--cpu"], training=False)
    assert opt is not None
    with torch.device("meta"):
        networks = find_family(opt.model)(opt, training=False).networks()
    states = {network: one.state_dict() for network, one in networks.items()}
    return opt.model, *((network, key, value.shape) for network, one in states.items() for key, value in one.items())


def _networks_of(model: Model) -> tuple:
    """The family, and the entries and shapes of its networks."""
    return _networks(tuple(model.arguments), model.name)


def _mismatch(model: Model, path: Path) -> str:
    """Why a file does not hold a model's networks; "" if it does."""
    opt = options_of(model)
    with torch.device("meta"):
        family = find_family(opt.model)(opt, training=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that tensors on the meta device are not copied
            load_set(family, path, "latest")
    except UserError as error:
        return f"{model.family}: {error}"
    return ""


def recognised(table: Mapping[str, Model], path: Path, name: str | None) -> Model:
    """The released model of a file or folder."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if name is not None and name not in table:
        raise UserError(f"--as {name}: no such released model; available: {', '.join(table)}")
    found, reasons = fitting(table, path)
    if not found:
        raise UserError(f"{path}: no known released model has these entries:\n  " + "\n  ".join(reasons))
    return chosen(found, path, name)


def facts_of(model: Model, digests: Mapping[str, str]) -> dict[str, Any]:
    """The origin of imported weights."""
    return {
        "name": model.name, "family": model.family, "licence": model.licence, "repository": model.repository,
        "trained_on": model.trained_on, "crop": model.crop, "sha256": dict(digests),
    }  # fmt: skip
