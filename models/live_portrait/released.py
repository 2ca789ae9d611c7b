"""The weights folders of the original and of its conversions to safetensors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from util.errors import UserError
from util.weights_file import read_weights

BASE = ("appearance_feature_extractor", "motion_extractor", "warping_module", "spade_generator")
RETARGETING = {"stitching": "retarget_shoulder", "eye": "retarget_eye", "lip": "retarget_mouth"}
"""Network -> the key of its state dict in the fifth file."""
RETARGETING_STEM = "stitching_retargeting_module"
SUFFIXES = (".pth", ".safetensors")
ANIMALS, PEOPLE = "liveportrait_animals", "liveportrait"

States = dict[str, Mapping[str, Tensor]]


def find_released(path: Path, retargeting: str = "") -> States | None:
    """State dicts by network, from the original's folder or its parent; None if the path is of another kind.

    `retargeting`: path of the fifth file, if it is not beside the others.
    """
    base = _base_folder(path)
    if base is None:
        return None
    files = {name: _file(base, name) for name in BASE}
    missing = [name for name, file in files.items() if file is None]
    if missing:
        raise UserError(f"{base}: lacks {', '.join(f'{name}.pth' for name in missing)}; copy all five files there")
    states: States = {name: read_weights(file) for name, file in files.items()}
    fifth = Path(retargeting) if retargeting else _retargeting_file(base)
    return states if fifth is None else states | retargeting_states(read_weights(fifth), fifth)


def _base_folder(path: Path) -> Path | None:
    if path.is_file():
        return path.parent if path.stem in BASE else None
    inner = [path / PEOPLE, path / "pretrained_weights" / PEOPLE]
    candidates = [path, *(one / "base_models" for one in (path, *inner))]
    return next((one for one in candidates if any(_file(one, name) for name in BASE)), None)


def _file(folder: Path, stem: str) -> Path | None:
    return next((file for suffix in SUFFIXES if (file := folder / f"{stem}{suffix}").is_file()), None)


def _retargeting_file(base: Path) -> Path | None:
    """The fifth file; animals use that of people, as in the original, which has none for animals."""
    system = base.parent
    if system.name == ANIMALS:
        system = system.with_name(PEOPLE)
    return _file(base, RETARGETING_STEM) or _file(system / "retargeting_models", RETARGETING_STEM)


def retargeting_states(content: Any, path: Path) -> States:
    """The three state dicts of the fifth file; other entries are ignored."""
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds a {type(content).__name__}, not stitching and retargeting networks")
    states: States = {}
    for name, key in RETARGETING.items():
        if isinstance(content.get(key), Mapping):
            states[name] = {entry.replace("module.", ""): value for entry, value in content[key].items()}
        elif flat := {entry: value for entry, value in content.items() if entry.startswith(f"{key}_module.")}:
            states[name] = {entry.removeprefix(f"{key}_module."): value for entry, value in flat.items()}
    if not states:
        raise UserError(f"{path}: has none of the entries {', '.join(RETARGETING.values())}")
    return states
