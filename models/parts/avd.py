"""Animation via disentanglement (AVD): three MLPs combine the pose of one face with the identity of another.

Layers, sizes and augmentation of the AVD networks of the key-point families.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from util.errors import UserError


def perceptron(widths: list[int]) -> nn.Sequential:
    """Linear layers between these widths, with batch norm and ReLU after all but the last."""
    layers = []
    for before, after in zip(widths[:-2], widths[1:-1], strict=True):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(*widths[-2:]))


class Disentangler(nn.Module):
    """Embeds (B, N): the points of one face in another one's pose."""

    def __init__(self, embedding: int, id_bottle_size: int, pose_bottle_size: int):
        super().__init__()
        self.id_encoder = perceptron([embedding, 256, 512, 1024, id_bottle_size])
        self.pose_encoder = perceptron([embedding, 256, 512, 1024, pose_bottle_size])
        self.decoder = perceptron([id_bottle_size + pose_bottle_size, 1024, 512, 256, embedding])

    def joined(self, identity: Tensor, pose: Tensor) -> Tensor:
        """Combine embeddings, in single precision; one identity may be paired with a batch of poses."""
        with torch.autocast(pose.device.type, enabled=False):
            code = self.id_encoder(identity).expand(len(pose), -1)
            return self.decoder(torch.cat([self.pose_encoder(pose), code], dim=1))


def require_avd(content: Any, path: Path, second_stage: str) -> None:
    """The error for a file of the first stage without an AVD network explains how to train one."""
    if isinstance(content, Mapping) and "avd_network" not in content:
        raise UserError(
            f"{path}: has no AVD network for --mode avd. Train one (--model {second_stage} --init_from {path}), or "
            f"use --mode relative or --mode standard"
        )


def draw_proportions(like: Tensor, random_scale: float) -> Tensor:
    """Random stretch of the pose's width and height, (B, 2) near 1 for each sample of the batch `like`.

    It prevents the network from reading a face's proportions from the pose: they belong to the identity.
    """
    drawn = torch.rand(len(like), 2, dtype=like.dtype, device=like.device)
    return drawn * 2 * random_scale + (1 - random_scale)
