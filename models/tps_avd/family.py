"""Thin-plate spline motion, second stage: trains the AVD network to combine one face's pose with another's identity."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from models.parts.avd import draw_proportions
from models.parts.keypoint_family import Step
from models.parts.keypoints import KeyPoints
from models.parts.losses import mean_difference
from models.parts.pictures import Pictures, first_samples
from models.parts.second_stage import SecondStage, require_first_stage
from models.parts.sizes import check_size
from models.tps.family import ThinPlateSplineMotion, build_avd, build_background
from models.tps_avd.options import BEGINS_WITH, add_options
from util.schedules import Clock


class ThinPlateSplineAvd(SecondStage, ThinPlateSplineMotion):
    """Thin-plate spline motion with points in the pose of the driving face and the identity of the source.

    Starts from the networks of the first stage (--init_from), which stay frozen; batches are those of the first stage.
    """

    layout = replace(ThinPlateSplineMotion.layout, optimizers={"avd": "optimizer_avd"})
    begins_with = BEGINS_WITH
    planned_epochs = 200
    is_second_stage = True

    add_options = staticmethod(add_options)

    @staticmethod
    def recognises(sections: dict) -> bool:
        return False

    def prepare_training(self, opt: Any) -> None:
        require_first_stage(opt, "tps")
        self.bg_predictor, self.avd_network = build_background(opt), build_avd(opt)
        self.prepare_second_stage(opt, "kp_detector", "dense_motion_network", "inpainting_network", "bg_predictor")
        self.weight = opt.lambda_shift

    def before_update(self, names: tuple[str, ...]) -> None:
        """Gradients are not clipped in this stage."""

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        source, driving = batch["source"], batch["driving"]
        check_size(source, self.multiple)
        with torch.no_grad():
            identity, target = self.kp_detector(source), self.kp_detector(driving)
            proportions = draw_proportions(driving, self.random_scale)
        pose = KeyPoints(target.value * proportions[:, None])
        made = self.avd_network(identity, pose)
        yield "avd", {"rec_kp": self.weight * mean_difference(target.value, made.value)}
        return Pictures(partial(self._drawn, *first_samples([source, driving, identity, target])))

    def _drawn(self, source: torch.Tensor, driving: torch.Tensor, identity: KeyPoints, target: KeyPoints) -> dict:
        """The driving frame reconstructed from the AVD network's points."""
        made, prediction, motion = self.repose(source, identity, target)
        return self.pictures(Step(source, driving, prediction, identity, made, motion))
