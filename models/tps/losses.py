"""The losses of the thin-plate spline motion model beside the perceptual pyramid of models.parts.losses."""

import torch
from torch import Tensor, nn

from models.parts.equivariance import Equivariance
from models.parts.losses import Terms, at_least_single, mean_difference
from models.tps.networks import Encoded, InpaintingNetwork, Motion
from models.tps.splines import RandomSpline


class SplineEquivariance(Equivariance):
    """Key points move with the picture under random affine and thin-plate transforms."""

    transform = RandomSpline


class WarpLoss(nn.Module):
    """What is seen of the source's maps under the motion is like the driving frame's maps, at every size."""

    def __init__(self, weight: float):
        super().__init__()
        self.weight = weight

    def forward(self, network: InpaintingNetwork, driving: Tensor, encoded: Encoded, motion: Motion) -> Terms:
        pairs = zip(network.driving_maps(driving, motion), network.warped_maps(encoded, motion), strict=True)
        # Sum over the sizes of |m E(driving) - m W(E(source))|.
        return {"warp_loss": self.weight * sum(mean_difference(*pair) for pair in pairs)}


class BackgroundLoss(nn.Module):
    """The background's motion from driving frame to source and that from source to driving frame undo each other."""

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
