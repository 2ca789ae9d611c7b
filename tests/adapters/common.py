"""Shared parts of the families' adapters: folders of reference cases, kinds of cases, formula weights, comparison."""

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from paths import REFERENCE
from reference.formula import fill, image, values
from torch import nn

Case = dict[str, Any]
Computed = dict[str, Any]
FORMULAS = {"image": image, "values": values}
DESCRIPTIONS = ("calls", "call", "what")
SLACK = 1 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 5
"""How many times the stated tolerances are allowed: they were found on processors with AVX-512. Others sum in another
order, which steps of Adam, whose length hangs on the signs of tiny gradients, magnify."""


@dataclass(frozen=True)
class Reference:
    """One folder with cases.json and cases.npz, what the original computes."""

    folder: Path

    @property
    def family(self) -> str:
        return self.folder.name

    @cached_property
    def document(self) -> dict[str, Any]:
        return json.loads((self.folder / "cases.json").read_text(encoding="utf-8"))

    @property
    def cases(self) -> list[Case]:
        """The cases, each with the folder it comes from: another folder has other seeds, weights and draws."""
        return [{**case, "reference": self} for case in self.document["cases"]]

    def weights(self, network: str) -> dict[str, Any]:
        """The arguments of `fill_weights` for a network of the document."""
        return self.document["networks"][network]["weights"]

    @cached_property
    def arrays(self) -> Mapping[str, np.ndarray]:
        return np.load(self.folder / "cases.npz")


class Kinds:
    """The kinds of cases that a family's adapter knows: a function for each, which returns {output: value}."""

    def __init__(self):
        self._functions: dict[str, Callable] = {}

    def __call__(self, *beginnings: str) -> Callable:
        """Register a function for cases whose name, or else whose description, starts with one of these texts."""

        def register(function: Callable) -> Callable:
            self._functions |= dict.fromkeys(beginnings, function)
            return function

        return register

    def find(self, case: Case) -> Callable:
        """The function for a case; a LookupError, and so a failure, where no adapter knows it."""
        return self._functions[self.of(case)]

    def of(self, case: Case) -> str:
        """The kind of a case, by the start of its name or description."""
        for text in (case["name"], *(str(case[key]) for key in DESCRIPTIONS if key in case)):
            known = [beginning for beginning in self._functions if text.startswith(beginning)]
            if known:
                return max(known, key=len)
        raise LookupError(f"no adapter knows the kind of case {case['name']!r}; there are {sorted(self._functions)}")


def fill_weights(
    network: nn.Module, seed: int, gain: float = 1.0, keep: Iterable[str] = (), scale: Mapping[str, float] | None = None
) -> None:
    """Formula weights for every entry but those ending in one of `keep`; those ending in a key of `scale` times it."""
    state = network.state_dict()
    values = fill({name: tuple(tensor.shape) for name, tensor in state.items()}, seed, gain, tuple(keep))
    for ending, factor in (scale or {}).items():
        for name in [name for name in values if name.endswith(ending)]:
            values[name] = values[name] * np.float32(factor)
    network.load_state_dict({**state, **{name: torch.from_numpy(np.asarray(value)) for name, value in values.items()}})


@cache
def vgg19_file(reference: Reference) -> str:
    """A file in torchvision's layout with formula weights, which go by the names that the original's loss has."""
    manifest = REFERENCE / reference.family / "manifest.json"
    entries = json.loads(manifest.read_text())["loss_network"]["vgg"]
    values = fill({name: tuple(shape) for name, shape in entries.items()}, **reference.weights("vgg"))
    state = {f"features.{name.split('.', 1)[1]}": torch.from_numpy(np.asarray(values[name])) for name in values}
    path = Path(tempfile.mkdtemp(prefix="grimace")) / "vgg19.pth"
    torch.save(state, path)
    return str(path)


def given(case: Case, name: str) -> torch.Tensor:
    """An input of the case that a formula makes."""
    kind, shape = case["inputs"][name]
    return torch.from_numpy(np.asarray(FORMULAS[kind](name, shape, case["seed"]), np.float32))


def sample_count(case: Case) -> int:
    """How many samples a case has: what its inputs say in words, else as many as their arrays, else its description."""
    words = " ".join(value for value in case["inputs"].values() if isinstance(value, str))
    if said := re.search(r"(?:batch|B =) (\d+)", words):
        return int(said[1])
    arrays = [value[1] for value in case["inputs"].values() if isinstance(value, list)]
    return arrays[0][0] if arrays else int(number_in_description(case, r"batch (\d+)", 1))


