"""Structural similarity (Wang et al. 2004, eq. 13) on any device, with uniform or Gaussian windows.

Windows lie inside the picture, as in scikit-image; torchmetrics pads instead and differs in the 4th digit.
"""

from collections.abc import Callable

import torch

K1, K2 = 0.01, 0.03
SIGMA, RADIUS = 1.5, 5
"""Wang's window: 11 x 11, standard deviation 1.5."""

Window = Callable[[torch.Tensor], torch.Tensor]
"""Weighted local means, (N, C, H, W) to (N, C, H - 2r, W - 2r)."""


def uniform(side: int) -> Window:
    """A uniform window."""

    def mean(picture: torch.Tensor) -> torch.Tensor:
        # Differences of cumulative sums cost the same for 51 pixels as for 7, and are exact in double precision.
        for axis in (2, 3):
            sums = picture.double().cumsum(axis)
            sums = torch.cat([torch.zeros_like(sums.narrow(axis, 0, 1)), sums], axis)
            count = picture.shape[axis] - side + 1
            picture = ((sums.narrow(axis, side, count) - sums.narrow(axis, 0, count)) / side).to(picture.dtype)
        return picture

    return mean


def gaussian(picture: torch.Tensor) -> torch.Tensor:
    """A Gaussian window."""
    steps = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (steps / SIGMA) ** 2)
    weights = (weights / weights.sum()).tolist()
    # Summing eleven shifted copies is eight times as fast on a CPU as a depthwise convolution.
    for axis in (2, 3):
        count = picture.shape[axis] - 2 * RADIUS
        mean = picture.narrow(axis, 0, count) * weights[0]
        for shift, weight in enumerate(weights[1:], 1):
            mean.add_(picture.narrow(axis, shift, count), alpha=weight)
        picture = mean
    return picture


def similarity(
    one: torch.Tensor, other: torch.Tensor, window: Window, data_range: torch.Tensor | float, sample: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """SSIM and its contrast-structure term, per picture and channel (N, C).

    `data_range` is a number or one per picture. `sample`: number of pixels of the window, for covariances of a sample
    (n / (n - 1)).
    """
    span = torch.as_tensor(data_range, dtype=one.dtype, device=one.device).reshape(-1, 1, 1, 1)
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    # Variances do not depend on the origin; near it the difference of squares loses fewer digits.
    centre = one.mean((1, 2, 3), keepdim=True)
    x, y = one - centre, other - centre
    mean_x, mean_y = window(x), window(y)
    unbiased = sample / (sample - 1) if sample else 1.0
    variance = unbiased * (window(x * x) - mean_x**2 + window(y * y) - mean_y**2)
    covariance = unbiased * (window(x * y) - mean_x * mean_y)
    structure = (2 * covariance + c2) / (variance + c2)
    mean_x, mean_y = mean_x + centre, mean_y + centre
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (luminance * structure).mean((2, 3)), structure.mean((2, 3))
