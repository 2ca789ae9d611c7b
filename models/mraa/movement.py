"""Which regions drive the generator: those of the driving frame, or the source's moved since the first frame."""

from models.mraa.regions import AFFINE_FLOOR, Regions, covariance_of_affine
from models.parts.movement import relative_matrices, relative_points


def relative_regions(
    source: Regions, driving: Regions, initial: Regions, *, scale: float = 1.0, turn_covar: bool = False
) -> Regions:
    """The source's regions moved, turned and stretched as the driving ones have been since the first frame.

    Their covariance is the driving frame's, as in the original, unless `turn_covar` takes that of the new affine part.
    """
    shift = relative_points(source.shift, driving.shift, initial.shift, scale)
    if driving.affine is None:
        return Regions(shift)
    affine = relative_matrices(source.affine, driving.affine, initial.affine, AFFINE_FLOOR)
    return Regions(shift, affine, covariance_of_affine(affine) if turn_covar else driving.covar)
