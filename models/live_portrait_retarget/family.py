"""LivePortrait, second stage: stitching, eyes and lips learn, all other networks stay as they are."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.live_portrait.family import ANIMATORS, PERCEPTRONS, LivePortrait
from models.live_portrait.keypoints import Motion
from models.live_portrait.losses import require
from models.live_portrait.retargeting import Openness
from models.live_portrait.transfer import Rules, region_points, transfer
from models.live_portrait_retarget.losses import (
    OpennessLoss,
    OpennessMeter,
    StitchingLoss,
    below_chin,
    crop_border,
    eyes_mask,
    mouth_mask,
    openness_of,
    point_target,
)
from models.live_portrait_retarget.options import BEGINS_WITH, add_options
from models.parts.losses import Terms, mean_difference
from models.parts.options import ScheduleSettings, build_schedules
from models.parts.second_stage import require_first_stage
from util.errors import UserError
from util.landmark_network import WEIGHTS, load_network
from util.schedules import Clock
from util.settings import settings_of

OPTIMIZERS = {"stitching": "stitching", "eyes": "eye", "lips": "lip"}
"""The name in --train_parts -> the network."""


class LivePortraitRetarget(LivePortrait):
    """Stitching and the retargeting of eyes and lips, on the networks of the first stage (--init_from).

    Training batches are those of the first stage, with landmarks. The motion of another person is that of another
    sample of the batch.
    """

    layout = replace(LivePortrait.layout, entries={name: name for name in (*ANIMATORS, *PERCEPTRONS)})
    begins_with = BEGINS_WITH
    resting = ANIMATORS

    add_options = staticmethod(add_options)

    @staticmethod
    def recognises(sections: dict) -> bool:
        return False

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        if training:
            self.optional = tuple(PERCEPTRONS)  # they begin to learn here

    def prepare_training(self, opt: Any) -> None:
        require_first_stage(opt, "live_portrait", "stitching, eyes and lips are")
        self.parts = tuple(dict.fromkeys(opt.train_parts))
        if "stitching" in self.parts and opt.batch_size // opt.accumulate < 2:
            raise UserError(
                f"--batch_size {opt.batch_size} --accumulate {opt.accumulate}: stitching uses the motion of other "
                f"samples; use at least two, or remove it from --train_parts"
            )
        self.by_points, self.border = opt.openness_by == "points", opt.shoulder_mask == "border"
        _refuse_unused(opt)
        weights = Path(opt.landmark_network or WEIGHTS)
        self.openness_meter = None if self.by_points else OpennessMeter(load_network(weights))
        self.stitching_motion = opt.stitching_motion
        self.stitching_loss = StitchingLoss(opt.weight_shoulders, opt.weight_change)
        weights = opt.weight_openness, opt.weight_keep, opt.weight_offsets
        self.openness_losses = {
            "eyes": OpennessLoss("eyes", (0, 1), eyes_mask, *weights),
            "lips": OpennessLoss("lips", (2,), mouth_mask, *weights),
        }
        self.aims = {"eyes": opt.eye_openness, "lips": opt.lip_openness}
        self.guided = {"eyes": opt.eye_points, "lips": opt.lip_points}
        self.adam = partial(torch.optim.Adam, lr=opt.lr, betas=tuple(opt.adam_betas))
        self.schedules = build_schedules(settings_of(ScheduleSettings, opt), self.parts)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {part: self.adam(getattr(self, OPTIMIZERS[part]).parameters()) for part in self.parts}

    def before_update(self, names: tuple[str, ...]) -> None:
        """Gradients stay as they are."""

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        source, driving = (self.seen(batch[name]) for name in ("source", "driving"))
        still, pictures = None, {"source": source}
        with torch.no_grad():
            of_source, of_driving = self.motion_extractor(source), self.motion_extractor(driving)
            kp = of_source.points()
            if "stitching" in self.parts or not self.by_points:
                encoded = self.encode(source)
                pictures["still"] = still = self.generate(encoded, kp, kp)
        if "stitching" in self.parts:
            generated, terms = self._stitched(of_source, of_driving, partial(self.generate, encoded, kp), still, batch)
            yield "stitching", terms
            pictures["stitched"] = generated.detach()
        for part in (part for part in self.parts if part != "stitching"):
            if self.by_points:
                yield part, self._by_points(part, of_source, of_driving, batch)
                continue
            generated, terms = self._by_pictures(part, kp, partial(self.generate, encoded, kp), still, batch)
            yield part, terms
            pictures[part] = generated.detach()
        return pictures

    def _stitched(
        self,
        source: Motion,
        driving: Motion,
        generate: Callable[[Tensor], Tensor],
        still: Tensor,
        batch: dict[str, Any],
    ) -> tuple[Tensor, Terms]:
        """Pictures moved by other people and stitched, and the terms of stitching."""
        kp = source.points()
        moved = self._moved_by_others(source, driving)
        stitched = self.stitching(kp, moved)
        generated = generate(stitched)
        size = generated.shape[-1]
        if self.border:
            mask = crop_border(size, like=generated)
        else:
            mask = below_chin(require(batch, "source_landmarks", "--shoulder_mask chin"), size)
        return generated, self.stitching_loss(generated, still, mask, stitched - moved)

    def _moved_by_others(self, source: Motion, driving: Motion) -> Tensor:
        """The points of sources in the motion of the next sample, relative to its source frame or not."""
        others = torch.arange(len(source.scale), device=source.scale.device).roll(1)
        moves = {}
        for name in ("absolute", "relative"):
            rules = Rules(relative=name == "relative")
            driven = transfer(rules, source, driving.rows(others), source.rows(others))
            moves[name] = region_points(rules, source, driven)
        if self.stitching_motion != "both":
            return moves[self.stitching_motion]
        half = torch.rand_like(source.scale)[..., None] < 0.5
        return torch.where(half, moves["absolute"], moves["relative"])

    def _by_points(self, part: str, source: Motion, driving: Motion, batch: dict[str, Any]) -> Terms:
        """Supervision by two frames of a clip: offsets take a part's points from one frame to the other."""
        now, then = (self._openness(batch, name) for name in ("source", "driving"))
        offsets = self._offsets(part, source.points(), now, getattr(then, part).mean(1, keepdim=True))
        target = point_target(source.expression, driving.expression, source.scale, self.guided[part])
        return {f"{part}_points": mean_difference(offsets, target)}

    def _by_pictures(
        self, part: str, kp: Tensor, generate: Callable[[Tensor], Tensor], still: Tensor, batch: dict[str, Any]
    ) -> tuple[Tensor, Terms]:
        """Supervision by pictures: the landmark network must measure the requested openness in them."""
        low, high = self.aims[part]
        aim = low + (high - low) * torch.rand_like(kp[:, :1, 0])
        offsets = self._offsets(part, kp, self._openness(batch, "source"), aim)
        generated = generate(kp + offsets)
        landmarks = batch["source_landmarks"]
        measured = self.openness_meter(generated, landmarks)
        return generated, self.openness_losses[part](generated, still, landmarks, measured, aim, offsets)

    def _openness(self, batch: dict[str, Any], name: str) -> Openness:
        return Openness.of(openness_of(require(batch, f"{name}_landmarks", "--train_parts eyes,lips")))

    def _offsets(self, part: str, kp: Tensor, now: Openness, aim: Tensor) -> Tensor:
        opens = self.adjuster.eye_offsets if part == "eyes" else self.adjuster.lip_offsets
        return opens(kp, now, aim)


def _refuse_unused(opt: Any) -> None:
    """Refuse what supervision by points would ignore, and ranges without values."""
    if opt.landmark_network and opt.openness_by == "points":
        raise UserError(
            f"--landmark_network {opt.landmark_network}: only --openness_by pictures measures with it; set that, too, "
            f"or remove it"
        )
    for name in ("eye_openness", "lip_openness"):
        low, high = getattr(opt, name)
        if low > high:
            raise UserError(f"--{name} {low},{high}: the least comes first; set {high},{low}")
