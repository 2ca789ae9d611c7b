"""X2Face: a driving frame's code moves the embedded face of a source picture."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from models.family import Family, Layout
from models.parts.losses import Terms, mean_difference
from models.parts.options import (
    PerceptualSettings,
    ScheduleSettings,
    add_perceptual_options,
    add_schedule_options,
    build_perceptual,
    build_schedules,
)
from util.errors import UserError
from util.run_options import RunOptions
from util.schedules import Clock
from util.settings import settings_of
from util.values import count, not_negative
from x2face.networks import DrivingDecoder, DrivingEncoder, EmbeddingNetwork, sample


class X2FaceOptions(RunOptions):
    """Its own options, for editors and type checkers; `add_options` declares them."""

    width: int
    code: int
    lr: float
    weight_l1: float


class X2Face(Family):
    """Animate a picture by another person's frames.

    Training batches hold `source` and `driving` (B, 3, S, S), two frames of one clip; animation reads `image`.
    """

    layout = Layout(
        pattern="{which}-x2face.pth.tar",
        entries={"embedding": "embedding", "driving_encoder": "driving_encoder", "driving_decoder": "driving_decoder"},
    )
    averaged = {"embedding": 0.999, "driving_encoder": 0.999, "driving_decoder": 0.999}

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        parser.add_argument("--width", type=count, default=32, help="channels of the first layers")
        parser.add_argument("--code", type=count, default=128, help="numbers that say what a face does")
        if training:
            parser.add_argument("--lr", type=not_negative, default=1e-4, help="learning rate")
            parser.add_argument(
                "--weight_l1", type=not_negative, default=10.0, help="weight of the difference of pixels"
            )
            add_perceptual_options(parser)
            add_schedule_options(parser)
        parser.set_defaults(dataset_mode="frames", load_size=[256])

    def __init__(self, opt: X2FaceOptions, training: bool):
        super().__init__(opt, training)
        side = side_of(opt.picture_size)
        self.embedding = EmbeddingNetwork(width=opt.width)
        self.driving_encoder = DrivingEncoder(width=opt.width, code=opt.code)
        self.driving_decoder = DrivingDecoder(width=opt.width, code=opt.code, side=side)

    def prepare_training(self, opt: X2FaceOptions) -> None:
        self.perceptual, self.weight_l1 = build_perceptual(settings_of(PerceptualSettings, opt)), opt.weight_l1
        self.schedules = build_schedules(settings_of(ScheduleSettings, opt), ("x2face",))
        self.learning_rate = opt.lr

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        trained = [p for network in self.networks().values() for p in network.parameters()]
        return {"x2face": torch.optim.Adam(trained, self.learning_rate)}

    def rate(self, name: str, clock: Clock) -> float:
        return self.schedules.rate(name, clock)

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        source, driving = batch["source"], batch["driving"]
        embedded = self.embedding(source)
        generated = sample(embedded, self.driving_decoder(self.driving_encoder(driving)))
        yield "x2face", self.objective(generated, driving)
        return {"source": source, "driving": driving, "embedded": embedded, "generated": generated}

    def objective(self, generated: Tensor, real: Tensor) -> Terms:
        """The weighted losses of a generated frame."""
        return {**self.perceptual(generated, real), "l1": self.weight_l1 * mean_difference(generated, real)}

    def encode_source(self, source: dict[str, Any]) -> dict[str, Any]:
        return {"embedded": self.embedding(source["image"])}

    def animate(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        flow = self.driving_decoder(self.driving_encoder(driving["image"]))
        return sample(state["embedded"].expand(len(flow), -1, -1, -1), flow), state


def side_of(size: tuple[int, int] | None) -> int:
    """The side of the pictures, which the decoder is built for."""
    if size is None or size[0] != size[1] or size[0] < 16 or size[0] & (size[0] - 1):
        raise UserError("--load_size: x2face needs square pictures whose side is a power of 2, e.g. 256")
    return size[0]
