"""Dropout of whole motions in the softmax, so that every spline learns to move something (paper: dropout for TPS)."""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

Share = Callable[[Tensor], Tensor]
"""Logits (B, K + 1, h, w) to weights that sum to 1 over the K + 1 maps."""
all_maps: Share = partial(F.softmax, dim=1)


class MapDropout:
    """Drop maps in the first epochs of training, except the first one, the background's."""

    def __init__(self, start: float, maximum: float, ramp_epochs: int, until_epoch: int, paper: bool = False):
        """The probability rises from `start` to `maximum` over `ramp_epochs`.

        The original starts at `start` and rises by maximum / ramp_epochs per epoch, so it reaches the maximum earlier;
        its scaling of the kept maps has no effect; and its weights sum to less than 1 where the strongest maps are
        dropped. `paper` corrects all three.
        """
        self.start, self.maximum = start, maximum
        self.ramp_epochs, self.until_epoch, self.paper = ramp_epochs, until_epoch, paper

    def probability(self, epoch: int) -> float:
        """The probability of dropping a map."""
        if epoch >= self.until_epoch:
            return 0.0
        climbed = epoch / self.ramp_epochs if self.ramp_epochs else 1.0
        if self.paper:
            return self.start + (self.maximum - self.start) * min(1.0, climbed)
        return min(self.start + climbed * self.maximum, self.maximum)

    def at(self, epoch: int) -> Share:
        """The function from logits to weights in an epoch."""
        if epoch >= self.until_epoch:
            return all_maps
        return partial(self._normalised_weights, probability=self.probability(epoch))

    def draw(self, logits: Tensor) -> Tensor:
        """A uniform random number in [0, 1) for every map of every sample."""
        return torch.rand(logits.shape[:2], device=logits.device)

    def _normalised_weights(self, logits: Tensor, probability: float) -> Tensor:
        kept = self.draw(logits) < 1 - probability
        kept[:, 0] = True
        return scaled_softmax(logits, kept, probability) if self.paper else damped_softmax(logits, kept)


def damped_softmax(logits: Tensor, kept: Tensor) -> Tensor:
    """The original's: subtracts the maximum of all maps, including dropped ones."""
    powers = kept[..., None, None] * torch.exp(logits - logits.amax(1, keepdim=True))
    return powers / (powers.sum(1, keepdim=True) + 1e-6)


def scaled_softmax(logits: Tensor, kept: Tensor, probability: float) -> Tensor:
    """The paper's: kept maps are scaled by 1 / (1 - probability), the background by 1."""
    scaled = logits - math.log1p(-probability)
    scaled = torch.cat([logits[:, :1], scaled[:, 1:]], dim=1)
    return F.softmax(scaled.masked_fill(~kept[..., None, None], -math.inf), dim=1)
