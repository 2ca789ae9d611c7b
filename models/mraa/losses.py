"""The equivariance loss of articulated animation; the others are those of models.parts."""

from typing import Any

from torch import Tensor

from models.mraa.regions import AFFINE_FLOOR, sign_of_first
from models.parts.equivariance import Equivariance


class RegionEquivariance(Equivariance):
    """Regions move with the picture, whose axes a turn by 180 degrees leaves the same."""

    names = ("equivariance_shift", "equivariance_affine")
    floor = AFFINE_FLOOR

    def __init__(self, shift_weight: float, affine_weight: float, revert_axis_swap: bool, **transform: Any):
        """`transform` says how large the transforms are, as RandomTransform wants it."""
        super().__init__(shift_weight, affine_weight, **transform)
        self.revert_axis_swap = revert_axis_swap

    def unambiguous(self, matrices: Tensor) -> Tensor:
        return matrices * sign_of_first(matrices) if self.revert_axis_swap else matrices
