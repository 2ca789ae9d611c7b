"""The losses of talking heads, and the updates that meta-training and finetuning share.

Names and sections in comments are those of Zakharov et al., Few-Shot Adversarial Learning of Realistic Neural Talking
Head Models, ICCV 2019 (arXiv 1905.08233).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.parts.blocks import ImagePyramid
from models.parts.losses import mean_difference
from models.talking_head.networks import Judgement

Numbers = dict[str, Tensor]


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """L_DSC (section 3.2): max(0, 1 - D(real)) + max(0, 1 + D(generated))."""
    return (F.relu(1 - real) + F.relu(1 + fake)).mean()


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """L_FM: mean absolute difference of the discriminator's maps, summed over its residual blocks."""
    return sum(mean_difference(*maps) for maps in zip(real, fake, strict=True))


def matching(rows: Tensor, embeddings: Tensor) -> Tensor:
    """L_MCH: distance of embeddings (B, T, dim) from the discriminator's row W_i of their video (B, dim)."""
    return mean_difference(rows[:, None].expand_as(embeddings), embeddings)


class Pixels(nn.Module):
    """The picture at several scales, as feature maps without weights."""

    def __init__(self, scales: Sequence[float] = (1, 0.5, 0.25)):
        super().__init__()
        self.pyramid = ImagePyramid(list(scales))

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(self.pyramid(x).values())


class Content(nn.Module):
    """L_CNT: difference of the features of frozen networks (VGG-19, VGGFace), summed over layers."""

    def __init__(self, networks: Mapping[str, nn.Module], weights: Mapping[str, float]):
        super().__init__()
        self.networks = nn.ModuleDict(networks)
        self.weights = dict(weights)

    def distances(self, generated: Tensor, real: Tensor) -> Numbers:
        """The distance for each network."""
        found = {}
        for name, network in self.networks.items():
            with torch.no_grad():
                real_maps = network(real)
            pairs = zip(network(generated), real_maps, strict=True)
            found[name] = sum(mean_difference(*maps) for maps in pairs)
        return found

    def total(self, distances: Numbers) -> Tensor:
        """The weighted sum."""
        return sum(self.weights[name] * distance for name, distance in distances.items())


class Judged(NamedTuple):
    """The discriminator's outputs for a real and a generated picture."""

    real: Judgement
    fake: Judgement


class Objective(nn.Module):
    """The loss of embedder and generator, L = L_CNT + L_ADV + L_MCH, and the numbers of the original's log."""

    def __init__(self, content: Content, feature_matching_weight: float, matching_weight: float = 0.0):
        super().__init__()
        self.content = content
        self.weights = {"l_adv": 1.0, "l_fm": feature_matching_weight, "l_mch": matching_weight}

    def forward(
        self, target: Tensor, generated: Tensor, judged: Judged, embeddings: Tensor | None
    ) -> tuple[Numbers, Numbers]:
        distances = self.content.distances(generated, target)
        numbers = {  # L_ADV = -D(generated) + L_FM
            "l_adv": -judged.fake.scores.mean(),
            "l_fm": feature_matching(judged.real.maps, judged.fake.maps),
        }
        if embeddings is not None:
            numbers["l_mch"] = matching(judged.fake.rows, embeddings)
        terms = {name: self.weights[name] * value for name, value in numbers.items()}
        terms["l_cnt"] = self.content.total(distances)
        report = {f"l_{name}": value for name, value in distances.items()} | {"l_cnt": terms["l_cnt"]} | numbers
        return terms, report | {"l_eg": sum(terms.values())}


Judge = Callable[[Tensor], Judgement]


def joint_updates(
    objective: Objective, judge: Judge, target: Tensor, generated: Tensor, embeddings: Tensor | None
) -> Iterator[tuple]:
    """The original code's order: one joint update on both losses, then the discriminator again."""
    judged = Judged(judge(target), judge(generated))
    terms, report = objective(target, generated, judged, embeddings)
    loss = hinge(judged.real.scores, judged.fake.scores)
    yield ("animator", "discriminator"), terms | {"l_d": loss}, report | {"l_d": loss}
    yield _discriminator_update(judge, target, generated.detach())


def separate_updates(
    objective: Objective, judge: Judge, target: Tensor, generated: Tensor, embeddings: Tensor | None
) -> Iterator[tuple]:
    """The paper's order (section 3.2): each network on its own loss; L_MCH trains only the discriminator's rows."""
    with torch.no_grad():
        real = judge(target)
    yield "animator", *objective(target, generated, Judged(real, judge(generated)), embeddings)
    generated = generated.detach()
    judged = Judged(judge(target), judge(generated))
    loss = hinge(judged.real.scores, judged.fake.scores)
    terms = {"l_d": loss}
    if embeddings is not None:
        terms["l_mch"] = objective.weights["l_mch"] * matching(judged.real.rows, embeddings.detach())
    yield "discriminator", terms, {"l_d": loss}
    yield _discriminator_update(judge, target, generated)


def _discriminator_update(judge: Judge, target: Tensor, generated: Tensor) -> tuple[str, Numbers, Numbers]:
    """The discriminator's second update, with the scores that are logged."""
    real, fake = judge(target).scores, judge(generated).scores
    loss = hinge(real, fake)
    return "discriminator", {"l_d2": loss}, {"l_d2": loss, "score": real.mean(), "score_hat": fake.mean()}
