"""From motions to the key points that drive the source: relative motion, smoothing, adjustments; frame by frame."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.live_portrait.keypoints import Motion, angles_of, nearest_rotation, place_points, rotation_of
from models.live_portrait.retargeting import Adjuster, Openness, require_openness, usual_openness
from models.live_portrait.smoothing import KalmanSmoother
from models.live_portrait.transfer import Driven, Rules, region_points, transfer
from util.geometry import hull_volume

SCALE_BOUNDS = (0.25, 4.0)
"""Bounds of the factor on a source's movements."""
FLAT = 1e-9
"""Hulls with a smaller volume are degenerate and not measured."""


class Frames(NamedTuple):
    """Consecutive driving frames with the source of each: tensors with a row per frame."""

    source: Motion
    driving: Motion
    picture: Tensor
    """Reference to the source picture: an index (N,), or the picture itself (N, 3, H, W)."""
    source_openness: Tensor | None = None
    openness: Tensor | None = None
    """Openness of the driving frames (N, 3), like that of the sources."""

    def rows(self, index: slice) -> "Frames":
        """Some of the frames."""
        others = (None if part is None else part[index] for part in self[2:])
        return Frames(self.source.rows(index), self.driving.rows(index), *others)


def joined(one: Frames, other: Frames) -> Frames:
    """Concatenate frames."""
    motions = (Motion(*map(torch.cat, zip(a, b, strict=True))) for a, b in zip(one[:2], other[:2], strict=True))
    others = (None if a is None else torch.cat([a, b]) for a, b in zip(one[2:], other[2:], strict=True))
    return Frames(*motions, *others)


class Points(NamedTuple):
    """Frames with their driven points."""

    frames: Frames
    source: Tensor
    driven: Tensor


class Mover:
    """Turns motions of driving frames into points; all memory is in the returned state."""

    def __init__(
        self,
        rules: Rules,
        adjuster: Adjuster,
        smoother: KalmanSmoother | None,
        *,
        scaling: str = "expression-friendly",
        bent_rotations: bool = False,
        animals: bool = False,
    ):
        """`bent_rotations`: keep smoothed rotations unprojected, as the original; `animals`: follow its program for
        animals."""
        self.rules, self.adjuster, self.smoother = rules, adjuster, smoother
        self.scaling, self.bent_rotations, self.animals = scaling, bent_rotations, animals

    def begin(self, state: dict[str, Any], frames: Frames) -> dict[str, Any]:
        """Set the reference of relative motion to the first of these frames, unless it is set."""
        if "initial" in state:
            return state
        initial = frames.driving.rows(slice(0, 1))
        # A picture may have several faces; a source video's size is that in its first frame.
        sources = state.get("motion", frames.source.rows(slice(0, 1)))
        state = {**state, "initial": initial, "usual": None, "ratios": self._ratios(sources, initial)}
        if self.rules.per_frame and frames.source_openness is not None:
            state["usual"] = usual_openness(Openness.of(frames.source_openness))
        return state

    def push(self, state: dict[str, Any], frames: Frames) -> tuple[dict[str, Any], Points | None]:
        """The points of the frames that are ready, and the next state."""
        state = self.begin(state, frames)
        driven = transfer(self.rules, frames.source, frames.driving, state["initial"])
        if self.smoother is None:
            return state, self._points(state, frames, driven)
        waiting, smooth = self.smoother.push(state.get("waiting"), _as_series(driven))
        held = joined(state["held"], frames) if "held" in state else frames
        return self._released(state, held, waiting, smooth)

    def finish(self, state: dict[str, Any], max_frames: int) -> tuple[dict[str, Any], Points | None]:
        """The points of at most this many pending frames, when no more frames come."""
        waiting, smooth = self.smoother.finish(state["waiting"], max_frames)
        return self._released(state, state["held"], waiting, smooth)

    def _released(self, state: dict[str, Any], held: Frames, waiting: Any, smooth: Tensor) -> tuple:
        count = len(smooth)
        state = {**state, "waiting": waiting, "held": held.rows(slice(count, None))}
        if not count:
            return state, None
        frames = held.rows(slice(0, count))
        own = transfer(self.rules, frames.source, frames.driving, state["initial"])
        return state, self._points(state, frames, self._from_series(smooth.to(own.scale.dtype), own))

    def _from_series(self, series: Tensor, own: Driven) -> Driven:
        """Convert smoothed numbers to motions; a source video keeps its own shift and scale."""
        rotation, expression, translation, scale = series.split([9, series.shape[1] - 13, 3, 1], dim=1)
        rotation = rotation.unflatten(1, (3, 3))
        if not self.bent_rotations:
            rotation = nearest_rotation(rotation)
        expression = expression.unflatten(1, (-1, 3))
        if self.rules.per_frame:
            return own._replace(rotation=rotation, expression=expression)
        return Driven(rotation, expression, translation, scale)

    def _points(self, state: dict[str, Any], frames: Frames, driven: Driven) -> Points:
        kp_source, kp = frames.source.points(), region_points(self.rules, frames.source, driven)
        if (ratios := state["ratios"]) is not None:
            start = _points_at(frames.source, state["initial"]) if self.animals else kp_source
            kp = kp_source + (kp - start) * (ratios if self.rules.per_frame else ratios[frames.picture])
        source, driving = (
            None if numbers is None else Openness.of(numbers) for numbers in (frames.source_openness, frames.openness)
        )
        require_openness(self.adjuster.adjustments, source, driving)
        return Points(frames, kp_source, self.adjuster(kp_source, kp, source, driving, state["usual"]))

    def _ratios(self, sources: Motion, initial: Motion) -> Tensor | None:
        """Ratios (S, 1, 1) of the movements of each source to the driving ones; None: they are not scaled.

        There are none for people in the original's programs, whose two point sets are equal in relative motion.
        """
        if self.animals:
            started = _points_at(sources, initial)
            ratios = self._hull_ratios(sources, started) if self.scaling == "expression-friendly" else 1.0
        elif self.scaling == "adapt-scale" and self.rules.relative and not self.rules.picture:
            ratios = self._hull_ratios(sources, initial.points().expand_as(sources.canonical))
        else:
            return None
        return torch.ones_like(sources.scale)[..., None] * ratios

    @staticmethod
    def _hull_ratios(sources: Motion, driven: Tensor) -> Tensor:
        pairs = zip(sources.points().split(1), driven.split(1), strict=True)
        return sources.scale.new_tensor([hull_ratio(*pair) for pair in pairs])[:, None, None]


