"""The detector of facial prior, whose key points are given; other networks are those of the first order motion
model."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.fomm.networks import KeyPointDetector
from models.parts.blocks import downsampling
from models.parts.keypoints import KeyPoints
from models.parts.losses import at_least_single

SIGMA = 0.75
"""Decay of the mask around a point."""


class Prior(NamedTuple):
    """The prior of a clip, known before its frames."""

    value: Tensor
    """The key points, (B, K, 2) as x, y in [-1, 1]."""
    mask: Tensor
    """Their mask on the detector's map: (B, 1, h, w)."""


class PriorDetector(KeyPointDetector):
    """Predict the jacobian at each given key point."""

    def __init__(self, *, num_channels: int, scale_factor: float = 1, **sizes: Any):
        super().__init__(num_channels=num_channels + 1, **sizes)
        # The mask is an additional channel of the downsampled picture.
        self.down = downsampling(num_channels, scale_factor)
        self.scale_factor = scale_factor

    def prior(self, points: Tensor, size: tuple[int, int]) -> Prior:
        """The prior of points (B, K, 2), in pixels of pictures of a size (height, width)."""
        height, width = size
        value = 2 * points / points.new_tensor([width, height]) - 1
        small = round(height * self.scale_factor), round(width * self.scale_factor)
        return Prior(value, prior_mask(points * (small[0] / height), small))

    def forward(self, frame: Tensor, prior: Prior) -> KeyPoints:
        # As in fomm: the temperature would multiply the rounding of half-precision logits by ten.
        with torch.autocast(frame.device.type, enabled=False):
            small = self.down(at_least_single(frame))
            mask = prior.mask.expand(len(small), -1, -1, -1)
            _, jacobian = self.heatmaps(torch.cat([small, mask], dim=1))
            value = prior.value.expand(len(small), -1, -1)
            return KeyPoints(value, jacobian)


def prior_mask(points: Tensor, size: tuple[int, int], sigma: float = SIGMA) -> Tensor:
    """The sum of a peak at each of the points (B, K, 2), in pixels of a map of `size`: (B, 1, h, w), 1 at most.

    A peak is exp(-sqrt(d) / (2 sigma^2)), d the city-block distance, relative to its maximum, and 0 where it is below
    its mean.
    """
    height, width = size
    # The original numbers pixels from 1, so the mask lies one pixel above and left of the points.
    rows = torch.arange(1, height + 1, dtype=points.dtype, device=points.device)
    columns = torch.arange(1, width + 1, dtype=points.dtype, device=points.device)
    down, across = (rows - points[..., 1:]).abs(), (columns - points[..., :1]).abs()
    peaks = torch.exp(-(down[..., :, None] + across[..., None, :]).sqrt() / (2 * sigma**2))
    peaks = peaks / peaks.amax((-2, -1), keepdim=True)
    peaks = torch.where(peaks < peaks.mean((-2, -1), keepdim=True), 0, peaks)
    summed = peaks.sum(-3, keepdim=True)
    return summed / summed.amax((-2, -1), keepdim=True)
