"""Structural similarity at five scales."""

import torch
import torch.nn.functional as F

from metrics.metric import Batch, Columns, Metric
from metrics.parts.windows import RADIUS, gaussian, similarity
from util.errors import UserError

SHARES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales (Wang et al. 2003), the finest first."""
MIN_SIDE = (2 * RADIUS + 1) * 2 ** (len(SHARES) - 1)


class MsSsim(Metric):
    """MS-SSIM. Less strict about blur and shifts than SSIM; needs frames of 176 pixels and more."""

    name = "ms_ssim"
    says = "Wang 2003: Gaussian window 11 at five scales, each half of the one before"
    used_by = "papers that print MS-SSIM"
    better = "higher"
    settings = {"window": "gaussian", "side": 11, "sigma": 1.5, "range": 1, "exponents": list(SHARES)}

    def update(self, batch: Batch) -> Columns:
        """Per frame, averaged over the channels."""
        one, other = batch.result.pixels, batch.truth.pixels
        if min(one.shape[-2:]) < MIN_SIDE:
            raise UserError(f"ms_ssim: needs frames of at least {MIN_SIDE} pixels, these are {one.shape[-1]}x"
                            f"{one.shape[-2]}; use ssim/gauss")  # fmt: skip
        return {self.name: ms_ssim(one, other).double().cpu().numpy()}


def ms_ssim(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """MS-SSIM per picture (N, 3, H, W) in [0, 1]: eq. 7, luminance at the coarsest scale only."""
    product = torch.ones((), dtype=one.dtype, device=one.device)
    for level, share in enumerate(SHARES):
        whole, structure = similarity(one, other, gaussian, 1.0)
        last = level == len(SHARES) - 1
        # A negative structure term has no real power and is set to 0.
        product = product * (whole if last else structure).clamp(min=0) ** share
        one, other = (F.avg_pool2d(picture, 2) for picture in (one, other))
    return product.mean(1)
