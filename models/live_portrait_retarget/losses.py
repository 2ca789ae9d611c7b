"""The losses of stage II: shoulders stay, eyes and lips open as far as wanted.

L. Guo et al., LivePortrait: Efficient Portrait Animation with Stitching and Retargeting Control, arXiv 2407.03168.
The authors published no training code (docs/live_portrait.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from models.live_portrait.family import resized
from models.live_portrait.losses import cut_boxes
from models.parts.losses import Terms
from models.parts.truth import masked_difference
from util.border_mask import border_mask
from util.landmark_network import AROUND_POINTS, SIDE, LandmarkNetwork
from util.openness import openness_ratios

BELOW_CHIN = 0.1
"""Distance of the shoulders below the chin, in heights of the face."""
LEFT_EYE, RIGHT_EYE, MOUTH_AND_CHIN = slice(36, 42), slice(42, 48), [*range(48, 68), *range(5, 12)]
AROUND_EYE, AROUND_MOUTH = 0.6, 0.2
"""How far the part that may change exceeds its landmarks on each side, in sides of their box: lids, or lips and jaw."""
LOOKED_AT = 128
"""Side of the picture from which the landmark network gets its crop."""


def openness_of(landmarks: Tensor) -> Tensor:
    """How far left eye, right eye and lips are open (B, 3), by 68 landmarks (B, 68, 2)."""
    return torch.stack(openness_ratios(landmarks, partial(torch.linalg.vector_norm, dim=-1)), dim=-1)


class OpennessMeter(nn.Module):
    """Measures the openness of pictures by a landmark network, through which gradients flow."""

    def __init__(self, network: LandmarkNetwork):
        super().__init__()
        self.network = network

    def train(self, mode: bool = True) -> "OpennessMeter":
        """The network is frozen: its norms keep their statistics."""
        return super().train(False)

    def forward(self, pictures: Tensor, landmarks: Tensor) -> Tensor:
        """(B, 3) of pictures (B, 3, H, H) whose faces are near `landmarks` (B, 68, 2)."""
        box = square_box(landmarks, AROUND_POINTS)
        crops = cut_boxes(resized(pictures, min(pictures.shape[-1], LOOKED_AT)), box, SIDE)
        return openness_of(self.network(crops).points)


def square_box(points: Tensor, around: float) -> Tensor:
    """Squares (B, 4) around points (B, P, 2), `around` times as large as they reach."""
    low, high = points.amin(1), points.amax(1)
    middle, reach = (low + high) / 2, (high - low).amax(1, keepdim=True) * around / 2
    return torch.cat([middle - reach, middle + reach], dim=1)


def pixel_centres(size: int, like: Tensor) -> Tensor:
    """Where the middles of pixels are (size,), -1 and 1 being the edges of the picture."""
    return (torch.arange(size, dtype=like.dtype, device=like.device) + 0.5) * (2 / size) - 1


def inside(points: Tensor, margin: float, size: int) -> Tensor:
    """1 in the box (B, 1, size, size) of points (B, P, 2), which exceeds them by shares of its sides."""
    low, high = points.amin(1), points.amax(1)
    middle, reach = (low + high) / 2, (high - low) * (0.5 + margin)
    centres = pixel_centres(size, like=points)
    x, y = ((centres - middle[:, i, None]).abs() <= reach[:, i, None] for i in (0, 1))
    return (y[:, :, None] & x[:, None]).to(points.dtype)[:, None]


def eyes_mask(landmarks: Tensor, size: int) -> Tensor:
    """What opening the eyes may change."""
    return torch.maximum(*(inside(landmarks[:, eye], AROUND_EYE, size) for eye in (LEFT_EYE, RIGHT_EYE)))


def mouth_mask(landmarks: Tensor, size: int) -> Tensor:
    """What opening the lips may change: the chin goes with them."""
    return inside(landmarks[:, MOUTH_AND_CHIN], AROUND_MOUTH, size)


def below_chin(landmarks: Tensor, size: int) -> Tensor:
    """The shoulders (B, 1, size, size): the crop below the face's enlarged hull."""
    y = landmarks[..., 1]
    chin = y.amax(1) + BELOW_CHIN * (y.amax(1) - y.amin(1))
    rows = pixel_centres(size, like=landmarks) > chin[:, None]
    return rows.to(landmarks.dtype)[:, None, :, None].expand(-1, -1, -1, size)


def crop_border(size: int, like: Tensor) -> Tensor:
    """The border of the crop (1, 1, size, size), where results meet the picture that they are pasted into."""
    return 1 - like.new_tensor(border_mask(size) / 255)[None, None]


@dataclass(frozen=True)
class StitchingLoss:
    """Shoulders look as in the source, and points are moved little."""

    shoulders: float
    change: float

    def __call__(self, generated: Tensor, still: Tensor, mask: Tensor, change: Tensor) -> Terms:
        """`still`: the source generated with its own points; `change`: offsets (B, K, 3) of stitching."""
        return {
            "shoulders": self.shoulders * masked_difference(generated, still, mask.expand(len(generated), -1, -1, -1)),
            "stitching_change": self.change * change.abs().mean(),
        }


@dataclass(frozen=True)
class OpennessLoss:
    """A part of generated pictures is open as far as wanted, all else stays."""

    name: str
    columns: Sequence[int]
    mask: Callable[[Tensor, int], Tensor]
    openness: float
    keep: float
    offsets: float

    def __call__(
        self, generated: Tensor, still: Tensor, landmarks: Tensor, measured: Tensor, aim: Tensor, offsets: Tensor
    ) -> Terms:
        """`measured` (B, 3): the openness of the pictures `generated`; `aim` (B, 1)."""
        elsewhere = 1 - self.mask(landmarks, generated.shape[-1])
        return {
            f"{self.name}_openness": self.openness * (measured[:, list(self.columns)] - aim).abs().mean(),
            f"{self.name}_keep": self.keep * masked_difference(generated, still, elsewhere),
            f"{self.name}_offsets": self.offsets * offsets.abs().mean(),
        }


def point_target(expression: Tensor, other: Tensor, scale: Tensor, points: Sequence[int]) -> Tensor:
    """How the points (B, K, 3) of a part move from one frame's expression deltas to another's; the others stay."""
    share = torch.zeros(expression.shape[1], 1, dtype=expression.dtype, device=expression.device)
    share[list(points)] = 1
    return scale[..., None] * (other - expression) * share
