"""Regions of a picture: position, rotation and scale, computed from heatmaps without SVD."""

from typing import NamedTuple

import torch
from torch import Tensor

from models.parts.keypoints import mean_position
from models.parts.warps import coordinate_grid, product_2x2

MIN_VARIANCE = 1e-10
"""Variances are clamped to this value, below which the gradient of their root would diverge."""


AFFINE_FLOOR = 1e-6
"""Determinant below which an affine part is treated as singular; affine parts are as small as their regions."""


class Regions(NamedTuple):
    """Regions of a batch of pictures; without affine parts they only have a centre."""

    shift: Tensor
    """The centre as x, y in [-1, 1], (B, K, 2)."""
    affine: Tensor | None = None
    """Rotation and scale of the region, (B, K, 2, 2)."""
    covar: Tensor | None = None
    """Covariance of the heatmap, (B, K, 2, 2)."""
    heatmap: Tensor | None = None
    """The heatmap, (B, K, h, w), summing to 1."""

    @property
    def value(self) -> Tensor:
        """The centre, under its name in KeyPoints."""
        return self.shift

    @property
    def jacobian(self) -> Tensor | None:
        """The affine part, under its name in KeyPoints."""
        return self.affine

    def samples(self, index) -> "Regions":
        """The regions of some samples of the batch."""
        return Regions(*(None if value is None else value[index] for value in self))


def principal_regions(heat: Tensor) -> Regions:
    """The regions of heatmaps H (B, K, h, w), with affine parts from their covariance.

    From the paper's section on PCA-based motion estimation: m = sum_z H(z) z, C = sum_z H(z) (z - m) (z - m)^T = U S
    U^T, A = U S^(1/2).
    """
    shift = mean_position(heat)
    covar = covariance(heat, shift)
    return Regions(shift, affine_of_covariance(covar), covar, heat)


def covariance(heat: Tensor, mean: Tensor) -> Tensor:
    """The covariance (B, K, 2, 2) of positions under heatmaps (B, K, h, w) with these means (B, K, 2)."""
    grid = coordinate_grid(*heat.shape[-2:], like=heat)
    x, y = grid[0, :, 0] - mean[..., :1], grid[:, 0, 1] - mean[..., 1:]
    across = (heat.sum(-2) * x**2).sum(-1)
    down = (heat.sum(-1) * y**2).sum(-1)
    mixed = ((heat * x[..., None, :]).sum(-1) * y).sum(-1)
    return torch.stack([across, mixed, mixed, down], dim=-1).unflatten(-1, (2, 2))


def principal_axes(covar: Tensor) -> tuple[Tensor, Tensor]:
    """Axes (..., 2, 2), one per column, and variances (..., 2), larger first, of covariances (..., 2, 2).

    The signs of the axes are those of LAPACK's singular value decomposition, on which released weights rely; gradients
    are bounded for an isotropic covariance, whose axes are arbitrary.
    """
    a, b, c = covar[..., 0, 0], covar[..., 0, 1], covar[..., 1, 1]
    half = (a - c) / 2
    squared = half**2 + b**2
    # If both are 0 neither the root nor the angle has a derivative.
    isotropic = squared == 0
    radius = torch.where(isotropic, 0, torch.where(isotropic, 1, squared).sqrt())
    larger = (a + c) / 2 + radius
    # mean - radius could round to a negative number; the product of the variances is more accurate.
    smaller = (a * c - b**2).clamp(min=0) / larger.clamp(min=torch.finfo(larger.dtype).tiny)
    angle = _bounded(torch.atan2(b, torch.where(isotropic, 1, half)) / 2, squared.detach())
    first, second = _lapack_signs(a, b, c)
    p, q = angle.cos(), angle.sin()
    axes = torch.stack([first * p, second * q, first * q, -second * p], dim=-1).unflatten(-1, (2, 2))
    return axes, torch.stack([larger, smaller], dim=-1)


def affine_of_covariance(covar: Tensor) -> Tensor:
    """The axes of covariances (..., 2, 2), scaled by their standard deviations."""
    axes, variances = principal_axes(covar)  # U, S
    return axes * variances.clamp(min=MIN_VARIANCE).sqrt()[..., None, :]


def covariance_of_affine(affine: Tensor) -> Tensor:
    """The covariance of affine parts (..., 2, 2)."""
    return product_2x2(affine, affine.mT)


def inverse_covariance(covar: Tensor, floor: float = 1e-10) -> Tensor:
    """The inverse of covariances (..., 2, 2), whose determinant can be negative only by rounding."""
    (a, b), (_, c) = (row.unbind(-1) for row in covar.unbind(-2))
    determinant = (a * c - b**2).clamp(min=floor)
    adjugate = torch.stack([c, -b, -b, a], dim=-1).unflatten(-1, (2, 2))
    return adjugate / determinant[..., None, None]


def sign_of_first(matrix: Tensor) -> Tensor:
    """The sign of the first element of matrices (..., 2, 2), as a factor: -1 if it is negative, else 1.

    Axes are ambiguous by a rotation of 180 degrees; this factor makes those of two pictures agree.
    """
    first = matrix[..., :1, :1]
    return torch.where(first < 0, -1.0, 1.0).to(first.dtype)


def upright(regions: Regions) -> Regions:
    """Regions whose first axis points down, so that its sign flips only when the region lies flat.

    LAPACK's signs flip when a tall region tilts far, as a head does.
    """
    down = regions.affine[..., 1:, :1]
    signs = torch.where(down < 0, -1.0, 1.0).to(down.dtype)
    # Not with _replace, which the compiler of torch 2.7 does not support.
    return Regions(regions.shift, regions.affine * signs, regions.covar, regions.heatmap)


def _lapack_signs(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The signs of both axes, with the first (cos, sin) and the second (sin, -cos) of one angle."""
    turned = (b > 0) & (a * (c - a) > 2 * b**2)
    diagonal = b == 0
    first = torch.where(turned | diagonal, 1.0, -1.0).to(a.dtype)
    return first, torch.where(diagonal & (a >= c), -1.0, first)


def _bounded(angle: Tensor, squared: Tensor, epsilon: float = 1e-12) -> Tensor:
    """An angle whose gradient stays bounded when the covariance becomes isotropic."""
    still = angle.detach()
    return still + (angle - still) * (squared / (squared + epsilon))
