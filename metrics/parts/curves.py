"""Curves over the frames of a video: do they go together?"""

from collections.abc import Sequence

import numpy as np

from metrics.parts.landmarks import found

Curves = Sequence[Sequence[np.ndarray]]
"""Batches of two curves (N, K), the result's and the wanted one."""


def where_known(curves: Curves) -> list[np.ndarray]:
    """Both curves, without the frames in which one of them is not known."""
    one, other = (np.concatenate(batches) for batches in zip(*curves, strict=True))
    both = found(one) & found(other)
    return [one[both], other[both]]


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's r; not a number where one of them rests."""
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def correlations(name: str, parts: Sequence[str], curves: Curves) -> dict[str, float]:
    """Pearson's r of each part (`name`.part), and under `name` the mean of those that move in both."""
    one, other = where_known(curves)
    values = [correlation(one[:, index], other[:, index]) for index in range(len(parts))]
    moving = [value for value in values if not np.isnan(value)]
    own = {f"{name}.{part}": value for part, value in zip(parts, values, strict=True)}
    return {name: float(np.mean(moving)) if moving else float("nan")} | own
