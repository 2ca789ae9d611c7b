"""How far mouth and eyes are open by 68 landmarks (N, 68, 2), in distances of the outer corners of the eyes."""

import numpy as np

UPPER_LIP, LOWER_LIP = (61, 62, 63), (67, 66, 65)
"""Inner lips, from one corner to the other."""
UPPER_LIDS, LOWER_LIDS = (37, 38, 43, 44), (41, 40, 47, 46)


def outer_eyes(points: np.ndarray) -> np.ndarray:
    """The distance of the outer corners of the eyes (N,)."""
    return np.linalg.norm(points[:, 36] - points[:, 45], axis=-1)


def mouth_opening(points: np.ndarray) -> np.ndarray:
    """Mean height of the gap between the lips (N,)."""
    return np.abs(points[:, UPPER_LIP, 1] - points[:, LOWER_LIP, 1]).mean(1) / outer_eyes(points)


def eyes_opening(points: np.ndarray) -> np.ndarray:
    """Mean height of the gap between the lids of both eyes (N,)."""
    return np.abs(points[:, UPPER_LIDS, 1] - points[:, LOWER_LIDS, 1]).mean(1) / outer_eyes(points)
