"""Transfer of motion since the first driving frame to the points of another face."""

from torch import Tensor

from models.parts.warps import DETERMINANT_FLOOR, inverse_2x2, product_2x2
from util.geometry import hull_area


def movement_scale(source: Tensor, initial: Tensor, flat: float = 1e-6) -> float:
    """Ratio of the sizes of source and first driving frame, by the hulls of their points (1, K, 2).

    1 for a degenerate hull.
    """
    areas = [hull_area(points[0].detach().cpu().numpy()) for points in (source, initial)]
    return (areas[0] / areas[1]) ** 0.5 if min(areas) > flat else 1.0


def unit_scale(source: Tensor, initial: Tensor) -> float:
    """The scale without adaptation."""
    return 1.0


def relative_points(source: Tensor, driving: Tensor, initial: Tensor, scale: float = 1.0) -> Tensor:
    """Eq. 14 of the first order motion model, with a scale: s + d - d of the first frame."""
    return source + scale * (driving - initial)


def relative_matrices(source: Tensor, driving: Tensor, initial: Tensor, floor: float = DETERMINANT_FLOOR) -> Tensor:
    """The source's matrices (..., 2, 2) with the change of the driving ones since the first frame.

    For the J returned, the motion's J^s J^-1 is J^d of the first frame times (J^d)^-1: eq. 15 of the first order motion
    model.
    """
    return product_2x2(product_2x2(driving, inverse_2x2(initial, floor)), source)
