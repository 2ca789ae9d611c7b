"""The head's rotation from the 68 points of a face, and its angles in the conventions of those who ask.

Matrices turn columns: x to the picture's right, y down, z away from the camera; the identity faces the camera.
"""

import numpy as np

POINTS = (30, 8, 36, 45, 48, 54)
"""Tip of the nose, chin, outer corners of the eyes, corners of the mouth: of the 68 points those that expressions move
least."""
MODEL = np.array(
    [[0, 0, 0], [0, 330, 65], [-225, -170, 135], [225, -170, 135], [-150, 150, 125], [150, 150, 125]], np.float64
)
"""A mean face in any unit."""


def head_rotation(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """The rotation (3, 3) of a head by the perspective of six points, for a focal length of the frame's width."""
    import cv2

    camera = np.array([[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1]], np.float64)
    # Upright, facing the camera, from four face widths away: the search for the pose begins there and cannot end in
    # the mirrored solution that six points nearly allow.
    rotation, shift = np.zeros((3, 1)), np.array([[0.0], [0.0], [1800.0]])
    seen = np.asarray(points, np.float64)[list(POINTS)]
    _, rotation, _ = cv2.solvePnP(MODEL, seen, camera, None, rotation, shift, True, flags=cv2.SOLVEPNP_ITERATIVE)
    return cv2.Rodrigues(rotation)[0]


def yaw_pitch_roll(matrix: np.ndarray) -> np.ndarray:
    """Yaw to the picture's right, pitch down, roll clockwise, in degrees, of a matrix = yaw . pitch . roll."""
    yaw = np.arctan2(-matrix[0, 2], matrix[2, 2])
    pitch = -np.arcsin(np.clip(matrix[1, 2], -1, 1))
    roll = np.arctan2(matrix[1, 0], matrix[1, 1])
    return np.degrees([yaw, pitch, roll])


def rotation_of(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The matrix with these angles: the opposite of `yaw_pitch_roll`."""
    (sa, sb, sc), (ca, cb, cc) = (function(np.radians([-yaw, pitch, roll])) for function in (np.sin, np.cos))
    about_y = np.array([[ca, 0, sa], [0, 1, 0], [-sa, 0, ca]])
    about_x = np.array([[1, 0, 0], [0, cb, -sb], [0, sb, cb]])
    about_z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


def portrait_angles(matrix: np.ndarray) -> np.ndarray:
    """Pitch, yaw and roll in degrees as LivePortrait has them: matrix = Rz(roll) . Ry(yaw) . Rx(pitch)."""
    pitch = np.arctan2(matrix[2, 1], matrix[2, 2])
    yaw = np.arcsin(np.clip(-matrix[2, 0], -1, 1))
    roll = np.arctan2(matrix[1, 0], matrix[0, 0])
    return np.degrees([pitch, yaw, roll])
