"""Fast convolutions for inference on the CPU: fewer multiplications, and weights reordered once, not at every pass.

In other cases (on a GPU, with gradients, compiled, in unsupported types) they run the original convolution.
"""

import math
import platform
import warnings
from collections.abc import Callable
from functools import lru_cache
from time import thread_time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.parts.inference import finished_on_cpu

TILE = 4
"""Side of the output tiles of Winograd's method."""
SIDE = TILE + 2
"""Side of their input tiles."""
POINTS = (0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)
"""Evaluation points of the polynomials, besides infinity: those with the least rounding among the tried ones."""
LEAST_CHANNELS = 128
"""With fewer channels the transforms cost more than they save."""
STRIP = 64
"""Tiles per strip: few enough that all intermediate results fit into the caches, enough for fast products."""
VOLUME_TILE = 16
"""Side of the output tiles of FFT convolutions: larger ones need more memory but not less time."""
VECTOR = 16
"""Channels that the CPU processes at once."""
TRIALS, MOST_TIME = 3, 1.2
"""Runs of the trial convolution, and the relative time from which its fast form is not used."""
FEW_RESULTS = 32
"""Maximum outputs times kernel size for the two-step form of wide kernels."""


@lru_cache(maxsize=1)
def quick_forms_work() -> bool:
    """Whether fast forms can be used here: tries one convolution, and warns once if its fast form fails or is slow."""
    if not torch.backends.mkldnn.is_available() or platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    problem = _trial()
    if problem:
        warnings.warn(f"convolutions stay as they are, without their fast forms for the CPU: {problem}", stacklevel=2)
    return not problem


def _trial() -> str:
    """What is wrong with the fast form of a convolution here; "" if nothing is."""
    conv = nn.Conv2d(LEAST_CHANNELS, LEAST_CHANNELS, 3, padding=1, device="meta")  # draws no random weights
    side = SIDE * TILE
    conv.weight = nn.Parameter(torch.linspace(-1, 1, conv.weight.numel()).sin().view_as(conv.weight))
    conv.bias = nn.Parameter(torch.zeros(LEAST_CHANNELS))
    x = torch.linspace(-9, 9, LEAST_CHANNELS * side * 2 * side).cos().view(1, LEAST_CHANNELS, side, 2 * side)
    x, quick = x.contiguous(memory_format=torch.channels_last), Winograd(conv)
    with torch.no_grad():
        try:
            plain, made = conv(x), quick.quick(x)
        except (AttributeError, RuntimeError) as error:  # they are private: another version may lack or change them
            return f"PyTorch {torch.__version__} lacks what they need ({error})"
        if not (made - plain).abs().max() < 1e-3 * plain.abs().max():
            return "their results are wrong"
        before, after = (min(_seconds(form, x) for _ in range(TRIALS)) for form in (conv, quick.quick))
    return f"they take {after / before:.1f} times as long on this processor" if after > MOST_TIME * before else ""


def _seconds(form: Callable[[Tensor], Tensor], x: Tensor) -> float:
    begin = thread_time()  # that of the processor: other programs do not count
    form(x)
    return thread_time() - begin


@lru_cache(maxsize=1)
def quick_types() -> set[torch.dtype]:
    """The types for which this processor has fast forms; not all support bfloat16."""
    return {torch.float32} | ({torch.bfloat16} if torch.ops.mkldnn._is_mkldnn_bf16_supported() else set())


def quicken(network: nn.Module) -> None:
    """Replace a network's convolutions by fast ones, in place; no training or saving afterwards."""
    if not quick_forms_work():
        return
    for name, child in network.named_children():
        quick = _quick_form(child)
        if quick is None:
            quicken(child)
        else:
            setattr(network, name, quick)


