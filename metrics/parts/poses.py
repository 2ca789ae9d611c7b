"""Head pose per frame: (N, 3) yaw, pitch and roll in degrees, NaN without a face."""

import numpy as np

from data.faces.head_pose import head_rotation, yaw_pitch_roll
from metrics.parts.landmarks import found
from metrics.parts.streams import Stream
from metrics.parts.tools import Tools


class Poses:
    """Pose from six points by PnP, for a camera whose focal length equals the frame's width."""

    def __init__(self, tools: Tools):
        pass

    def __call__(self, stream: Stream) -> np.ndarray:
        points = stream.find("points/dlib")
        poses = np.full((len(points), 3), np.nan)
        for index in np.flatnonzero(found(points)):
            poses[index] = yaw_pitch_roll(head_rotation(points[index], stream.height, stream.pixels.shape[-1]))
        return poses


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Absolute differences of angles in degrees, modulo 360."""
    return np.abs((one - other + 180) % 360 - 180)
