"""The networks of my_paper. Sizes are named arguments, so that tests and other families can build small ones."""

import torch
from torch import Tensor, nn

from models.parts.blocks import DownBlock, ResidualBlock, SameBlock, UpBlock
from models.parts.warps import coordinate_grid, warp


class MotionEncoder(nn.Module):
    """A short code (B, code) of the motion in a picture (B, 3, H, W)."""

    def __init__(self, *, width: int, code: int):
        super().__init__()
        self.blocks = nn.Sequential(DownBlock(3, width), DownBlock(width, 2 * width), DownBlock(2 * width, 4 * width))
        self.head = nn.Linear(4 * width, code)

    def forward(self, picture: Tensor) -> Tensor:
        return self.head(self.blocks(picture).mean((2, 3)))


class Generator(nn.Module):
    """Warps a source picture by a code, and inpaints the occluded pixels.

    `encode` depends on the source only: a video encodes it once. Both sides of pictures are multiples of 4.
    """

    def __init__(self, *, width: int, code: int, num_blocks: int):
        super().__init__()
        self.encoder = nn.Sequential(SameBlock(3, width), DownBlock(width, 2 * width), DownBlock(2 * width, 4 * width))
        self.modulation = nn.Linear(code, 8 * width)
        self.bottleneck = nn.Sequential(*(ResidualBlock(4 * width) for _ in range(num_blocks)))
        self.decoder = nn.Sequential(UpBlock(4 * width, 2 * width), UpBlock(2 * width, width))
        self.flow = nn.Conv2d(width, 2, 3, padding=1)
        self.visible = nn.Conv2d(width, 1, 3, padding=1)
        self.paint = nn.Conv2d(width, 3, 3, padding=1)
        # Initialised to repeat the source, so that motion is learned before inpainting.
        nn.init.zeros_(self.flow.weight)
        nn.init.zeros_(self.flow.bias)
        nn.init.constant_(self.visible.bias, 2.0)

    def encode(self, source: Tensor) -> Tensor:
        """The features of the source (B, 4 * width, H / 4, W / 4)."""
        return self.encoder(source)

    def decode(self, source: Tensor, features: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """The picture (B, 3, H, W) in [0, 1] for a code (B, code), and the visibility of the source (B, 1, H, W)."""
        scale, shift = self.modulation(code)[:, :, None, None].chunk(2, dim=1)
        maps = self.decoder(self.bottleneck(features * (1 + scale) + shift))
        # T(z) = z + flow(z): the position in the source that each pixel is sampled from.
        grid = coordinate_grid(*source.shape[-2:], like=source) + self.flow(maps).movedim(1, 3).to(source.dtype)
        visible = torch.sigmoid(self.visible(maps))
        warped = warp(source, grid, padding="border")
        return visible * warped + (1 - visible) * torch.sigmoid(self.paint(maps)), visible
