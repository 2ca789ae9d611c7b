"""Key points as the expected position of a heatmap, and Gaussian heatmaps of key points."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from models.parts.warps import coordinate_grid


class KeyPoints(NamedTuple):
    """Points (B, K, 2) as x, y in [-1, 1], and the jacobians at them (B, K, 2, 2)."""

    value: Tensor
    jacobian: Tensor | None = None

    def detach(self) -> "KeyPoints":
        return KeyPoints(self.value.detach(), None if self.jacobian is None else self.jacobian.detach())

    def samples(self, index) -> "KeyPoints":
        """The points of some samples of the batch."""
        return KeyPoints(self.value[index], None if self.jacobian is None else self.jacobian[index])


def spatial_softmax(logits: Tensor, temperature: float) -> Tensor:
    """Heatmaps (B, K, h, w) that each sum to 1 over all positions (softmax)."""
    return F.softmax(logits.flatten(2) / temperature, dim=2).view_as(logits)


def mean_position(heat: Tensor) -> Tensor:
    """The expected coordinate (B, K, 2) of heatmaps (B, K, h, w) that sum to 1."""
    grid = coordinate_grid(*heat.shape[-2:], like=heat)
    x = (heat.sum(-2) * grid[0, :, 0]).sum(-1)
    y = (heat.sum(-1) * grid[:, 0, 1]).sum(-1)
    return torch.stack([x, y], dim=-1)


def mean_matrices(maps: Tensor, heat: Tensor) -> Tensor:
    """The mean of matrices (B, 4 K or 4, h, w) under each heatmap (B, K, h, w) that sums to 1: (B, K, 2, 2)."""
    means = maps.unflatten(1, (-1, 4)).flatten(3) @ heat.flatten(2)[..., None]
    return means.unflatten(2, (2, 2))[..., 0]


def gaussian_maps(value: Tensor, size: tuple[int, int], variance: float) -> Tensor:
    """One Gaussian heatmap exp(-|z - p|^2 / (2 variance)) per point: (B, K, 2) to (B, K, h, w)."""
    grid = coordinate_grid(*size, like=value)
    # The exponential of a sum is a product: h + w exponentials per point instead of h * w.
    columns = torch.exp(-0.5 / variance * (grid[0, :, 0] - value[..., :1]) ** 2)
    rows = torch.exp(-0.5 / variance * (grid[:, 0, 1] - value[..., 1:]) ** 2)
    return rows[..., :, None] * columns[..., None, :]
