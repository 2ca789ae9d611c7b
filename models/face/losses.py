"""The losses of edge-guided face animation, unweighted and per frame unless stated otherwise.

Names in comments are those of Ren et al., Deep Image Spatial Transformation for Person Image Generation, CVPR 2020
(arXiv 2003.00696).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.face.networks import Frame
from models.face.sampling import gaussian_resample, sample
from models.parts.losses import Terms, at_least_single, mean_difference

TAPS = {
    1: "relu1_1", 6: "relu2_1", 8: "relu2_2", 11: "relu3_1", 17: "relu3_4",
    20: "relu4_1", 26: "relu4_4", 29: "relu5_1", 31: "relu5_2",
}  # fmt: skip
"""The modules of torchvision's VGG-19 whose maps are compared."""
CONTENT = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
STYLE = ("relu2_2", "relu3_4", "relu4_4", "relu5_2")
OF_LAYER = {1: "relu2_1", 2: "relu3_1", 3: "relu4_1"}
"""The VGG-19 map with the resolution of each attention layer."""
EPSILON = 1e-8

Maps = dict[str, Tensor]
FlowMaps = dict[int, Tensor]
Draw = tuple[int, int]
Critics = Mapping[str, nn.Module]


class Features(nn.Module):
    """VGG-19's maps by name; input in [-1, 1] without ImageNet normalisation, as in the original."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> Maps:
        return dict(zip(TAPS.values(), self.network(picture), strict=True))


def content_loss(generated: Maps, real: Maps) -> Tensor:
    """Perceptual loss: mean absolute difference of the maps, summed over layers (Johnson et al. 2016)."""
    return sum(mean_difference(generated[name], real[name]) for name in CONTENT)


def style_loss(generated: Maps, real: Maps) -> Tensor:
    """Style loss: mean absolute difference of the Gram matrices, summed over layers (Johnson et al. 2016)."""
    return sum(mean_difference(gram(generated[name]), gram(real[name])) for name in STYLE)


def gram(maps: Tensor) -> Tensor:
    """Gram matrices F F^T / (C H W): (B, C, C)."""
    rows = at_least_single(maps).flatten(2)
    with torch.autocast(maps.device.type, enabled=False):
        return rows @ rows.mT / (rows.shape[1] * rows.shape[2])


def flow_maps(maps: Maps, layers: Iterable[int]) -> FlowMaps:
    """The detached VGG-19 maps that the flows of these layers are compared on."""
    return {layer: at_least_single(maps[OF_LAYER[layer]].detach()) for layer in layers}


class Correctness(nn.Module):
    """Sampling correctness loss L_c: how similar the sampled source is to the target, relative to the best position.

    exp(-similarity / best) - exp(-1) is negative where a blend of positions fits better than any single one.
    """

    def __init__(self, positions_at_once: int = 1024):
        super().__init__()
        self.positions_at_once = positions_at_once

    @torch.no_grad()
    def best(self, target: Tensor, source: Tensor) -> Tensor:
        """The cosine similarity (B, h * w) of every target position to the most similar source position, mu_max."""
        target, source = (_unit(maps.flatten(2)) for maps in (target, source))
        with torch.autocast(target.device.type, enabled=False):
            parts = target.split(self.positions_at_once, 2)
            return torch.cat([(part.mT @ source).amax(2) for part in parts], 1)

    def forward(self, target: FlowMaps, source: FlowMaps, flows: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """The term of each layer; only the flows get gradients."""
        return {layer: self._term(target[layer], source[layer], flow) for layer, flow in flows.items()}

    def _term(self, target: Tensor, source: Tensor, flow: Tensor) -> Tensor:
        resampled = gaussian_resample(source, _of_size(flow, source))
        similarity = F.cosine_similarity(resampled, target, dim=1, eps=EPSILON).flatten(1)
        # L_c = mean of exp(-mu / mu_max), shifted so that the best single positions give 0
        return torch.exp(-similarity / (self.best(target, source) + EPSILON)).mean() - math.exp(-1)


def _unit(columns: Tensor) -> Tensor:
    return columns / (columns.norm(dim=1, keepdim=True) + EPSILON)


def _of_size(flow: Tensor, maps: Tensor) -> Tensor:
    return flow if flow.shape[-2:] == maps.shape[-2:] else F.interpolate(flow, maps.shape[-2:], mode="nearest")


class AffineResidual(nn.Module):
    """Regularisation loss L_r: squared residual of the best affine fit to the flow of each size x size window."""

    def __init__(self, sizes: Iterable[int]):
        super().__init__()
        for size in set(sizes):
            self.register_buffer(f"residual_{size}", residual_filters(size), persistent=False)

    def forward(self, flow: Tensor, size: int) -> Tensor:
        flow = at_least_single(flow)
        filters = getattr(self, f"residual_{size}").to(flow.dtype)
        with torch.autocast(flow.device.type, enabled=False):
            residual = F.conv2d(flow.flatten(0, 1)[:, None], filters)
        # The mean runs over x and y as well, whose terms are summed: hence 2.
        return 2 * residual.square().sum(1).mean()


def residual_filters(size: int) -> Tensor:
    """I - A (A^T A)^-1 A^T for the rows A = (i, j, 1) of a window, as size^2 filters."""
    # The grid of the window is affine itself, so a flow has the residual of the positions it leads to.
    i, j = torch.meshgrid(*(2 * [torch.arange(size, dtype=torch.float64, device="cpu")]), indexing="ij")
    rows = torch.stack([i.flatten(), j.flatten(), torch.ones(size**2, dtype=torch.float64, device="cpu")], 1)
    fitted = rows @ torch.linalg.pinv(rows)
    return (torch.eye(size**2, dtype=torch.float64, device="cpu") - fitted).view(size**2, 1, size, size)


class LeastSquares:
    """Least-squares GAN (Mao et al. 2017): target scores 1 for real, 0 for fake."""

    @staticmethod
    def true(score: Tensor) -> Tensor:
        return (at_least_single(score) - 1).square().mean()

    @staticmethod
    def false(score: Tensor) -> Tensor:
        return at_least_single(score).square().mean()

    fool = true


class Hinge:
    """Hinge GAN loss: margins of 1 for real and -1 for fake."""

    @staticmethod
    def true(score: Tensor) -> Tensor:
        return (1 - at_least_single(score)).relu().mean()

    @staticmethod
    def false(score: Tensor) -> Tensor:
        return (1 + at_least_single(score)).relu().mean()

    @staticmethod
    def fool(score: Tensor) -> Tensor:
        return -at_least_single(score).mean()


GAMES = {"lsgan": LeastSquares, "hinge": Hinge}


class Adversarial:
    """Two discriminators: of a random frame of the chunk, and of differences of consecutive frames."""

    def __init__(self, game: type[LeastSquares] | type[Hinge], frames: int, weight: float):
        """`frames`: window length of the difference discriminator."""
        self.game, self.frames, self.weight = game, frames, weight

    def draw(self, random: Any, length: int) -> Draw:
        """A random frame index, and the start of a random window."""
        return random.randint(length), random.randint(length - self.frames + 1)

    def _shown(self, pictures: Sequence[Tensor], draw: Draw) -> tuple[Tensor, Tensor]:
        frame, start = draw
        pairs = pairwise(pictures[start : start + self.frames])
        return pictures[frame], torch.cat([before - after for before, after in pairs], 1)

    def for_critics(self, critics: Critics, fake: Sequence[Tensor], real: Sequence[Tensor], draw: Draw) -> Terms:
        """The terms of both discriminators; `fake` is detached."""
        terms = {}
        shown = zip(critics.items(), self._shown(real, draw), self._shown(fake, draw), strict=True)
        for (name, critic), true, false in shown:
            terms[f"dis_img_{name}"] = (self.game.true(critic(true)) + self.game.false(critic(false))) / 2
        return terms

    def for_generator(self, critics: Critics, fake: Sequence[Tensor], draw: Draw) -> Terms:
        """The adversarial terms of the generator."""
        shown = zip(critics.items(), self._shown(fake, draw), strict=True)
        return {f"ad_{name}": self.weight * self.game.fool(critic(false)) for (name, critic), false in shown}


class Perceptual(nn.Module):
    """Losses on VGG-19's maps: content, style and sampling correctness.

    VGG-19 runs twice per frame; the detached maps of a generated frame also serve as the next frame's source.
    """

    def __init__(self, features: Features, layers: Iterable[int], content: float, style: float, correctness: float):
        super().__init__()
        self.features, self.layers = features, tuple(layers)
        self.content, self.style, self.weight = content, style, correctness
        self.correctness = Correctness()

    @torch.no_grad()
    def flow_maps(self, picture: Tensor) -> FlowMaps:
        """The maps of a picture that flows are compared on."""
        return flow_maps(self.features(picture), self.layers)

    def forward(
        self, generated: Sequence[Frame], real: Sequence[Tensor], reference: FlowMaps, previous: FlowMaps
    ) -> tuple[Terms, FlowMaps]:
        """The terms of a chunk, and the flow maps of its last generated frame."""
        sums = dict.fromkeys(("correctness_p", "correctness_r", "content_gen", "style_gen"), 0.0)
        for frame, target in zip(generated, real, strict=True):
            with torch.no_grad():
                wanted = self.features(target)
            seen, goal = self.features(frame.picture), flow_maps(wanted, self.layers)
            sums["content_gen"] += self.content * content_loss(seen, wanted)
            sums["style_gen"] += self.style * style_loss(seen, wanted)
            for name, source, flows in (("p", previous, frame.flows("p")), ("r", reference, frame.flows("r"))):
                sums[f"correctness_{name}"] += self.weight * sum(self.correctness(goal, source, flows).values())
            previous = flow_maps(seen, self.layers)
        return sums, previous


class NoPerceptual(nn.Module):
    """Training without VGG-19: no terms."""

    def flow_maps(self, picture: Tensor) -> FlowMaps:
        return {}

    def forward(self, *_: Any) -> tuple[Terms, FlowMaps]:
        return {}, {}


class Warping(nn.Module):
    """Mean absolute difference of a frame to its two sources, read along their flows at each layer's size.

    Not in the paper, where the maps of VGG-19 tell a flow whether it is right (L_c): without them a flow learns only
    what the picture passes back through attention and masks, which takes long to begin.
    """

    def __init__(self, weight: float):
        super().__init__()
        self.weight = weight

    def forward(self, generated: Sequence[Frame], real: Sequence[Tensor], reference: Tensor, previous: Tensor) -> Terms:
        """`previous`: the picture before the first frame."""
        sums = dict.fromkeys(("warp_p", "warp_r"), 0.0)
        for frame, target in zip(generated, real, strict=True):
            for name, source in (("p", previous), ("r", reference)):
                parts = [_warp_difference(source, target, flow) for flow in frame.flows(name).values()]
                sums[f"warp_{name}"] += self.weight * sum(parts) / len(parts)
            previous = frame.picture.detach()
        return sums


def _warp_difference(source: Tensor, target: Tensor, flow: Tensor) -> Tensor:
    source, target = (F.adaptive_avg_pool2d(picture, flow.shape[-2:]) for picture in (source, target))
    return mean_difference(sample(source, flow), target)


class Regularisation(nn.Module):
    """L_r for all flows: they should be affine within the patches of their layer."""

    def __init__(self, kernel_size: Mapping[int, int], weight: float):
        super().__init__()
        self.residual, self.kernel_size, self.weight = AffineResidual(kernel_size.values()), dict(kernel_size), weight

    def forward(self, generated: Sequence[Frame]) -> Terms:
        return {
            f"regularization_{name}": self.weight
            * sum(
                self.residual(flow, self.kernel_size[layer])
                for frame in generated
                for layer, flow in frame.flows(name).items()
            )
            for name in ("p", "r")
        }
