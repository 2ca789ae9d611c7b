"""From the numbers of the motion extractor to key points: x = s (x_c R + delta) + t."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from models.parts.warps import product_2x2 as exact_product

BINS = 66
"""Number of bins from which an angle is the expected value of a distribution."""
BIN_DEGREES, FIRST_BIN = 3.0, -97.5


class Motion(NamedTuple):
    """The motion extractor's outputs for a batch of pictures."""

    canonical: Tensor
    """Canonical key points x_c (B, K, 3): the identity, without motion."""
    rotation: Tensor
    """Head pose R (B, 3, 3), applied to points as rows."""
    expression: Tensor
    """Expression deltas (B, K, 3)."""
    translation: Tensor
    """Translation t (B, 3); z is ignored."""
    scale: Tensor
    """Scale s (B, 1)."""

    def points(self, canonical: Tensor | None = None) -> Tensor:
        """Key points (B, K, 3) in this motion, of its own canonical points or the source's."""
        canonical = self.canonical if canonical is None else canonical
        return place_points(canonical, self.rotation, self.expression, self.scale, flat(self.translation))

    def rows(self, index: slice | Tensor) -> "Motion":
        """The motion of some samples of the batch."""
        return Motion(*(part[index] for part in self))


def place_points(canonical: Tensor, rotation: Tensor, expression: Tensor, scale: Tensor, translation: Tensor) -> Tensor:
    """s (x_c R + delta) + t, points as rows."""
    turned = exact_product(canonical, rotation)
    return scale[..., None] * (turned + expression) + translation[:, None]


def flat(translation: Tensor) -> Tensor:
    """A translation (B, 3) with depth 0."""
    return translation * translation.new_tensor([1, 1, 0])


def degrees_of(bins: Tensor) -> Tensor:
    """Angles (B, 1) in degrees from the logits of their bins (B, 66); other tensors are angles already."""
    if bins.shape[1] != BINS:
        return bins
    index = torch.arange(BINS, dtype=bins.dtype, device=bins.device)
    return (F.softmax(bins, dim=1) * index).sum(1, keepdim=True) * BIN_DEGREES + FIRST_BIN


def rotation_of(pitch: Tensor, yaw: Tensor, roll: Tensor) -> Tensor:
    """(Rz Ry Rx) transposed (B, 3, 3) of angles (B, 1) in degrees."""
    angles = torch.cat([pitch, yaw, roll], dim=1) * (math.pi / 180)
    (sx, sy, sz), (cx, cy, cz) = (part.unbind(1) for part in (angles.sin(), angles.cos()))
    columns = [
        cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx,
        sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx,
        -sy, cy * sx, cy * cx,
    ]  # fmt: skip
    return torch.stack(columns, dim=1).unflatten(1, (3, 3)).mT


def angles_of(rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pitch, yaw and roll (B, 1) in degrees of rotations (B, 3, 3): the inverse of `rotation_of`, for |yaw| < 90."""
    pitch = torch.atan2(rotation[:, 1, 2], rotation[:, 2, 2])
    yaw = torch.asin((-rotation[:, 0, 2]).clamp(-1, 1))
    roll = torch.atan2(rotation[:, 0, 1], rotation[:, 0, 0])
    return tuple((180 / math.pi * angle)[:, None] for angle in (pitch, yaw, roll))


def nearest_rotation(matrices: Tensor) -> Tensor:
    """The rotations (..., 3, 3) nearest to matrices distorted by rounding or smoothing."""
    left, _, right = torch.linalg.svd(matrices)
    # A reflection is not a rotation: flip the axis with the smallest singular value.
    sign = torch.linalg.det(exact_product(left, right)).sign()
    ones = torch.ones_like(sign)
    return exact_product(left * torch.stack([ones, ones, sign], dim=-1)[..., None, :], right)
