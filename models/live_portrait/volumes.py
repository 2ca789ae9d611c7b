"""Blocks, grids and warps of feature volumes (B, C, D, h, w).

Points and grids are (x, y, z), x to the right, y down, z inwards; -1 and 1 are the centres of the first and last cell.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class VolumeNorm(nn.BatchNorm3d):
    """Batch norm of a volume that leaves the count of batches at 0, as `models.parts.blocks.BatchNorm` does."""

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )


class VolumeBlock(nn.Module):
    """3x3x3 convolution, norm, ReLU."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.conv = nn.Conv3d(in_features, out_features, 3, padding=1)
        self.norm = VolumeNorm(out_features)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)), inplace=True)


class VolumeDown(VolumeBlock):
    """The same, then downsample height and width by averaging; the depth stays."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool3d(super().forward(x), (1, 2, 2))


class VolumeUp(VolumeBlock):
    """Upsample height and width by repetition, then the same."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=(1, 2, 2)))


class VolumeResidual(nn.Module):
    """Two times norm, ReLU, 3x3x3 convolution, added to the input."""

    def __init__(self, features: int):
        super().__init__()
        self.conv1 = nn.Conv3d(features, features, 3, padding=1)
        self.conv2 = nn.Conv3d(features, features, 3, padding=1)
        self.norm1 = VolumeNorm(features)
        self.norm2 = VolumeNorm(features)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(out)))


class VolumeEncoder(nn.Module):
    """Downsample height and width `num_blocks` times and return every volume, including the input."""

    def __init__(self, widths: list[int]):
        super().__init__()
        self.down_blocks = nn.ModuleList(VolumeDown(*pair) for pair in zip(widths[:-1], widths[1:], strict=True))

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [x]
        for block in self.down_blocks:
            maps.append(block(maps[-1]))
        return maps


class VolumeDecoder(nn.Module):
    """Upsample the smallest volume to the size of the first, concatenating the encoder's volume at every size."""

    def __init__(self, expansion: int, in_features: int, num_blocks: int, max_features: int):
        super().__init__()
        self.up_blocks = nn.ModuleList()
        width = min(max_features, expansion * 2**num_blocks)
        for i in reversed(range(num_blocks)):
            half = min(max_features, expansion * 2**i)
            self.up_blocks.append(VolumeUp(width, half))
            width = half + (half if i else in_features)
        self.conv = nn.Conv3d(width, width, 3, padding=1)
        self.norm = VolumeNorm(width)
        self.out_features = width

    def forward(self, maps: list[Tensor]) -> Tensor:
        out = maps[-1]
        for block, skip in zip(self.up_blocks, reversed(maps[:-1]), strict=True):
            out = torch.cat([block(out), skip], dim=1)
        return F.relu(self.norm(self.conv(out)), inplace=True)


class VolumeHourglass(nn.Module):
    """Encoder and decoder with skip connections: features at the size of the input."""

    def __init__(self, expansion: int, in_features: int, num_blocks: int, max_features: int):
        super().__init__()
        widths = [in_features, *(min(max_features, expansion * 2 ** (i + 1)) for i in range(num_blocks))]
        self.encoder = VolumeEncoder(widths)
        self.decoder = VolumeDecoder(expansion, in_features, num_blocks, max_features)
        self.out_features = self.decoder.out_features

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


def volume_grid(size: tuple[int, int, int], like: Tensor) -> Tensor:
    """The position (x, y, z) of every cell of a volume of size (D, h, w): (D, h, w, 3)."""
    z, y, x = (torch.linspace(-1, 1, side, dtype=like.dtype, device=like.device) for side in size)
    z, y, x = torch.meshgrid(z, y, x, indexing="ij")
    return torch.stack([x, y, z], dim=-1)


def volume_heatmaps(points: Tensor, size: tuple[int, int, int], variance: float) -> Tensor:
    """One Gaussian exp(-|z - p|^2 / (2 variance)) per point: (B, K, 3) to (B, K, D, h, w)."""
    z, y, x = (torch.linspace(-1, 1, side, dtype=points.dtype, device=points.device) for side in size)
    # The exponential of a sum is a product of three: D + h + w exponentials per point instead of D h w.
    lines = [torch.exp(-0.5 / variance * (line - points[..., i : i + 1]) ** 2) for i, line in enumerate((x, y, z))]
    plane = lines[1][..., :, None] * lines[0][..., None, :]
    return lines[2][..., :, None, None] * plane[..., None, :, :]


def warp_volume(volume: Tensor, grid: Tensor) -> Tensor:
    """Sample volumes (B, C, D, h, w) at grids (B, D', h', w', 3): trilinear, zeros outside.

    Corners are not aligned although the grid assumes it: the released weights were trained this way.
    """
    # In half precision a coordinate would be off by an eighth of a cell: sampling stays in the grid's precision.
    return F.grid_sample(volume.to(grid.dtype), grid, align_corners=False).to(volume.dtype)
