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

    def stream(self, source: dict[str, Any], driving: Iterable[dict[str, Any]]) -> Iterator[np.ndarray]:
        """Lazily, one (H, W, 3) uint8 frame per driving item."""
        before: Tensor | None = None
        for frames in self.stream_batches(source, driving):
            if before is not None:  # the device works on the next batch while this one is copied and written
                yield from before.cpu().numpy()
            before = frames
        if before is not None:
            yield from before.cpu().numpy()

    def stream_batches(self, source: dict[str, Any], driving: Iterable[dict[str, Any]]) -> Iterator[Tensor]:
        """The same as batches of bytes (N, H, W, 3), still on the device."""
        state = self._run(self.family.encode_source, self._batch([source]))
        items = iter(driving)
        while batch := list(itertools.islice(items, self.batch_size)):
            frames, state = self._run(self.family.animate, state, self._batch(batch))
            yield to_bytes(frames)

    def _batch(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        return move(default_collate(items), self.device, self.channels_last)

    def _run(self, function: Any, *arguments: Any) -> Any:
        with torch.inference_mode(), self.precision.autocast():
            return function(*arguments)


def to_bytes(frames: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) in [0, 1] as bytes (N, H, W, 3), rounded."""
    return (255 * frames.float().clamp(0, 1)).round().to(torch.uint8).permute(0, 2, 3, 1)
