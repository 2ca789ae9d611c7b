"""The pixels of face curves as the original draws them, with the noise of its fit.

The original fits each parabola by Levenberg-Marquardt, starting from ones, with an error of about 1e-8. Where the exact
value is a whole number, truncation may then yield the pixel before it: 4 to 8 % of the curves' pixels move by one.
"""

from functools import lru_cache

import numpy as np

from data.structure.parabolas import interpolate

CONVERGED = (1, 2, 3, 4)
"""MINPACK's return codes for success."""


def interpolate_as_original(corners: np.ndarray, lines: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixels of pieces (P, 3, 2), as `interpolate` returns them: the piece, x and y of each.

    `lines` says which pieces have two points, the last of them in the middle, too.
    """
    found = [
        _pixels(tuple(map(tuple, piece[::2] if is_line else piece)))
        for piece, is_line in zip(corners.tolist(), lines, strict=True)
    ]
    number = np.repeat(np.arange(len(found)), [len(x) for x, _ in found])
    return number, *(np.concatenate(values) for values in zip(*found, strict=True))


def forget() -> None:
    """Fit every piece again, to measure how long that takes."""
    _pixels.cache_clear()


@lru_cache(maxsize=100_000)
def _pixels(corners: tuple[tuple[float, float], ...]) -> tuple[np.ndarray, np.ndarray]:
    """The x and y of one piece; cached, since a still face repeats many pieces of the previous frame."""
    x, y = np.array(corners).T
    if np.abs(np.diff(x)).max() < np.abs(np.diff(y)).max():
        along, across = _drawn(y, x)
        return across, along
    return _drawn(x, y)


def _drawn(along: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The positions along a piece and the values across, both truncated."""
    fitted = _fit(along, across)
    if fitted is None:
        # The routine gives up, mostly where two points have one position along. The original ends there.
        _, x, y = interpolate(np.stack([along, across], 1)[[0, 1, -1]][None])
        return x, y
    if len(along) == 3 and abs(fitted[0]) > 1:
        return np.zeros(0, int), np.zeros(0, int)
    first, last = min(along[0], along[-1]), max(along[0], along[-1])
    position = np.linspace(first, last, int(last - first))
    return position.astype(int), _value(fitted, position, position**2).astype(int)


def _fit(along: np.ndarray, across: np.ndarray) -> list[float] | None:
    """The parameters of scipy.optimize.curve_fit, without its overhead around MINPACK's routine.

    Two points define a line, three a parabola; None if the routine fails.
    """
    from scipy.optimize import leastsq

    square = along**2
    fitted, *_, answer = leastsq(
        lambda parameters: _value(parameters.tolist(), along, square) - across,
        np.ones(len(along)),
        full_output=True,  # returns a code instead of warning
    )
    return fitted.tolist() if answer in CONVERGED else None


def _value(parameters: list[float], position: np.ndarray, square: np.ndarray) -> np.ndarray:
    """a x + b or a x^2 + b x + c, in the order of operations that reproduces the last digits."""
    if len(parameters) == 2:
        a, b = parameters
        return a * position + b
    a, b, c = parameters
    return a * square + b * position + c
