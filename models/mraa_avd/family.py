"""Articulated animation, second stage: trains the AVD network to combine one face's pose with another's identity."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.mraa.family import FIRST_STAGE, SECOND_STAGE, ArticulatedAnimation, build_avd
from models.mraa.regions import Regions
from models.mraa_avd.options import BEGINS_WITH, add_options
from models.parts.avd import draw_proportions
from models.parts.keypoint_family import Step
from models.parts.losses import mean_difference
from models.parts.pictures import Pictures, first_samples
from models.parts.second_stage import SecondStage, require_first_stage
from models.parts.sizes import check_size
from util.schedules import Clock


class ArticulatedAvd(SecondStage, ArticulatedAnimation):
    """Articulated animation whose regions have the pose of the driving face and the identity of the source.

    Starts from the networks of the first stage (--init_from), which stay frozen; batches are those of the first stage.
    """

    layout = replace(SECOND_STAGE, others=(FIRST_STAGE,))
    begins_with = BEGINS_WITH
    planned_epochs = 30

    add_options = staticmethod(add_options)

    @staticmethod
    def recognises(sections: dict) -> bool:
        return False

    @classmethod
    def exported(cls, content: dict[str, Any], training: Mapping[str, Any]) -> Any:
        exported_entries = super().exported(content, training)
        # In the original's files of this stage the optimizer of the AVD network has the name of the first stage's.
        return exported_entries | {FIRST_STAGE.optimizers["reconstruction"]: exported_entries["optimizer_avd"]}

    def prepare_training(self, opt: Any) -> None:
        require_first_stage(opt, "mraa")
        self.avd_network = build_avd(opt)
        self.prepare_second_stage(opt, "region_predictor", "generator", "bg_predictor")
        self.weights = {"rec_shift": opt.lambda_shift, "rec_affine": opt.lambda_affine}

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        source, driving = batch["source"], batch["driving"]
        check_size(source, self.multiple)
        with torch.no_grad():
            identity = self.region_predictor(source)
            target = self.avd_network.posed(self.region_predictor(driving))
            pose = stretched(target, draw_proportions(driving, self.random_scale))
        exported_entries = self.avd_network(identity, pose)
        differences = {
            "rec_shift": mean_difference(target.shift, exported_entries.shift),
            "rec_affine": mean_difference(target.affine, exported_entries.affine),
        }
        yield "avd", {name: self.weights[name] * difference for name, difference in differences.items()}
        return Pictures(partial(self._drawn, *first_samples([source, driving, identity, target])))

    def _drawn(self, source: Tensor, driving: Tensor, identity: Regions, target: Regions) -> dict[str, Tensor]:
        """The driving frame reconstructed from the AVD network's regions."""
        _, prediction, motion = self.repose(source, identity, target)
        return self.pictures(Step(source, driving, prediction, identity, target, motion))


def stretched(regions: Regions, proportions: Tensor) -> Regions:
    """Regions of pictures stretched in width and height (B, 2)."""
    factors = proportions[:, None]
    return Regions(regions.shift * factors, regions.affine * factors[..., None])
