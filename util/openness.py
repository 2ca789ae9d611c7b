"""How far eyes and lips are open: ratios of distances between landmarks, of numpy arrays or of tensors."""

from collections.abc import Callable, Sequence
from typing import Any

from util.errors import UserError

LID_HEIGHT = 1.15
"""Two of a lid's six points lie at 87 % of its height, so 68 landmarks measure a smaller openness by this factor."""
LIDS = ((37, 38, 41, 40, 36, 39), (43, 44, 47, 46, 42, 45))
"""Of 68 points, for each eye: two of the upper lid, two of the lower lid, the corners."""
LIPS = (62, 66, 48, 54)
"""Of 68 points: the middle of the upper and of the lower lip's inner edge, the corners."""
OF_203 = ((6, 18, 0, 12), (30, 42, 24, 36), (90, 102, 48, 66))
"""The same of 203 points, without a second point of a lid."""


def openness_ratios(points: Any, length: Callable[[Any], Any]) -> list[Any]:
    """How far left eye, right eye and lips (...) are open, by 68 or 203 landmarks (..., N, 2).

    `length` gives the lengths (...) of vectors (..., 2).
    """
    count = points.shape[-2]
    if count == 203:
        return [_ratio([points[..., index, :] for index in four], length) for four in OF_203]
    if count != 68:
        raise UserError(f"the openness of eyes and lips takes 68 or 203 landmarks, not {count}")
    eyes = [LID_HEIGHT * _ratio(_lid(points, six), length) for six in LIDS]
    return [*eyes, _ratio([points[..., index, :] for index in LIPS], length)]


def _lid(points: Any, six: Sequence[int]) -> list[Any]:
    """Middle of the upper lid, of the lower one, and the corners."""
    upper, lower = (points[..., list(pair), :].mean(-2) for pair in (six[:2], six[2:4]))
    return [upper, lower, points[..., six[4], :], points[..., six[5], :]]


def _ratio(four: Sequence[Any], length: Callable[[Any], Any]) -> Any:
    upper, lower, left, right = four
    return length(upper - lower) / (length(left - right) + 1e-6)
