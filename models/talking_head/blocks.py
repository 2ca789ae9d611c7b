"""The blocks of talking heads, with the entry names of the released weights.

`style` holds a pair (sigma, mu) per channel: (n or 1, channels, 2); one person's style may serve a whole batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm


def conv(in_channels: int, out_channels: int, kernel: int) -> nn.Conv2d:
    """A convolution with spectral norm that keeps the size of the map."""
    return spectral_norm(nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2))


def adaptive_norm(x: Tensor, style: Tensor) -> Tensor:
    """AdaIN (Huang and Belongie 2017): sigma (x - mean) / deviation + mu, with the unbiased deviation."""
    deviation, mean = torch.std_mean(x.float(), dim=(2, 3), keepdim=True)
    sigma, mu = style.float()[..., None, None].unbind(2)
    return (sigma * (x - mean) / (deviation + 1e-5) + mu).to(x.dtype)


class Down(nn.Module):
    """D: a residual block that downsamples by averaging."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, pooling: int):
        super().__init__()
        self.pool = nn.AvgPool2d(pooling)
        self.conv_l = conv(in_channels, out_channels, 1)
        self.conv_r1 = conv(in_channels, out_channels, kernel)
        self.conv_r2 = conv(out_channels, out_channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        left = self.pool(self.conv_l(x))
        right = self.conv_r2(F.relu(self.conv_r1(F.relu(x))))
        return left + self.pool(right)


class Up(nn.Module):
    """U: a residual block with AdaIN that upsamples."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, scale: int, mode: str):
        super().__init__()
        self.style_channels = (in_channels, out_channels)
        self.enlarge = nn.Upsample(scale_factor=scale, mode=mode)
        self.conv_l = conv(in_channels, out_channels, 1)
        self.conv_r1 = conv(in_channels, out_channels, kernel)
        self.conv_r2 = conv(out_channels, out_channels, kernel)

    def forward(self, x: Tensor, first: Tensor, second: Tensor) -> Tensor:
        left = self.conv_l(self.enlarge(x))
        right = self.conv_r1(self.enlarge(F.relu(adaptive_norm(x, first))))
        return left + self.conv_r2(F.relu(adaptive_norm(right, second)))


class Residual(nn.Module):
    """B: a residual block with instance norm."""

    def __init__(self, channels: int, kernel: int):
        super().__init__()
        self.conv_1 = conv(channels, channels, kernel)
        self.norm_1 = nn.InstanceNorm2d(channels, affine=True)
        self.conv_2 = conv(channels, channels, kernel)
        self.norm_2 = nn.InstanceNorm2d(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm_2(self.conv_2(F.relu(self.norm_1(self.conv_1(x)))))


class AdaptiveResidual(nn.Module):
    """BA: a residual block with AdaIN."""

    def __init__(self, channels: int, kernel: int):
        super().__init__()
        self.style_channels = (channels, channels)
        self.conv_1 = conv(channels, channels, kernel)
        self.conv_2 = conv(channels, channels, kernel)

    def forward(self, x: Tensor, first: Tensor, second: Tensor) -> Tensor:
        inner = F.relu(adaptive_norm(self.conv_1(x), first))
        return x + adaptive_norm(self.conv_2(inner), second)


class SelfAttention(nn.Module):
    """A: self-attention (Zhang et al. 2019, SAGAN), the identity at initialisation."""

    def __init__(self, channels: int):
        super().__init__()
        self.query_conv = nn.Conv2d(channels, channels // 8, 1)
        self.key_conv = nn.Conv2d(channels, channels // 8, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        projections = (self.query_conv, self.key_conv, self.value_conv)
        query, key, value = (layer(x).flatten(2).mT[:, None] for layer in projections)  # (n, 1, positions, channels)
        # Scores are not scaled; fused attention does not keep the matrix of all pairs of positions for the backward
        # pass.
        found = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return self.gamma * found[:, 0].mT.unflatten(2, x.shape[-2:]) + x
