"""The networks of GANimation, with the entry names of the released weights (`attetion_reg` is spelled so there)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.ganimation.options import INITIALISATIONS
from util.errors import UserError

MULTIPLE = 4
"""Both sides of a picture are multiples of this: the generator halves them twice."""
HALVINGS = 6
"""Downsampling steps of the discriminator."""


class Composed(NamedTuple):
    """The outputs of one pass of the generator."""

    image: Tensor  # (B, 3, H, W), the picture with the new expression
    attention: Tensor  # (B, 1, H, W), 1 keeps the pixel, 0 takes the colour
    color: Tensor  # (B, 3, H, W)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with instance norm, added to the input; nothing follows the sum."""

    def __init__(self, features: int):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1, bias=False),
            nn.InstanceNorm2d(features, affine=True),
            nn.ReLU(),
            nn.Conv2d(features, features, 3, padding=1, bias=False),
            nn.InstanceNorm2d(features, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.main(x)


class Generator(nn.Module):
    """Colour and attention for a picture in [-1, 1] and a condition: the wanted intensities, divided by 5."""

    def __init__(self, units: int = 17, width: int = 64, blocks: int = 6):
        super().__init__()
        self.main = nn.Sequential(
            *_normed(nn.Conv2d(3 + units, width, 7, padding=3, bias=False)),
            *_normed(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False)),
            *_normed(nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1, bias=False)),
            *(ResidualBlock(4 * width) for _ in range(blocks)),
            *_normed(nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding=1, bias=False)),
            *_normed(nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False)),
        )
        self.img_reg = nn.Sequential(nn.Conv2d(width, 3, 7, padding=3, bias=False), nn.Tanh())
        self.attetion_reg = nn.Sequential(nn.Conv2d(width, 1, 7, padding=3, bias=False), nn.Sigmoid())
        self.apply(initialise)

    def forward(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Colour (B, 3, H, W) in (-1, 1) and attention (B, 1, H, W) in (0, 1)."""
        height, width = image.shape[-2:]
        if height % MULTIPLE or width % MULTIPLE:
            raise UserError(f"pictures of {height} x {width} don't fit: both sides must be multiples of {MULTIPLE}")
        planes = condition[:, :, None, None].expand(-1, -1, height, width).to(image.dtype)
        features = self.main(torch.cat([image, planes], dim=1))
        return self.img_reg(features), self.attetion_reg(features)


class Discriminator(nn.Module):
    """Patch critic D_I and regression of action units D_y."""

    def __init__(self, image_size: int = 128, units: int = 17, width: int = 64, init: str = "paper", noise: float = 0):
        super().__init__()
        if image_size < 2**HALVINGS:
            raise UserError(
                f"--image_size {image_size}: the discriminator needs pictures of at least {2**HALVINGS} pixels"
            )
        self.noise = Noise(noise) if noise else nn.Identity()
        widths = [3, *(width * 2**i for i in range(HALVINGS))]
        layers = []
        for i in range(HALVINGS):
            layers += [nn.Conv2d(widths[i], widths[i + 1], 4, stride=2, padding=1), nn.LeakyReLU(0.01)]
        self.main = nn.Sequential(*layers)
        self.conv1 = nn.Conv2d(widths[-1], 1, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(widths[-1], units, image_size // 2**HALVINGS, bias=False)
        self.apply(INITIALISERS[init])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Critic map (B, 1, H / 64, W / 64) and action units (B, C)."""
        features = self.main(self.noise(image))
        return self.conv1(features), self.conv2(features).flatten(1)


class Noise(nn.Module):
    """Instance noise on real and fake input of the discriminator (Sønderby et al. 2017)."""

    def __init__(self, deviation: float):
        super().__init__()
        self.deviation = deviation

    def forward(self, x: Tensor) -> Tensor:
        return x + self.deviation * torch.randn_like(x)


def compose(image: Tensor, color: Tensor, attention: Tensor) -> Tensor:
    """Blend picture and colour by the attention mask."""
    # Eq. 1 of the paper (arXiv 1807.09251, last version): I_f = (1 - A) C + A I_o
    return attention * image + (1 - attention) * color


def saturate(attention: Tensor) -> Tensor:
    """Push attention towards 0 and 1."""
    return (0.55 * torch.tanh(3 * (attention - 0.5)) + 0.5).clamp(0, 1)


def initialise(module: nn.Module) -> None:
    """Initialise convolutions as the paper's authors do; instance norms keep gain 1 and shift 0."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def initialise_by_width(module: nn.Module) -> None:
    """Variance-preserving initialisation (He et al. 2015); a deviation of 0.02 suits wide layers only."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, 0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


INITIALISERS = dict(zip(INITIALISATIONS, (initialise, initialise_by_width), strict=True))


def _normed(convolution: nn.Conv2d | nn.ConvTranspose2d) -> tuple[nn.Module, ...]:
    return convolution, nn.InstanceNorm2d(convolution.out_channels, affine=True), nn.ReLU()
