"""Small functions of numbers from which the head is made."""

import numpy as np


def curve(x: np.ndarray, knots, values) -> np.ndarray:
    """A smooth line through points that never overshoots (monotone cubic); constant outside."""
    knots, values = np.asarray(knots, np.float64), np.asarray(values, np.float64)
    width = np.diff(knots)
    slope = np.diff(values) / width
    tangent = np.zeros_like(values)
    product = slope[:-1] * slope[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = (width[1:] + 2 * width[:-1]) / slope[1:] + (2 * width[1:] + width[:-1]) / slope[:-1]
        tangent[1:-1] = np.where(product > 0, 3 * (width[1:] + width[:-1]) / weight, 0.0)
    tangent[0], tangent[-1] = slope[0], slope[-1]
    x = np.clip(x, knots[0], knots[-1])
    k = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(width) - 1)
    t = (x - knots[k]) / width[k]
    return (
        values[k] * (1 + 2 * t) * (1 - t) ** 2
        + values[k + 1] * t**2 * (3 - 2 * t)
        + width[k] * (tangent[k] * t * (1 - t) ** 2 + tangent[k + 1] * t**2 * (t - 1))
    )


def step(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """A smooth rise from 0 at `low` to 1 at `high` (a fall if high < low)."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def bell(x, y, cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    """A Gaussian hill."""
    return np.exp(-(((x - cx) / rx) ** 2) - ((y - cy) / ry) ** 2)


def bump(x, y, cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    """A hill that is exactly zero outside its ellipse, for what must not move anything else."""
    d = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2
    return np.where(d < 1, (1 - np.minimum(d, 1)) ** 2, 0.0)


def soft_max(a: np.ndarray, b: np.ndarray, softness: float) -> np.ndarray:
    """The larger of two surfaces with a rounded seam."""
    h = np.clip(0.5 + 0.5 * (a - b) / softness, 0.0, 1.0)
    return b + (a - b) * h + softness * h * (1 - h)
