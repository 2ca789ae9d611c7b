"""Shared code of the second stages of the key-point families: options, and training of the AVD network only."""

from typing import Any

import torch
from torch import Tensor, nn

from util.errors import UserError
from util.schedules import milestones
from util.values import at_least, list_of, not_negative, share

TRAIN = "--train_avd_params"


def add_second_stage_options(parser: Any, epoch_milestones: list[int]) -> None:
    """Training options of the AVD network; the section of the first stage in a nested file is ignored."""
    parser.accept_unused("train_params.*")
    parser = parser.add_argument_group("second stage", example="--lr 1e-3 --epoch_milestones 20,25")
    shared = {"num_epochs": "epochs", "batch_size": "batch_size", "checkpoint_freq": "save_every_epochs"}
    for key, name in (shared | {"num_repeats": "num_repeats", "dataloader_workers": "nThreads"}).items():
        parser.add_alias(f"{TRAIN}.{key}", f"--{name}")
    add = parser.add_argument
    add("--lr", f"{TRAIN}.lr", type=not_negative, default=1e-3, help="learning rate of the AVD network")
    add("--epoch_milestones", f"{TRAIN}.epoch_milestones", type=list_of(at_least(0)), default=epoch_milestones,
        help="epochs at which the learning rate is divided by 10")  # fmt: skip
    add("--random_scale", f"{TRAIN}.random_scale", type=share, default=0.25,
        help="maximum random stretch of the pose in AVD training, in width and height")  # fmt: skip
    add("--lambda_shift", f"{TRAIN}.lambda_shift", type=not_negative, default=1,
        help="weight of the loss on points")  # fmt: skip
    parser.add_switch(
        "--late_milestones", default=True, help="apply milestones one epoch late, as in the original", advanced=True
    )
    parser.add_switch(
        "--moving_statistics", default=True,
        help="keep the detector in training mode, as in the original: batch statistics, updated running averages",
        advanced=True,
    )  # fmt: skip


class SecondStage:
    """Mixin for families with `avd_network` that trains only this network."""

    resting: tuple[nn.Module, ...] = ()
    """Networks of the first stage whose norms stay frozen."""

    def prepare_second_stage(self, opt: Any, finder: nn.Module, *others: nn.Module) -> None:
        """Store what the training step needs; `finder` detects points, `others` are used for visualisation only."""
        _require_batches(opt)
        self.learning_rate, self.random_scale = opt.lr, opt.random_scale
        self.epoch_milestones = opt.epoch_milestones
        self.factor = late_milestones if opt.late_milestones else milestones
        self.resting = others if opt.moving_statistics else (finder, *others)

    def train(self, mode: bool = True) -> "SecondStage":
        """Training mode for all but the frozen networks."""
        super().train(mode)
        for network in self.resting:
            network.eval()
        return self

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

    def rate(self, name: str, clock: Any) -> float:
        """The schedule, a function of the epoch only."""
        return self.factor(clock.epoch, self.epoch_milestones)


def require_first_stage(opt: Any, first_stage: str) -> None:
    """Refuse to train an AVD network with all weights 0."""
    if not (opt.init_from or opt.continue_train or opt.continue_from):
        raise UserError(f"--init_from: an AVD network is trained on a model of {first_stage}; name its run or its file")


def _require_batches(opt: Any) -> None:
    """Refuse batches of one sample, which the MLPs' batch norms cannot normalise."""
    if opt.batch_size // opt.accumulate < 2:
        raise UserError(
            f"--batch_size {opt.batch_size} --accumulate {opt.accumulate}: the batch norms of the AVD network need two "
            "samples in each micro-batch; take a larger --batch_size or a smaller --accumulate"
        )


def late_milestones(epoch: int, epochs: list[int]) -> float:
    """The originals' learning rate factor: milestones apply one epoch late."""
    return milestones(max(0, epoch - 1), epochs)
