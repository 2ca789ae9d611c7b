"""VGG-19 as a frozen feature network of the losses."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from util.errors import UserError

VGG19_WIDTHS = (64, 64, "pool", 128, 128, "pool", *(256,) * 4, "pool", *(512,) * 4, "pool", *(512,) * 4, "pool")
RELU_1_TO_5 = (1, 6, 11, 20, 29)
"""The modules relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 of torchvision's `features`."""
CACHED = "checkpoints/vgg19-dcbb9e9d.pth"


class FrozenConv(nn.Module):
    """A 3x3 convolution whose weights are buffers: no gradient for them is ever prepared."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.register_buffer("weight", torch.zeros(out_channels, in_channels, 3, 3))
        self.register_buffer("bias", torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=1)


class Vgg19(nn.Module):
    """The maps of torchvision's VGG-19 after the modules `taps` of its `features`, for pictures in [0, 1]."""

    def __init__(self, taps: Sequence[int] = RELU_1_TO_5, normalised: bool = True):
        """`normalised`: apply the mean and deviation of ImageNet, which a few papers leave out."""
        super().__init__()
        self.taps = frozenset(taps)
        mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if normalised else ((0.0,) * 3, (1.0,) * 3)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        layers, channels = [], 3
        for width in VGG19_WIDTHS:
            if width == "pool":
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [FrozenConv(channels, width), nn.ReLU(inplace=True)]
                channels = width
        self.features = nn.Sequential(*layers[: max(taps) + 1])

    def forward(self, x: Tensor) -> list[Tensor]:
        maps, x = [], (x - self.mean) / self.std
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                maps.append(x)
        return maps


def vgg19(weights: str | None, **settings) -> Vgg19:
    """The network with the weights of a file in torchvision's layout, or with those in torchvision's cache."""
    path = Path(weights) if weights else Path(torch.hub.get_dir()) / CACHED
    if not path.is_file():
        raise UserError(
            f"{path}: there are no weights of VGG-19 here, which the perceptual loss needs. Get them with python -c "
            "\"import torchvision; torchvision.models.vgg19(weights='DEFAULT')\", or point --vgg19 at a file of "
            "torchvision's layout, or train without this loss: --no_perceptual"
        )
    network = Vgg19(**settings)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict({name: state[name] for name in network.state_dict()})
    except Exception as error:
        raise UserError(f"{path}: not weights of VGG-19 in torchvision's layout ({error})") from error
    return network
