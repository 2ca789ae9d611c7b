"""The pixels of face curves: parabolas through three points each, computed exactly."""

import numpy as np

STEEPEST = 1 + 1e-6
"""A parabola with a larger bend is not drawn."""


def interpolate(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixels of parabolas through pieces (P, 3, 2) of first, middle and last point: the piece, x and y of each.

    Along its longer extent a piece has as many pixels as it is long, evenly spaced from end to end, which leaves one
    out. Where the middle has the same position along it as an end, the piece is a straight line to halfway between
    them.
    """
    along, across, upright = by_extent(corners)
    start, slope, bend = _parabolas(along, across)
    first, last = along[:, [0, 2]].min(1), along[:, [0, 2]].max(1)
    count = np.where(np.abs(bend) <= STEEPEST, last - first, 0).astype(int)
    piece = np.repeat(np.arange(len(corners)), count)
    number = np.arange(len(piece)) - np.repeat(np.cumsum(count) - count, count)
    position = first[piece] + number * ((last - first) / np.maximum(count - 1, 1))[piece]
    beyond_first, beyond_middle = (position - along[piece, corner] for corner in (0, 1))
    value = start[piece] + beyond_first * (slope[piece] + bend[piece] * beyond_middle)
    position, value = np.trunc(position).astype(int), np.trunc(value).astype(int)
    turned = upright[piece]
    return piece, np.where(turned, value, position), np.where(turned, position, value)


def by_extent(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The coordinates (P, 3) of pieces along and across their longer extent, and whether that is y."""
    steps = np.abs(np.diff(corners, axis=1)).max(1)
    upright = steps[:, 0] < steps[:, 1]
    x, y = corners[..., 0], corners[..., 1]
    return np.where(upright[:, None], y, x), np.where(upright[:, None], x, y), upright


def _parabolas(along: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of pieces, the value at the first point, the slope from there to the middle, and the bend (Newton's form)."""
    (x0, x1, x2), (y0, y1, y2) = along.T, across.T
    straight = (x1 == x0) | (x1 == x2)
    y0, y2 = np.where(x1 == x0, (y0 + y1) / 2, y0), np.where(x1 == x2, (y1 + y2) / 2, y2)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole, half = (y2 - y0) / (x2 - x0), (y1 - y0) / (x1 - x0)
        bend = np.where(straight, 0.0, (whole - half) / (x2 - x1))
    # Where the ends coincide no pixel is drawn, whatever the slope.
    return y0, np.where(straight, whole, half), bend
