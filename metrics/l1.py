"""Mean absolute difference of pixels."""

import numpy as np
import torch

from metrics.metric import Batch, Columns, Metric


class L1(Metric):
    """L1 as in the first order motion model and its relatives, which average over all frames; LIA averages each video
    first."""

    name = "l1"
    says = "mean absolute difference, pixels in [0, 1]"
    used_by = "FOMM, MRAA, TPS (frames pooled); LIA (videos first); face-vid2vid (times 255)"
    settings = {"range": [0, 1]}

    def update(self, batch: Batch) -> Columns:
        """Per frame, over rows, columns and channels."""
        return {self.name: l1(batch.result.pixels, batch.truth.pixels)}


def l1(result: torch.Tensor, truth: torch.Tensor) -> np.ndarray:
    """The difference per picture (N, ...)."""
    return (result - truth).abs().flatten(1).mean(1).double().cpu().numpy()


class L1Gfla(Metric):
    """Sum of differences over the sum of both pictures, which GFLA's script prints as mae."""

    name = "l1/gfla"
    says = "sum of the absolute differences relative to the sum of both frames"
    used_by = "GFLA (script/metrics.py: mae)"

    def update(self, batch: Batch) -> Columns:
        """Per frame."""
        return {self.name: relative_l1(batch.result.pixels, batch.truth.pixels)}


def relative_l1(result: torch.Tensor, truth: torch.Tensor) -> np.ndarray:
    """The ratio per picture (N, ...)."""
    difference, whole = ((one.flatten(1).double().sum(1)) for one in ((result - truth).abs(), result + truth))
    # Two black pictures are equal.
    return (difference / whole.clamp(min=1e-12)).cpu().numpy()
