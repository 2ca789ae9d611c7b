"""The networks of LivePortrait beside the motion extractor, with the entry names of the released weights."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from models.live_portrait.volumes import (
    VolumeHourglass,
    VolumeNorm,
    VolumeResidual,
    volume_grid,
    volume_heatmaps,
    warp_volume,
)
from models.parts.blocks import BatchNorm, DownBlock, SameBlock

HEATMAP_VARIANCE = 0.01


class AppearanceExtractor(nn.Module):
    """A picture (B, 3, H, W) to a feature volume (B, C, D, H / 4, W / 4) with two halvings; the network F."""

    def __init__(
        self,
        block_expansion: int = 64,
        num_down_blocks: int = 2,
        max_features: int = 512,
        volume_channels: int = 32,
        volume_depth: int = 16,
        num_resblocks: int = 6,
    ):
        super().__init__()
        widths = [min(max_features, block_expansion * 2**i) for i in range(num_down_blocks + 1)]
        self.volume = volume_channels, volume_depth
        self.first = SameBlock(3, block_expansion)
        self.down_blocks = nn.ModuleList(DownBlock(*pair) for pair in zip(widths[:-1], widths[1:], strict=True))
        self.second = nn.Conv2d(widths[-1], volume_channels * volume_depth, 1)
        self.resblocks_3d = nn.Sequential()
        for i in range(num_resblocks):
            self.resblocks_3d.add_module(f"3dr{i}", VolumeResidual(volume_channels))

    def forward(self, picture: Tensor) -> Tensor:
        out = self.first(picture)
        for block in self.down_blocks:
            out = block(out)
        return self.resblocks_3d(self.second(out).unflatten(1, self.volume))


class DenseMotion(NamedTuple):
    """A three-dimensional flow and the occlusion map."""

    mask: Tensor
    """Soft masks of the K + 1 sparse motions: (B, K + 1, D, h, w)."""
    deformation: Tensor
    """Sampling positions of the cells: (B, D, h, w, 3)."""
    occlusion_map: Tensor
    """(B, 1, h, w) in [0, 1]."""


class DenseMotionNetwork(nn.Module):
    """Combines the motions of the key points into one flow of the volume."""

    def __init__(
        self,
        num_kp: int,
        volume_channels: int,
        volume_depth: int,
        block_expansion: int,
        max_features: int,
        num_blocks: int,
        compress: int,
        kernel: int = 7,
    ):
        super().__init__()
        self.compress = nn.Conv3d(volume_channels, compress, 1)
        self.norm = VolumeNorm(compress)
        self.hourglass = VolumeHourglass(block_expansion, (num_kp + 1) * (compress + 1), num_blocks, max_features)
        features = self.hourglass.out_features
        self.mask = nn.Conv3d(features, num_kp + 1, kernel, padding=kernel // 2)
        self.occlusion = nn.Conv2d(features * volume_depth, 1, kernel, padding=kernel // 2)

    def compressed(self, volume: Tensor) -> Tensor:
        """Compress a volume to the few channels that the network reads."""
        return F.relu(self.norm(self.compress(volume)))

    def forward(self, volume: Tensor, kp_source: Tensor, kp_driving: Tensor) -> DenseMotion:
        return self.of_compressed(self.compressed(volume), kp_source, kp_driving)

    def of_compressed(self, compressed: Tensor, kp_source: Tensor, kp_driving: Tensor) -> DenseMotion:
        """The flow of a `compressed` volume; one source may be paired with all driving points."""
        size, grids = compressed.shape[2:], sparse_motions(kp_source, kp_driving, compressed.shape[2:])
        features = self.hourglass(self.stacked(compressed, kp_source, kp_driving, grids))
        mask = F.softmax(self.mask(features).to(grids.dtype), dim=1)
        deformation = torch.einsum("bkdhw,bkdhwi->bdhwi", mask, grids)
        occlusion = torch.sigmoid(self.occlusion(features.reshape(len(features), -1, *size[1:])))
        return DenseMotion(mask, deformation, occlusion)

    def stacked(self, compressed: Tensor, kp_source: Tensor, kp_driving: Tensor, grids: Tensor) -> Tensor:
        """For each motion a heatmap, then the warped volume: (B, (K + 1) (1 + c), D, h, w)."""
        moved, heat = warp_by_each(compressed, grids), motion_heatmaps(kp_source, kp_driving, compressed.shape[2:])
        return torch.cat([heat[:, :, None].to(moved.dtype), moved], dim=2).flatten(1, 2)


def sparse_motions(kp_source: Tensor, kp_driving: Tensor, size: tuple[int, int, int]) -> Tensor:
    """T_0 = z, T_k = z - kp_driving_k + kp_source_k at every cell: (B, K + 1, D, h, w, 3)."""
    shifts = F.pad(kp_source - kp_driving, (0, 0, 1, 0))
    return volume_grid(size, like=kp_driving) + shifts[:, :, None, None, None]


def motion_heatmaps(kp_source: Tensor, kp_driving: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Gaussian heatmaps, driving minus source, after a map of zeros for T_0."""
    driving, source = (volume_heatmaps(points, size, HEATMAP_VARIANCE) for points in (kp_driving, kp_source))
    return F.pad(driving - source, (0, 0, 0, 0, 0, 0, 1, 0))


