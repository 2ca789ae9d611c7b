"""The networks of X2Face: one brings a source to a common pose, the other warps that to the pose of a driving frame."""

import torch
from torch import Tensor, nn

from models.parts.blocks import DownBlock, UpBlock
from models.parts.warps import coordinate_grid, warp


def flow_layer(width: int) -> nn.Conv2d:
    """The last layer of a network that makes a flow; untrained, nothing moves."""
    layer = nn.Conv2d(width, 2, 3, padding=1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def sample(picture: Tensor, flow: Tensor) -> Tensor:
    """A picture (B, 3, H, W) taken from where a flow (B, 2, H, W) points."""
    grid = coordinate_grid(*picture.shape[-2:], like=flow) + flow.movedim(1, 3)
    return warp(picture, grid, padding="border")


class EmbeddingNetwork(nn.Module):
    """The embedded face (B, 3, H, W) of a source picture: its pixels in a pose that all pictures of a person share."""

    def __init__(self, *, width: int):
        super().__init__()
        self.down = nn.Sequential(DownBlock(3, width), DownBlock(width, 2 * width), DownBlock(2 * width, 4 * width))
        self.up = nn.Sequential(UpBlock(4 * width, 2 * width), UpBlock(2 * width, width), UpBlock(width, width))
        self.flow = flow_layer(width)

    def forward(self, source: Tensor) -> Tensor:
        return sample(source, self.flow(self.up(self.down(source))))


class DrivingEncoder(nn.Module):
    """The code (B, code) of a driving frame: pose and expression, in so few numbers that identity has no room."""

    def __init__(self, *, width: int, code: int):
        super().__init__()
        self.blocks = nn.Sequential(
            DownBlock(3, width), DownBlock(width, 2 * width), DownBlock(2 * width, 4 * width), nn.AdaptiveAvgPool2d(2)
        )
        self.head = nn.Linear(16 * width, code)

    def forward(self, driving: Tensor) -> Tensor:
        return self.head(self.blocks(driving).flatten(1))


class DrivingDecoder(nn.Module):
    """The flow (B, 2, side, side) that warps an embedded face to the pose of a code."""

    def __init__(self, *, width: int, code: int, side: int):
        super().__init__()
        doublings = (side // 4).bit_length() - 1
        self.first, self.width = nn.Linear(code, 16 * 2 * width), width
        self.up = nn.Sequential(UpBlock(2 * width, width), *(UpBlock(width, width) for _ in range(doublings - 1)))
        self.flow = flow_layer(width)

    def forward(self, code: Tensor) -> Tensor:
        return self.flow(self.up(torch.relu(self.first(code)).view(-1, 2 * self.width, 4, 4)))
