"""Sampling along a flow: every operation here is a weighted sum of neighbouring pixels.

A flow (B, 2, h, w) holds x, then y, in pixels of the sampled map; position p samples at p + flow. Outside the map its
border is repeated.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

Axis = tuple[Tensor, Tensor]
"""For one axis and every position: the pixels that are read (B, taps, h, w), and their weights."""


def absolute(flow: Tensor) -> tuple[Tensor, Tensor]:
    """The columns and rows (B, h, w) that a flow points to, in single precision at least."""
    # A column index in half precision has an error of up to a quarter of a pixel.
    flow = flow.to(torch.promote_types(flow.dtype, torch.float32))
    height, width = flow.shape[-2:]
    columns = torch.arange(width, dtype=flow.dtype, device=flow.device)
    rows = torch.arange(height, dtype=flow.dtype, device=flow.device)
    return flow[:, 0] + columns, flow[:, 1] + rows[:, None]


def split(position: Tensor) -> tuple[Tensor, Tensor]:
    """The pixel before a position, and the fraction beyond it, which carries the gradient."""
    whole = position.detach().floor()
    return whole.long(), position - whole


def weighted_sum(source: Tensor, columns: Axis, rows: Axis) -> Tensor:
    """For each position the weighted sum over columns x rows of pixels of `source` (B, C, H, W): (B, C, h, w)."""
    (x, weight_x), (y, weight_y) = columns, rows
    return gather(source, x, y, (weight_y[:, :, None] * weight_x[:, None]).flatten(1, 2))


def gather(source: Tensor, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """The sum of the pixels at columns x (B, n, h, w) and rows y (B, m, h, w) by weights (B, m * n, h, w)."""
    batch, channels, height, width = source.shape
    first = torch.arange(batch, device=x.device)[:, None, None, None, None] * (height * width)
    index = first + y.clamp(0, height - 1)[:, :, None] * width + x.clamp(0, width - 1)[:, None]
    pixels = source.to(weight.dtype).permute(0, 2, 3, 1).reshape(-1, channels)
    # Embedding bags add up weighted rows while they read them, so a map of all taps is never built.
    summed = F.embedding_bag(
        index.flatten(1, 2).movedim(1, 3).flatten(0, 2),
        pixels,
        per_sample_weights=weight.movedim(1, 3).flatten(0, 2),
        mode="sum",
    )
    return summed.unflatten(0, (batch, *x.shape[-2:])).permute(0, 3, 1, 2)


def bilinear_axis(position: Tensor) -> Axis:
    """The two pixels around a position (B, h, w)."""
    whole, fraction = split(position)
    return torch.stack([whole, whole + 1], 1), torch.stack([1 - fraction, fraction], 1)


def sample(source: Tensor, flow: Tensor, offset: int = 0) -> Tensor:
    """Sample `source` (B, C, H, W) bilinearly along a flow; `offset` is the pixel of flow position 0."""
    columns, rows = absolute(flow)
    return weighted_sum(source, bilinear_axis(columns + offset), bilinear_axis(rows + offset))


def extract(source: Tensor, flow: Tensor, size: int) -> Tensor:
    """Patches of size x size pixels around the positions of a flow, side by side: (B, C, size * h, size * w).

    The networks do not need these maps; they define what `attend` computes.
    """
    inside = torch.arange(size, device=flow.device) - size // 2
    columns, rows = absolute(flow)
    columns = (columns[..., None, :, None] + inside).expand(-1, -1, size, -1, -1)
    rows = (rows[..., None, :, None] + inside[:, None, None]).expand(-1, -1, -1, -1, size)
    return weighted_sum(source, *(bilinear_axis(axis.flatten(3).flatten(1, 2)) for axis in (columns, rows)))


def attend(source: Tensor, flow: Tensor, attention: Tensor) -> Tensor:
    """The mean over patches of `source` weighted by `attention` (B, size * size, h, w), row major: (B, C, h, w).

    All pixels of a patch have the same subpixel fraction, so bilinear interpolation and attention together are one
    weighted sum over the (size + 1)^2 pixels around the position.
    """
    size = round(attention.shape[1] ** 0.5)
    (x, right), (y, below) = (split(axis) for axis in absolute(flow))
    weight = attention.to(right.dtype).unflatten(1, (size, size)) / size**2
    weight = _spread(weight, below, dim=1)
    weight = _spread(weight, right, dim=2)
    taps = torch.arange(size + 1, device=flow.device)[:, None, None] - size // 2
    return gather(source, x[:, None] + taps, y[:, None] + taps, weight.flatten(1, 2))


def _spread(weight: Tensor, fraction: Tensor, dim: int) -> Tensor:
    """Convert weights of n positions, each `fraction` (B, h, w) beyond a pixel, to weights of n + 1 pixels along
    `dim`."""
    fraction, inner = fraction[:, None, None], [0, 0] * (4 - dim)
    return F.pad(weight * (1 - fraction), [*inner, 0, 1]) + F.pad(weight * fraction, [*inner, 1, 0])


def gaussian_resample(source: Tensor, flow: Tensor, taps: int = 4, sigma: float = 2.0) -> Tensor:
    """Sample `source` along a flow with Gaussian weights of the taps x taps pixels around each position."""
    columns, rows = (_gaussian_axis(position, taps, sigma) for position in absolute(flow))
    return weighted_sum(source, columns, rows)


def _gaussian_axis(position: Tensor, taps: int, sigma: float) -> Axis:
    whole, fraction = split(position)
    offsets = torch.arange(taps, device=position.device)[:, None, None] - (taps // 2 - 1)
    weight = torch.exp(-((offsets - fraction[:, None]) ** 2) / (2 * sigma**2))
    return whole[:, None] + offsets, weight / weight.sum(1, keepdim=True)
