"""The losses of stage I beside the perceptual pyramid.

The authors published no training code (docs/live_portrait.md). Equivariance, key point prior, head pose and deformation
prior are those of face-vid2vid (Wang et al., One-Shot Free-View Neural Talking-Head Synthesis for Video Conferencing,
CVPR 2021, arXiv 2011.15126).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.live_portrait.keypoints import Motion, angles_of
from models.parts.arcface import alignment_grid
from models.parts.discriminator import ScaleDiscriminator
from models.parts.equivariance import RandomTransform, Transformed
from models.parts.keypoints import KeyPoints
from models.parts.losses import Terms, at_least_single, mean_difference
from util.errors import UserError

Batch = Mapping[str, Any]


class Equivariance(RandomTransform):
    """Equivariance loss of face-vid2vid: points of a transformed frame, transformed back, match the frame's."""

    def __init__(self, weight: float, **transform: Any):
        super().__init__(**transform)
        self.weight = weight

    def forward(
        self, detect: Callable[[Tensor], Tensor], driving: Tensor, kp_driving: Tensor
    ) -> tuple[Terms, Transformed]:
        transform, frame = self.moved(driving)
        kp = detect(frame)[..., :2]
        term = self.weight * mean_difference(kp_driving[..., :2], transform.points(kp))
        return {"equivariance": term}, Transformed(frame, KeyPoints(kp.detach()))


def keypoint_prior(points: Tensor, distance: float, depth: float) -> Tensor:
    """Key point prior of face-vid2vid: points (B, K, 3) at least sqrt(distance) apart, with mean depth `depth`."""
    squares = (points[:, :, None] - points[:, None]).square().sum(-1)
    apart = ~torch.eye(points.shape[1], dtype=torch.bool, device=points.device)
    # Each pair counts twice; the diagonal, a constant, is left out.
    near = ((distance - squares).clamp_min(0) * apart).sum((1, 2)).mean()
    return near + (points[..., 2].mean(1) - depth).abs().mean()


def deformation_prior(expression: Tensor) -> Tensor:
    """Deformation prior of face-vid2vid: mean size of the expression deltas."""
    return expression.abs().mean()


def wing(one: Tensor, other: Tensor, omega: float, epsilon: float) -> Tensor:
    """Wing loss (Feng et al., CVPR 2018): omega ln(1 + |x| / epsilon) for |x| < omega, |x| - C above."""
    difference = (one - other).abs()
    shift = omega - omega * math.log(1 + omega / epsilon)
    return torch.where(difference < omega, omega * torch.log1p(difference / epsilon), difference - shift)


def guide(points: Sequence[Tensor], landmarks: Sequence[Tensor], omega: float, epsilon: float) -> Tensor:
    """1 / (2 N) sum over N points of Wing(landmark, point), source and driving frame together, mean over the batch."""
    pairs = zip(points, landmarks, strict=True)
    distances = (wing(point[..., :2], landmark[..., :2], omega, epsilon).mean((1, 2)) for point, landmark in pairs)
    return sum(distances).mean() / 2


class Priors(nn.Module):
    """Losses on motions alone: key point prior, deformation prior, head pose, guide."""

    def __init__(
        self, weights: Mapping[str, float], *, distance: float, depth: float, guided: Sequence[int],
        guides: Sequence[int], wing_shape: Sequence[float], both_poses: bool,
    ):  # fmt: skip
        """`guided`: the points pulled to the landmarks `guides`; `both_poses`: also supervise the source's pose."""
        super().__init__()
        if len(guided) != len(guides):
            raise UserError(
                f"--guide_points names {len(guided)} points, --guide_landmarks {len(guides)} landmarks; list as many "
                f"of each"
            )
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.distance, self.depth = distance, depth
        self.guided, self.guides, self.wing_shape = list(guided), list(guides), tuple(wing_shape)
        self.both_poses = both_poses

    def forward(self, source: Motion, driving: Motion, batch: Batch) -> Terms:
        kp_driving = driving.points(source.canonical)
        computed = {
            "prior": lambda: keypoint_prior(kp_driving, self.distance, self.depth),
            "deformation": lambda: deformation_prior(driving.expression),
            "headpose": lambda: self._headpose(source, driving, batch),
            "guide": lambda: self._guide(source.points(), kp_driving, batch),
        }
        return {name: weight * computed[name]() for name, weight in self.weights.items()}

    def _guide(self, kp_source: Tensor, kp_driving: Tensor, batch: Batch) -> Tensor:
        landmarks = [require(batch, f"{name}_landmarks", "--weight_guide") for name in ("source", "driving")]
        points = [kp[:, self.guided] for kp in (kp_source, kp_driving)]
        return guide(points, [found[:, self.guides] for found in landmarks], *self.wing_shape)

    def _headpose(self, source: Motion, driving: Motion, batch: Batch) -> Tensor:
        motions = {"driving": driving} | ({"source": source} if self.both_poses else {})
        errors = [
            headpose(torch.cat(angles_of(motion.rotation), 1), require(batch, f"{name}_angles", "--weight_headpose"))
            for name, motion in motions.items()
        ]
        return sum(errors) / len(errors)


def headpose(angles: Tensor, target_angles: Tensor) -> Tensor:
    """Head pose loss of face-vid2vid: mean absolute difference, summed over pitch, yaw, roll (B, 3) in degrees."""
    return (angles - target_angles).abs().mean(0).sum()


