"""Patch discriminators of the first order motion model and its relatives."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from models.parts.keypoints import KeyPoints, gaussian_maps
from util.errors import UserError


class ScaleDiscriminator(nn.Module):
    """Score patches of one picture; also returns the features of every block, for feature matching."""

    def __init__(
        self,
        num_channels: int,
        expansion: int,
        num_blocks: int,
        max_features: int,
        sn: bool,
        num_kp: int = 0,
        kp_variance: float = 0.01,
    ):
        """With `num_kp` the driving points are part of the input, as one Gaussian heatmap each."""
        super().__init__()
        self.num_kp = num_kp
        self.kp_variance = kp_variance
        widths = [num_channels + num_kp, *(min(max_features, expansion * 2 ** (i + 1)) for i in range(num_blocks))]
        self.down_blocks = nn.ModuleList()
        for i in range(num_blocks):
            self.down_blocks.append(DiscriminatorBlock(widths[i], widths[i + 1], i > 0, i < num_blocks - 1, sn))
        self.conv = _normed(nn.Conv2d(widths[-1], 1, 1), sn)

    def forward(self, frame: Tensor, kp: KeyPoints | None = None) -> tuple[list[Tensor], Tensor]:
        if self.num_kp:
            heatmaps = gaussian_maps(kp.value, frame.shape[-2:], self.kp_variance)
            frame = torch.cat([frame, heatmaps], dim=1)
        maps = [frame]
        for block in self.down_blocks:
            self._check_size(maps[-1], frame)
            maps.append(block(maps[-1]))
        return maps[1:], self.conv(maps[-1])

    def _check_size(self, seen: Tensor, frame: Tensor) -> None:
        """Refuse a frame that becomes too small for a block: a kernel of 4, and more than one pixel to normalise."""
        height, width = (side - 3 for side in seen.shape[-2:])
        if min(height, width) < 1 or height * width == 1:
            size = " x ".join(map(str, frame.shape[-2:]))
            raise UserError(
                f"a picture of {size} is too small for the {len(self.down_blocks)} blocks of the discriminator: use "
                f"fewer (--discriminator_num_blocks), remove small scales from --discriminator_scales, or train on "
                f"larger pictures (--load_size)"
            )


class DiscriminatorBlock(nn.Module):
    """4x4 convolution without padding, instance norm, leaky ReLU, half the size."""

    def __init__(self, in_features: int, out_features: int, norm: bool, pool: bool, sn: bool):
        super().__init__()
        self.conv = _normed(nn.Conv2d(in_features, out_features, 4), sn)
        self.norm = nn.InstanceNorm2d(out_features, affine=True) if norm else nn.Identity()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        out = F.leaky_relu(self.norm(self.conv(x)), 0.2)
        return F.avg_pool2d(out, 2) if self.pool else out


def _normed(conv: nn.Conv2d, sn: bool) -> nn.Module:
    return spectral_norm(conv) if sn else conv
