"""The equivariance loss of the key-point families: detectors follow random transforms of the frame.

Equations are those of the first order motion model (Siarohin et al., NeurIPS 2019, section 3.3); mraa and tps use them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.parts.losses import Terms, mean_difference
from models.parts.warps import DETERMINANT_FLOOR, PlaneTransform, inverse_2x2, product_2x2


class Transformed(NamedTuple):
    """A randomly transformed driving frame and its detected points, for visualisation."""

    frame: Tensor
    kp: Any


class RandomTransform(nn.Module):
    """Draws a transform of the plane for every sample of a batch and warps the pictures by it."""

    transform = PlaneTransform
    """The class of the transform; a subclass can have another radial function."""

    def __init__(
        self,
        sigma_affine: float,
        sigma_tps: float | None = None,
        points_tps: int | None = None,
        align_corners: bool = True,
    ):
        super().__init__()
        self.deviations = (sigma_affine, sigma_tps, points_tps)
        self.align_corners = align_corners

    def draw(self, frame: Tensor) -> PlaneTransform:
        """A new transform for every sample of a batch."""
        return self.transform.draw(frame, *self.deviations)

    def moved(self, frame: Tensor) -> tuple[PlaneTransform, Tensor]:
        """A new transform and the transformed pictures of a batch."""
        transform = self.draw(frame)
        return transform, transform.frame(frame, self.align_corners)


class Equivariance(RandomTransform):
    """Equivariance loss: the points of a transformed frame, transformed back, are those of the frame."""

    names = ("equivariance_value", "equivariance_jacobian")
    """The terms for points and for matrices."""
    floor = DETERMINANT_FLOOR
    """Determinant below which a matrix is treated as singular."""

    def __init__(self, value_weight: float, jacobian_weight: float = 0.0, **transform: Any):
        """`transform`: arguments of RandomTransform."""
        super().__init__(**transform)
        self.value_weight, self.jacobian_weight = value_weight, jacobian_weight

    def forward(self, detect: Callable[[Tensor], Any], driving: Tensor, kp_driving: Any) -> tuple[Terms, Transformed]:
        """`kp_driving` are the points of the driving frame itself."""
        transform, frame = self.moved(driving)
        kp = detect(frame)
        value, jacobian = self.names
        terms = {}
        if self.value_weight:
            # Eq. 11: the points of the frame are T(points of the transformed frame).
            terms[value] = self.value_weight * mean_difference(kp_driving.value, transform.points(kp.value))
        if self.jacobian_weight:
            turned = round_trip(transform, kp.value, kp.jacobian, kp_driving.jacobian, self.floor)
            turned = self.unambiguous(turned)
            terms[jacobian] = self.jacobian_weight * mean_difference(turned, identity_like(turned))
        return terms, Transformed(frame, kp)

    def unambiguous(self, matrices: Tensor) -> Tensor:
        """Resolve ambiguities of matrices that should be the identity, for families whose matrices have several equal
        forms."""
        return matrices


class NoEquivariance(nn.Module):
    """No equivariance loss."""

    def forward(self, *_) -> tuple[Terms, None]:
        return {}, None


def round_trip(
    transform: PlaneTransform, points: Tensor, found: Tensor, driving: Tensor, floor: float = DETERMINANT_FLOOR
) -> Tensor:
    """Matrices `found` (B, K, 2, 2) at `points` of the transformed frame, relative to the frame's own `driving` ones.

    Eq. 13: the identity if the detector follows the transform.
    """
    there = product_2x2(transform.jacobian(points), found)  # right-hand side of eq. 12, the chain rule
    return product_2x2(inverse_2x2(driving, floor), there)


def identity_like(matrices: Tensor) -> Tensor:
    """The identity in the shape of matrices (..., 2, 2)."""
    return torch.eye(2, dtype=matrices.dtype, device=matrices.device).expand_as(matrices)
