"""Animates one source with a stream of driving frames."""

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
    """Encodes a source once and turns driving frames into pictures, batch by batch; holds at most two batches."""

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
        """Yield one (H, W, 3) uint8 frame per driving item, lazily."""
        for _, frames in self.batches(source, driving, first):
            yield from to_bytes(frames).cpu().numpy()

    def batches(
        self, source: dict[str, Any], driving: Iterable[dict[str, Any]], first: dict[str, Any] | None = None,
        state: dict[str, Any] | None = None,
    ) -> Iterator[tuple[list[dict[str, Any]], Tensor]]:  # fmt: skip
        """Yield driving items and their result pictures (N, 3, H, W) in [0, 1], on the device.

        The family gets `first` before all others, without a result; relative motion refers to it. `state`: the result
        of `encode`, if several videos drive one source.
        """
        state = self.encode(source) if state is None else state
        for items, frames, *_ in self._passes(state, self.family.animate, driving, first):
            yield items, frames

    def encode(self, source: dict[str, Any]) -> dict[str, Any]:
        """The state that depends on the source only."""
        return self._run(self.family.encode_source, self._batch([source]))

    def advance(self, state: dict[str, Any], item: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """The picture for one driving item (none if the family waits for later ones), and the next state."""
        frames, state, *_ = self._run(self.family.animate, state, self._batch([item]))
        return frames, state

    def explained(
        self, source: dict[str, Any], driving: Iterable[dict[str, Any]], first: dict[str, Any] | None = None
    ) -> Iterator[tuple[list[dict[str, Any]], Tensor, dict[str, Tensor]]]:
        """Like `batches`, plus visualisations of intermediate results: {column: (N, C, h, w)}."""
        batch = self._batch([source])
        yield from self._passes(self.encode(source), partial(self.family.explain, batch), driving, first)

    def with_motion(
        self, source: dict[str, Any], driving: Iterable[dict[str, Any]], first: dict[str, Any] | None = None
    ) -> Iterator[tuple[list[dict[str, Any]], Tensor, Tensor]]:
        """The same as `batches`, and the dense motion that made the frames."""
        yield from self._passes(self.encode(source), self.family.animate_with_motion, driving, first)

    def measured(self, driving: Iterable[dict[str, Any]]) -> Iterator[dict[str, np.ndarray]]:
        """The motion of driving items as named arrays, batch by batch."""
        items = iter(driving)
        while batch := list(itertools.islice(items, self.batch_size)):
            found = self._run(self.family.measure, self._batch(batch))
            yield {name: value.float().cpu().numpy() for name, value in found.items()}

    def save_motion(self, clip: Any) -> None:
        """Write the motion of a clip's driving video, if it is to be saved (`Clip.saved_motion`)."""
        if clip.saved_motion:
            clip.saved_motion.write(self.measured(clip.saved_motion.items()))

    def _passes(
        self, state: dict[str, Any], animate: Callable, driving: Iterable[dict[str, Any]], first: dict[str, Any] | None
    ) -> Iterator[tuple]:
        """Yield driving items and the results of `animate` without the state."""
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
    """Start copying results from the device; the returned function waits for this copy only."""
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
