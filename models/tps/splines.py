"""Thin-plate splines: smooth transforms of the plane that interpolate pairs of points.

The paper's section "TPS motion estimation".
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.parts.losses import at_least_single
from models.parts.warps import PlaneTransform, affine_grids, coordinate_grid

EPSILON = 1e-9


def thin_plate(squared: Tensor) -> Tensor:
    """U(r) = r^2 log r^2 of squared distances r^2 (twice the textbook's r^2 log r)."""
    return squared * torch.log(squared + EPSILON)


class Splines:
    """T(z) = A z + t + sum_i w_i U(|z - c_i|), one for each group of points."""

    def __init__(self, theta: Tensor, control_params: Tensor, control_points: Tensor):
        """`theta` (..., 2, 3) is [A | t]; `control_params` (..., n, 2) are the w_i, `control_points` the c_i."""
        self.theta, self.control_params, self.control_points = theta, control_params, control_points

    @classmethod
    def between(cls, driving: Tensor, source: Tensor, regulariser: tuple[float, float] = (0.01, 0.01)) -> "Splines":
        """The splines from points (..., n, 2) of the driving frame to those of the source.

        The regulariser is added to the diagonal of the system: at the points, and in the rows of the affine part. With
        0 for the latter, equal sets of points give the identity, but collinear sets have no solution.
        """
        count = driving.shape[-2]
        # Half precision is not accurate enough to solve the system.
        with torch.autocast(driving.device.type, enabled=False):
            driving, source = at_least_single(driving), at_least_single(source).expand_as(driving)
            diagonal = _diagonal(driving, regulariser)
            # Operations that exported graphs know, here and below: neither diag nor mT.
            system = _system(driving) + diagonal * torch.eye(
                len(diagonal), dtype=diagonal.dtype, device=diagonal.device
            )
            values = F.pad(source, (0, 0, 0, 3))
            # (w; a) = L^-1 (y; 0). This variant reports a singular system by a number, without synchronising the
            # device.
            solution = torch.linalg.solve_ex(system, values).result
        return cls(solution[..., count:, :].transpose(-1, -2), solution[..., :count, :], driving)

    def grids(self, size: tuple[int, int]) -> Tensor:
        """T at every pixel: (..., h, w, 2)."""
        grid = coordinate_grid(*size, like=self.theta)
        moved = affine_grids(self.theta[..., :2], self.theta[..., 2], size)
        for point, weight in zip(self.control_points.unbind(-2), self.control_params.unbind(-2), strict=True):
            columns = (grid[0, :, 0] - point[..., :1]) ** 2
            rows = (grid[:, 0, 1] - point[..., 1:]) ** 2
            radial = thin_plate(rows[..., :, None] + columns[..., None, :])
            # Elementwise: TF32 and autocast would round a matrix product.
            moved = moved + radial[..., None] * weight[..., None, None, :]
        return moved


class RandomSpline(PlaneTransform):
    """A random affine and thin-plate transform with Euclidean distance."""

    def _radial(self, vectors: Tensor) -> Tensor:
        return thin_plate((vectors**2).sum(-1))

    def _radial_gradient(self, vectors: Tensor) -> Tensor:
        squared = (vectors**2).sum(-1, keepdim=True)
        return 2 * vectors * (torch.log(squared + EPSILON) + squared / (squared + EPSILON))


def _system(points: Tensor) -> Tensor:
    """L = [K P; P^T 0] with K_ij = U(|c_i - c_j|) and the rows (x_i, y_i, 1) of P."""
    squared = ((points[..., :, None, :] - points[..., None, :, :]) ** 2).sum(-1)
    rows = F.pad(points, (0, 1), value=1.0)
    above = torch.cat([thin_plate(squared), rows], dim=-1)
    below = F.pad(rows.transpose(-1, -2), (0, 3))
    return torch.cat([above, below], dim=-2)


def _diagonal(points: Tensor, regulariser: tuple[float, float]) -> Tensor:
    at_points, affine = regulariser
    return torch.cat([points.new_full((points.shape[-2],), at_points), points.new_full((3,), affine)])
