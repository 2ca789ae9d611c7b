"""Detectors follow random transforms of the frame: what the losses of several families have in common."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.parts.warps import DETERMINANT_FLOOR, PlaneTransform, inverse_2x2, product_2x2


class Transformed(NamedTuple):
    """A randomly transformed driving frame and what the detector found in it, to look at."""

    frame: Tensor
    kp: Any


class RandomTransform(nn.Module):
    """Draws a transform of the plane for every sample of a batch and moves the pictures by it."""

    transform = PlaneTransform
    """The kind of transform; another one has its own radial function."""

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
        """A new transform and the pictures that it makes of a batch."""
        transform = self.draw(frame)
        return transform, transform.frame(frame, self.align_corners)


class NoEquivariance(nn.Module):
    """The detector is not asked to follow random transforms."""

    def forward(self, *_) -> tuple[dict[str, Tensor], None]:
        return {}, None


def round_trip(
    transform: PlaneTransform, points: Tensor, found: Tensor, driving: Tensor, floor: float = DETERMINANT_FLOOR
) -> Tensor:
    """Matrices `found` (B, K, 2, 2) at `points` of the transformed frame, taken back to the frame's own `driving` ones.

    The identity where the detector follows the transform (eq. 13 of the first order motion model).
    """
    there = product_2x2(transform.jacobian(points), found)
    return product_2x2(inverse_2x2(driving, floor), there)


def identity_like(matrices: Tensor) -> Tensor:
    """The identity in the shape of matrices (..., 2, 2)."""
    return torch.eye(2, dtype=matrices.dtype, device=matrices.device).expand_as(matrices)
