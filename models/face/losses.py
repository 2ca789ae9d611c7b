"""The losses of edge-guided face animation. Sums over the frames of a chunk are the caller's; values are unweighted."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.face.networks import Frame
from models.face.sampling import gaussian_resample
from models.parts.losses import Terms, at_least_single, mean_difference

TAPS = {
    1: "relu1_1", 6: "relu2_1", 8: "relu2_2", 11: "relu3_1", 17: "relu3_4",
    20: "relu4_1", 26: "relu4_4", 29: "relu5_1", 31: "relu5_2",
}  # fmt: skip
"""The modules of torchvision's VGG-19 whose maps are compared."""
CONTENT = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
STYLE = ("relu2_2", "relu3_4", "relu4_4", "relu5_2")
OF_LAYER = {1: "relu2_1", 2: "relu3_1", 3: "relu4_1"}
"""The map that stands for an attention layer: it has the layer's size."""
EPSILON = 1e-8

Maps = dict[str, Tensor]
Places = dict[int, Tensor]
Draw = tuple[int, int]
Critics = Mapping[str, nn.Module]


class Features(nn.Module):
    """VGG-19's maps by name, of pictures in [-1, 1] as they are: the original does without ImageNet's mean."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> Maps:
        return dict(zip(TAPS.values(), self.network(picture), strict=True))


def content_loss(generated: Maps, real: Maps) -> Tensor:
    """The mean difference of the maps, summed over the depths of the network."""
    return sum(mean_difference(generated[name], real[name]) for name in CONTENT)


def style_loss(generated: Maps, real: Maps) -> Tensor:
    """The mean difference of the correlations of channels, summed over the depths of the network."""
    return sum(mean_difference(gram(generated[name]), gram(real[name])) for name in STYLE)


def gram(maps: Tensor) -> Tensor:
    """Correlations of channels: (B, C, C)."""
    rows = at_least_single(maps).flatten(2)
    with torch.autocast(maps.device.type, enabled=False):
        return rows @ rows.mT / (rows.shape[1] * rows.shape[2])


def places(maps: Maps, layers: Iterable[int]) -> Places:
    """The maps of a picture by which flows of these layers are judged; they get no gradient."""
    return {layer: at_least_single(maps[OF_LAYER[layer]].detach()) for layer in layers}


class Correctness(nn.Module):
    """Whether a flow leads to where the source looks like the target, compared with the best place there is.

    exp(-similarity / best) - exp(-1) is negative where a mixture of places fits better than any single one.
    """

    def __init__(self, positions_at_once: int = 1024):
        super().__init__()
        self.positions_at_once = positions_at_once

    @torch.no_grad()
    def best(self, target: Tensor, source: Tensor) -> Tensor:
        """The similarity (B, h * w) of every target position to the place in the source that is most like it."""
        target, source = (_unit(maps.flatten(2)) for maps in (target, source))
        with torch.autocast(target.device.type, enabled=False):
            parts = target.split(self.positions_at_once, 2)
            return torch.cat([(part.mT @ source).amax(2) for part in parts], 1)

    def forward(self, target: Places, source: Places, flows: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """The term of each layer; only the flows get gradients."""
        return {layer: self._term(target[layer], source[layer], flow) for layer, flow in flows.items()}

    def _term(self, target: Tensor, source: Tensor, flow: Tensor) -> Tensor:
        resampled = gaussian_resample(source, _of_size(flow, source))
        similarity = F.cosine_similarity(resampled, target, dim=1, eps=EPSILON).flatten(1)
        return torch.exp(-similarity / (self.best(target, source) + EPSILON)).mean() - math.exp(-1)


def _unit(columns: Tensor) -> Tensor:
    return columns / (columns.norm(dim=1, keepdim=True) + EPSILON)


def _of_size(flow: Tensor, maps: Tensor) -> Tensor:
    return flow if flow.shape[-2:] == maps.shape[-2:] else F.interpolate(flow, maps.shape[-2:], mode="nearest")


class AffineResidual(nn.Module):
    """How far the flow of each size x size window is from an affine one: the squared residual of the best fit."""

    def __init__(self, sizes: Iterable[int]):
        super().__init__()
        for size in set(sizes):
            self.register_buffer(f"residual_{size}", residual_filters(size), persistent=False)

    def forward(self, flow: Tensor, size: int) -> Tensor:
        flow = at_least_single(flow)
        filters = getattr(self, f"residual_{size}").to(flow.dtype)
        with torch.autocast(flow.device.type, enabled=False):
            residual = F.conv2d(flow.flatten(0, 1)[:, None], filters)
        # x and y are two of the maps of the mean, but their terms are added.
        return 2 * residual.square().sum(1).mean()


def residual_filters(size: int) -> Tensor:
    """I - A (A^T A)^-1 A^T for the rows A = (i, j, 1) of a window, as size^2 filters."""
    # The grid of the window is affine itself, so a flow has the residual of the positions it leads to.
    i, j = torch.meshgrid(*(2 * [torch.arange(size, dtype=torch.float64, device="cpu")]), indexing="ij")
    rows = torch.stack([i.flatten(), j.flatten(), torch.ones(size**2, dtype=torch.float64, device="cpu")], 1)
    fitted = rows @ torch.linalg.pinv(rows)
    return (torch.eye(size**2, dtype=torch.float64, device="cpu") - fitted).view(size**2, 1, size, size)


class LeastSquares:
    """The adversarial game of lsgan: scores of 1 for true, 0 for false."""

    @staticmethod
    def true(score: Tensor) -> Tensor:
        return (at_least_single(score) - 1).square().mean()

    @staticmethod
    def false(score: Tensor) -> Tensor:
        return at_least_single(score).square().mean()

    fool = true


class Hinge:
    """The adversarial game with margins: above 1 for true, below -1 for false."""

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
    """Two critics: of single frames, and of the differences of consecutive ones; each sees one draw of a chunk."""

    def __init__(self, game: type[LeastSquares] | type[Hinge], frames: int, weight: float):
        """`frames` are seen by the critic of differences."""
        self.game, self.frames, self.weight = game, frames, weight

    def draw(self, random: Any, length: int) -> Draw:
        """A frame for one critic, and where the other's frames begin."""
        return random.randint(length), random.randint(length - self.frames + 1)

    def _shown(self, pictures: Sequence[Tensor], draw: Draw) -> tuple[Tensor, Tensor]:
        frame, start = draw
        pairs = pairwise(pictures[start : start + self.frames])
        return pictures[frame], torch.cat([before - after for before, after in pairs], 1)

    def for_critics(self, critics: Critics, fake: Sequence[Tensor], real: Sequence[Tensor], draw: Draw) -> Terms:
        """The terms of both critics; what is fake has no graph."""
        terms = {}
        shown = zip(critics.items(), self._shown(real, draw), self._shown(fake, draw), strict=True)
        for (name, critic), true, false in shown:
            terms[f"dis_img_{name}"] = (self.game.true(critic(true)) + self.game.false(critic(false))) / 2
        return terms

    def for_generator(self, critics: Critics, fake: Sequence[Tensor], draw: Draw) -> Terms:
        """The terms of the one who wants to fool them."""
        shown = zip(critics.items(), self._shown(fake, draw), strict=True)
        return {f"ad_{name}": self.weight * self.game.fool(critic(false)) for (name, critic), false in shown}


