"""What is made of the generator's output: the picture itself, or with pixels of the source along the flow."""

import torch
from torch import Tensor

from models.live_portrait.networks import DenseMotion, SpadeGenerator
from models.live_portrait.volumes import volume_grid
from models.parts.warps import coordinate_grid, resize, resize_grid, warp

COPIED_AT_FIRST = 3.0
"""Logit of the mask with which an untrained generator copies."""


def as_painted(painted: Tensor, picture: Tensor, motion: DenseMotion) -> Tensor:
    """The generator's picture, as in the paper."""
    return painted


def with_source_pixels(painted: Tensor, picture: Tensor, motion: DenseMotion) -> Tensor:
    """The generator's picture (B, 3, H, W), blended by its fourth channel with the source's pixels along the flow."""
    size = painted.shape[-2:]
    flow = resize_grid(flat_flow(motion.deformation), size, align_corners=True)
    grid = coordinate_grid(*size, like=flow) + flow
    moved = warp(resize(picture, size), grid, padding="border")
    return torch.lerp(painted[:, :3].to(moved.dtype), moved, painted[:, 3:].to(moved.dtype))


def flat_flow(deformation: Tensor) -> Tensor:
    """The flow of the picture (B, h, w, 2): the mean over depth of how far the volume's cells move in the plane."""
    size = tuple(deformation.shape[1:4])
    return (deformation - volume_grid(size, like=deformation))[..., :2].mean(1)


def flat_deformation(deformation: Tensor) -> Tensor:
    """The sampling positions (B, h, w, 2) of the same flow."""
    flow = flat_flow(deformation)
    return coordinate_grid(*flow.shape[1:3], like=flow) + flow


@torch.no_grad()
def copy_at_first(generator: SpadeGenerator) -> None:
    """Let an untrained generator's mask take the source's pixels, so that training starts from a copy of the source."""
    last = generator.conv_img[0] if generator.upscale > 1 else generator.conv_img
    masks = slice(-(generator.upscale**2), None)
    last.weight[masks] *= 0.1
    last.bias[masks] = COPIED_AT_FIRST
