"""Values that a family logs in a training step besides its losses: numbers, histograms, pictures."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from engine.log_names import RESERVED
from engine.updates import StepError

KINDS = ("number", "histogram", "pictures")


class Notes:
    """The values logged in the current step. They stay on the device; reports read them."""

    def __init__(self, device: torch.device):
        self.device = device
        self.begin()

    def begin(self) -> None:
        """Start a new step."""
        self._numbers: dict[str, list[Tensor]] = {}
        self.histograms: dict[str, Tensor] = {}
        self.pictures: dict[str, Tensor] = {}

    def add(self, name: str, value: Any, kind: str | None = None) -> None:
        """Add a value. Default kind: a number if it is one, pictures for a batch (N, 1 or 3, H, W), otherwise a
        histogram."""
        if name in RESERVED:
            raise StepError(f"log({name!r}, ...): the log uses this name already; choose another one")
        value = value.detach() if isinstance(value, Tensor) else torch.full((), float(value), device=self.device)
        kind = kind or _kind_of(value)
        if kind == "number" and value.numel() == 1:
            self._numbers.setdefault(name, []).append(at_least_float32(value).reshape(()))
        elif kind == "histogram" and value.numel():
            self.histograms[name] = value
        elif kind == "pictures" and value.ndim == 4:
            self.pictures[name] = value
        else:
            raise StepError(
                f"log({name!r}, ...): a tensor of shape {tuple(value.shape)} as {kind!r}; expected one number, any "
                f"numbers, or a batch (N, C, H, W) for the kinds {', '.join(KINDS)}"
            )

    def refuse_terms(self, losses: Iterable[str]) -> None:
        """Refuse names of the step's loss terms."""
        if taken := [name for name in losses if name in self._numbers]:
            raise StepError(f"log({taken[0]!r}, ...): a loss term has this name; choose another one")

    def numbers(self) -> dict[str, Tensor]:
        """Means of the numbers over micro-batches and repeated names."""
        return {name: torch.stack(values).mean() for name, values in self._numbers.items()}


def at_least_float32(value: Tensor) -> Tensor:
    """A number in single precision, or in double if it already is."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


def _kind_of(value: Tensor) -> str:
    if value.numel() == 1:
        return "number"
    return "pictures" if value.ndim == 4 and value.shape[1] in (1, 3) else "histogram"