def _points_at(source: Motion, initial: Motion) -> Tensor:
    """The sources' points with pose and expression of the first driving frame."""
    still = initial._replace(scale=source.scale)
    return still.points(source.canonical)


def hull_ratio(source: Tensor, driving: Tensor) -> float:
    """Square root of the ratio of the volumes of two convex hulls (1, K, 3), clamped; 1 for a degenerate one."""
    volumes = [hull_volume(points[0].detach().double().cpu().numpy()) for points in (source, driving)]
    if min(volumes) < FLAT:
        return 1.0
    return min(max((volumes[0] / volumes[1]) ** 0.5, SCALE_BOUNDS[0]), SCALE_BOUNDS[1])


def _as_series(driven: Driven) -> Tensor:
    """Motions (N, ...) as numbers (N, C) for smoothing."""
    return torch.cat([part.flatten(1) for part in driven], dim=1)


def edited_points(source: Motion, edit: dict[str, Tensor]) -> Tensor:
    """A source's points (N, K, 3) with edits of pose, expression and size; depth is kept here."""
    angles = (own + more for own, more in zip(angles_of(source.rotation), edit["angles"].split(1, 1), strict=True))
    expression = source.expression + edit["expression"]
    scale = source.scale * edit["zoom"]
    return place_points(source.canonical, rotation_of(*angles), expression, scale, source.translation)


def edited_openness(adjuster: Adjuster, kp_source: Tensor, source: Openness | None, edit: dict[str, Tensor]) -> Tensor:
    """The offsets (N, K, 3) that give eyes and lips the openness of edits; NaN, or the present openness, changes
    nothing."""
    total = torch.zeros_like(kp_source)
    if source is None:
        return total
    for name, offsets in (("eyes", adjuster.eye_offsets), ("lips", adjuster.lip_offsets)):
        aim, own = edit[name], getattr(source, name)
        # The original compares the values of its sliders, which have two digits.
        differs = (aim.nan_to_num() != own.mean(1, keepdim=True).mul(100).round().div(100)) & ~aim.isnan()
        total = total + offsets(kp_source, source, aim.nan_to_num()) * differs[..., None]
    return total
