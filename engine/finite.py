"""Detect a loss that is not finite, without synchronising the device."""

import torch
from torch import Tensor

from util.errors import RunError


class NotFinite(RunError):
    """A loss is infinite or NaN."""


class LossWatch:
    """Checks the losses of each update when the next one comes, since a GPU has computed them by then."""

    def __init__(self, device: torch.device):
        self._on_gpu = device.type == "cuda"
        self._pending: tuple[list[str], Tensor, torch.cuda.Event | None, int] | None = None

    def record(self, terms: dict[str, Tensor], step: int) -> None:
        """Start checking the terms of one update; raises NotFinite for an earlier one (on the CPU for this one)."""
        self.check()
        values = torch.stack([value.float() for value in terms.values()])
        if self._on_gpu:
            host = torch.empty(values.shape, pin_memory=True)
            host.copy_(values, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self._pending = list(terms), host, event, step
        else:
            self._pending = list(terms), values, None, step
            self.check()

    def check(self) -> None:
        """Raise NotFinite if the last checked losses are not finite. Called before every save."""
        if self._pending is None:
            return
        (names, values, event, step), self._pending = self._pending, None
        if event is not None:
            event.synchronize()
        bad = [f"{name} = {value}" for name, value in zip(names, values.tolist(), strict=True) if not _finite(value)]
        if bad:
            raise NotFinite(f"loss not finite at step {step}: {', '.join(bad)}")


def _finite(value: float) -> bool:
    return value - value == 0
