"""Head pose per frame: (N, 3) yaw, pitch and roll in degrees, NaN without a face."""

import numpy as np

from metrics.parts.landmarks import found
from metrics.parts.streams import Stream
from metrics.parts.tools import Tools

POINTS = (30, 8, 36, 45, 48, 54)
"""Tip of the nose, chin, outer corners of the eyes, corners of the mouth: the landmarks that expressions move least."""
MODEL = np.array(
    [[0, 0, 0], [0, 330, 65], [-225, -170, 135], [225, -170, 135], [-150, 150, 125], [150, 150, 125]], np.float64
)
"""Mean face in arbitrary units: x to the picture's right, y down, z away from the camera."""


class Poses:
    """Pose from six points by PnP, for a camera whose focal length equals the frame's width."""

    def __init__(self, tools: Tools):
        pass

    def __call__(self, stream: Stream) -> np.ndarray:
        points = stream.find("points/dlib")
        poses = np.full((len(points), 3), np.nan)
        for index in np.flatnonzero(found(points)):
            poses[index] = pose(points[index], stream.height, stream.pixels.shape[-1])
        return poses


def pose(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Yaw to the picture's right, pitch down and roll clockwise, in degrees, from 68 points."""
    import cv2

    camera = np.array([[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1]], np.float64)
    # The solver starts upright, facing the camera, four face widths away, so that it cannot converge to the mirrored
    # solution that six points nearly allow.
    rotation, shift = np.zeros((3, 1)), np.array([[0.0], [0.0], [1800.0]])
    seen = np.asarray(points, np.float64)[list(POINTS)]
    _, rotation, _ = cv2.solvePnP(MODEL, seen, camera, None, rotation, shift, True, flags=cv2.SOLVEPNP_ITERATIVE)
    return angles(cv2.Rodrigues(rotation)[0])


def angles(matrix: np.ndarray) -> np.ndarray:
    """Yaw, pitch, roll in degrees of a rotation matrix yaw . pitch . roll about y, x and z, where z points away."""
    yaw = np.arctan2(-matrix[0, 2], matrix[2, 2])
    pitch = -np.arcsin(np.clip(matrix[1, 2], -1, 1))
    roll = np.arctan2(matrix[1, 0], matrix[1, 1])
    return np.degrees([yaw, pitch, roll])


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Absolute differences of angles in degrees, modulo 360."""
    return np.abs((one - other + 180) % 360 - 180)
