"""ArcFace's embedding network, a ResNet for faces of 112 x 112, as a frozen network of losses.

ArcFace: Additive Angular Margin Loss for Deep Face Recognition (Deng et al., CVPR 2019). Entry names are those of the
published PyTorch weights, which hold the state dict itself; depths and widths follow from it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from util.arcface_template import SIDE, TEMPLATE
from util.errors import UserError
from util.reading import reading
from util.weights_file import read_weights, refuse_unusable

WHAT = "not the weights of an ArcFace network (iresnet: conv1, layer1 to layer4, fc, features)"


class Block(nn.Module):
    """Two 3x3 convolutions between norms; the second one may halve the size."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.bn1, self.bn2, self.bn3 = (nn.BatchNorm2d(width) for width in (inputs, outputs, outputs))
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x)))))
        return self.bn3(out) + (x if self.downsample is None else self.downsample(x))


class ArcFaceNet(nn.Module):
    """Aligned faces (B, 3, 112, 112) in [0, 1] to embeddings (B, N), not of unit length."""

    def __init__(self, depths: Sequence[int], widths: Sequence[int], length: int):
        """`widths`: of the first convolution and of the four stages, which halve the size four times in all."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1, self.prelu = nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0])
        for index, depth in enumerate(depths):
            inputs, outputs = widths[index : index + 2]
            blocks = [Block(inputs, outputs, 2), *(Block(outputs, outputs, 1) for _ in range(depth - 1))]
            setattr(self, f"layer{index + 1}", nn.Sequential(*blocks))
        self.bn2 = nn.BatchNorm2d(widths[-1])
        self.fc = nn.Linear(widths[-1] * (SIDE // 16) ** 2, length)
        self.features = nn.BatchNorm1d(length)

    def train(self, mode: bool = True) -> "ArcFaceNet":
        """Frozen: its norms keep their statistics, whatever the mode of the family that it is a loss of."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.prelu(self.bn1(self.conv1(2 * x - 1)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            out = stage(out)
        return self.features(self.fc(self.bn2(out).flatten(1)))


def load_arcface(path: Path) -> ArcFaceNet:
    """The network of a file."""
    if not path.is_file():
        raise UserError(f"--identity_network {path}: no such file")
    state = read_weights(path)
    if not isinstance(state, Mapping) or "layer4.0.conv1.weight" not in state:
        raise UserError(f"--identity_network {path}: {WHAT}")
    refuse_unusable(state, path)
    with reading(path, WHAT, "choose other weights, or remove --identity_network"):
        network = ArcFaceNet(*_sizes(state))
        network.load_state_dict(state)
    return network.eval()


def _sizes(state: Mapping[str, Any]) -> tuple[list[int], list[int], int]:
    stages = [[name for name in state if name.startswith(f"layer{i}.") and name.endswith(".conv1.weight")]
              for i in range(1, 5)]  # fmt: skip
    widths = [len(state["conv1.weight"]), *(len(state[names[0]]) for names in stages)]
    return [len(names) for names in stages], widths, len(state["fc.weight"])


def alignment_grid(landmarks: Tensor, like: Tensor) -> Tensor:
    """Where in square pictures (B, 3, H, H) the pixels of aligned faces are: (B, 112, 112, 2) in [-1, 1].

    `landmarks` (B, 68, 2) in [-1, 1]. The turn, scale and shift that take ArcFace's template nearest to five points.
    """
    eyes = [landmarks[:, 36:42].mean(1), landmarks[:, 42:48].mean(1)]
    there = torch.stack([*eyes, *(landmarks[:, index] for index in (30, 48, 54))], dim=1)
    here = (there.new_tensor(TEMPLATE) + 0.5) * (2 / SIDE) - 1
    middle, target = here.mean(0), there.mean(1, keepdim=True)
    (ax, ay), (bx, by) = (here - middle).unbind(-1), (there - target).unbind(-1)
    # As complex numbers a turn and a scale are one factor: conj(a) b / |a|^2.
    norm = (ax**2 + ay**2).sum()
    real, imaginary = (ax * bx + ay * by).sum(1) / norm, (ax * by - ay * bx).sum(1) / norm
    linear = torch.stack([real, -imaginary, imaginary, real], dim=-1).unflatten(-1, (2, 2))
    shift = target[:, 0] - torch.einsum("bij,j->bi", linear, middle)
    theta = torch.cat([linear, shift[..., None]], dim=-1)
    return F.affine_grid(theta, [len(landmarks), 3, SIDE, SIDE], align_corners=False)
