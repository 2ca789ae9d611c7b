"""Few-shot adversarial learning of talking heads: a person's face from a few pictures, moved by landmarks."""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.family import Family, Layout, RowTable
from models.parts.vgg import caffe_vgg, vgg19
from models.talking_head.losses import Content, Objective, Pixels, joint_updates, separate_updates
from models.talking_head.networks import BatchRows, Discriminator, Embedder, Generator, pair
from models.talking_head.options import TAPS, add_options
from models.talking_head.released import released_entries, released_list
from models.talking_head.step_log import step_line
from util.schedules import Clock, linear_decay

LOG_COLUMNS = (
    "l_vgg19", "l_vggface", "l_cnt", "l_adv", "l_fm", "l_mch", "l_eg", "l_d", "l_d2", "score", "score_hat"
)  # fmt: skip


class TalkingHead(Family):
    """Meta-learning: embed a person from T frames, generate from landmarks, and score against the video's embedding.

    Training batches hold `video` (B,), `pictures` and `landmarks` (B, T, 3, H, W), `target` and `target_landmarks` (B,
    3, H, W). A source holds `pictures` and `landmarks` (1, T, 3, H, W); a driving item holds `landmarks`.
    """

    layout = Layout(
        pattern="{which}-talking-head.pth",
        entries={"embedder": "embedder", "generator": "generator", "discriminator": "discriminator"},
        optimizers={"animator": "optimizer_animator", "discriminator": "optimizer_discriminator"},
    )

    log_lines = "step"

    add_options = staticmethod(add_options)

    def recognises_weights(self, content: Any) -> bool:
        # Whatever the layers are, the embedder starts with a convolution of picture and landmarks.
        embedder = content["embedder"].values() if self.holds_entries(content) else ()
        return next((kernel.shape[1] == 6 for kernel in embedder if kernel.ndim == 4), False)

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        self.embedder = build_embedder(opt)
        self.generator = build_generator(opt, personal=False)
        self.range = picture_range(opt)

    def prepare_training(self, opt: Any) -> None:
        rows = BatchRows(opt.batch_size, opt.embedding_dim)
        self.discriminator = build_discriminator(opt, rows)
        with torch.no_grad():
            self.discriminator.w0 *= opt.start_scale
            self.discriminator.b *= opt.start_scale
        self.row_start = opt.start_scale
        self.objective = Objective(build_content(opt), opt.weight_feature_matching, opt.weight_matching)
        self.updates = separate_updates if opt.separate_updates else joint_updates
        self.adam = partial(torch.optim.Adam, betas=tuple(opt.adam_betas))
        self.rates = {"animator": opt.lr, "discriminator": opt.lr_discriminator}
        self.lr_steps = opt.lr_steps

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        animator = [*self.embedder.parameters(), *self.generator.parameters()]
        return {
            "animator": self.adam(animator, self.rates["animator"]),
            "discriminator": self.adam(self.discriminator.parameters(), self.rates["discriminator"]),
        }

    def log_line(self, epoch: int, step_in_epoch: int, step: int, numbers: Mapping[str, float]) -> str:
        return step_line(epoch, step_in_epoch, step, [numbers.get(name, math.nan) for name in LOG_COLUMNS])

    def row_tables(self) -> dict[str, RowTable]:
        return {"videos": RowTable("discriminator.embedding.weight", "discriminator", "video", high=self.row_start)}

    def released_entries(self, content: Any, path: Path) -> Any:
        return released_entries(content, path)

    @classmethod
    def exported(cls, content: dict[str, Any], training: Mapping[str, Any]) -> list:
        return released_list(content, training)

    def trained_for(self, content: Mapping[str, Any]) -> dict[str, int]:
        return {"steps": int(content["step"]) + 1} if "step" in content else {}

    def rate(self, name: str, clock: Clock) -> float:
        return linear_decay(clock.step, *self.lr_steps) if self.lr_steps else 1.0

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        target, landmarks, video = batch["target"], batch["target_landmarks"], batch["video"]
        embeddings = self.embed(batch["pictures"], batch["landmarks"])
        generated = self.generator(self.range * landmarks, self.generator.style(embeddings.mean(1)))

        def judge(picture: Tensor):
            return self.discriminator(self.range * pair(picture, landmarks), video)

        yield from self.updates(self.objective, judge, target, generated, embeddings)
        return {"x_t": target, "y_t": landmarks, "x_hat": generated.detach(), "x_1": batch["pictures"][:, 0]}

    def embed(self, pictures: Tensor, landmarks: Tensor) -> Tensor:
        """The embedding of every frame: (B, T, 3, H, W) twice to (B, T, dim)."""
        pairs = pair(pictures.flatten(0, 1), landmarks.flatten(0, 1))
        return self.embedder(self.range * pairs).unflatten(0, pictures.shape[:2])

    def encode_source(self, source: dict[str, Any]) -> dict[str, Any]:
        embeddings = self.embed(source["pictures"], source["landmarks"])
        return {"style": self.generator.style(embeddings.mean(1))}

    def animate(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        return self.generator(self.range * driving["landmarks"], state["style"]), state


def build_embedder(opt: Any) -> Embedder:
    """Build the embedder of the options."""
    return Embedder(opt.embedder_layers, opt.embedding_dim, opt.image_size, opt.pooling)


def build_generator(opt: Any, personal: bool) -> Generator:
    """Build the generator of the options, for any person or for one."""
    return Generator(
        opt.generator_layers, opt.embedding_dim, opt.image_size, upsample=opt.upsample_mode, personal=personal
    )


def build_discriminator(opt: Any, rows: BatchRows | None) -> Discriminator:
    """Build the discriminator of the options, for many videos or for one person."""
    return Discriminator(opt.discriminator_layers, opt.embedding_dim, opt.image_size, rows=rows, pooling=opt.pooling)


def build_content(opt: Any) -> Content:
    """Build the content loss of the options."""
    if opt.content == "pixels":
        return Content({"pixels": Pixels()}, {"pixels": opt.weight_pixels})
    taps, networks = TAPS[opt.content_maps], {}
    if opt.weight_vgg19:
        caffe = opt.vgg19_kind == "caffe"
        networks["vgg19"] = (
            caffe_vgg("vgg19", opt.vgg19, taps["vgg19"]) if caffe else vgg19(opt.vgg19, taps=taps["vgg19"])
        )
    if opt.weight_vggface:
        networks["vggface"] = caffe_vgg("vggface", opt.vggface, taps["vggface"])
    return Content(networks, {"vgg19": opt.weight_vgg19, "vggface": opt.weight_vggface})


def picture_range(opt: Any) -> float:
    """Value of white for the networks."""
    return 1.0 if opt.input_normalize else 255.0
