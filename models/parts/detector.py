"""A key point detector: an hourglass with heads for a heatmap and optionally a matrix per point."""

import torch
from torch import Tensor, nn

from models.parts.blocks import Hourglass, downsampling
from models.parts.keypoints import mean_matrices, spatial_softmax


class HeatmapDetector(nn.Module):
    """The layers of the detector, with the entry names of the released weights."""

    def __init__(
        self,
        head: str,
        num_points: int,
        *,
        num_channels: int,
        expansion: int,
        max_features: int,
        num_blocks: int,
        temperature: float,
        scale_factor: float,
        pad: int,
        num_matrices: int = 0,
    ):
        """`head`: entry name of the heatmaps' layer; `num_matrices`: maps of matrices, one per point, 1 or 0."""
        super().__init__()
        self.head, self.temperature = head, temperature
        self.predictor = Hourglass(expansion, num_channels, num_blocks, max_features)
        features = self.predictor.out_features
        self.add_module(head, nn.Conv2d(features, num_points, 7, padding=pad))
        self.jacobian = matrix_head(features, num_matrices, pad) if num_matrices else None
        self.down = downsampling(num_channels, scale_factor)

    def heatmaps(self, small: Tensor) -> tuple[Tensor, Tensor | None]:
        """Heatmaps (B, K, h, w) of pictures after `down`, and the mean matrix under each (B, K, 2, 2)."""
        features = self.predictor(small)
        heat = spatial_softmax(getattr(self, self.head)(features), self.temperature)
        return heat, None if self.jacobian is None else mean_matrices(self.jacobian(features), heat)


def matrix_head(features: int, maps: int, pad: int) -> nn.Conv2d:
    """A 7x7 head that gives `maps` matrices for every pixel, row by row; initialised to the identity."""
    head = nn.Conv2d(features, 4 * maps, 7, padding=pad)
    nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.bias.copy_(torch.eye(2).flatten().repeat(maps))
    return head
