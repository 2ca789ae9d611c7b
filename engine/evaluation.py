"""Mean absolute differences between reconstructions and real frames."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from util.errors import UserError


class Reconstruction:
    """L1 of one video: of its results, and of its first frame repeated."""

    def __init__(self, job: Any = None, clip: Any = None):
        """Start measuring any job and clip: the real frames are part of the driving items."""
        self.first: Tensor | None = None
        self.frames, self.result, self.repeated, self.copied = 0, 0.0, 0.0, 0.0

    def add(self, generated: Tensor, items: Sequence[Mapping[str, Any]], motion: Tensor | None = None) -> None:
        """Compare results (N, 3, H, W) with the frames of their driving items."""
        if "image" not in items[0]:
            raise UserError("--mode reconstruction: the items of this dataset mode have no real frames to compare with")
        real = torch.stack([item["image"] for item in items]).to(generated.device)
        self.first = real[:1] if self.first is None else self.first
        self.frames += len(items)
        self.result += float((generated.float() - real).abs().mean((1, 2, 3)).sum())
        self.repeated += float((self.first - real).abs().mean((1, 2, 3)).sum())
        self.copied += float((generated.float() - self.first).abs().mean((1, 2, 3)).sum())

    def facts(self) -> dict[str, float]:
        """The means over all frames."""
        frames = max(self.frames, 1)
        return {"l1": self.result / frames, "l1_of_repeating": self.repeated / frames}
