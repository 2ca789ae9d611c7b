"""A small network for the 68 points of a face in a square crop and how sure each is, learned from drawn people."""

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from util.errors import UserError
from util.reading import reading
from util.weights_file import read_weights, refuse_unusable

POINTS = 68
SIDE = 64
"""Side of the crops that the network sees."""
CELLS = 16
"""Side of its heatmaps."""
WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "landmarks" / "own.safetensors"
AROUND_POINTS = 1.3
"""Side of the crop, in sides of the square around a face's points."""
NOT_OURS = "not the weights of the landmark network"
MADE_BY = "script/train_landmarks.py makes them"


class Found(NamedTuple):
    """The network's output for a batch of crops."""

    points: Tensor
    """(B, 68, 2): x and y, -1 and 1 being the crop's edges."""
    visible: Tensor
    """(B, 68): logits of whether each point is visible."""


class Block(nn.Module):
    """A residual block of two convolutions; the first may halve the size."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.one = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.two = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm_one, self.norm_two = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.around = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        moved = F.relu(self.norm_one(self.one(x)))
        return F.relu(self.norm_two(self.two(moved)) + self.around(x))


class LandmarkNetwork(nn.Module):
    """Heatmaps with a soft-argmax: their mean positions are the points, which keeps it differentiable."""

    def __init__(self, width: int = 24):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.quarter = Block(width, 2 * width, 2)
        self.eighth = Block(2 * width, 4 * width, 2)
        self.sixteenth = nn.Sequential(Block(4 * width, 6 * width, 2), Block(6 * width, 6 * width))
        self.up = nn.ModuleList([nn.Conv2d(6 * width, 4 * width, 1), nn.Conv2d(4 * width, 2 * width, 1)])
        self.joined = Block(2 * width, 3 * width)
        self.maps = nn.Conv2d(3 * width, POINTS, 1)
        self.offset = nn.Linear(6 * width, 2 * POINTS)
        self.visible = nn.Linear(6 * width, POINTS)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)

    def forward(self, crops: Tensor) -> Found:
        """Crops (B, 3, SIDE, SIDE) in [0, 1]."""
        quarter = self.quarter(self.stem(crops - 0.5))
        eighth = self.eighth(quarter)
        deep = self.sixteenth(eighth)
        x = eighth + F.interpolate(self.up[0](deep), scale_factor=2)
        x = self.joined(quarter + F.interpolate(self.up[1](x), scale_factor=2))
        heat = self.maps(x).flatten(2).softmax(-1).unflatten(2, (CELLS, CELLS))
        centres = (torch.arange(CELLS, dtype=heat.dtype, device=heat.device) + 0.5) * (2 / CELLS) - 1
        mean = torch.stack([(heat.sum(2) * centres).sum(-1), (heat.sum(3) * centres).sum(-1)], dim=-1)
        pooled = deep.mean((2, 3))
        # Means of heatmaps can't leave the crop, points can.
        return Found(mean + self.offset(pooled).unflatten(1, (POINTS, 2)), self.visible(pooled))


def load_network(path: Path) -> LandmarkNetwork:
    """The network with the weights of a file, in eval mode."""
    weights = read_weights(path)
    refuse_unusable(weights, path)
    state = {name: value.float() for name, value in weights.items()}
    network = LandmarkNetwork()
    own = network.state_dict()
    # Files omit the batch counters of batch norm, which nothing reads.
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    if missing or set(state) - set(own):
        raise UserError(f"{path}: {NOT_OURS}; {MADE_BY}")
    with reading(path, NOT_OURS, MADE_BY):
        network.load_state_dict(own | state)
    return network.eval()
