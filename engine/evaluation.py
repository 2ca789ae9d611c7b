"""Mean absolute differences between reconstructions and real frames."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from util.errors import UserError

log = logging.getLogger(__name__)


class Reconstruction:
    """L1 of one video: of its results, and of its first frame repeated."""

    def __init__(self, job: Any = None, clip: Any = None):
        """Start measuring any job and clip: the real frames are part of the driving items."""
        self.first: Tensor | None = None
        self.frames, self.result, self.repeated, self.copied = 0, 0.0, 0.0, 0.0

    def add(self, made: Tensor, items: Sequence[Mapping[str, Any]], motion: Tensor | None = None) -> None:
        """Compare results (N, 3, H, W) with the frames of their driving items."""
        if "image" not in items[0]:
            raise UserError("--mode reconstruction: this dataset mode's items hold no real frames to compare with")
        real = torch.stack([item["image"] for item in items]).to(made.device)
        self.first = real[:1] if self.first is None else self.first
        self.frames += len(items)
        self.result += float((made.float() - real).abs().mean((1, 2, 3)).sum())
        self.repeated += float((self.first - real).abs().mean((1, 2, 3)).sum())
        self.copied += float((made.float() - self.first).abs().mean((1, 2, 3)).sum())

    def facts(self) -> dict[str, float]:
        """The means over all frames."""
        frames = max(self.frames, 1)
        return {"l1": self.result / frames, "l1_of_repeating": self.repeated / frames}


def summary_of_losses(known: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Log and return the means over all frames of all videos; empty if nothing was measured."""
    known = [entry for entry in known if "l1" in entry]
    if not known:
        return {}
    frames = max(1, sum(entry["frames"] for entry in known))
    loss, repeated = (sum(e[name] * e["frames"] for e in known) / frames for name in ("l1", "l1_of_repeating"))
    below = 100 * (1 - loss / max(repeated, 1e-12))
    log.info("Reconstruction loss: %s", loss)
    log.info("%.1f %% %s repeating the first frame (%s)", abs(below), "above" if below < 0 else "below", repeated)
    return {"L1": f"{loss:.5f}", "L1 of repeating the first frame": f"{repeated:.5f}", "below": f"{below:.1f} %"}
