"""The motion extractor: ConvNeXt V2 with linear heads for canonical points, pose, expression, scale and shift."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.live_portrait.keypoints import BINS, Motion, degrees_of, rotation_of


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of maps (B, C, h, w)."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResponseNorm(nn.Module):
    """Global response normalisation (Woo et al. 2023, ConvNeXt V2) of maps (B, h, w, C)."""

    def __init__(self, channels: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        response = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        share = response / (response.mean(-1, keepdim=True) + 1e-6)
        # gamma (x n) + beta + x
        return torch.addcmul(self.beta, x, self.gamma * share + 1)


class Block(nn.Module):
    """7x7 depthwise convolution, then two linear layers over the channels, added to the input."""

    def __init__(self, channels: int):
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.grn = ResponseNorm(4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        out = self.pwconv2(self.grn(F.gelu(self.pwconv1(out))))
        return x + out.permute(0, 3, 1, 2)


class Detector(nn.Module):
    """The backbone with its heads."""

    def __init__(self, depths: Sequence[int], widths: Sequence[int], num_kp: int):
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, stride=4), ChannelNorm(widths[0]))
        halvings = (
            nn.Sequential(ChannelNorm(before), nn.Conv2d(before, after, 2, stride=2))
            for before, after in zip(widths[:-1], widths[1:], strict=True)
        )
        self.downsample_layers = nn.ModuleList([stem, *halvings])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(depth))) for depth, width in zip(depths, widths, strict=True)
        )
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        sizes = {"kp": 3 * num_kp, "scale": 1, "pitch": BINS, "yaw": BINS, "roll": BINS, "t": 3, "exp": 3 * num_kp}
        for name, size in sizes.items():
            setattr(self, f"fc_{name}", nn.Linear(widths[-1], size))
        self.heads = tuple(sizes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))
        features = self.norm(x.mean((2, 3)))
        return {name: getattr(self, f"fc_{name}")(features) for name in self.heads}


class MotionExtractor(nn.Module):
    """Reads a picture (B, 3, H, W) in [0, 1]; the network M of the paper."""

    def __init__(
        self,
        num_kp: int = 21,
        depths: Sequence[int] = (3, 3, 9, 3),
        widths: Sequence[int] = (96, 192, 384, 768),
    ):
        super().__init__()
        self.detector = Detector(depths, widths, num_kp)

    def start_at_rest(self) -> None:
        """Initialise the heads to scale 1, random points, no shift and almost no expression.

        The default initialisation has a scale near 0, which puts all points at one position and hides their motion.
        """
        with torch.no_grad():
            for name, spread in {"t": 0.01, "exp": 0.01, "scale": 0.01, "kp": 0.1}.items():
                head = getattr(self.detector, f"fc_{name}")
                head.weight.mul_(spread)
                head.bias.zero_()
            self.detector.fc_scale.bias.fill_(1.0)
            self.detector.fc_kp.bias.uniform_(-0.6, 0.6)

    def raw(self, picture: Tensor) -> dict[str, Tensor]:
        """The outputs of all heads, in single precision at least: in half precision points would be off by pixels."""
        found = self.detector(picture)
        return {name: value.to(torch.promote_types(value.dtype, torch.float32)) for name, value in found.items()}

    def forward(self, picture: Tensor) -> Motion:
        return motion_of(self.raw(picture))


def motion_of(raw: dict[str, Tensor]) -> Motion:
    """Convert the outputs of the heads to a motion."""
    rotation = rotation_of(*(degrees_of(raw[name]) for name in ("pitch", "yaw", "roll")))
    canonical, expression = (raw[name].unflatten(1, (-1, 3)) for name in ("kp", "exp"))
    return Motion(canonical, rotation, expression, raw["t"], raw["scale"])
