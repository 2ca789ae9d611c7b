"""Faster forms of LivePortrait's two large networks for inference; results equal to rounding.

SPADE gets one label at three sizes, the larger ones by repetition. Its modulation is therefore equal for many pixels
and computed once per kind of pixel, for all norms of a size in one convolution.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.live_portrait.networks import DenseMotionNetwork, Spade, SpadeBlock, SpadeGenerator, WarpingModule
from models.live_portrait.volumes import VolumeBlock, VolumeDecoder, VolumeDown, VolumeUp
from models.parts.blocks import fold_spectral_norms
from models.parts.cpu_convolutions import FourierVolume, WinogradVolume, quick_forms_work
from models.parts.inference import finished_on_cpu


def finish_generator(generator: SpadeGenerator) -> nn.Module:
    """The generator in its fast form; it shares the weights, which must not be trained any more."""
    fold_spectral_norms(generator)
    return FinishedGenerator(generator)


def finish_warping(module: WarpingModule) -> WarpingModule:
    """Fold the norms of the warping module and use fast convolutions of volumes, in place."""
    module.third.conv = fuse_conv_bn_eval(module.third.conv, module.third.norm)
    module.third.norm = nn.Identity()
    network: DenseMotionNetwork = module.dense_motion_network
    network.compress, network.norm = fuse_conv_bn_eval(network.compress, network.norm), nn.Identity()
    for parent in (*network.hourglass.encoder.down_blocks, *network.hourglass.decoder.up_blocks):
        _fold(parent)
    blocks = network.hourglass.decoder.up_blocks
    for index, block in enumerate(blocks):
        blocks[index] = DoublingBlock(block)
    _fold(network.hourglass.decoder)
    if network.mask.kernel_size[0] > 3:  # spectra pay off for large kernels
        network.mask = FourierVolume(network.mask)
    wide = (*network.hourglass.encoder.down_blocks[:2], network.hourglass.decoder)
    for block in wide if quick_forms_work() else ():
        block.conv = WinogradVolume(block.conv)
    return module


def _fold(block: VolumeBlock | VolumeDown | VolumeUp | VolumeDecoder) -> None:
    block.conv, block.norm = fuse_conv_bn_eval(block.conv, block.norm), nn.Identity()


class DoublingBlock(nn.Module):
    """Upsample height and width by repetition, convolve, ReLU, with 4 of 9 multiplications.

    A pixel of the upsampled volume depends on two rows and two columns of the small one, selected by its parity.
    """

    def __init__(self, block: VolumeUp):
        super().__init__()
        weight, bias = block.conv.weight.detach(), block.conv.bias
        rows = phase_taps(2).to(weight)
        weights = torch.einsum("pia,qjb,fcdab->pqfcdij", rows, rows, weight)
        self.features = len(weight)
        self.weights = nn.ParameterList(
            nn.Parameter(weights[p, q, ..., p : p + 2, q : q + 2].contiguous()) for p in range(2) for q in range(2)
        )
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        count, _, depth, height, width = x.shape
        padded = F.pad(x, (1, 1, 1, 1))
        doubled = x.new_empty(count, self.features, depth, height, 2, width, 2)
        for index, weight in enumerate(self.weights):
            p, q = divmod(index, 2)
            seen = padded[..., p : p + height + 1, q : q + width + 1]
            doubled[..., p, :, q] = F.conv3d(seen, weight, self.bias, padding=(1, 0, 0))
        return F.relu(doubled.flatten(5, 6).flatten(3, 4), inplace=True)


def phase_taps(factor: int) -> Tensor:
    """How the taps of a kernel of 3 map to the pixels of a line upsampled by repetition: (phases, 3, 3).

    Entry (p, i, a): whether tap a of a pixel of phase p reads the previous source pixel (i = 0), its own, or the next.
    There are at most three phases: the first of a pixel's repetitions, those inside, the last.
    """
    own, before, after = (0, 1, 0), (1, 0, 0), (0, 0, 1)
    first, inside, last = (before, own, own), (own, own, own), (own, own, after)
    kinds = {1: [(before, own, after)], 2: [first, last]}.get(factor, [first, inside, last])
    return torch.tensor(kinds, dtype=torch.float32).transpose(1, 2)


class SharedMaps(nn.Module):
    """The first layers of several norms on a label upsampled by repetition: a map for each norm."""

    def __init__(self, norms: list[Spade], factor: int):
        super().__init__()
        taps = phase_taps(factor)
        self.factor, self.phases, self.count = factor, len(taps), len(norms)
        convs = [norm.mlp_shared[0] for norm in norms]
        weight = torch.stack([conv.weight.detach() for conv in convs])
        # (norm, phase row, phase column, channel, label channel, row, column)
        weight = torch.einsum("pia,qjb,nfcab->npqfcij", taps.to(weight), taps.to(weight), weight)
        bias = torch.stack([conv.bias.detach() for conv in convs])[:, None, None].expand(weight.shape[:4])
        self.conv = _convolution(weight.flatten(0, 3), bias.flatten())

    def forward(self, label: Tensor) -> list[Tensor]:
        height, width = label.shape[-2:]
        maps = F.relu(self.conv(label)).permute(0, 2, 3, 1)
        maps = maps.unflatten(3, (self.count, self.phases, self.phases, -1))
        return [self._enlarged(one).permute(0, 3, 1, 2) for one in maps.unbind(3)]

    def _enlarged(self, maps: Tensor) -> Tensor:
        """Convert maps (N, h, w, P, P, C) of all phases to pixels (N, H, W, C)."""
        if self.factor == 1:
            return maps[..., 0, 0, :].contiguous()
        if self.factor > 2:
            index = [0, *(1 for _ in range(self.factor - 2)), 2]
            maps = maps[:, :, :, index][:, :, :, :, index]
        return maps.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)


class FinishedSpade(nn.Module):
    """Scale and shift at every pixel in one convolution; `lrelu` follows."""

    def __init__(self, norm: Spade):
        super().__init__()
        self.channels = norm.mlp_gamma.out_channels
        weight = torch.cat([norm.mlp_gamma.weight, norm.mlp_beta.weight]).detach()
        # n (1 + gamma): the 1 goes into the bias.
        bias = torch.cat([norm.mlp_gamma.bias + 1, norm.mlp_beta.bias]).detach()
        self.conv = _convolution(weight, bias)

    def forward(self, normalised: Tensor, shared: Tensor) -> Tensor:
        scale, shift = self.conv(shared).split(self.channels, dim=1)
        return F.leaky_relu(_modulated(normalised, scale, shift), 0.2, inplace=True)


class FinishedShortcut(nn.Module):
    """The norm of a shortcut and the 1x1 convolution after it, which is applied to the shift in advance."""

    def __init__(self, norm: Spade, conv: nn.Conv2d):
        super().__init__()
        self.sizes = [norm.mlp_gamma.out_channels, conv.out_channels]
        through = conv.weight.detach()[..., 0, 0]
        shift = torch.einsum("of,fcij->ocij", through, norm.mlp_beta.weight.detach())
        weight = torch.cat([norm.mlp_gamma.weight.detach(), shift])
        bias = torch.cat([norm.mlp_gamma.bias.detach() + 1, through @ norm.mlp_beta.bias.detach()])
        self.conv, self.through = _convolution(weight, bias), conv

    def forward(self, normalised: Tensor, shared: Tensor) -> Tensor:
        scale, shift = self.conv(shared).split(self.sizes, dim=1)
        return self.through(_modulated(normalised, scale)) + shift


class FinishedBlock(nn.Module):
    """A residual block that gets the shared maps of its norms; with `doubled`, its input at half the size."""

    def __init__(self, block: SpadeBlock, doubled: bool = False):
        super().__init__()
        self.norm_0, self.norm_1 = FinishedSpade(block.norm_0), FinishedSpade(block.norm_1)
        self.conv_0, self.conv_1 = block.conv_0, block.conv_1
        self.shortcut = FinishedShortcut(block.norm_s, block.conv_s) if block.learned_shortcut else None
        self.doubled = doubled

    def forward(self, x: Tensor, shared: list[Tensor]) -> Tensor:
        # Repeated pixels have the same mean and deviation as the pixels.
        normalised = instance_norm(x)
        if self.shortcut is not None:
            x = self.shortcut(normalised, shared[2])
        elif self.doubled:
            x = F.interpolate(x, scale_factor=2)
        out = self.conv_0(self.norm_0(normalised, shared[0]))
        return self.conv_1(self.norm_1(instance_norm(out), shared[1])).add_(x)


class FinishedGenerator(nn.Module):
    """The generator, with the norms of each size processing the label at once."""

    def __init__(self, generator: SpadeGenerator):
        super().__init__()
        middle = [getattr(generator, f"G_middle_{i}") for i in range(generator.num_middle_blocks)]
        self.fc, self.conv_img = generator.fc, generator.conv_img
        self.middle = nn.ModuleList(map(FinishedBlock, middle))
        self.ups = nn.ModuleList(FinishedBlock(block, doubled=True) for block in (generator.up_0, generator.up_1))
        pairs = [(block.norm_0, block.norm_1) for block in middle]
        self.shared = SharedMaps([norm for pair in pairs for norm in pair], 1) if middle else None
        sizes = zip((generator.up_0, generator.up_1), (2, 4), strict=True)
        self.shared_ups = nn.ModuleList(SharedMaps(_norms(block), factor) for block, factor in sizes)

    def forward(self, label: Tensor) -> Tensor:
        # On the CPU a batch saves nothing here, and its maps would not fit into the caches.
        pieces = label.split(1) if finished_on_cpu(label) else [label]
        return torch.cat([self._painted(piece) for piece in pieces])

    def _painted(self, label: Tensor) -> Tensor:
        out = self.fc(label)
        shared = [] if self.shared is None else self.shared(label)
        for index, block in enumerate(self.middle):
            out = block(out, shared[2 * index : 2 * index + 2])
        for block, maps in zip(self.ups, self.shared_ups, strict=True):
            out = block(out, maps(label))
        return torch.sigmoid(self.conv_img(F.leaky_relu(out, 0.2)))


def _norms(block: SpadeBlock) -> list[Spade]:
    return [block.norm_0, block.norm_1, *([block.norm_s] if block.learned_shortcut else [])]


def instance_norm(x: Tensor) -> Tensor:
    """Normalise maps (N, C, h, w) to mean 0 and variance 1."""
    if not finished_on_cpu(x):
        return F.instance_norm(x)
    with torch.autocast("cpu", enabled=False):
        rows = x.permute(0, 2, 3, 1).flatten(1, 2).float()
        # Means as matrix products: several times as fast as the library's reduction over table rows.
        mean = rows.new_full((1, 1, rows.shape[1]), 1 / rows.shape[1]).expand(len(rows), -1, -1)
        centred = rows - torch.bmm(mean, rows)
        centred *= (torch.bmm(mean, centred.square()) + 1e-5).rsqrt()
    return centred.view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2).to(x.dtype)


def _modulated(x: Tensor, scale: Tensor, shift: Tensor | None = None) -> Tensor:
    """x scale + shift; if the maps have twice the size of x, its pixels are repeated."""
    if x.shape[-1] != scale.shape[-1]:
        x = x[..., :, None, :, None]
        scale, shift = (None if part is None else _paired(part, x.shape[2], x.shape[4]) for part in (scale, shift))
    result = scale * x if shift is None else torch.addcmul(shift, scale, x)
    return result.flatten(4, 5).flatten(2, 3) if result.ndim == 6 else result


def _paired(maps: Tensor, height: int, width: int) -> Tensor:
    """View maps (N, C, 2h, 2w) as (N, C, h, 2, w, 2)."""
    return maps.unflatten(3, (width, 2)).unflatten(2, (height, 2))


def _convolution(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A 3x3 convolution with these weights."""
    with torch.device("meta"):
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
    conv.weight, conv.bias = nn.Parameter(weight.contiguous()), nn.Parameter(bias.contiguous())
    return conv
