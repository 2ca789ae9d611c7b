"""Structural similarity in the four definitions used in this field: one pair of pictures gives 0.934, 0.932, 0.950 and
0.778 with them."""

import numpy as np
import torch

from metrics.metric import Batch, Columns, Metric
from metrics.parts.windows import gaussian, similarity, uniform
from util.errors import UserError


class _Ssim(Metric):
    better = "higher"
    side = 11

    def update(self, batch: Batch) -> Columns:
        """SSIM per frame, averaged over windows and RGB channels."""
        result, truth = batch.result.pixels, batch.truth.pixels
        if min(result.shape[-2:]) < self.side:
            raise UserError(f"{self.name}: its window is {self.side} pixels wide, the frames are {result.shape[-1]}x"
                            f"{result.shape[-2]}; remove the metric, or measure larger frames")  # fmt: skip
        return self.measure(result, truth)

    def measure(self, result: torch.Tensor, truth: torch.Tensor) -> Columns:
        """SSIM of pictures (N, 3, H, W) in [0, 1]."""
        raise NotImplementedError


class SsimGauss(_Ssim):
    """SSIM as its authors define it."""

    name = "ssim/gauss"
    says = "Wang 2004: Gaussian window 11, sigma 1.5, range 1, channels averaged"
    used_by = "the authors of SSIM; the one to take for a new table"
    settings = {"window": "gaussian", "side": 11, "sigma": 1.5, "range": 1, "covariance": "population"}

    def measure(self, result: torch.Tensor, truth: torch.Tensor) -> Columns:
        """SSIM of pictures (N, 3, H, W) in [0, 1]."""
        return {self.name: _mean(similarity(result, truth, gaussian, 1.0)[0])}


class SsimWin7(_Ssim):
    """SSIM with scikit-image's default arguments."""

    name = "ssim/win7"
    says = "scikit-image's default: uniform window 7, sample covariance, range 1"
    used_by = "scripts that call skimage.metrics.structural_similarity without a window"
    settings = {"window": "uniform", "side": 7, "range": 1, "covariance": "sample"}
    side = 7

    def measure(self, result: torch.Tensor, truth: torch.Tensor) -> Columns:
        """SSIM of pictures (N, 3, H, W) in [0, 1]."""
        return {self.name: _mean(similarity(result, truth, uniform(7), 1.0, 49)[0])}


class SsimGfla(_Ssim):
    """The two SSIM values of GFLA's script; comparison with its tables needs both."""

    name = "ssim/gfla"
    says = "uniform window 51, range 1; beside it Gaussian with the range of each result (.256)"
    used_by = "GFLA (script/metrics.py: ssim and ssim_256)"
    settings = {"window": "uniform", "side": 51, "range": 1, ".256": "gaussian, range = max - min of the result"}
    side = 51

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns for its `ssim` and `ssim_256`."""
        return self.name, f"{self.name}.256"

    def measure(self, result: torch.Tensor, truth: torch.Tensor) -> Columns:
        """SSIM of pictures (N, 3, H, W) in [0, 1]."""
        wide = similarity(result, truth, uniform(51), 1.0, 51**2)[0]
        spans = result.flatten(1).amax(1) - result.flatten(1).amin(1)
        # A constant picture has no range; any small one gives the limit.
        narrow = similarity(result, truth, gaussian, spans.clamp(min=1e-6))[0]
        return {self.columns[0]: _mean(wide), self.columns[1]: _mean(narrow)}


class SsimMcnet(_Ssim):
    """SSIM of MCNet's script. Much lower than the others: around 0 the luminance term is sensitive to small
    differences."""

    name = "ssim/mcnet"
    says = "uniform window 7 on pictures in [-1, 1], of which scikit-image takes the range 2"
    used_by = "MCNet, DaGAN"
    settings = {"window": "uniform", "side": 7, "pictures": [-1, 1], "range": 2, "covariance": "sample"}
    side = 7

    def measure(self, result: torch.Tensor, truth: torch.Tensor) -> Columns:
        """SSIM of pictures (N, 3, H, W) in [0, 1]."""
        return {self.name: _mean(similarity(2 * result - 1, 2 * truth - 1, uniform(7), 2.0, 49)[0])}


def _mean(values: torch.Tensor) -> np.ndarray:
    return values.mean(1).double().cpu().numpy()
