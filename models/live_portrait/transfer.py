"""Transfer of a driving frame's motion to the source."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from models.live_portrait.keypoints import Motion, flat, place_points
from models.live_portrait.options import EYE_POINTS, LIP_POINTS, NUM_KP
from models.parts.warps import product_2x2 as exact_product

MIN_SCALE = 1e-3
"""Scales closer to 0 are not used as a measure of a face's size."""
CLOSED_LIPS = (
    (-9.4524e-05, 0.00024222, -4.00974e-05), (0.000208596, 0.000468054, 1.27464e-05),
    (-0.000124602, 0.000324972, 4.425e-06), (0.000119652, -0.000456624, 5.40852e-05),
    (-0.000265254, -7.4598e-05, -1.55280e-05), (-3.34884e-05, -0.000183036, -3.49404e-06),
    (-4.75428e-07, -4.52466e-07, 1.59498e-06), (-0.000541296, 0.0026328, 7.2486e-06),
    (-1.1694e-05, 5.00502e-06, 9.9888e-06), (8.0286e-07, 5.19132e-06, -0.000409344),
    (0.000166878, -1.98150e-05, -8.85480e-05), (-1.51536e-05, 8.2506e-05, 5.94012e-06),
    (-2.61054e-07, 2.7591e-06, 2.21028e-06), (-6.6282e-05, -6.8286e-05, -3.45318e-06),
    (-0.00083262, -0.00179592, -2.59176e-06), (6.9714e-06, 3.65514e-05, -1.89780e-06),
    (-4.80876e-06, 7.1148e-06, -1.03236e-05), (-0.00063684, -0.0011661, 5.62314e-05),
    (0.00028329, -1.45656e-05, 1.09746e-05), (-4.16022e-06, -0.0150906, -0.0025494),
    (0.000222474, 0.00562788, 0.00272646),
)  # fmt: skip
"""Expression deltas of closed lips in the released weights, the reference of a single driving picture."""
_WHOLE = (1, 2, 6, *range(11, 21))
_PARTS = ((3, 1), (4, 1), (5, 2), (8, 2), (9, 1), (9, 2))
"""Deltas used absolutely from another person: whole points, and single axes (point, axis) of others. The rest encodes
identity rather than expression."""


@dataclass(frozen=True)
class Rules:
    """The transferred parts of a motion, and their reference."""

    relative: bool = True
    region: str = "all"
    per_frame: bool = False
    """Whether every frame has its own source picture (a source video)."""
    picture: bool = False
    """Whether there is a single driving picture, which has no first frame as reference."""
    picture_as_original: bool = False
    """With a driving picture: region pose has no effect, region eyes does not start from closed lips."""
    whole_expression: bool = False
    """Whether all deltas of another face are used absolutely."""
    lip_points: Sequence[int] = LIP_POINTS
    eye_points: Sequence[int] = EYE_POINTS


class Driven(NamedTuple):
    """Pose, expression, shift and scale for the source, before the region is selected."""

    rotation: Tensor
    expression: Tensor
    translation: Tensor
    scale: Tensor


def transfer(rules: Rules, source: Motion, driving: Motion, initial: Motion) -> Driven:
    """Apply the motion of driving frames to the source: (N, ...) each; `initial` is the reference of relative
    motion."""
    if not rules.relative:
        return Driven(driving.rotation, driving.expression, driving.translation, source.scale)
    if rules.picture:
        return _of_picture(rules, source, driving)
    turn = exact_product(driving.rotation, initial.rotation.mT)
    moved = Driven(
        rotation=exact_product(turn, source.rotation),
        expression=source.expression + (driving.expression - initial.expression),
        translation=source.translation + (driving.translation - initial.translation),
        scale=source.scale * _growth(driving.scale, initial.scale),
    )
    # A source video has its own head motion and scale.
    return moved._replace(translation=source.translation, scale=source.scale) if rules.per_frame else moved


def _of_picture(rules: Rules, source: Motion, driving: Motion) -> Driven:
    start = driving.expression.new_tensor(CLOSED_LIPS)
    if rules.picture_as_original and rules.region == "eyes" and not rules.per_frame:
        start = torch.zeros_like(start)
    # A picture has no head motion; with region pose its absolute pose is used.
    follows = rules.region == "pose" and not rules.picture_as_original
    rotation = driving.rotation if follows else source.rotation
    return Driven(rotation, source.expression + (driving.expression - start), source.translation, source.scale)


def _growth(scale: Tensor, initial: Tensor) -> Tensor:
    small = initial.abs() < MIN_SCALE
    return torch.where(small, torch.ones_like(scale), scale / torch.where(small, torch.ones_like(initial), initial))


def region_points(rules: Rules, source: Motion, driven: Driven) -> Tensor:
    """Key points (N, K, 3) of the source with the selected region driven."""
    pose, grows = rules.region in ("all", "pose"), rules.region == "all"
    rotation = driven.rotation if pose else source.rotation
    translation = driven.translation if pose else source.translation
    scale = driven.scale if grows else source.scale
    share = driven_share(rules, like=source.expression)
    expression = torch.where(share, driven.expression, source.expression)
    return place_points(source.canonical, rotation, expression, scale, flat(translation))


def driven_share(rules: Rules, like: Tensor) -> Tensor:
    """Mask (K, 3) of the driven expression deltas."""
    share = torch.zeros(NUM_KP, 3, dtype=torch.bool, device=like.device)
    if rules.region in ("lip", "eyes"):
        share[list(rules.lip_points if rules.region == "lip" else rules.eye_points)] = True
    elif rules.region in ("all", "exp"):
        if rules.whole_expression or (rules.relative and not rules.per_frame):
            return ~share
        share[list(_WHOLE)] = True
        share[tuple(zip(*_PARTS, strict=True))] = True
    return share
