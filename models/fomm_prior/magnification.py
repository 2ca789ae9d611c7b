"""Movements made larger, so that one sees what is too small to be seen."""

import torch
from torch import Tensor

from models.parts.keypoints import KeyPoints
from models.parts.warps import inverse_2x2, product_2x2


def magnified(kp_driving: KeyPoints, kp_initial: KeyPoints, factor: float) -> KeyPoints:
    """The driving points and jacobians `factor` times as far from those of the first frame.

    Points move along a line. A jacobian is the first one turned and stretched by some matrix R; it becomes the first
    one under R to the power of `factor`, which is R done so many times over where `factor` is whole.
    """
    value = kp_initial.value + factor * (kp_driving.value - kp_initial.value)
    if kp_driving.jacobian is None:
        return KeyPoints(value)
    change = product_2x2(kp_driving.jacobian, inverse_2x2(kp_initial.jacobian))
    return KeyPoints(value, product_2x2(power_2x2(change, factor), kp_initial.jacobian))


def power_2x2(matrix: Tensor, exponent: float) -> Tensor:
    """Matrices (..., 2, 2) to a real power, exp(exponent log(matrix)), in closed form.

    A matrix that mirrors, or has a negative eigenvalue, has no real logarithm; what distinguishes it from the identity
    is multiplied instead.
    """
    identity = torch.eye(2, dtype=matrix.dtype, device=matrix.device).expand_as(matrix)
    # matrix = mean * identity + rest, and rest * rest = square * identity: functions of the matrix need two numbers.
    mean = (matrix[..., 0, 0] + matrix[..., 1, 1])[..., None, None] / 2
    rest = matrix - mean * identity
    square = rest[..., :1, :1] ** 2 + rest[..., :1, 1:] * rest[..., 1:, :1]
    determinant = mean**2 - square
    root = square.abs().sqrt()
    has_logarithm = (determinant > 0) & ((square < 0) | (mean > 0))
    size = torch.where(has_logarithm, determinant, 1) ** (exponent / 2)
    turning = exponent * torch.atan2(root, mean)
    stretching = exponent * torch.atanh(torch.where(has_logarithm & (square > 0), root / mean, 0))
    even = torch.where(square < 0, turning.cos(), stretching.cosh())
    odd = torch.where(square < 0, turning.sin(), stretching.sinh())
    # Where both eigenvalues are nearly the same, odd / root is 0 / 0; its limit is exponent / mean.
    slope = torch.where(root > 1e-6 * mean.abs(), odd / root, exponent / mean)
    linear = identity + exponent * (matrix - identity)
    return torch.where(has_logarithm, size * (even * identity + slope * rest), linear)
