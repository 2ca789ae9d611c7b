"""The losses of the thin-plate spline motion model besides the perceptual pyramid of models.parts.losses."""

import torch
from torch import Tensor, nn

from models.parts.equivariance import Equivariance
from models.parts.losses import Terms, at_least_single, mean_difference
from models.tps.networks import Encoded, InpaintingNetwork, Motion
from models.tps.splines import RandomSpline


class SplineEquivariance(Equivariance):
    """Equivariance of key points under random affine and thin-plate transforms."""

    transform = RandomSpline


class WarpLoss(nn.Module):
    """Warping loss: the source's visible features, warped, match the driving frame's, at every resolution."""

    def __init__(self, weight: float):
        super().__init__()
        self.weight = weight

    def forward(self, network: InpaintingNetwork, driving: Tensor, encoded: Encoded, motion: Motion) -> Terms:
        pairs = zip(network.driving_maps(driving, motion), network.warped_maps(encoded, motion), strict=True)
        # Sum over the sizes of |m E(driving) - m W(E(source))|.
        return {"warp_loss": self.weight * sum(mean_difference(*pair) for pair in pairs)}


class BackgroundLoss(nn.Module):
    """Consistency of the background motion: driving to source and source to driving are inverse to each other."""

    def __init__(self, weight: float):
        super().__init__()
        self.weight = weight

    def forward(self, there: Tensor, back: Tensor) -> Terms:
        there, back = at_least_single(there), at_least_single(back)
        # Elementwise: autocast and TF32 would round a matrix product.
        round_trip = (there[..., None] * back[:, None]).sum(2)
        identity = torch.eye(3, dtype=there.dtype, device=there.device).expand_as(round_trip)
        # |I - G_there G_back|
        return {"bg": self.weight * mean_difference(round_trip, identity)}
