"""Key points for relative motion: the source's, moved since the first driving frame."""

from models.parts.keypoints import KeyPoints
from models.parts.movement import relative_matrices, relative_points


def relative_key_points(
    source: KeyPoints, driving: KeyPoints, initial: KeyPoints, *, scale: float = 1.0, jacobian: bool = True
) -> KeyPoints:
    """The source's points plus the motion of the driving points since the first frame; with `jacobian` also theirs.

    Without `jacobian` the driving frame's jacobians are used. Eq. 14 and 15 of the paper (section 3.4): the paper
    changes the motion, this function the points, from which the generator computes the same motion.
    """
    value = relative_points(source.value, driving.value, initial.value, scale)
    if not jacobian or driving.jacobian is None:
        return KeyPoints(value, driving.jacobian)
    return KeyPoints(value, relative_matrices(source.jacobian, driving.jacobian, initial.jacobian))
