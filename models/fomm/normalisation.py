"""Which key points drive the generator: those of the driving frame, or their movement since the first frame."""

from torch import Tensor

from models.parts.keypoints import KeyPoints
from models.parts.warps import inverse_2x2, product_2x2
from util.geometry import hull_area


def movement_scale(kp_source: KeyPoints, kp_initial: KeyPoints, flat: float = 1e-6) -> float:
    """How much larger the source is than the first driving frame, by the hulls of their points; 1 for a flat hull."""
    areas = [hull_area(kp.value[0].detach().cpu().numpy()) for kp in (kp_source, kp_initial)]
    return (areas[0] / areas[1]) ** 0.5 if min(areas) > flat else 1.0


def relative_value(kp_source: KeyPoints, kp_driving: KeyPoints, kp_initial: KeyPoints, scale: float) -> Tensor:
    """The source's points moved as the driving points have moved since the first frame."""
    return kp_source.value + scale * (kp_driving.value - kp_initial.value)


def relative_jacobian(kp_source: KeyPoints, kp_driving: KeyPoints, kp_initial: KeyPoints) -> Tensor:
    """The source's jacobians turned as the driving ones have turned since the first frame."""
    turned = product_2x2(kp_driving.jacobian, inverse_2x2(kp_initial.jacobian))
    return product_2x2(turned, kp_source.jacobian)


def normalise(
    kp_source: KeyPoints,
    kp_driving: KeyPoints,
    kp_initial: KeyPoints,
    *,
    scale: float = 1.0,
    movement: bool = True,
    jacobian: bool = True,
) -> KeyPoints:
    """The points that the generator gets; without relative `movement` the driving points as they are."""
    if not movement:
        return kp_driving
    value = relative_value(kp_source, kp_driving, kp_initial, scale)
    if not jacobian or kp_driving.jacobian is None:
        return KeyPoints(value, kp_driving.jacobian)
    return KeyPoints(value, relative_jacobian(kp_source, kp_driving, kp_initial))