def number_in_description(case: Case, pattern: str, default: float) -> float:
    """A number that the description of a case gives, by a pattern with one group."""
    said = re.search(pattern, str(case.get("what", "")))
    return float(said[1]) if said else default


def steps_of(case: Case) -> int:
    """How many steps of training the outputs of a case come from: step1/..., step2/..."""
    return max(int(step) for name in case["outputs"] for step in re.findall(r"step(\d+)/", name))


def stored(case: Case, name: str) -> np.ndarray:
    """An input stored beside the outputs: under the case's name, or where its description says."""
    said = re.search(r"stored as (\w+)/\w+", f"{case['inputs'].get(name)} {case.get('what', '')}")
    owners = [case["name"], *([said[1]] if said else [])]
    arrays = case["reference"].arrays
    found = [f"{owner}/{name}" for owner in owners if f"{owner}/{name}" in arrays]
    assert found, f"{case['name']}: the input {name} is stored under none of the names {owners}"
    return arrays[found[0]]


def norms_relatively(output: str) -> float:
    """What the norm of a network's gradients may differ by in single precision, as a part of it.

    Thousands of sums of either sign go into it, which every processor adds in another order. Double precision has to
    meet it exactly.
    """
    return 0.0 if output.startswith("float64/") else 2e-3 if "grad_norm/" in output else 0.0


def stream(family: Any, source: torch.Tensor, driving: torch.Tensor, pieces: int) -> torch.Tensor:
    """The frames of a clip, the driving video cut into pieces."""
    state, frames = family.encode_source({"image": source}), []
    for piece in driving.split(pieces):
        made, state = family.animate(state, {"image": piece})
        frames.append(made)
    return torch.cat(frames)


def compare_sampled(
    reference: Reference, case: Case, computed: Computed, relative: Callable[[str], float] = norms_relatively
) -> None:
    """Compare every output of the case, all or every n-th value of it, within its absolute tolerance."""
    for name, spec in case["outputs"].items():
        assert name in computed, f"{case['name']}: the adapter computes no output {name!r}"
        got, key = as_array(computed[name]), f"{case['name']}/{name}"
        assert list(got.shape) == spec["shape"], f"{key}: shape {got.shape}, expected {spec['shape']}"
        if spec["stored"] != "all":
            got = got.reshape(-1)[:: spec["stored"]["every"]]
        assert_close(key, got, reference.arrays[key], max(spec["atol"], relative(name) * abs(spec["mean"])))


def take(array: np.ndarray, index: str) -> np.ndarray:
    """The part of an array that a text such as "[..., ::4, 1:3]" selects."""
    return array[tuple(_one_index(part.strip()) for part in index.strip("[] ").split(",") if part.strip())]


def _one_index(part: str) -> Any:
    if part == "...":
        return Ellipsis
    if ":" not in part:
        return int(part)
    return slice(*(int(number) if number.strip() else None for number in part.split(":")))


def as_array(value: Any) -> np.ndarray:
    """A computed value as numpy array."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def assert_close(name: str, got: np.ndarray, expected: np.ndarray, allowed: Any) -> None:
    """Fail where the difference exceeds what is allowed (a number or an array), and say where it is worst."""
    assert got.shape == expected.shape, f"{name}: shape {got.shape}, expected {expected.shape}"
    got, expected = got.astype(np.float64), np.asarray(expected, np.float64)
    difference = np.where(np.isnan(got) & np.isnan(expected), 0.0, np.abs(got - expected))
    allowed = SLACK * np.asarray(allowed)
    excess = np.broadcast_to(np.nan_to_num(difference, nan=np.inf) - allowed, difference.shape)
    if excess.size and excess.max() > 0:
        where = np.unravel_index(int(excess.argmax()), excess.shape)
        raise AssertionError(
            f"{name}: {got[where]} at {tuple(map(int, where))}, expected {expected[where]}; difference "
            f"{difference[where]:.3g}, allowed {np.broadcast_to(allowed, excess.shape)[where]:.3g}; "
            f"{(excess > 0).sum()} of {excess.size} values are off"
        )
