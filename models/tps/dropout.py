"""Dropout of whole motions in the soft-max, so that every spline learns to move something (paper: dropout for TPS)."""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

Share = Callable[[Tensor], Tensor]
"""Logits (B, K + 1, h, w) to shares that sum to 1 over the K + 1 maps."""
all_maps: Share = partial(F.softmax, dim=1)


class MapDropout:
    """Leave out maps in the first epochs of training, never the first one, which is the background's."""

    def __init__(self, start: float, maximum: float, ramp_epochs: int, until_epoch: int, paper: bool = False):
        """From `start` to `maximum` over `ramp_epochs`.

        The original begins at `start` and climbs by maximum / ramp_epochs, so that it is there sooner; its scaling of
        the kept maps has no effect; and where the strongest maps are left out its shares sum to less than 1. `paper`
        does what was meant.
        """
        self.start, self.maximum = start, maximum
        self.ramp_epochs, self.until_epoch, self.paper = ramp_epochs, until_epoch, paper

    def probability(self, epoch: int) -> float:
        """With which a map is left out."""
        if epoch >= self.until_epoch:
            return 0.0
        climbed = epoch / self.ramp_epochs if self.ramp_epochs else 1.0
        if self.paper:
            return self.start + (self.maximum - self.start) * min(1.0, climbed)
        return min(self.start + climbed * self.maximum, self.maximum)

    def at(self, epoch: int) -> Share:
        """How logits become shares in an epoch."""
        if epoch >= self.until_epoch:
            return all_maps
        return partial(self._of_kept, probability=self.probability(epoch))

    def draw(self, logits: Tensor) -> Tensor:
        """An even number in [0, 1) for every map of every sample."""
        return torch.rand(logits.shape[:2], device=logits.device)

    def _of_kept(self, logits: Tensor, probability: float) -> Tensor:
        kept = self.draw(logits) < 1 - probability
        kept[:, 0] = True
        return scaled_softmax(logits, kept, probability) if self.paper else damped_softmax(logits, kept)


def damped_softmax(logits: Tensor, kept: Tensor) -> Tensor:
    """The original's: the maximum of all maps is subtracted, those left out included."""
    powers = kept[..., None, None] * torch.exp(logits - logits.amax(1, keepdim=True))
    return powers / (powers.sum(1, keepdim=True) + 1e-6)


def scaled_softmax(logits: Tensor, kept: Tensor, probability: float) -> Tensor:
    """The paper's: kept maps count 1 / (1 - probability) times, the background once."""
    scaled = logits - math.log1p(-probability)
    scaled = torch.cat([logits[:, :1], scaled[:, 1:]], dim=1)
    return F.softmax(scaled.masked_fill(~kept[..., None, None], -math.inf), dim=1)
