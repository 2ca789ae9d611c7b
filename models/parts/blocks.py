"""Convolution blocks and the hourglass of the key-point families, with the entry names of the released weights."""

from collections.abc import Callable
from copy import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import remove_spectral_norm
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.spectral_norm import SpectralNorm

Norm = Callable[[int], nn.Module]
MIN_POSITIONS = 512
"""Minimum number of positions in a training batch from which `doubling_kernel` saves more time than it costs."""


class BatchNorm(nn.BatchNorm2d):
    """Batch norm whose batch counter stays 0, as in the released weights; nothing reads it."""

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )


class SameBlock(nn.Module):
    """Convolution, norm, ReLU at one resolution."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int = 3,
        padding: int = 1,
        groups: int = 1,
        norm: Norm = BatchNorm,
    ):
        super().__init__()
        self.conv = nn.Conv2d(in_features, out_features, kernel_size, padding=padding, groups=groups)
        self.norm = norm(out_features)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)), inplace=True)

    def folded(self) -> nn.Module:
        """The same function in eval mode, with the norm folded into the convolution."""
        return nn.Sequential(*_folded(self.conv, self.norm), nn.ReLU(inplace=True))


class DownBlock(SameBlock):
    """Convolution, norm, ReLU, then downsampling by averaging."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(super().forward(x), 2)

    def folded(self) -> nn.Module:
        return nn.Sequential(super().folded(), nn.AvgPool2d(2))


class UpBlock(SameBlock):
    """Nearest-neighbour upsampling by 2, then a 3x3 convolution, norm, ReLU."""

    def __init__(self, in_features: int, out_features: int, norm: Norm = BatchNorm):
        super().__init__(in_features, out_features, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self._doubled(x)), inplace=True)

    def _doubled(self, x: Tensor) -> Tensor:
        if x[:, 0].numel() < MIN_POSITIONS:
            return self.conv(F.interpolate(x, scale_factor=2))
        return F.conv_transpose2d(x, doubling_kernel(self.conv.weight), self.conv.bias, stride=2, padding=1)

    def folded(self) -> nn.Module:
        conv, norm = _folded(self.conv, self.norm)
        doubling = nn.ConvTranspose2d(conv.in_channels, conv.out_channels, 4, stride=2, padding=1)
        doubling.weight, doubling.bias = nn.Parameter(doubling_kernel(conv.weight)), conv.bias
        return nn.Sequential(doubling, norm, nn.ReLU(inplace=True))


def doubling_kernel(weight: Tensor) -> Tensor:
    """The 4x4 kernel of a transposed convolution of stride 2 that equals repetition and a 3x3 convolution.

    Repeated pixels meet several weights of the 3x3 kernel; summing these once saves 5 of 9 multiplications.
    """
    turned = weight.transpose(0, 1).flip(2, 3).contiguous()
    return _doubled_taps(_doubled_taps(turned, -1), -2)


def _doubled_taps(kernel: Tensor, axis: int) -> Tensor:
    """Three taps a, b, c along an axis, for an input in which each pixel is repeated."""
    a, b, c = kernel.unbind(axis)
    return torch.stack((a, a + b, b + c, c), axis)


class ResidualBlock(nn.Module):
    """Two times norm, ReLU, convolution, added to the input."""

    def __init__(self, features: int, kernel_size: int = 3, padding: int = 1, norm: Norm = BatchNorm):
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, kernel_size, padding=padding)
        self.conv2 = nn.Conv2d(features, features, kernel_size, padding=padding)
        self.norm1 = norm(features)
        self.norm2 = norm(features)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(F.relu(self.norm1(x), inplace=True))
        return x + self.conv2(F.relu(self.norm2(out), inplace=True))

    def folded(self) -> nn.Module:
        """The same function in eval mode, with the second norm folded into the first convolution."""
        block = copy(self)
        block._modules = dict(self._modules)
        block.conv1, block.norm2 = _folded(self.conv1, self.norm2)
        return block


def _folded(conv: nn.Conv2d, norm: nn.Module) -> tuple[nn.Conv2d, nn.Module]:
    """A convolution with the following batch norm folded in, and an identity; other norms depend on the picture."""
    return (fuse_conv_bn_eval(conv, norm), nn.Identity()) if isinstance(norm, BatchNorm) else (conv, norm)


