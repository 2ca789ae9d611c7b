"""Few-shot talking heads, second stage: generator and discriminator finetuned to the pictures of one person."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.family import Family
from models.talking_head.family import (
    TalkingHead,
    build_content,
    build_discriminator,
    build_embedder,
    build_generator,
    picture_range,
)
from models.talking_head.losses import Objective, joint_updates, separate_updates
from models.talking_head.networks import BatchRows, pair
from models.talking_head.released import released_entries
from models.talking_head_finetune.options import BEGINS_WITH, add_options
from util.errors import UserError
from util.schedules import Clock, linear_decay


class TalkingHeadFinetune(Family):
    """One person's talking head: starts from meta-trained networks and makes them personal with T pictures.

    Training batches hold `picture` and `landmarks` (B, 3, H, W), driving items `landmarks`; `milestone` reads the
    person's whole set, `dataset.person()`: `pictures` and `landmarks` (T, 3, H, W), `target` and `target_landmarks` (1,
    3, H, W).
    """

    layout = TalkingHead.layout
    begins_with = BEGINS_WITH

    add_options = staticmethod(add_options)

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        # Until training starts these are networks of the first stage, to be loaded with its weights.
        self.impersonal = training and bool(opt.init_from)
        self.generator = build_generator(opt, personal=not self.impersonal)
        self.embedder = build_embedder(opt) if self.impersonal else None
        self.range = picture_range(opt)

    def prepare_training(self, opt: Any) -> None:
        if not (self.impersonal or opt.continue_train or opt.continue_from):
            raise UserError("--init_from: a personal model starts from a meta-trained one; set it to its run or file")
        rows = BatchRows(1, opt.embedding_dim) if self.impersonal else None
        self.discriminator = build_discriminator(opt, rows)
        self.objective = Objective(build_content(opt), opt.weight_feature_matching)
        self.updates = separate_updates if opt.separate_updates else joint_updates
        self.adam = partial(torch.optim.Adam, betas=tuple(opt.adam_betas))
        self.rates = {"animator": opt.lr, "discriminator": opt.lr_discriminator}
        self.lr_steps = opt.lr_steps

    def released_entries(self, content: Any, path: Path) -> Any:
        return released_entries(content, path)

    @classmethod
    def exported(cls, content: dict[str, Any], training: Mapping[str, Any]) -> Any:
        raise UserError("the original saves no finetuned talking heads; set --run to a run of the family talking_head")

    def milestone(self, moment: str, dataset: Any) -> dict[str, Tensor]:
        like = next(self.generator.parameters())
        person = {name: value.to(like.device) for name, value in dataset.person().items()}
        if moment == "loaded":
            self.personalise(person)
            return {}
        return self.preview(person)

    @torch.no_grad()
    def personalise(self, person: dict[str, Tensor]) -> None:
        """Specialise the networks to the person in the pictures; the embedder is not needed afterwards."""
        self.embedder.eval()
        pairs = pair(person["pictures"], person["landmarks"])
        embedding = self.embedder(self.range * pairs).mean(0, keepdim=True)
        self.generator.personalise(embedding)
        self.discriminator.personalise(embedding)
        self.impersonal = False
        self.embedder = None

    def preview(self, person: dict[str, Tensor]) -> dict[str, Tensor]:
        """The person in the target's pose, next to the given pictures."""
        generated = self.generator(self.range * person["target_landmarks"], self.generator.adain)
        return {
            "given": person["pictures"],
            "landmarks": person["target_landmarks"],
            "target": person["target"],
            "generated": generated,
        }

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {
            "animator": self.adam(self.generator.parameters(), self.rates["animator"]),
            "discriminator": self.adam(self.discriminator.parameters(), self.rates["discriminator"]),
        }

    def rate(self, name: str, clock: Clock) -> float:
        return linear_decay(clock.step, *self.lr_steps) if self.lr_steps else 1.0

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        picture, landmarks = batch["picture"], batch["landmarks"]
        generated = self.generator(self.range * landmarks, self.generator.adain)

        def judge(picture: Tensor):
            return self.discriminator(self.range * pair(picture, landmarks))

        yield from self.updates(self.objective, judge, picture, generated, None)
        return {"x": picture, "y": landmarks, "x_hat": generated.detach()}

    def encode_source(self, source: dict[str, Any]) -> dict[str, Any]:
        return {"style": self.generator.adain}

    def animate(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        return self.generator(self.range * driving["landmarks"], state["style"]), state