def _quick_form(module: nn.Module) -> nn.Module | None:
    """The fast form of a plain convolution; None for anything else, such as one with spectral norm."""
    if type(module) is nn.ConvTranspose2d and not module._forward_pre_hooks:
        return LaidOutTransposed(module)
    if type(module) is not nn.Conv2d or module._forward_pre_hooks or module.padding_mode != "zeros":
        return None
    side = module.kernel_size[0]
    if _keeps_size(module) and side > 3 and module.out_channels * side <= FEW_RESULTS:
        return ColumnWise(module)
    if _keeps_size(module) and side == 3 and min(module.in_channels, module.out_channels) >= LEAST_CHANNELS:
        return Winograd(module)
    return LaidOut(module)


def _keeps_size(conv: nn.Conv2d) -> bool:
    side = conv.kernel_size[0]
    half = side // 2
    geometry = conv.kernel_size, conv.padding, conv.stride, conv.dilation, conv.groups
    return side % 2 == 1 and geometry == ((side, side), (half, half), (1, 1), (1, 1), 1)


class Quick(nn.Module):
    """A convolution for inference, and the condition for its fast form."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d):
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        if not finished_on_cpu(x):
            return self.conv(x)
        kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        return self.quick(x.to(kind)) if {x.dtype, kind} <= quick_types() else self.conv(x)

    @property
    def weight(self) -> Tensor:
        """The original convolution's weight, for code that computes with it."""
        return self.conv.weight

    @property
    def bias(self) -> Tensor | None:
        return self.conv.bias

    def quick(self, x: Tensor) -> Tensor:
        """Convolve a map in single precision or bfloat16."""
        raise NotImplementedError


class LaidOut(Quick):
    """A convolution whose weights are stored in the CPU's internal order.

    Otherwise they are reordered at every pass, which takes most of the time for wide layers with small maps.
    """

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d):
        super().__init__(conv)
        self._kept: tuple[tuple, Tensor, Tensor | None] | None = None

    def quick(self, x: Tensor) -> Tensor:
        kind = x.dtype, *x.shape[-2:]
        if self._kept is None or self._kept[0] != kind:
            self._kept = kind, self.laid_out(x), None if self.bias is None else self.bias.to(x.dtype)
        return self.convolved(x, *self._kept[1:])

    def laid_out(self, x: Tensor) -> Tensor:
        """The weights in the best order for maps of this size and type."""
        return lay_out(self.weight.to(x.dtype), x.shape, *_geometry(self.conv))

    def convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return convolve(x, weight, bias, *_geometry(self.conv))


class LaidOutTransposed(LaidOut):
    """The same for a transposed convolution."""

    def laid_out(self, x: Tensor) -> Tensor:
        padding, *others = _geometry(self.conv)
        return torch.ops.mkldnn._reorder_convolution_transpose_weight(
            self.weight.to(x.dtype), padding, self.conv.output_padding, *others, x.shape
        )

    def convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding, *others = _geometry(self.conv)
        return torch.ops.mkldnn._convolution_transpose_pointwise(
            x, weight, bias, padding, self.conv.output_padding, *others, "none", [], ""
        )


def _geometry(conv: nn.Conv2d | nn.ConvTranspose2d) -> tuple:
    """Stride, padding and the like of a convolution."""
    return conv.padding, conv.stride, conv.dilation, conv.groups


def lay_out(weight: Tensor, size: torch.Size, padding=(0, 0), stride=(1, 1), dilation=(1, 1), groups=1) -> Tensor:
    """Weights in the best order for maps of a size (N, C, h, w): a tensor for `convolve` only."""
    return torch.ops.mkldnn._reorder_convolution_weight(weight, padding, stride, dilation, groups, size)


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding=(0, 0), stride=(1, 1), dilation=(1, 1), groups=1
) -> Tensor:
    """A convolution with weights from `lay_out`."""
    return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, padding, stride, dilation, groups, "none", [], "")


class ColumnWise(Quick):
    """A large kernel with few outputs in two steps: one output per column of the kernel, then their sum.

    The CPU computes at least 16 outputs, so a 7x7 kernel with 3 outputs would cost five times its multiplications.
    """

    def quick(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype)
        results, side, half = len(weight), weight.shape[-1], weight.shape[-1] // 2
        columns = weight.permute(3, 0, 1, 2).flatten(0, 1)[..., None]
        # The sum is a convolution, too: of each output the k-th column, k positions along the row.
        own = torch.eye(results, dtype=x.dtype)[:, None, :, None, None]
        shifts = torch.eye(side, dtype=x.dtype)[None, :, None, None]
        sums = (own * shifts).flatten(1, 2)
        return F.conv2d(F.conv2d(x, columns, padding=(half, 0)), sums, bias, padding=(0, half))


