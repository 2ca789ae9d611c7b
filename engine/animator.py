"""Animating one source by a stream of driving frames."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
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
        for _, frames in self.batches(source, driving, first):
            yield from to_bytes(frames).cpu().numpy()

    def batches(
        self, source: dict[str, Any], driving: Iterable[dict[str, Any]], first: dict[str, Any] | None = None,
        state: dict[str, Any] | None = None,
    ) -> Iterator[tuple[list[dict[str, Any]], Tensor]]:  # fmt: skip
        """Driving items and what they make of the source: pictures (N, 3, H, W) in [0, 1], on the device.

        `first` is shown to the family before all others, without a result: movement is then relative to it. `state`:
        what `encode` made of the source, where several videos drive it.
        """
        state = self.encode(source) if state is None else state
        for items, frames, *_ in self._passes(state, self.family.animate, driving, first):
            yield items, frames

    def encode(self, source: dict[str, Any]) -> dict[str, Any]:
        """What depends on the source alone."""
        return self._run(self.family.encode_source, self._batch([source]))

    def advance(self, state: dict[str, Any], item: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """What one driving item makes (none, where the family waits for later ones), and the next state."""
        frames, state, *_ = self._run(self.family.animate, state, self._batch([item]))
        return frames, state

    def explained(
        self, source: dict[str, Any], driving: Iterable[dict[str, Any]], first: dict[str, Any] | None = None
    ) -> Iterator[tuple[list[dict[str, Any]], Tensor, dict[str, Tensor]]]:
        """The same as `batches`, and pictures of how the frames came about: {column: (N, C, h, w)}."""
        batch = self._batch([source])
        yield from self._passes(self.encode(source), partial(self.family.explain, batch), driving, first)

    def measured(self, driving: Iterable[dict[str, Any]]) -> Iterator[dict[str, np.ndarray]]:
        """The motion of driving items as arrays by name, batch by batch."""
        items = iter(driving)
        while batch := list(itertools.islice(items, self.batch_size)):
            found = self._run(self.family.measure, self._batch(batch))
            yield {name: value.float().cpu().numpy() for name, value in found.items()}

    def _passes(
        self, state: dict[str, Any], animate: Callable, driving: Iterable[dict[str, Any]], first: dict[str, Any] | None
    ) -> Iterator[tuple]:
        """Driving items and what `animate` returns for them beside the state."""
        if first is not None:
            state = self._run(self.family.begin_with, state, self._batch([first]))
        items = iter(driving)
        waiting: deque[dict[str, Any]] = deque()
        while batch := list(itertools.islice(items, self.batch_size)):
            waiting.extend(batch)
            frames, state, *more = self._run(animate, state, self._batch(batch))
            if len(frames):
                yield [waiting.popleft() for _ in range(len(frames))], frames, *more
        while waiting:
            frames, state = self._run(self.family.finish, state, self.batch_size)
            yield [waiting.popleft() for _ in range(len(frames))], frames

    def _batch(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        return move(default_collate(items), self.device, self.channels_last)

    def _run(self, function: Any, *arguments: Any) -> Any:
        with torch.inference_mode(), self.precision.autocast():
            return function(*arguments)


def to_host(frames: Tensor) -> Callable[[], np.ndarray]:
    """Begin to copy what a device has made; the function waits for this copy, not for what is asked of it later."""
    if frames.device.type != "cuda":
        return frames.cpu().numpy
    copy = torch.empty_like(frames, device="cpu", pin_memory=True)
    copy.copy_(frames, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()

    def wait() -> np.ndarray:
        arrived.synchronize()
        return copy.numpy()

    return wait


def to_bytes(frames: Tensor, cut_off: int | None = None) -> Tensor:
    """Pictures (N, 3, H, W) in [0, 1] as bytes (N, H, W, 3): rounded to 0 ... 255, or truncated to 0 ... `cut_off`."""
    values = (cut_off or 255) * frames.float().clamp(0, 1)
    return (values if cut_off else values.round()).to(torch.uint8).permute(0, 2, 3, 1)
