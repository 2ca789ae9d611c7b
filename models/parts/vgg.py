"""VGG networks as frozen feature networks of losses."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.parts.vgg_layers import CAFFE_MEANS, CAFFE_WIDTHS, VGG19_WIDTHS
from util.errors import UserError
from util.reading import reading
from util.weights_file import read_weights, refuse_unusable

RELU_1_TO_5 = (1, 6, 11, 20, 29)
"""The modules relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 of torchvision's `features`."""
CACHED = "checkpoints/vgg19-dcbb9e9d.pth"


class FrozenConv(nn.Module):
    """A 3x3 convolution whose weights are buffers, so that they never get gradients."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.register_buffer("weight", torch.zeros(out_channels, in_channels, 3, 3))
        self.register_buffer("bias", torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=1)


class VggFeatures(nn.Module):
    """The features after the modules `taps` of a VGG network's convolutional part, for normalised pictures."""

    def __init__(self, widths: Sequence, taps: Sequence[int]):
        super().__init__()
        self.taps = frozenset(taps)
        layers, channels = [], 3
        for width in widths:
            if width == "pool":
                layers.append(nn.MaxPool2d(2))
            else:
                # A feature tapped before its ReLU must not be overwritten by it.
                in_place = len(layers) not in self.taps
                layers += [FrozenConv(channels, width), nn.ReLU(inplace=in_place)]
                channels = width
        self.features = nn.Sequential(*layers[: max(taps) + 1])
        self.min_side = 2 ** sum(isinstance(layer, nn.MaxPool2d) for layer in self.features)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                maps.append(x)
        return maps


class Vgg19(VggFeatures):
    """The features of torchvision's VGG-19 after the modules `taps` of its `features`, for pictures in [0, 1]."""

    def __init__(self, taps: Sequence[int] = RELU_1_TO_5, normalised: bool = True):
        """`normalised`: apply ImageNet's mean and deviation, which a few papers leave out."""
        super().__init__(VGG19_WIDTHS, taps)
        mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if normalised else ((0.0,) * 3, (1.0,) * 3)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        return super().forward((x - self.mean) / self.std)


class CaffeVgg(VggFeatures):
    """The features of Caffe's VGG-19 or VGGFace for RGB pictures in [0, 1]; Caffe uses BGR, 0 to 255, minus a mean."""

    def __init__(self, kind: str, taps: Sequence[int]):
        super().__init__(CAFFE_WIDTHS[kind], taps)
        self.register_buffer("mean", torch.tensor(CAFFE_MEANS[kind]).view(3, 1, 1), persistent=False)

    def prepare(self, x: Tensor) -> Tensor:
        """Convert pictures to the input of Caffe's network."""
        return 255 * x.flip(1) - self.mean

    def forward(self, x: Tensor) -> list[Tensor]:
        return super().forward(self.prepare(x))


def vgg19(weights: str | None, **settings) -> Vgg19:
    """The network with weights from a file in torchvision's layout, or from torchvision's cache."""
    path = Path(weights) if weights else Path(torch.hub.get_dir()) / CACHED
    if not path.is_file():
        raise UserError(
            f"{path}: no weights of VGG-19, which the perceptual loss needs. Get them with python -c "
            "\"import torchvision; torchvision.models.vgg19(weights='DEFAULT')\", or set --vgg19 to a file in "
            "torchvision's layout, or train without this loss: --no_perceptual"
        )
    network = Vgg19(**settings)
    _load(network, path, "features", "VGG-19 in torchvision's layout")
    return network


def caffe_vgg(kind: str, weights: str | None, taps: Sequence[int]) -> CaffeVgg:
    """The network `kind` (vgg19, vggface) with weights converted by script/convert_vgg_caffe.py."""
    path = Path(weights or f"dataset/{kind}_caffe.pth")
    if not path.is_file():
        raise UserError(
            f"--{kind} {path}: no weights of {kind}. See script/convert_vgg_caffe.py --help for where to get Caffe's "
            f"file and how to convert it"
        )
    network = CaffeVgg(kind, taps)
    _load(network, path, "conv_layers", f"{kind} as script/convert_vgg_caffe.py writes them")
    return network


def _load(network: VggFeatures, path: Path, prefix: str, what: str) -> None:
    """Load the convolutions from a state dict with entries PREFIX.<module>.weight and .bias."""
    state = read_weights(path)
    own = {f"{prefix}.{name}": name for name in network.features.state_dict()}
    missing = [name for name in own if not isinstance(state, Mapping) or name not in state]
    if missing:
        shown = ", ".join(map(str, list(state)[:4])) if isinstance(state, Mapping) else f"a {type(state).__name__}"
        raise UserError(f"{path}: not weights of {what}: lacks {missing[0]} ({len(missing)} missing); has {shown}")
    refuse_unusable({name: state[name] for name in own}, path)
    with reading(path, f"not weights of {what}", "name others"):
        network.features.load_state_dict({name: state[entry] for entry, name in own.items()})
