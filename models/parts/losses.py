"""Loss terms that several families share. Each is a mean over the batch and returns {name: weighted value}."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.parts.blocks import ImagePyramid
from util.errors import UserError

Terms = dict[str, Tensor]


def at_least_single(maps: Tensor) -> Tensor:
    """Convert half-precision maps to single precision; others are unchanged."""
    return maps.to(torch.promote_types(maps.dtype, torch.float32))


def mean_difference(a: Tensor, b: Tensor) -> Tensor:
    """The mean absolute difference, computed at least in single precision."""
    return F.l1_loss(at_least_single(a), at_least_single(b))


class NoTerms(nn.Module):
    """A loss that is switched off."""

    def forward(self, *_) -> Terms:
        return {}


class Pixels(nn.Module):
    """The picture itself as features, for training without a feature network."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x]


class PerceptualPyramid(nn.Module):
    """Distance of the feature maps of two pictures, summed over the scales of a pyramid and the taps of a network.

    Eq. 9 of the first order motion model: the sum over i of |N_i(generated) - N_i(real)|, at every scale.
    """

    def __init__(
        self, features: nn.Module, scales: Sequence[float], weights: Sequence[float], name: str = "perceptual"
    ):
        super().__init__()
        self.name = name
        self.features = features
        self.pyramid = ImagePyramid(scales)
        self.weights = list(weights)
        self.min_side = getattr(features, "min_side", 1)

    def distances(self, generated: Tensor, real: Tensor) -> list[list[Tensor]]:
        """The mean absolute difference for each scale and tap."""
        pairs = zip(self.pyramid(generated).values(), self.pyramid(real).values(), strict=True)
        return [self._scale_distances(*pair) for pair in pairs]

    def _scale_distances(self, generated: Tensor, real: Tensor) -> list[Tensor]:
        if min(real.shape[-2:]) < self.min_side:
            height, width = real.shape[-2:]
            raise UserError(
                f"--scales {','.join(self.pyramid.scales)}: the perceptual loss gets a picture of {height} x "
                f"{width}, VGG-19 needs at least {self.min_side} x {self.min_side}; remove small scales, train "
                f"on larger pictures (--load_size), or without VGG-19 (--no_perceptual)"
            )
        with torch.no_grad():
            real_maps = self.features(real)
        return [mean_difference(*pair) for pair in zip(self.features(generated), real_maps, strict=True)]

    def forward(self, generated: Tensor, real: Tensor) -> Terms:
        total = sum(
            weight * distance
            for row in self.distances(generated, real)
            for weight, distance in zip(self.weights, row, strict=True)
        )
        return {self.name: total}
