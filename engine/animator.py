"""Animating one source by a stream of driving frames."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from engine.precision import Precision
from engine.trainer import move


class Animator:
    """Encodes a source once and turns driving frames into pictures, batch by batch; holds two batches at most."""

    def __init__(
        self,
        family: Any,
        device: torch.device,
        *,
        batch_size: int = 8,
        precision: str = "fp32",
        channels_last: bool = True,
    ):
        self.family, self.device, self.batch_size, self.channels_last = family, device, batch_size, channels_last
        self.precision = Precision(precision, device)

    def stream(
        self, source: dict[str, Any], driving: Iterable[dict[str, Any]], first: dict[str, Any] | None = None
    ) -> Iterator[np.ndarray]:
        """Lazily, one (H, W, 3) uint8 frame per driving item."""
        before: Tensor | None = None
        for _, frames in self.batches(source, driving, first):
            if before is not None:  # the device works on the next batch while this one is copied and written
                yield from before.cpu().numpy()
            before = to_bytes(frames)
        if before is not None:
            yield from before.cpu().numpy()

    def batches(
        self, source: dict[str, Any], driving: Iterable[dict[str, Any]], first: dict[str, Any] | None = None
    ) -> Iterator[tuple[list[dict[str, Any]], Tensor]]:
        """Driving items and what they make of the source: pictures (N, 3, H, W) in [0, 1], on the device.

        `first` is shown to the family before all others, without a result: movement is then relative to it.
        """
        state = self._run(self.family.encode_source, self._batch([source]))
        if first is not None:
            _, state = self._run(self.family.animate, state, self._batch([first]))
        items = iter(driving)
        while batch := list(itertools.islice(items, self.batch_size)):
            frames, state = self._run(self.family.animate, state, self._batch(batch))
            yield batch, frames

    def _batch(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        return move(default_collate(items), self.device, self.channels_last)

    def _run(self, function: Any, *arguments: Any) -> Any:
        with torch.inference_mode(), self.precision.autocast():
            return function(*arguments)


def to_bytes(frames: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) in [0, 1] as bytes (N, H, W, 3), rounded."""
    return (255 * frames.float().clamp(0, 1)).round().to(torch.uint8).permute(0, 2, 3, 1)
