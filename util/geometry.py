"""Plane geometry of point sets."""

import numpy as np


def hull_area(points: np.ndarray) -> float:
    """The area of the convex hull of points (N, 2); 0 where they lie in one line."""
    ordered = np.unique(np.asarray(points, np.float64), axis=0)
    if len(ordered) < 3:
        return 0.0
    hull = _lower_chain(ordered)[:-1] + _lower_chain(ordered[::-1])[:-1]
    x, y = np.transpose(hull)
    return float(0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def _lower_chain(ordered: np.ndarray) -> list[np.ndarray]:
    """The points from the first to the last at which the boundary turns left only."""
    chain: list[np.ndarray] = []
    for point in ordered:
        while len(chain) > 1 and not _turns_left(chain[-2], chain[-1], point):
            chain.pop()
        chain.append(point)
    return chain


def _turns_left(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) > (b[1] - a[1]) * (c[0] - a[0])
