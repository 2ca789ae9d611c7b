"""Shared code of the second stages of the key-point families: training of the AVD network only."""

from typing import Any

import torch
from torch import Tensor

from util.errors import UserError
from util.schedules import Clock, milestones


class SecondStage:
    """Mixin for families with `avd_network` that trains only this network."""

    def prepare_second_stage(self, opt: Any, finder: str, *others: str) -> None:
        """Store what the training step needs; `finder` detects points, `others` are used for visualisation only."""
        _require_batches(opt)
        self.learning_rate, self.random_scale = opt.lr, opt.random_scale
        self.epoch_milestones = opt.epoch_milestones
        self.factor = late_milestones if opt.late_milestones else milestones
        self.resting = others if opt.moving_statistics else (finder, *others)

    def repose(self, source: Tensor, identity: Any, pose: Any) -> tuple[Any, Tensor, Any]:
        """The points `identity` of a source picture in another pose, the generated picture, and its motion.

        The network must be in eval mode.
        """
        self.avd_network.eval()
        kp = self.avd_network(identity, pose)
        self.avd_network.train()
        return kp, *self.generate(self.encode(source), identity, kp)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One Adam for the AVD network."""
        return {"avd": torch.optim.Adam(self.avd_network.parameters(), self.learning_rate, betas=(0.5, 0.999))}

    def rate(self, name: str, clock: Clock) -> float:
        """The schedule, a function of the epoch only."""
        return self.factor(clock.epoch, self.epoch_milestones)


def require_first_stage(opt: Any, first_stage: str, what: str = "an AVD network is") -> None:
    """Refuse to train a second stage on networks with random weights."""
    if not (opt.init_from or opt.continue_train or opt.continue_from):
        raise UserError(f"--init_from: {what} trained on a model of {first_stage}; set it to its run or file")


def _require_batches(opt: Any) -> None:
    """Refuse batches of one sample, which the MLPs' batch norms cannot normalise."""
    if opt.batch_size // opt.accumulate < 2:
        raise UserError(
            f"--batch_size {opt.batch_size} --accumulate {opt.accumulate}: the batch norms of the AVD network need two "
            "samples in each micro-batch; use a larger --batch_size or a smaller --accumulate"
        )


def late_milestones(epoch: int, epochs: list[int]) -> float:
    """The originals' learning rate factor: milestones apply one epoch late."""
    return milestones(max(0, epoch - 1), epochs)
