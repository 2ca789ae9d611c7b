"""Animation via disentanglement: the pose of one face and the identity of another, joined by three perceptrons.

What the second stages of the key-point families share: the network's layers, and how its training meets the pose.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from util.errors import UserError
from util.schedules import milestones
from util.values import at_least, count, list_of, not_negative, share

NETWORK, TRAIN = "--model_params.avd_network_params", "--train_avd_params"


def perceptron(widths: list[int]) -> nn.Sequential:
    """Linear layers between these widths, with batch norm and ReLU after all but the last."""
    layers = []
    for before, after in zip(widths[:-2], widths[1:-1], strict=True):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(*widths[-2:]))


class Disentangler(nn.Module):
    """The embedding (B, N) that the points of one face have in the pose of another one."""

    def __init__(self, embedding: int, id_bottle_size: int, pose_bottle_size: int):
        super().__init__()
        self.id_encoder = perceptron([embedding, 256, 512, 1024, id_bottle_size])
        self.pose_encoder = perceptron([embedding, 256, 512, 1024, pose_bottle_size])
        self.decoder = perceptron([id_bottle_size + pose_bottle_size, 1024, 512, 256, embedding])

    def joined(self, identity: Tensor, pose: Tensor) -> Tensor:
        """Embeddings to an embedding, in single precision; one identity may serve a batch of poses."""
        with torch.autocast(pose.device.type, enabled=False):
            code = self.id_encoder(identity).expand(len(pose), -1)
            return self.decoder(torch.cat([self.pose_encoder(pose), code], dim=1))


def require_avd(content: Any, path: Path, second_stage: str) -> None:
    """Refuse a file without AVD network by saying how to get one, if it is one of a first stage at all."""
    if isinstance(content, Mapping) and "avd_network" not in content:
        raise UserError(
            f"{path}: holds no AVD network, which --mode avd animates with. Train one (--model {second_stage} "
            f"--init_from {path}), or animate with --mode relative or --mode standard"
        )


def require_first_stage(opt: Any, first_stage: str) -> None:
    """Refuse to train an AVD network on nothing."""
    if not (opt.init_from or opt.continue_train or opt.continue_from):
        raise UserError(f"--init_from: an AVD network is trained on a model of {first_stage}; name its run or its file")


def draw_proportions(like: Tensor, random_scale: float) -> Tensor:
    """How much wider and higher the pose is shown to the network, (B, 2) near 1 for each sample of the batch `like`.

    The proportions of a face must not be read from the pose: they are the identity's.
    """
    drawn = torch.rand(len(like), 2, dtype=like.dtype, device=like.device)
    return drawn * 2 * random_scale + (1 - random_scale)


def add_bottle_options(parser: Any, default: int) -> None:
    """Sizes of the AVD network, for every command that animates with it."""
    add = parser.add_argument
    for code in ("id", "pose"):
        add(f"--{code}_bottle_size", f"{NETWORK}.{code}_bottle_size", type=count, default=default,
            help=f"AVD network: size of the {code} code")  # fmt: skip


def add_second_stage_options(parser: Any, epoch_milestones: list[int]) -> None:
    """How the AVD network is trained; the section of the first stage in a nested file says nothing here."""
    parser.accept_unused("train_params.*")
    parser = parser.add_argument_group("second stage", example="--lr 1e-3 --epoch_milestones 20,25")
    shared = {"num_epochs": "epochs", "batch_size": "batch_size", "checkpoint_freq": "save_every_epochs"}
    for key, name in (shared | {"num_repeats": "num_repeats", "dataloader_workers": "nThreads"}).items():
        parser.add_alias(f"{TRAIN}.{key}", f"--{name}")
    add = parser.add_argument
    add("--lr", f"{TRAIN}.lr", type=not_negative, default=1e-3, help="learning rate of the AVD network")
    add("--epoch_milestones", f"{TRAIN}.epoch_milestones", type=list_of(at_least(0)), default=epoch_milestones,
        help="epochs at which the learning rate drops to a tenth")  # fmt: skip
    add("--random_scale", f"{TRAIN}.random_scale", type=share, default=0.25,
        help="AVD training stretches the pose by up to this share, in width and in height")  # fmt: skip
    add("--lambda_shift", f"{TRAIN}.lambda_shift", type=not_negative, default=1,
        help="weight of the loss on points")  # fmt: skip
    parser.add_switch(
        "--late_milestones", default=True, help="drop the rate one epoch late, as the original does", advanced=True
    )
    parser.add_switch(
        "--moving_statistics", default=True,
        help="keep the detector in training mode, as the original does: batch statistics, moving running averages",
        advanced=True,
    )  # fmt: skip


class SecondStage:
    """Training of the AVD network alone: what the second stages share, mixed into a family with `avd_network`."""

    resting: tuple[nn.Module, ...] = ()
    """Networks of the first stage whose norms stay as they are."""

    def prepare_second_stage(self, opt: Any, finder: nn.Module, *others: nn.Module) -> None:
        """Keep what the training step needs; `finder` finds the points, `others` are at work in pictures alone."""
        _require_batches(opt)
        self.learning_rate, self.random_scale = opt.lr, opt.random_scale
        self.epoch_milestones = opt.epoch_milestones
        self.factor = late_milestones if opt.late_milestones else milestones
        self.resting = others if opt.moving_statistics else (finder, *others)

    def train(self, mode: bool = True) -> "SecondStage":
        """Training mode for all but the networks that rest."""
        super().train(mode)
        for network in self.resting:
            network.eval()
        return self

    def repose(self, source: Tensor, identity: Any, pose: Any) -> tuple[Any, Tensor, Any]:
        """The points `identity` of a source picture in another pose, the picture that they make, and its motion.

        The network has to be at rest for it.
        """
        self.avd_network.eval()
        kp = self.avd_network(identity, pose)
        self.avd_network.train()
        return kp, *self.generate(self.encode(source), identity, kp)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One Adam for the AVD network."""
        return {"avd": torch.optim.Adam(self.avd_network.parameters(), self.learning_rate, betas=(0.5, 0.999))}

    def rate(self, name: str, clock: Any) -> float:
        """The schedule, which is a function of the epoch alone."""
        return self.factor(clock.epoch, self.epoch_milestones)


def _require_batches(opt: Any) -> None:
    """Refuse batches of one sample, from which the perceptrons' batch norms learn nothing."""
    if opt.batch_size // opt.accumulate < 2:
        raise UserError(
            f"--batch_size {opt.batch_size} --accumulate {opt.accumulate}: the batch norms of the AVD network need two "
            "samples in each micro-batch; take a larger --batch_size or a smaller --accumulate"
        )


def late_milestones(epoch: int, epochs: list[int]) -> float:
    """The originals' factor on the rate: they look at the milestones one epoch late."""
    return milestones(max(0, epoch - 1), epochs)
