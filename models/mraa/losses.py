"""The equivariance loss of articulated animation; the others are those of models.parts."""

from typing import Any

from torch import Tensor

from models.mraa.regions import AFFINE_FLOOR, sign_of_first
from models.parts.equivariance import Equivariance


class RegionEquivariance(Equivariance):
    """Equivariance of regions, whose axes are ambiguous by a rotation of 180 degrees."""

    names = ("equivariance_shift", "equivariance_affine")
    floor = AFFINE_FLOOR

    def __init__(self, shift_weight: float, affine_weight: float, revert_axis_swap: bool, **transform: Any):
        """`transform`: arguments of RandomTransform."""
        super().__init__(shift_weight, affine_weight, **transform)
        self.revert_axis_swap = revert_axis_swap

    def unambiguous(self, matrices: Tensor) -> Tensor:
        return matrices * sign_of_first(matrices) if self.revert_axis_swap else matrices
