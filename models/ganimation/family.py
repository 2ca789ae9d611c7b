"""GANimation: a generator that repaints what action units move, a critic that also reads the units."""

import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.family import Family, Layout, ReportFormat
from models.ganimation.log import report_line, reported_step
from models.ganimation.losses import Objective, Weights
from models.ganimation.networks import Composed, Discriminator, Generator, compose, saturate
from models.ganimation.options import IN_SECONDS, RUN_NAME, add_options
from models.ganimation.weights import convert_state
from models.parts.pictures import Pictures, first_samples
from util.expressions import VIEWS
from util.schedules import Clock, linear_decay


class Ganimation(Family):
    """Give a face the expression that intensities of action units describe.

    Training batches hold `image` (B, 3, H, W), its units `aus` and other ones, `desired`, both (B, C) and divided by 5.
    Animation reads `image`, one face (3, H, W) or several (F, 3, H, W), then for each frame `aus` (C) and, if wanted,
    `face` (which one), `view` (an index of util.expressions.VIEWS) and `back` (C), the units of the second pass.
    """

    layout = Layout(
        pattern="net_epoch_{which}_id_{entry}.pth",
        entries={"generator": "G", "discriminator": "D"},
        optimizers={"generator": "G", "discriminator": "D"},
        optimizer_pattern="opt_epoch_{which}_id_{entry}.pth",
        numbered_by="epoch",
        others=(Layout("{which}_net_{entry}.pth", {"generator": "gen", "discriminator": "dis"}, numbered_by="epoch"),),
    )
    run_name = RUN_NAME
    not_compiled = ("discriminator",)

    report_format = ReportFormat("loss_log2.txt", report_line, reported_step)

    add_options = staticmethod(add_options)

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        self.generator = Generator(units=opt.cond_nc, width=opt.ngf, blocks=opt.num_blocks)
        self.weights_layout = opt.weights_layout
        self.shape_attention = saturate if opt.do_saturate_mask else _unchanged

    def prepare_training(self, opt: Any) -> None:
        _warn_of_seconds(opt)
        self.discriminator = Discriminator(
            image_size=opt.image_size, units=opt.cond_nc, width=opt.ndf, init=opt.init_D, noise=opt.noise_D
        )
        weights = Weights(
            critic=opt.lambda_D_prob,
            condition=opt.lambda_D_cond,
            cycle=opt.lambda_cyc,
            attention=opt.lambda_mask,
            penalty=opt.lambda_D_gp,
            smoothness=opt.lambda_mask_smooth,
        )
        self.objective = Objective(weights, opt.weights_for_batch or opt.batch_size)
        self.n_critic = opt.train_G_every_n_iterations
        self.adam = {
            "generator": {"lr": opt.lr_G, "betas": (opt.G_adam_b1, opt.G_adam_b2)},
            "discriminator": {"lr": opt.lr_D, "betas": (opt.D_adam_b1, opt.D_adam_b2)},
        }
        self.decay = _decay(opt)
        self.planned_epochs = opt.nepochs_no_decay + opt.nepochs_decay

    def convert_state(self, network: str, state: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], list[str]]:
        return convert_state(state, getattr(self, network).state_dict(), self.weights_layout)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {name: torch.optim.Adam(getattr(self, name).parameters(), **how) for name, how in self.adam.items()}

    def rate(self, name: str, clock: Clock) -> float:
        return self.decay(clock)

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        real, aus, desired = to_networks(batch["image"]), batch["aus"], batch["desired"]
        with torch.no_grad():
            fake = self.change(real, desired).image
        judged_real, judged_fake = self.discriminator(real), self.discriminator(fake)
        yield "discriminator", self.objective.for_discriminator(judged_real, judged_fake, aus)
        # An update of its own, of the critic that the one before has changed already.
        yield "discriminator", self.objective.penalty(self.discriminator, real, fake)
        if (clock.step + 1) % self.n_critic == 0:
            first = self.change(real, desired)
            second = self.change(first.image, aus)
            judged = self.discriminator(first.image)
            terms = self.objective.for_generator(judged, desired, real, first, second)
            yield "generator", terms, terms | attention_statistics(first.attention)
        return Pictures(partial(self._training_pictures, *map(first_samples, (real, aus, desired))))

    def change(self, image: Tensor, condition: Tensor) -> Composed:
        """One pass of the generator: pictures in [-1, 1] with another expression."""
        color, attention = self.generator(image, condition)
        attention = self.shape_attention(attention)
        return Composed(compose(image, color, attention), attention, color)

    def _training_pictures(self, real: Tensor, aus: Tensor, desired: Tensor) -> dict[str, Tensor]:
        first = self.change(real, desired)
        second = self.change(first.image, aus)
        return {
            "input": to_pictures(real),
            "fake": to_pictures(first.image),
            "attention": first.attention,
            "color": to_pictures(first.color),
            "way back": to_pictures(second.image),
            "its attention": second.attention,
            "its color": to_pictures(second.color),
        }

    def encode_source(self, source: dict[str, Any]) -> dict[str, Any]:
        return {"image": to_networks(source["image"]).flatten(0, -4)}

    def animate(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        aus, view = driving["aus"], driving.get("view")
        image = state["image"][driving.get("face", torch.zeros(len(aus), dtype=torch.long, device=aus.device))]
        first = self.change(image, aus)
        if view is None:
            return to_pictures(first.image), state
        second = self.change(first.image, driving.get("back", aus))
        shown = {"input": to_pictures(image)}
        for prefix, composed in (("", first), ("second ", second)):
            shown[f"{prefix}composed"] = to_pictures(composed.image)
            shown[f"{prefix}attention"] = composed.attention.expand(-1, 3, -1, -1)
            shown[f"{prefix}color"] = to_pictures(composed.color)
        every = torch.stack([shown[name].float() for name in VIEWS])
        return every[view, torch.arange(len(aus), device=aus.device)], state


def attention_statistics(attention: Tensor) -> dict[str, Tensor]:
    """To see in the log whether the attention has stuck at 0 or 1: its mean, and its deviation within pictures."""
    maps = attention.detach().float().flatten(1)
    return {"attention": maps.mean(), "attention_spread": maps.std(1).mean()}


def to_networks(pictures: Tensor) -> Tensor:
    """Pictures in [0, 1] as the networks see them, in [-1, 1]."""
    return 2 * pictures - 1


def to_pictures(values: Tensor) -> Tensor:
    """What the networks make, in [-1, 1], as pictures in [0, 1]."""
    return (values + 1) / 2


def _unchanged(attention: Tensor) -> Tensor:
    return attention


def _by_steps(start: int, length: int, clock: Clock) -> float:
    return linear_decay(clock.step, start, length)


def _by_epochs(start: int, length: int, clock: Clock) -> float:
    return linear_decay(clock.epoch, start, length)


def _decay(opt: Any) -> partial:
    """The factor on the rates as a function of the clock."""
    if opt.nsteps_decay:
        return partial(_by_steps, opt.nsteps_no_decay, opt.nsteps_decay)
    return partial(_by_epochs, opt.nepochs_no_decay, opt.nepochs_decay)


def _warn_of_seconds(opt: Any) -> None:
    for old, new in IN_SECONDS.items():
        if vars(opt)[old] is not None:
            warnings.warn(f"--{old} has no effect: Grimace counts steps, not seconds; set {new}", stacklevel=3)
