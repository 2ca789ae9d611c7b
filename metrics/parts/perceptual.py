"""LPIPS (Zhang et al. 2018, version 0.1): distance of deep features, weighted to match human judgement."""

import importlib.util
from pathlib import Path

import torch
from torch import nn

from metrics.parts.weights import Weights
from util.errors import UserError
from util.reading import reading
from util.weights_file import read_weights

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Pictures in [-1, 1] become (x - shift) / scale."""
TAPS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}
"""The ReLUs of torchvision's `features` whose outputs are compared."""
EPSILON = 1e-10
HEADS = {"torchmetrics": "functional/image/lpips_models/{}.pth", "lpips": "weights/v0.1/{}.pth"}
"""Package -> path of the heads in its wheel."""


class Lpips(nn.Module):
    """LPIPS with one of two trunks."""

    def __init__(self, net: str, trunk: Path, heads: Path):
        super().__init__()
        self.taps = TAPS[net]
        self.features = _trunk(net, trunk)[: max(self.taps) + 1]
        weights = read_weights(heads)
        with reading(heads, f"not the heads of LPIPS for {net}", "install the package again"):
            for index in range(len(self.taps)):
                self.register_buffer(f"head{index}", weights[f"lin{index}.model.1.weight"].float())
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """The distance (N,) of pictures (N, 3, H, W) in [0, 1]."""
        count = len(one)
        x = (2 * torch.cat([one, other]) - 1 - self.shift) / self.scale
        distance = torch.zeros(count, dtype=x.dtype, device=x.device)
        taps = iter(range(len(self.taps)))
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                unit = x / (x.square().sum(1, keepdim=True).sqrt() + EPSILON)
                difference = (unit[:count] - unit[count:]).square()
                head = getattr(self, f"head{next(taps)}")
                distance = distance + (difference * head).sum(1).mean((1, 2))  # eq. 1
        return distance


def _trunk(net: str, path: Path) -> nn.Sequential:
    """The convolutions of AlexNet or VGG-16, with torchvision's file of weights."""
    import torchvision

    build = {"alex": torchvision.models.alexnet, "vgg": torchvision.models.vgg16}[net]
    with torch.device("meta"):
        features = build(weights=None).features
    weights = read_weights(path)
    own = {name.removeprefix("features."): value for name, value in weights.items() if name.startswith("features.")}
    try:
        features.load_state_dict(own, assign=True)
    except (RuntimeError, AttributeError) as error:
        lines = str(error).splitlines()
        raise UserError(f"--lpips_trunk {path}: not torchvision's {build.__name__} ({lines[-1].strip()})") from None
    for layer in features:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return features


def trunk_file(net: str, weights: Weights) -> Path:
    """Load the trunk's weights."""
    return weights.path(f"lpips_{net}", f"lpips/{net}")


def heads_file(net: str) -> Path:
    """The heads from a package's wheel, without importing the package."""
    for package, inside in HEADS.items():
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            if (path := Path(folder) / inside.format(net)).is_file():
                return path
    raise UserError(
        f"lpips/{net}: its heads (7 KB) come with the package torchmetrics, which is not installed; run: "
        "pip install -r requirements-metrics.txt. Without it, use ms_ssim"
    )