class Perceptual(nn.Module):
    """What a frozen network sees: likeness of the pictures, and whether the flows lead to what fits.

    The network runs twice per frame: the generated frame is also the next one's source, without its graph.
    """

    def __init__(self, features: Features, layers: Iterable[int], content: float, style: float, correctness: float):
        super().__init__()
        self.features, self.layers = features, tuple(layers)
        self.content, self.style, self.weight = content, style, correctness
        self.correctness = Correctness()

    @torch.no_grad()
    def places(self, picture: Tensor) -> Places:
        """What flows to this picture are judged by."""
        return places(self.features(picture), self.layers)

    def forward(
        self, made: Sequence[Frame], real: Sequence[Tensor], reference: Places, previous: Places
    ) -> tuple[Terms, Places]:
        """The terms of a chunk, and the places of its last generated frame."""
        sums = dict.fromkeys(("correctness_p", "correctness_r", "content_gen", "style_gen"), 0.0)
        for frame, target in zip(made, real, strict=True):
            with torch.no_grad():
                wanted = self.features(target)
            seen, goal = self.features(frame.picture), places(wanted, self.layers)
            sums["content_gen"] += self.content * content_loss(seen, wanted)
            sums["style_gen"] += self.style * style_loss(seen, wanted)
            for name, source, flows in (("p", previous, frame.flows("p")), ("r", reference, frame.flows("r"))):
                sums[f"correctness_{name}"] += self.weight * sum(self.correctness(goal, source, flows).values())
            previous = places(seen, self.layers)
        return sums, previous


class NoPerceptual(nn.Module):
    """Training without the frozen network: no terms, nothing to carry."""

    def places(self, picture: Tensor) -> Places:
        return {}

    def forward(self, *_: Any) -> tuple[Terms, Places]:
        return {}, {}


class Regularisation(nn.Module):
    """The flows of each layer should be affine within the layer's patches."""

    def __init__(self, kernel_size: Mapping[int, int], weight: float):
        super().__init__()
        self.residual, self.kernel_size, self.weight = AffineResidual(kernel_size.values()), dict(kernel_size), weight

    def forward(self, made: Sequence[Frame]) -> Terms:
        return {
            f"regularization_{name}": self.weight
            * sum(
                self.residual(flow, self.kernel_size[layer])
                for frame in made
                for layer, flow in frame.flows(name).items()
            )
            for name in ("p", "r")
        }
