"""Which key points drive the generator: those of the driving frame, or their movement since the first frame."""

from models.parts.keypoints import KeyPoints
from models.parts.movement import relative_matrices, relative_points


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
    value = relative_points(kp_source.value, kp_driving.value, kp_initial.value, scale)
    if not jacobian or kp_driving.jacobian is None:
        return KeyPoints(value, kp_driving.jacobian)
    return KeyPoints(value, relative_matrices(kp_source.jacobian, kp_driving.jacobian, kp_initial.jacobian))
