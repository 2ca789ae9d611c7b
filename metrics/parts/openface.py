"""OpenFace's nn4.small2 (Amos et al. 2016) with the entry names of the PyTorch file that pose-evaluation uses."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

SIDE, LENGTH = 96, 128


class Branches(nn.Module):
    """An inception block: 1x1 then n x n convolutions, a pooling branch, and a 1x1 branch, padded to the largest."""

    def __init__(self, inputs: int, kernels: tuple, stride: int, widths: tuple, narrow: tuple, pool: nn.Module):
        """`narrow`: widths of the 1x1 convolutions before each kernel, of the pooling branch and of the 1x1 branch."""
        super().__init__()
        branches = [
            _block(_conv(inputs, few), _conv(few, width, kernel, stride))
            for kernel, width, few in zip(kernels, widths, narrow, strict=False)
        ]
        pooled, plain = (*narrow[len(kernels) :], None, None)[:2]
        branches.append(_block(pool, _conv(inputs, pooled) if pooled else ()))
        if plain:
            branches.append(_block(_conv(inputs, plain)))
        self.seq_list = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = [branch(x) for branch in self.seq_list]
        rows, columns = (max(one.shape[axis] for one in maps) for axis in (2, 3))
        return torch.cat([_centred(one, rows, columns) for one in maps], 1)


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.BatchNorm2d(outputs), nn.ReLU()


def _block(*parts) -> nn.Sequential:
    """Layers named by index and kind, as in the file: 1_conv, 2_bn, 3_relu."""
    kinds = {nn.Conv2d: "conv", nn.BatchNorm2d: "bn", nn.ReLU: "relu", nn.MaxPool2d: "pool", nn.LPPool2d: "pool"}
    layers = [layer for part in parts for layer in (part if isinstance(part, tuple) else (part,))]
    return nn.Sequential(OrderedDict((f"{n}_{kinds[type(layer)]}", layer) for n, layer in enumerate(layers, 1)))


def _centred(x: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    down, right = rows - x.shape[2], columns - x.shape[3]
    return F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))


def _largest() -> nn.Module:
    return nn.MaxPool2d(3, 2)


def _power() -> nn.Module:
    return nn.LPPool2d(2, 3, 3)


class OpenFaceNet(nn.Module):
    """Unit vectors (N, 128) of pictures (N, 3, 96, 96), BGR, in [0, 1]."""

    def __init__(self):
        super().__init__()
        layers = {
            1: nn.Conv2d(3, 64, 7, 2, 3), 2: nn.BatchNorm2d(64), 3: nn.ReLU(), 4: nn.MaxPool2d(3, 2, 1),
            5: nn.LocalResponseNorm(5), 6: nn.Conv2d(64, 64, 1), 7: nn.BatchNorm2d(64), 8: nn.ReLU(),
            9: nn.Conv2d(64, 192, 3, 1, 1), 10: nn.BatchNorm2d(192), 11: nn.ReLU(), 12: nn.LocalResponseNorm(5),
            13: nn.MaxPool2d(3, 2, 1),
            14: Branches(192, (3, 5), 1, (128, 32), (96, 16, 32, 64), _largest()),
            15: Branches(256, (3, 5), 1, (128, 64), (96, 32, 64, 64), _power()),
            16: Branches(320, (3, 5), 2, (256, 64), (128, 32), _largest()),
            17: Branches(640, (3, 5), 1, (192, 64), (96, 32, 128, 256), _power()),
            18: Branches(640, (3, 5), 2, (256, 128), (160, 64), _largest()),
            19: Branches(1024, (3,), 1, (384,), (96, 96, 256), _power()),
            21: Branches(736, (3,), 1, (384,), (96, 96, 256), _largest()),
            22: nn.AvgPool2d(3), 24: nn.Flatten(), 25: nn.Linear(736, LENGTH),
        }  # fmt: skip
        self.order = [f"layer{number}" for number in layers]
        for number, layer in layers.items():
            setattr(self, f"layer{number}", layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name in self.order:
            x = getattr(self, name)(x)
        return x / (x.square().sum(1, keepdim=True) + 1e-6).sqrt()