def warp_by_each(volume: Tensor, grids: Tensor) -> Tensor:
    """Sample volumes (B or 1, C, D, h, w) at grids (B, K, D, h, w, 3): (B, K, C, D, h, w)."""
    # Grids stacked in depth sample one volume many times without copying it.
    sampled = warp_volume(volume.expand(len(grids), -1, -1, -1, -1), grids.flatten(1, 2))
    return sampled.unflatten(2, grids.shape[1:3]).transpose(1, 2)


class WarpingModule(nn.Module):
    """Warp the feature volume from the source's points to the driving ones and flatten it to a map; the network W."""

    def __init__(
        self,
        num_kp: int = 21,
        volume_channels: int = 32,
        volume_depth: int = 16,
        block_expansion: int = 64,
        max_features: int = 512,
        num_down_blocks: int = 2,
        *,
        motion_expansion: int = 32,
        motion_max_features: int = 1024,
        motion_num_blocks: int = 5,
        compress: int = 4,
        kernel: int = 7,
    ):
        super().__init__()
        width = min(max_features, block_expansion * 2**num_down_blocks)
        self.dense_motion_network = DenseMotionNetwork(
            num_kp, volume_channels, volume_depth, motion_expansion, motion_max_features, motion_num_blocks, compress,
            kernel,
        )  # fmt: skip
        self.third = ProjectionBlock(volume_channels * volume_depth, width)
        self.fourth = nn.Conv2d(width, width, 1)

    def encode(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        """Computed once per source: its volume, and the few channels that dense motion reads."""
        return volume, self.dense_motion_network.compressed(volume)

    def forward(self, volume: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        return self.warp(self.encode(volume), kp_source, kp_driving)

    def warp(self, encoded: tuple[Tensor, Tensor], kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        """The map (B, C, h, w) for driving points; one source may be paired with all of them."""
        return self.warp_and_motion(encoded, kp_source, kp_driving)[0]

    def warp_and_motion(
        self, encoded: tuple[Tensor, Tensor], kp_source: Tensor, kp_driving: Tensor
    ) -> tuple[Tensor, DenseMotion]:
        """The same, and the flow that made it."""
        volume, compressed = encoded
        motion = self.dense_motion_network.of_compressed(compressed, kp_source, kp_driving)
        return self.project(volume, motion), motion

    def project(self, volume: Tensor, motion: DenseMotion) -> Tensor:
        """The warped volume with depth folded into channels."""
        count = len(motion.deformation)
        moved = warp_volume(volume.expand(count, -1, -1, -1, -1), motion.deformation)
        return self.fourth(self.third(moved.flatten(1, 2))) * motion.occlusion_map


class ProjectionBlock(nn.Module):
    """3x3 convolution, norm, leaky ReLU."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.conv = nn.Conv2d(in_features, out_features, 3, padding=1)
        self.norm = BatchNorm(out_features)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), 0.01)


class Spade(nn.Module):
    """Instance norm whose scale and shift at every pixel come from a label map (spatially adaptive, SPADE)."""

    def __init__(self, channels: int, label_channels: int, hidden: int):
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Conv2d(label_channels, hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        shared = self.mlp_shared(F.interpolate(label, size=x.shape[-2:]))
        return F.instance_norm(x) * (1 + self.mlp_gamma(shared)) + self.mlp_beta(shared)


class SpadeBlock(nn.Module):
    """A residual block with spatially adaptive norms and spectral norms."""

    def __init__(self, in_features: int, out_features: int, label_channels: int, hidden: int):
        super().__init__()
        middle = min(in_features, out_features)
        self.learned_shortcut = in_features != out_features
        self.conv_0 = spectral_norm(nn.Conv2d(in_features, middle, 3, padding=1))
        self.conv_1 = spectral_norm(nn.Conv2d(middle, out_features, 3, padding=1))
        if self.learned_shortcut:
            self.conv_s = spectral_norm(nn.Conv2d(in_features, out_features, 1, bias=False))
        self.norm_0 = Spade(in_features, label_channels, hidden)
        self.norm_1 = Spade(middle, label_channels, hidden)
        if self.learned_shortcut:
            self.norm_s = Spade(in_features, label_channels, hidden)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        shortcut = self.conv_s(self.norm_s(x, label)) if self.learned_shortcut else x
        out = self.conv_0(F.leaky_relu(self.norm_0(x, label), 0.2))
        return shortcut + self.conv_1(F.leaky_relu(self.norm_1(out, label), 0.2))


class SpadeGenerator(nn.Module):
    """A feature map (B, C, h, w) to a picture (B, 3, 4 h upscale, 4 w upscale) in [0, 1]; the network G."""

    def __init__(
        self,
        upscale: int = 2,
        block_expansion: int = 64,
        max_features: int = 512,
        num_down_blocks: int = 2,
        *,
        out_channels: int = 64,
        hidden: int = 128,
        num_middle_blocks: int = 6,
        masked: bool = False,
    ):
        """`masked`: a fourth channel is a mask of pixels to copy from the source."""
        super().__init__()
        label = min(max_features, block_expansion * 2**num_down_blocks)
        self.upscale, self.num_middle_blocks = upscale, num_middle_blocks
        self.fc = nn.Conv2d(label, 2 * label, 3, padding=1)
        for i in range(num_middle_blocks):
            setattr(self, f"G_middle_{i}", SpadeBlock(2 * label, 2 * label, label, hidden))
        self.up_0 = SpadeBlock(2 * label, label, label, hidden)
        self.up_1 = SpadeBlock(label, out_channels, label, hidden)
        last = nn.Conv2d(out_channels, (4 if masked else 3) * upscale**2, 3, padding=1)
        self.conv_img = nn.Sequential(last, nn.PixelShuffle(upscale)) if upscale > 1 else last

    def forward(self, label: Tensor) -> Tensor:
        out = self.fc(label)
        for i in range(self.num_middle_blocks):
            out = getattr(self, f"G_middle_{i}")(out, label)
        for block in (self.up_0, self.up_1):
            out = block(F.interpolate(out, scale_factor=2), label)
        return torch.sigmoid(self.conv_img(F.leaky_relu(out, 0.2)))


class Perceptron(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, sizes: Sequence[int]):
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip(sizes[:-1], sizes[1:], strict=True):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])
        # Initialised to change nothing.
        nn.init.zeros_(self.mlp[-1].weight)
        nn.init.zeros_(self.mlp[-1].bias)

    @property
    def changes_anything(self) -> bool:
        """Whether its result depends on its input; not before it is trained."""
        return bool(self.mlp[-1].weight.any())

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x)


class Stitching(Perceptron):
    """Adjusts the driving points so that shoulders and background stay in place."""

    def __init__(self, num_kp: int = 21):
        super().__init__([6 * num_kp, 128, 128, 64, 3 * num_kp + 2])

    def raw(self, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        """Offsets of all points and a shift in x and y: (B, 3 K + 2)."""
        return self.mlp(torch.cat([kp_source.flatten(1), kp_driving.flatten(1)], dim=1))

    def forward(self, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        change = self.raw(kp_source.expand_as(kp_driving), kp_driving)
        shift = F.pad(change[:, -2:], (0, 1))
        return kp_driving + change[:, :-2].view_as(kp_driving) + shift[:, None]


class Retargeting(Perceptron):
    """Predicts offsets (B, K, 3) that open eyes or lips to a given degree."""

    def __init__(self, sizes: Sequence[int], num_kp: int = 21):
        """`sizes`: numbers of openness values that it reads, and widths of the hidden layers."""
        openness, *hidden = sizes
        super().__init__([3 * num_kp + openness, *hidden, 3 * num_kp])

    def forward(self, kp_source: Tensor, openness: Tensor) -> Tensor:
        """`openness`: that of the source, then the target."""
        return self.mlp(torch.cat([kp_source.flatten(1), openness], dim=1)).view_as(kp_source)


def eye_retargeting(num_kp: int = 21) -> Retargeting:
    """Reads the openness of the source's left and right eye, and the target."""
    return Retargeting([3, 256, 256, 128, 128, 64], num_kp)


def lip_retargeting(num_kp: int = 21) -> Retargeting:
    """Reads the openness of the source's lips, and the target."""
    return Retargeting([2, 128, 128, 64], num_kp)
