"""Peak signal-to-noise ratio."""

import numpy as np
import torch

from metrics.metric import Batch, Columns, Metric, masked


class Psnr(Metric):
    """PSNR per frame, then averaged; pooling the squared errors first gives other numbers (16.2 against 23.9 dB)."""

    name = "psnr"
    says = "10 log10(1 / MSE) of each frame, pixels in [0, 1]; frames equal to the truth are counted apart (.equal)"
    used_by = "GFLA, DaGAN, MCNet"
    unit = "dB"
    better = "higher"
    settings = {"range": [0, 1], "pooled": "per frame"}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns: decibels, and whether the frame equals the truth."""
        return self.name, f"{self.name}.equal"

    def update(self, batch: Batch) -> Columns:
        """PSNR per frame, over rows, columns and channels; equal frames are left out, since one would make any mean
        infinite."""
        values = psnr(batch.result.pixels, batch.truth.pixels)
        return {self.columns[0]: masked(values, np.isfinite(values)), self.columns[1]: np.isinf(values)}


def psnr(result: torch.Tensor, truth: torch.Tensor) -> np.ndarray:
    """PSNR per picture (N, ...), in decibels."""
    error = (result - truth).square().flatten(1).mean(1).double()
    # Infinite if the pictures are equal.
    return (-10 * torch.log10(error)).cpu().numpy()
