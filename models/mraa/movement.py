"""Regions for relative motion: the source's, moved since the first driving frame."""

from models.mraa.regions import AFFINE_FLOOR, Regions, covariance_of_affine
from models.parts.movement import relative_matrices, relative_points


def relative_regions(
    source: Regions, driving: Regions, initial: Regions, *, scale: float = 1.0, turn_covar: bool = False
) -> Regions:
    """The source's regions with the shift and affine change of the driving regions since the first frame.

    The covariance is the driving frame's, as in the original; with `turn_covar` it follows the new affine part.
    """
    shift = relative_points(source.shift, driving.shift, initial.shift, scale)
    if driving.affine is None:
        return Regions(shift)
    affine = relative_matrices(source.affine, driving.affine, initial.affine, AFFINE_FLOOR)
    return Regions(shift, affine, covariance_of_affine(affine) if turn_covar else driving.covar)
