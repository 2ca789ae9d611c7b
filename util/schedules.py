"""Learning-rate rules: pure functions of where training is, so that resuming cannot change them."""

from collections.abc import Sequence


def milestones(epoch: int, epochs: Sequence[int], factor: float = 0.1) -> float:
    """`factor` to the power of the number of milestones reached."""
    return factor ** sum(epoch >= milestone for milestone in epochs)


def linear_decay(position: float, start: float, length: float) -> float:
    """1 until `start`, then a straight line to 0 over `length`."""
    if position < start:
        return 1.0
    return max(0.0, 1.0 - (position - start) / length) if length > 0 else 0.0


def every(epoch: int, period: int, factor: float = 0.1) -> float:
    """`factor` once more after each `period` epochs."""
    return factor ** (epoch // period)
