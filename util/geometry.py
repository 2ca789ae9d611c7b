"""Plane geometry of point sets."""

import numpy as np


def hull_area(points: np.ndarray) -> float:
    """The area of the convex hull of points (N, 2); 0 if they are collinear."""
    ordered = np.unique(np.asarray(points, np.float64), axis=0)
    if len(ordered) < 3:
        return 0.0
    hull = _lower_chain(ordered)[:-1] + _lower_chain(ordered[::-1])[:-1]
    x, y = np.transpose(hull)
    return float(0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def hull_volume(points: np.ndarray) -> float:
    """The volume of the convex hull of points (N, 3); 0 if they are coplanar."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        return float(ConvexHull(np.asarray(points, np.float64)).volume)
    except QhullError:
        return 0.0


def _lower_chain(ordered: np.ndarray) -> list[np.ndarray]:
    """The part of the boundary from the first to the last point that turns left only."""
    chain: list[np.ndarray] = []
    for point in ordered:
        while len(chain) > 1 and not _turns_left(chain[-2], chain[-1], point):
            chain.pop()
        chain.append(point)
    return chain


def _turns_left(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) > (b[1] - a[1]) * (c[0] - a[0])


def nearest_pose(source: np.ndarray, candidates: list[np.ndarray | None]) -> tuple[int, list[float | None]]:
    """The index of the landmarks most similar to the source's up to position and size, and all scores.

    Sets that are None or collinear have no score. Without any score the index is 0.
    """
    wanted = _centred(source)
    scores: list[float | None] = []
    for candidate in candidates:
        shape = None if wanted is None or candidate is None else _centred(candidate)
        scores.append(None if shape is None else float(((shape - wanted) ** 2).sum()))
    known = {index: score for index, score in enumerate(scores) if score is not None}
    return min(known, key=known.__getitem__, default=0), scores


def _centred(points: np.ndarray) -> np.ndarray | None:
    area = hull_area(points)
    return (points - points.mean(0)) / area**0.5 if area > 0 else None
