"""Peak signal-to-noise ratio."""

import numpy as np
import torch

from metrics.metric import Batch, Columns, Metric, masked


class Psnr(Metric):
    """Of each frame, then averaged; pooling the squared error first gives other numbers (16.2 against 23.9 dB)."""

    name = "psnr"
    says = "10 log10(1 / MSE) of each frame, pixels in [0, 1]; frames equal to the truth are counted apart (.equal)"
    used_by = "GFLA, DaGAN, MCNet"
    unit = "dB"
    better = "higher"
    settings = {"range": [0, 1], "pooled": "per frame"}

    @property
    def columns(self) -> tuple[str, ...]:
        """Decibels, and whether the frame equals the truth."""
        return self.name, f"{self.name}.equal"

    def update(self, batch: Batch) -> Columns:
        """Per frame, over rows, columns and channels; one equal frame would make any mean infinite."""
        values = psnr(batch.result.pixels, batch.truth.pixels)
        return {self.columns[0]: masked(values, np.isfinite(values)), self.columns[1]: np.isinf(values)}


def psnr(result: torch.Tensor, truth: torch.Tensor) -> np.ndarray:
    """Per picture (N, ...), in decibels."""
    error = (result - truth).square().flatten(1).mean(1).double()
    # Infinite where the pictures are equal.
    return (-10 * torch.log10(error)).cpu().numpy()
