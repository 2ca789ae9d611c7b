"""First order motion model: a step that doubles maps by repetition, blurs whole pictures of which it keeps a part,
repeats the source for every motion, and keeps the graph of the real frame's maps; contiguous, by stock operations."""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.trainer import Trainer
from engine.updates import Update
from models.fomm.family import FirstOrderMotion
from models.fomm.losses import Adversarial
from models.fomm.networks import DenseMotionNetwork
from models.parts.blocks import AntiAliasDown, UpBlock
from models.parts.keypoints import KeyPoints
from models.parts.losses import PerceptualPyramid, Terms, mean_difference
from models.parts.motion import Motion
from models.parts.vgg import FrozenConv, Vgg19
from models.parts.warps import coordinate_grid, warp
from options import parse

FASTER, LEANER = 1.3, 0.0
CONFIG = "configs/fomm/vox-256.yaml"


def family(args: argparse.Namespace, repeating: bool) -> FirstOrderMotion:
    """The family of a published configuration with random weights everywhere."""
    opt = parse([f"--config={args.config or CONFIG}", "--no_perceptual"], training=True)
    made = FirstOrderMotion(opt)
    made.prepare_training(opt)
    made.perceptual = PerceptualPyramid(random_features(), opt.scales, opt.weight_perceptual)
    for module in list(made.modules()) if repeating else ():
        module.__class__ = PLAIN.get(type(module), type(module))
    return made


def batch(args: argparse.Namespace) -> dict[str, Tensor]:
    """Random smooth pictures."""
    torch.manual_seed(1)
    coarse = torch.rand(2 * args.batch_size, 3, args.size // 8, args.size // 8)
    source, driving = F.interpolate(coarse, size=(args.size, args.size), mode="bilinear").chunk(2)
    return {"source": source, "driving": driving}


def random_features() -> Vgg19:
    """VGG-19 with random weights that keep the size of what goes through."""
    network = Vgg19()
    for module in network.modules():
        if isinstance(module, FrozenConv):
            nn.init.kaiming_normal_(module.weight)
    return network


class PlainTrainer(Trainer):
    """Leaves gradients in the discriminator when the generator learns, and clears them before its own turn."""

    def _backward_one(self, update: Update, parts: int) -> None:
        self._clear(update.names)
        sum(update.terms.values()).backward()


class PlainUpBlock(UpBlock):
    """Repeats pixels, then convolves all of them."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(F.interpolate(x, scale_factor=2))))


class PlainDown(AntiAliasDown):
    """Blurs every row and column, then keeps some."""

    def forward(self, x: Tensor) -> Tensor:
        blurred = F.conv2d(x, self.weight, padding=self.weight.shape[-1] // 2, groups=x.shape[1])
        return blurred[:, :, :: self.stride, :: self.stride]


class PlainDenseMotion(DenseMotionNetwork):
    """Repeats jacobians for every position and the source for every motion."""

    def sparse_motions(self, kp_source: KeyPoints, kp_driving: KeyPoints, size: tuple[int, int]) -> Tensor:
        grid = coordinate_grid(*size, like=kp_driving.value)
        linear = kp_source.jacobian @ kp_driving.jacobian.inverse()
        everywhere = linear[:, :, None, None].repeat(1, 1, *size, 1, 1)
        moved = (everywhere @ (grid - kp_driving.value[:, :, None, None])[..., None])[..., 0]
        motions = moved + kp_source.value[:, :, None, None]
        return torch.cat([grid.repeat(len(motions), 1, 1, 1, 1), motions], dim=1)

    def combine(self, small_source: Tensor, heatmap: Tensor, motions: Tensor) -> Motion:
        repeated = small_source[:, None].repeat(1, motions.shape[1], 1, 1, 1).flatten(0, 1)
        deformed = warp(repeated, motions.flatten(0, 1), self.align_corners).unflatten(0, motions.shape[:2])
        features = self.hourglass(torch.cat([heatmap, deformed], dim=2).flatten(1, 2))
        mask = F.softmax(self.mask(features), dim=1)
        deformation = (mask[..., None] * motions).sum(1)
        occlusion_map = None if self.occlusion is None else torch.sigmoid(self.occlusion(features))
        return Motion(deformation, mask, motions, deformed, heatmap, occlusion_map)


class PlainPerceptual(PerceptualPyramid):
    """Leaves it to the graph that nothing in the real frame's maps is trained."""

    def _scale_distances(self, generated: Tensor, real: Tensor) -> list[Tensor]:
        pairs = zip(self.features(generated), self.features(real), strict=True)
        return [mean_difference(map_, real_map.detach()) for map_, real_map in pairs]


class PlainAdversarial(Adversarial):
    """Keeps the graph of the real frame's maps."""

    def for_generator(self, discriminator: nn.Module, generated: Tensor, real: Tensor, kp: KeyPoints) -> Terms:
        kp = kp.detach()
        judged, judged_real = discriminator(self.pyramid(generated), kp), discriminator(self.pyramid(real), kp)
        terms = {"gen_gan": self.generator * sum(((1 - prediction) ** 2).mean() for _, prediction in judged.values())}
        matched = 0.0
        for scale, (maps, _) in judged.items():
            for weight, map_, real_map in zip(self.feature_matching, maps, judged_real[scale][0], strict=True):
                matched = matched + weight * mean_difference(real_map, map_)
        return terms | {"feature_matching": matched}


PLAIN = {
    UpBlock: PlainUpBlock,
    AntiAliasDown: PlainDown,
    DenseMotionNetwork: PlainDenseMotion,
    PerceptualPyramid: PlainPerceptual,
    Adversarial: PlainAdversarial,
}
"""What the plain step does in the place of ours."""