class FourierVolume(nn.Module):
    """A large kernel over volumes with few outputs by FFT, in single precision.

    Tiles of the volume, overlapping by the kernel, are transformed; each frequency then needs a matrix product over the
    channels: for a 7x7x7 kernel a fiftieth of the multiplications. Rounding is like that of direct sums.
    """

    def __init__(self, conv: nn.Conv3d):
        super().__init__()
        self.conv = conv
        self._kept: tuple[int, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        quick = finished_on_cpu(x) and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        return torch.cat([self._by_tiles(one) for one in x.split(1)]) if quick else self.conv(x)

    def _by_tiles(self, x: Tensor) -> Tensor:
        """One volume (1, C, D, h, w)."""
        depth, height, width = x.shape[2:]
        side = self.conv.kernel_size[0]
        reach, tile = side // 2, VOLUME_TILE + side - 1
        rows, columns = (-(-length // VOLUME_TILE) for length in (height, width))
        ends = (rows * VOLUME_TILE - height + reach, columns * VOLUME_TILE - width + reach)
        padded = F.pad(x[0], (reach, ends[1], reach, ends[0], reach, reach))
        tiles = padded.unfold(2, tile, VOLUME_TILE).unfold(3, tile, VOLUME_TILE).permute(2, 3, 0, 1, 4, 5)
        spectrum = torch.fft.rfftn(tiles.flatten(0, 1), dim=(2, 3, 4))
        size = spectrum.shape[2:]
        products = torch.bmm(spectrum.permute(2, 3, 4, 0, 1).flatten(0, 2).contiguous(), self._weights(depth, tile))
        products = products.unflatten(0, size).permute(3, 4, 0, 1, 2)
        made = torch.fft.irfftn(products, s=(depth + side - 1, tile, tile), dim=(2, 3, 4))
        made = made[:, :, :depth, :VOLUME_TILE, :VOLUME_TILE].unflatten(0, (rows, columns)).permute(2, 3, 0, 4, 1, 5)
        made = made.flatten(4, 5).flatten(2, 3)[..., :height, :width]
        return (made + self.conv.bias[:, None, None, None])[None]

    def _weights(self, depth: int, tile: int) -> Tensor:
        """The spectrum of the flipped kernel, (frequencies, C, F), since networks correlate."""
        if self._kept is None or self._kept[0] != depth:
            size = (depth + self.conv.kernel_size[0] - 1, tile, tile)
            spectrum = torch.fft.rfftn(self.conv.weight.float(), s=size, dim=(2, 3, 4)).conj().resolve_conj()
            self._kept = depth, spectrum.permute(2, 3, 4, 1, 0).flatten(0, 2).contiguous()
        return self._kept[1]


class Winograd(LaidOut):
    """A 3x3 convolution with a quarter of the multiplications, in single precision on sufficiently large maps.

    Winograd's minimal filtering F(4x4, 3x3): the outputs of a tile of 6x6 pixels are a product of polynomials, computed
    from their values at 36 points. Values are sums of pixels, so each point needs a matrix product over the channels.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__(conv)
        self._points: tuple[tuple[int, int], Tensor] | None = None

    def quick(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        fits = height % TILE == width % TILE == 0 and height * width >= STRIP * TILE**2
        return self._by_points(x) if fits and x.dtype == torch.float32 else super().quick(x)

    def _by_points(self, x: Tensor) -> Tensor:
        count, channels, height, width = x.shape
        rows, columns, features = max(1, STRIP * TILE // width), width // TILE, len(self.weight)
        if self._points is None or self._points[0] != (rows, columns):
            self._points = (rows, columns), self._weights_at_points(rows, columns)
        results = x.new_empty(count, height // TILE, TILE, columns, TILE, features)
        padded = x.new_zeros(height + 2, width + 2, channels)
        # Tiles overlap by two pixels, the reach of the kernel.
        squares = padded.unfold(0, SIDE, TILE).unfold(1, SIDE, TILE).movedim(2, 4)
        # All strips reuse the same buffers, which then stay in the caches.
        work = x.new_empty(2, rows * columns * SIDE**2 * max(channels, features))
        bias = 0.0 if self.bias is None else self.bias
        for frame, made in zip(x.permute(0, 2, 3, 1), results, strict=True):
            padded[1:-1, 1:-1] = frame
            for part, of in zip(squares.split(rows), made.split(rows), strict=True):
                torch.add(self._strip(part, work).transpose(1, 2), bias, out=of)
        return results.view(count, height, width, features).permute(0, 3, 1, 2)

    def _strip(self, squares: Tensor, work: Tensor) -> Tensor:
        """Input tiles (rows, columns, 6, 6, C) to output tiles (rows, columns, 4, 4, F)."""
        size = squares.shape[:2]
        to_results, _, to_points = minimal_filtering()
        squares = _view(work[0], *squares.shape).copy_(squares).flatten(0, 1)
        values = _both_ways(to_points, squares, work).view(1, *size, -1).permute(0, 3, 1, 2)
        products = convolve(values, self._points[1], None, groups=SIDE**2).permute(0, 2, 3, 1)
        return _both_ways(to_results, products.reshape(-1, SIDE, SIDE, len(self.weight)), work).unflatten(0, size)

    def _weights_at_points(self, rows: int, columns: int) -> Tensor:
        _, of_kernel, _ = minimal_filtering(torch.float64)
        channels = self.weight.shape[1]
        values = torch.einsum("ia,fcab,jb->ijfc", of_kernel, self.weight.double(), of_kernel).to(self.weight.dtype)
        size = (1, SIDE**2 * channels, rows, columns)
        return lay_out(values.reshape(-1, channels, 1, 1), size, groups=SIDE**2)


class WinogradVolume(nn.Module):
    """A 3x3x3 convolution of volumes with Winograd's method in height and width: a quarter of the multiplications.

    The values of a slice serve it and its two neighbours: those of three slices are kept in a ring buffer, as the
    channels of one product, whose weights rotate with them.
    """

    def __init__(self, conv: nn.Conv3d):
        super().__init__()
        self.conv = conv
        self._kept: tuple[tuple[int, int], list[Tensor]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        fits = height % TILE == width % TILE == 0 and height * width >= STRIP * TILE**2
        quick = finished_on_cpu(x) and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        return torch.cat([self._by_points(one) for one in x.split(1)]) if fits and quick else self.conv(x)

    def _by_points(self, x: Tensor) -> Tensor:
        """One volume (1, C, D, h, w)."""
        _, channels, depth, height, width = x.shape
        rows, columns = max(1, STRIP * TILE // width), width // TILE
        if self._kept is None or self._kept[0] != (rows, columns):
            self._kept = (rows, columns), self._weights_at_points(rows, columns)
        features, channels = (_filled(count) for count in self.conv.weight.shape[:2])
        # One more slice at either end is zero: the padding.
        padded = x.new_zeros(depth + 2, height + 2, width + 2, channels)
        padded[1:-1, 1:-1, 1:-1, : x.shape[1]] = x[0].permute(1, 2, 3, 0)
        squares = padded.unfold(1, SIDE, TILE).unfold(2, SIDE, TILE).movedim(3, 5)
        results = x.new_empty(depth, height // TILE, TILE, columns, TILE, features)
        for part, made in zip(squares.split(rows, dim=1), results.split(rows, dim=1), strict=True):
            self._strip(part, made)
        results = results.view(depth, height, width, features)[..., : len(self.conv.weight)]
        return (results + self.conv.bias).permute(3, 0, 1, 2)[None]

    def _strip(self, squares: Tensor, made: Tensor) -> None:
        """Input tiles (D + 2, rows, columns, 6, 6, C) to outputs (D, rows, 4, columns, 4, F), into `made`."""
        size, (channels, features) = squares.shape[1:3], (squares.shape[-1], made.shape[-1])
        to_results, _, to_points = minimal_filtering()
        work = squares.new_empty(2, math.prod(size) * SIDE**2 * max(channels, features))
        values = squares.new_empty(math.prod(size), SIDE**2, 3, channels)
        for index, one in enumerate(squares):
            pixels = _view(work[0], *one.shape).copy_(one).flatten(0, 1)
            values[:, :, index % 3] = _both_ways(to_points, pixels, work).flatten(1, 2)
            if index < 2:
                continue
            seen = values.view(1, *size, -1).permute(0, 3, 1, 2)
            products = convolve(seen, self._kept[1][index % 3], None, groups=SIDE**2).permute(0, 2, 3, 1)
            of = _both_ways(to_results, products.reshape(-1, SIDE, SIDE, features), work).unflatten(0, size)
            made[index - 2] = of.transpose(1, 2)

    def _weights_at_points(self, rows: int, columns: int) -> list[Tensor]:
        """For each possible slot of the newest of three slices, the weights in slot order."""
        _, of_kernel, _ = minimal_filtering(torch.float64)
        weight = self.conv.weight.double()
        more = [_filled(count) - count for count in weight.shape[:2]]
        weight = F.pad(weight, (0, 0, 0, 0, 0, 0, 0, more[1], 0, more[0]))
        values = torch.einsum("ia,fcdab,jb->ijfdc", of_kernel, weight, of_kernel).to(self.conv.weight.dtype)
        size = (1, SIDE**2 * 3 * weight.shape[1], rows, columns)
        # With the newest slice in slot `last`, slot p holds the slice of depth tap (p - last - 1) mod 3.
        orders = ([(slot - last - 1) % 3 for slot in range(3)] for last in range(3))
        turned = (values[:, :, :, order].reshape(SIDE**2 * len(weight), -1, 1, 1) for order in orders)
        return [lay_out(one, size, groups=SIDE**2) for one in turned]


def _filled(channels: int) -> int:
    """Pad channels to a multiple of the vector size, which grouped convolutions need to be fast."""
    return -(-channels // VECTOR) * VECTOR


@lru_cache(maxsize=2)
def minimal_filtering(kind: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """The matrices of Winograd's method: transforms of outputs, kernels and pixels.

    A filter of 3 taps is a product of polynomials modulo one of degree 6, as in the algorithm of Toom and Cook; by
    transposition the interpolation becomes the transform of the pixels.
    """
    points = np.array(POINTS)
    to_results, of_kernel = (np.vander(points, length, increasing=True) for length in (TILE, 3))
    others = [np.delete(points, index) for index in range(len(points))]
    to_points = [np.append(np.poly(roots)[::-1], 0) for roots in others] + [np.poly(points)[::-1]]
    scale = [np.prod(point - roots) for point, roots in zip(points, others, strict=True)]
    at_infinity = [np.eye(1, length, length - 1) for length in (TILE, 3)]
    matrices = (
        np.vstack([to_results, at_infinity[0]]).T,
        np.vstack([of_kernel / np.array(scale)[:, None], at_infinity[1]]),
        np.array(to_points),
    )
    return tuple(torch.tensor(matrix, dtype=kind) for matrix in matrices)


def _both_ways(matrix: Tensor, squares: Tensor, work: Tensor) -> Tensor:
    """matrix @ square @ matrix.T for squares (N, k, k, C), which may lie where the result will: in `work[0]`."""
    (to, side), (count, *_, channels) = matrix.shape, squares.shape
    rows, both = _view(work[1], count, to, side * channels), _view(work[0], count * to, to, channels)
    torch.bmm(matrix.expand(count, to, side), squares.view(count, side, side * channels), out=rows)
    torch.bmm(matrix.expand(count * to, to, side), rows.view(count * to, side, channels), out=both)
    return both.view(count, to, to, channels)


def _view(buffer: Tensor, *size: int) -> Tensor:
    """The start of a buffer as a tensor of a given size."""
    return buffer[: math.prod(size)].view(size)
