"""Plain replacements for our optimised parts of the families; `replaced` installs them."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.trainer import Trainer
from engine.updates import Update
from models import Family, find_family
from models.live_portrait.losses import PerceptualCascade
from models.parts.blocks import AntiAliasDown, UpBlock
from models.parts.losses import PerceptualPyramid, mean_difference
from models.parts.motion import Motion, MotionNetwork
from models.parts.vgg import FrozenConv, Vgg19
from models.parts.warps import coordinate_grid, warp
from options import parse


def smooth_pictures(size: int, count: int) -> Tensor:
    """Random smooth pictures (N, 3, size, size)."""
    torch.manual_seed(1)
    return F.interpolate(torch.rand(count, 3, size // 8, size // 8), size=(size, size), mode="bilinear")


def random_features(**how: object) -> Vgg19:
    """VGG-19 with random weights that preserve the scale of activations."""
    network = Vgg19(**how)
    for module in network.modules():
        if isinstance(module, FrozenConv):
            nn.init.kaiming_normal_(module.weight)
    return network


def replaced(family: nn.Module, plain: Mapping[type, type]) -> None:
    """Replace parts of a family by their plain forms, in place."""
    for module in list(family.modules()):
        module.__class__ = plain.get(type(module), type(module))


def published(config: str, plain: Mapping[type, type] | None) -> Family:
    """A family of a published configuration with random weights, ready to train; with `plain` its plain form."""
    opt = parse([f"--config={config}", "--no_perceptual"], training=True)
    made = find_family(opt.model)(opt, training=True)
    made.prepare_training(opt)
    pyramid = PerceptualPyramid(random_features(), opt.scales, opt.weight_perceptual)
    if isinstance(made.perceptual, PerceptualCascade):
        made.perceptual.pyramid = pyramid
    else:
        made.perceptual = pyramid
    replaced(made, plain or {})
    return made


class PlainTrainer(Trainer):
    """Computes gradients for everything that a loss depends on, and clears those that are not updated."""

    def _backward_one(self, update: Update, parts: int) -> None:
        self._clear(update.names)
        sum(update.terms.values()).backward()


class PlainUpBlock(UpBlock):
    """Repeats pixels, then convolves all of them."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(F.interpolate(x, scale_factor=2))))


class PlainDown(AntiAliasDown):
    """Blurs every row and column, then drops most."""

    def forward(self, x: Tensor) -> Tensor:
        blurred = F.conv2d(x, self.weight, padding=self.weight.shape[-1] // 2, groups=x.shape[1])
        return blurred[:, :, :: self.stride, :: self.stride]


class PlainPerceptual(PerceptualPyramid):
    """Keeps the graph of the real frame's features, although nothing there is trained."""

    def _scale_distances(self, generated: Tensor, real: Tensor) -> list[Tensor]:
        pairs = zip(self.features(generated), self.features(real), strict=True)
        return [mean_difference(map_, real_map.detach()) for map_, real_map in pairs]


PARTS = {UpBlock: PlainUpBlock, AntiAliasDown: PlainDown, PerceptualPyramid: PlainPerceptual}
"""The plain forms of the parts that families share."""


def everywhere(linear: Tensor, source: Tensor, driving: Tensor, size: tuple[int, int]) -> Tensor:
    """Motions (B, K, h, w, 2) of points (B, K, 2), with the matrices (B, K, 2, 2) repeated at every position."""
    offset = coordinate_grid(*size, like=driving) - driving[:, :, None, None]
    repeated = linear[:, :, None, None].repeat(1, 1, *size, 1, 1)
    return (repeated @ offset[..., None])[..., 0] + source[:, :, None, None]


def warp_repeated(source: Tensor, motions: Tensor, align_corners: bool = True) -> Tensor:
    """The source (B, C, h, w), repeated for each of the motions (B, K, h, w, 2), under it: (B, K, C, h, w)."""
    repeated = source[:, None].repeat(1, motions.shape[1], 1, 1, 1).flatten(0, 1)
    return warp(repeated, motions.flatten(0, 1), align_corners).unflatten(0, motions.shape[:2])


def combine_repeated(network: MotionNetwork, small_source: Tensor, heatmap: Tensor, motions: Tensor) -> Motion:
    """Like MotionNetwork.combine, with the source repeated for every motion."""
    deformed = warp_repeated(small_source, motions, network.align_corners)
    features = network.hourglass(torch.cat([heatmap, deformed], dim=2).flatten(1, 2))
    mask = F.softmax(network.mask(features), dim=1)
    deformation = (mask[..., None] * motions).sum(1)
    occlusion_map = None if network.occlusion is None else torch.sigmoid(network.occlusion(features))
    return Motion(deformation, mask, motions, deformed, heatmap, occlusion_map)