def fold_norms(network: nn.Module) -> None:
    """Fold the batch norms of all blocks into their convolutions: faster, but no training or saving afterwards.

    Up blocks also get the kernel that upsamples and convolves at once.
    """
    for name, child in network.named_children():
        if hasattr(child, "folded"):
            setattr(network, name, child.folded())
        else:
            fold_norms(child)


def fold_spectral_norms(network: nn.Module) -> None:
    """Fold the spectral norms of a network in eval mode into its weights: no training or saving afterwards."""
    for module in network.modules():
        if any(isinstance(hook, SpectralNorm) for hook in module._forward_pre_hooks.values()):
            remove_spectral_norm(module)


class Encoder(nn.Module):
    """Downsample the map `num_blocks` times and return every map, including the input."""

    def __init__(self, expansion: int, in_features: int, num_blocks: int, max_features: int, norm: Norm):
        super().__init__()
        widths = [in_features, *(min(max_features, expansion * 2 ** (i + 1)) for i in range(num_blocks))]
        self.down_blocks = nn.ModuleList(DownBlock(widths[i], widths[i + 1], norm=norm) for i in range(num_blocks))

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [x]
        for block in self.down_blocks:
            maps.append(block(maps[-1]))
        return maps


class Decoder(nn.Module):
    """Upsample the smallest map to the size of the first, concatenating the encoder's map at every size."""

    def __init__(self, expansion: int, in_features: int, num_blocks: int, max_features: int, norm: Norm):
        super().__init__()
        self.up_blocks = nn.ModuleList()
        self.widths = []
        """Channels after every block."""
        width = min(max_features, expansion * 2**num_blocks)
        for i in reversed(range(num_blocks)):
            half = min(max_features, expansion * 2**i)
            self.up_blocks.append(UpBlock(width, half, norm=norm))
            width = half + (half if i else in_features)
            self.widths.append(width)
        self.out_features = width

    def every(self, maps: list[Tensor]) -> list[Tensor]:
        """The concatenated maps of every size, smallest first."""
        joined = maps[-1:]
        for block, skip in zip(self.up_blocks, reversed(maps[:-1]), strict=True):
            joined.append(torch.cat([block(joined[-1]), skip], dim=1))
        return joined[1:]

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.every(maps)[-1]


class Hourglass(nn.Module):
    """Encoder and decoder with skip connections: features at the size of the input, including the input itself."""

    def __init__(self, expansion: int, in_features: int, num_blocks: int, max_features: int, norm: Norm = BatchNorm):
        super().__init__()
        self.encoder = Encoder(expansion, in_features, num_blocks, max_features, norm)
        self.decoder = Decoder(expansion, in_features, num_blocks, max_features, norm)
        self.out_features = self.decoder.out_features

    def every(self, x: Tensor) -> list[Tensor]:
        """Features of every size, the size of the input last."""
        return self.decoder.every(self.encoder(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class AntiAliasDown(nn.Module):
    """Blur with a Gaussian that fits the scale, then keep every (1 / scale)-th row and column, starting with the first.

    The kernel is a buffer because the released checkpoints contain it.
    """

    def __init__(self, channels: int, scale: float):
        super().__init__()
        self.stride = int(1 / scale)
        sigma = (1 / scale - 1) / 2
        size = 2 * round(4 * sigma) + 1
        t = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
        line = torch.exp(-(t**2) / (2 * sigma**2)) if sigma > 0 else torch.ones(1)
        kernel = line[:, None] * line
        self.register_buffer("weight", (kernel / kernel.sum()).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        size = self.weight.shape[-1]
        # A strided convolution computes only the rows and columns that are kept.
        return F.conv2d(x, self.weight, stride=self.stride, padding=size // 2, groups=x.shape[1])


def downsampling(channels: int, scale: float) -> nn.Module:
    """Anti-aliased downsampling by `scale`; an identity for 1."""
    return nn.Identity() if scale == 1 else AntiAliasDown(channels, scale)


class ImagePyramid(nn.Module):
    """The picture at several scales, under their names in the configuration."""

    def __init__(self, scales: list[float], channels: int = 3):
        super().__init__()
        self.scales = [str(scale) for scale in scales]
        self.downs = nn.ModuleList(downsampling(channels, float(scale)) for scale in scales)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {scale: down(x) for scale, down in zip(self.scales, self.downs, strict=True)}
