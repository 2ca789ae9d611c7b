"""Magnification of movements that are too small to see."""

import torch
from torch import Tensor

from models.parts.keypoints import KeyPoints
from models.parts.warps import inverse_2x2, product_2x2


def magnified(kp_driving: KeyPoints, kp_initial: KeyPoints, factor: float) -> KeyPoints:
    """Scale the motion since the first frame of driving points and jacobians by `factor`.

    Points are extrapolated linearly. A jacobian is the first one times a matrix R; the result is the first one times R
    to the power of `factor`.
    """
    value = kp_initial.value + factor * (kp_driving.value - kp_initial.value)
    if kp_driving.jacobian is None:
        return KeyPoints(value)
    change = product_2x2(kp_driving.jacobian, inverse_2x2(kp_initial.jacobian))
    return KeyPoints(value, product_2x2(power_2x2(change, factor), kp_initial.jacobian))


def power_2x2(matrix: Tensor, exponent: float) -> Tensor:
    """Matrices (..., 2, 2) to a real power, exp(exponent log(matrix)), in closed form.

    A reflection, or a matrix with a negative eigenvalue, has no real logarithm; its difference from the identity is
    scaled instead.
    """
    identity = torch.eye(2, dtype=matrix.dtype, device=matrix.device).expand_as(matrix)
    # matrix = mean * identity + rest, and rest * rest = square * identity, so two numbers describe its functions.
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
    # For nearly equal eigenvalues odd / root is 0 / 0; its limit is exponent / mean.
    slope = torch.where(root > 1e-6 * mean.abs(), odd / root, exponent / mean)
    linear = identity + exponent * (matrix - identity)
    return torch.where(has_logarithm, size * (even * identity + slope * rest), linear)
