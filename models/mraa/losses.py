"""The losses of articulated animation beside the perceptual pyramid of models.parts.losses."""

from typing import Any

from torch import Tensor, nn

from models.mraa.regions import AFFINE_FLOOR, Regions, sign_of_first
from models.parts.equivariance import RandomTransform, Transformed, identity_like, round_trip
from models.parts.losses import Terms, mean_difference


class Equivariance(RandomTransform):
    """Regions move with the picture: those of a transformed frame, transformed back, are those of the frame."""

    def __init__(self, shift_weight: float, affine_weight: float, revert_axis_swap: bool, **transform: Any):
        """`transform` says how large the transforms are, as RandomTransform wants it."""
        super().__init__(**transform)
        self.shift_weight = shift_weight
        self.affine_weight = affine_weight
        self.revert_axis_swap = revert_axis_swap

    def forward(self, predictor: nn.Module, driving: Tensor, regions: Regions) -> tuple[Terms, Transformed]:
        """`regions` are those of the driving frame itself."""
        transform, frame = self.moved(driving)
        found = predictor(frame)
        terms = {}
        if self.shift_weight:
            difference = mean_difference(regions.shift, transform.points(found.shift))
            terms["equivariance_shift"] = self.shift_weight * difference
        if self.affine_weight:
            turned = round_trip(transform, found.shift, found.affine, regions.affine, AFFINE_FLOOR)
            if self.revert_axis_swap:
                turned = turned * sign_of_first(turned)
            terms["equivariance_affine"] = self.affine_weight * mean_difference(turned, identity_like(turned))
        return terms, Transformed(frame, found)