def require(batch: Batch, key: str, option: str) -> Any:
    """A batch entry that a loss needs; the error names the loss's option."""
    if key not in batch:
        raise UserError(
            f"{option} needs {key} in the training samples: use --dataset_mode portraits and clips with landmarks "
            "(script/prepare_videos.py --layouts portraits)"
        )
    return batch[key]


class Regions(nn.Module):
    """The whole picture, the face and the lips, as a cascade of losses sees them."""

    def __init__(self, names: Sequence[str], size: int, option: str):
        """`size`: the side of face and lips; `option`: what asks for them."""
        super().__init__()
        self.names, self.size, self.option = tuple(names), size, option

    def forward(self, picture: Tensor, batch: Batch) -> dict[str, Tensor]:
        """By name; boxes (B, 4) are left, top, right, bottom in [-1, 1] of the picture."""
        return {name: picture if name == "whole" else self._cut(picture, name, batch) for name in self.names}

    def _cut(self, picture: Tensor, name: str, batch: Batch) -> Tensor:
        return cut_boxes(picture, require(batch, f"{name}_box", f"{self.option} {name}"), self.size)


class PerceptualCascade(nn.Module):
    """The perceptual pyramid of the whole picture and of regions of it, with equal weights."""

    def __init__(self, pyramid: nn.Module, regions: Regions):
        super().__init__()
        self.pyramid, self.regions = pyramid, regions

    def forward(self, generated: Tensor, real: Tensor, batch: Batch) -> Terms:
        made, true = self.regions(generated, batch), self.regions(real, batch)
        of_regions = {name: self.pyramid(made[name], true[name]) for name in self.regions.names}
        return {
            term if name == "whole" else f"{term}_{name}": value
            for name, terms in of_regions.items()
            for term, value in terms.items()
        }


class Identity(nn.Module):
    """1 - cosine of the ArcFace embeddings of result and driving frame, both aligned by the driving landmarks."""

    def __init__(self, weight: float, network: nn.Module):
        super().__init__()
        self.weight, self.network = weight, network

    def forward(self, generated: Tensor, real: Tensor, batch: Batch) -> Terms:
        grid = alignment_grid(require(batch, "driving_landmarks", "--identity_network"), generated)
        with torch.no_grad():
            target = self.network(cut_grid(real, grid))
        made = self.network(cut_grid(generated, grid))
        return {"identity": self.weight * (1 - F.cosine_similarity(made, target)).mean()}


class Cascade(nn.Module):
    """Discriminators of the whole picture and of regions of it."""

    def __init__(self, regions: Sequence[str], *, expansion: int, num_blocks: int, max_features: int):
        super().__init__()
        self.judges = nn.ModuleDict(
            {name: ScaleDiscriminator(3, expansion, num_blocks, max_features, sn=True) for name in regions}
        )

    def forward(self, views: Mapping[str, Tensor]) -> dict[str, tuple[list[Tensor], Tensor]]:
        """For each region the maps of the blocks and the score of every patch."""
        return {name: self.judges[name](view) for name, view in views.items()}


class Adversarial(nn.Module):
    """GAN loss with the cascade: hinge or least squares, with feature matching."""

    on = True

    def __init__(self, regions: Regions, *, weight: float, matching: float, loss: str):
        super().__init__()
        self.regions, self.weight, self.matching, self.hinge = regions, weight, matching, loss == "hinge"

    def for_generator(self, judge: nn.Module, generated: Tensor, real: Tensor, batch: Batch) -> Terms:
        """GAN and feature matching terms of the generator."""
        judged = judge(self.regions(generated, batch))
        with torch.no_grad():
            judged_real = judge(self.regions(real, batch))
        scores = [at_least_single(score) for _, score in judged.values()]
        terms = {"gan": self.weight * sum((-s if self.hinge else (1 - s) ** 2).mean() for s in scores)}
        if self.matching:
            pairs = [(a, b) for name in judged for a, b in zip(judged[name][0], judged_real[name][0], strict=True)]
            terms["matching"] = self.matching * sum(mean_difference(*pair) for pair in pairs)
        return terms

    def for_discriminator(self, judge: nn.Module, generated: Tensor, real: Tensor, batch: Batch) -> Terms:
        """The GAN term of the discriminators."""
        fake, true = (judge(self.regions(picture, batch)) for picture in (generated.detach(), real))
        pairs = [(at_least_single(true[name][1]), at_least_single(fake[name][1])) for name in self.regions.names]
        if self.hinge:
            return {"discriminator": sum(F.relu(1 - t).mean() + F.relu(1 + f).mean() for t, f in pairs)}
        return {"discriminator": sum((1 - t).square().mean() + f.square().mean() for t, f in pairs)}


class NoAdversarial(nn.Module):
    """Training without discriminators."""

    on = False

    def for_generator(self, *_) -> Terms:
        return {}


def cut_boxes(pictures: Tensor, boxes: Tensor, size: int) -> Tensor:
    """The part of each picture in its box, as a square of this side."""
    line = (torch.arange(size, dtype=boxes.dtype, device=boxes.device) + 0.5) / size
    x, y = (boxes[:, i, None] + (boxes[:, i + 2] - boxes[:, i])[:, None] * line for i in (0, 1))
    grid = torch.stack([x[:, None].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], dim=-1)
    return cut_grid(pictures, grid)


def cut_grid(pictures: Tensor, grid: Tensor) -> Tensor:
    """Pictures sampled at a grid (B, h, w, 2) in [-1, 1] between their edges, which are repeated beyond."""
    return F.grid_sample(pictures, grid.to(pictures.dtype), padding_mode="border", align_corners=False)
