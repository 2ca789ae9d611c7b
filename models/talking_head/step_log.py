"""The log line of a step in the format of the few-shot talking heads."""

from collections.abc import Sequence

DECIMALS = (2, 2)
"""Digits of the first numbers, the distances by VGG-19 and VGGFace; the others have four."""


def step_line(epoch: int, step_in_epoch: int, step: int, numbers: Sequence[float]) -> str:
    """For example "0, 1, 1, 149.31, 131.12, 1.7554, 2.6081"."""
    decimals = [*DECIMALS, *(4,) * (len(numbers) - len(DECIMALS))]
    words = [f"{number:.{digits}f}" for number, digits in zip(numbers, decimals, strict=True)]
    return ", ".join([str(epoch), str(step_in_epoch), str(step), *words])
