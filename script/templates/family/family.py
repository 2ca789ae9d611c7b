"""My paper: a code of each driving frame moves the source picture."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from models.family import Family, Layout
from models.my_paper.losses import Objective
from models.my_paper.networks import Generator, MotionEncoder
from models.my_paper.options import add_network_options, add_training_options
from models.parts.decay import decay_groups
from models.parts.options import PerceptualSettings, ScheduleSettings, build_perceptual, build_schedules
from models.parts.sizes import check_size
from util.settings import settings_of
from util.run_options import RunOptions
from util.schedules import Clock


class MyPaper(Family):
    """Animate a picture by a code that is learned without labels.

    Training batches hold `source` and `driving` (B, 3, H, W), two frames of one clip; animation reads `image`.
    """

    layout = Layout(
        pattern="{which}-my_paper.pth.tar",
        entries={"generator": "my_paper_generator", "motion_encoder": "my_paper_motion_encoder"},
    )
    """The names of checkpoint files, and of the networks (attributes of the family) in them."""

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        add_network_options(parser)
        if training:
            add_training_options(parser)
        parser.set_defaults(dataset_mode="frames")

    def recognises_weights(self, content: Any) -> bool:
        return self.holds_entries(content)  # whatever the sizes are

    def __init__(self, opt: RunOptions, training: bool):
        super().__init__(opt, training)
        self.motion_encoder = MotionEncoder(width=opt.width, code=opt.code)
        self.generator = Generator(width=opt.width, code=opt.code, num_blocks=opt.num_blocks)

    def prepare_training(self, opt: RunOptions) -> None:
        perceptual = build_perceptual(settings_of(PerceptualSettings, opt))
        self.objective = Objective(perceptual=perceptual, weight_l1=opt.weight_l1)
        self.schedules = build_schedules(settings_of(ScheduleSettings, opt), ("animator",))
        self.learning_rate, self.weight_decay = opt.lr, opt.weight_decay

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        groups = [decay_groups(network, self.weight_decay) for network in (self.generator, self.motion_encoder)]
        return {"animator": torch.optim.AdamW(sum(groups, []), self.learning_rate, betas=(0.5, 0.999))}

    def rate(self, name: str, clock: Clock) -> float:
        return self.schedules.rate(name, clock)

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        source, driving = batch["source"], batch["driving"]
        check_size(source, 8)  # the motion encoder halves it three times
        code = self.motion_encoder(driving)
        generated, visible = self.generator.decode(source, self.generator.encode(source), code)
        self.log("visible", visible.mean())  # beside the losses, in every log
        yield "animator", self.objective(generated, driving)  # one update; the engine does it
        return {"source": source, "driving": driving, "generated": generated, "visible": visible}  # to look at

    def encode_source(self, source: dict[str, Any]) -> dict[str, Any]:
        image = source["image"]
        check_size(image, 8)
        return {"image": image, "features": self.generator.encode(image)}

    def animate(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        code = self.motion_encoder(driving["image"])
        one = len(code), -1, -1, -1  # one source is paired with the whole batch of driving frames
        frames, _ = self.generator.decode(state["image"].expand(one), state["features"].expand(one), code)
        return frames, state
