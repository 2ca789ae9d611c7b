"""First order motion model for image animation: key points with jacobians, dense motion, generator."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.family import Family, Layout
from models.fomm.losses import Adversarial, Equivariance, NoAdversarial
from models.fomm.networks import DenseMotionNetwork, Discriminator, Generator, KeyPointDetector
from models.fomm.normalisation import normalise
from models.fomm.options import (
    add_animation_options,
    add_discriminator_options,
    add_network_options,
    add_training_options,
)
from models.fomm.pictures import Step, animation_pictures, training_pictures
from models.fomm.start import start_with_source
from models.parts.blocks import fold_norms
from models.parts.equivariance import NoEquivariance
from models.parts.keypoints import KeyPoints
from models.parts.losses import Terms
from models.parts.motion import Motion
from models.parts.movement import movement_scale, unit_scale
from models.parts.options import add_picture_options, build_perceptual
from models.parts.pictures import Pictures, Style, first_samples
from models.parts.sizes import check_size, input_channels, multiple_of
from models.parts.truth import build_truth
from util.errors import UserError
from util.schedules import milestones


class Driven(NamedTuple):
    """Frames that driving frames made of a source, and how."""

    prediction: Tensor
    kp_driving: KeyPoints
    kp_moved: KeyPoints
    motion: Motion | None


class FirstOrderMotion(Family):
    """Animate a picture by the movement of key points that are learned without labels.

    Training batches hold `source` and `driving` (B, 3, H, W), two frames of one clip; animation reads `image`.
    """

    layout = Layout(
        pattern="{which}-checkpoint.pth.tar",
        entries={"generator": "generator", "kp_detector": "kp_detector", "discriminator": "discriminator"},
        optimizers={
            "generator": "optimizer_generator",
            "discriminator": "optimizer_discriminator",
            "kp_detector": "optimizer_kp_detector",
        },
    )

    detector = KeyPointDetector
    """The network that finds key points; a relative has its own."""

    explained_modes = ("animate", "reconstruction")
    log_lines = "epoch"

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        add_network_options(parser)
        add_animation_options(parser)
        add_picture_options(parser)
        if training:
            add_discriminator_options(parser)
            add_training_options(parser)
        parser.set_defaults(dataset_mode="frames")

    @staticmethod
    def recognises(sections: dict) -> bool:
        return {"kp_detector_params", "generator_params"} <= set(sections.get("model_params") or {})

    def recognises_weights(self, content: Any) -> bool:
        return self.holds_entries(content) and input_channels(content, "kp_detector") == 3

    def __init__(self, opt: Any):
        super().__init__(opt)
        self.kp_detector = self.detector(
            num_kp=opt.num_kp,
            num_channels=opt.num_channels,
            expansion=opt.kp_detector_block_expansion,
            max_features=opt.kp_detector_max_features,
            num_blocks=opt.kp_detector_num_blocks,
            temperature=opt.temperature,
            estimate_jacobian=opt.estimate_jacobian,
            single_jacobian_map=opt.single_jacobian_map,
            scale_factor=opt.kp_detector_scale_factor,
            pad=opt.kp_detector_pad,
        )
        self.generator = Generator(
            num_channels=opt.num_channels,
            expansion=opt.generator_block_expansion,
            max_features=opt.generator_max_features,
            num_down_blocks=opt.num_down_blocks,
            num_bottleneck_blocks=opt.num_bottleneck_blocks,
            dense_motion_network=_dense_motion(opt),
            align_corners=opt.align_corners,
            composite=opt.composite,
        )
        self.multiple = multiple_of(
            (opt.kp_detector_num_blocks, opt.kp_detector_scale_factor),
            (opt.dense_motion_num_blocks, opt.dense_motion_scale_factor),
            (opt.num_down_blocks, 1),
        )
        self.normalise = partial(normalise, movement=opt.relative, jacobian=opt.relative_jacobian)
        self.movement_scale = movement_scale if opt.relative and opt.adapt_scale else unit_scale
        self.style = Style(opt.kp_size, opt.colormap, opt.draw_border)
        self.points_move = getattr(opt, "mode", "") == "animate"

    def prepare_training(self, opt: Any) -> None:
        self.discriminator = Discriminator(
            scales=opt.discriminator_scales,
            num_channels=opt.num_channels,
            expansion=opt.discriminator_block_expansion,
            num_blocks=opt.discriminator_num_blocks,
            max_features=opt.discriminator_max_features,
            sn=opt.sn,
            num_kp=opt.num_kp if opt.use_kp else 0,
            kp_variance=opt.discriminator_kp_variance,
        )
        if opt.start_with_source:
            start_with_source(self.generator)
        self.adversarial = _adversarial(opt)
        self.perceptual = build_perceptual(opt)
        self.equivariance = _equivariance(opt)
        self.truth = build_truth(opt)
        self.rates = {name: getattr(opt, f"lr_{name}") for name in ("generator", "kp_detector", "discriminator")}
        self.epoch_milestones = opt.epoch_milestones
        # With rate 0 the detector stays as it is; only its running statistics move.
        self.animators = ("generator", "kp_detector") if opt.lr_kp_detector else ("generator",)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {
            name: torch.optim.Adam(getattr(self, name).parameters(), rate, betas=(0.5, 0.999))
            for name, rate in self.rates.items()
            if any(True for _ in getattr(self, name).parameters())
        }

    def rate(self, name: str, clock: Any) -> float:
        return milestones(clock.epoch, self.epoch_milestones)

    def detection(self, item: dict[str, Any]) -> Callable[[Tensor], KeyPoints]:
        """What finds the key points in pictures of an item; a relative may know more of them than they show."""
        return self.kp_detector

    def training_step(self, batch: dict[str, Any], clock: Any) -> Iterator[tuple]:
        source, driving = batch["source"], batch["driving"]
        check_size(source, self.multiple)
        detect = self.detection(batch)
        kp_source, kp_driving = detect(source), detect(driving)
        prediction, motion = self.generator(source, kp_source, kp_driving)
        equivariance_terms, transformed = self.equivariance(detect, driving, kp_driving)
        terms = {
            **self.perceptual(prediction, driving),
            **self.adversarial.for_generator(self.discriminator, prediction, driving, kp_driving),
            **equivariance_terms,
            **self._truth_terms(batch, prediction, motion, (kp_source.value, kp_driving.value)),
        }
        yield self.animators, terms
        prediction = prediction.detach()
        if self.adversarial.on:
            judged = self.adversarial.for_discriminator(self.discriminator, prediction, driving, kp_driving)
            yield "discriminator", judged
        shown = first_samples(Step(source, driving, prediction, kp_source, kp_driving, transformed, motion))
        return Pictures(partial(training_pictures, self.generator, shown, self.style))

    def _truth_terms(
        self, batch: dict[str, Any], prediction: Tensor, motion: Motion | None, points: tuple[Tensor, Tensor]
    ) -> Terms:
        if motion is None:
            return {}
        occlusion = [] if motion.occlusion_map is None else [motion.occlusion_map]
        return self.truth(batch, prediction, motion.deformation, occlusion, points)

    def prepare_inference(self) -> None:
        fold_norms(self)
        super().prepare_inference()

    def encode_source(self, source: dict[str, Any]) -> dict[str, Any]:
        image = source["image"]
        check_size(image, self.multiple)
        return {"kp_source": self.detection(source)(image), "encoded": self.generator.encode(image)}

    def animate(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        driven, state = self.drive(state, driving)
        return driven.prediction, state

    def explain(
        self, source: dict[str, Any], state: dict[str, Any], driving: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any], dict[str, Tensor]]:
        driven, state = self.drive(state, driving)
        moved = driven.kp_moved if self.points_move else None
        step = Step(
            source["image"].expand_as(driven.prediction), driving["image"], driven.prediction,
            state["kp_source"], driven.kp_driving, None, driven.motion,
        )  # fmt: skip
        return driven.prediction, state, animation_pictures(self.generator, step, self.style, moved)

    def drive(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[Driven, dict[str, Any]]:
        """The frames and how they came about, and the next state."""
        kp_source, kp_driving = state["kp_source"], self.detection(driving)(driving["image"])
        if "kp_initial" not in state:
            kp_initial = kp_driving.samples(slice(0, 1))
            scale = self.movement_scale(kp_source.value, kp_initial.value)
            state = {**state, "kp_initial": kp_initial, "scale": scale}
        kp_moved = self.normalise(kp_source, kp_driving, state["kp_initial"], scale=state["scale"])
        prediction, motion = self.generator(state["encoded"], kp_source, kp_moved)
        # Without a dense motion network every frame is the source again.
        prediction = prediction.expand(len(kp_moved.value), -1, -1, -1)
        return Driven(prediction, kp_driving, kp_moved, motion), state


def _dense_motion(opt: Any) -> DenseMotionNetwork | None:
    if not opt.dense_motion_num_blocks:
        return None
    return DenseMotionNetwork(
        num_kp=opt.num_kp,
        num_channels=opt.num_channels,
        expansion=opt.dense_motion_block_expansion,
        max_features=opt.dense_motion_max_features,
        num_blocks=opt.dense_motion_num_blocks,
        estimate_occlusion_map=opt.estimate_occlusion_map,
        scale_factor=opt.dense_motion_scale_factor,
        kp_variance=opt.kp_variance,
        align_corners=opt.align_corners,
    )


def _adversarial(opt: Any) -> Adversarial | NoAdversarial:
    if not opt.weight_generator_gan:
        return NoAdversarial()
    _check_adversarial(opt)
    return Adversarial(
        opt.discriminator_scales, opt.weight_generator_gan, opt.weight_discriminator_gan, opt.weight_feature_matching
    )


def _check_adversarial(opt: Any) -> None:
    weights, blocks = opt.weight_feature_matching, opt.discriminator_num_blocks
    if not opt.discriminator_scales:
        raise UserError(
            f"--weight_generator_gan {opt.weight_generator_gan} needs a discriminator: set --discriminator_scales 1, "
            "or train without one, --weight_generator_gan 0"
        )
    if any(weights) and len(weights) != blocks:
        raise UserError(
            f"--weight_feature_matching {','.join(map(str, weights))}: the discriminator has {blocks} blocks "
            f"(--discriminator_num_blocks), so give {blocks} weights, or 0 for none"
        )


def _equivariance(opt: Any) -> Equivariance | NoEquivariance:
    if not opt.weight_equivariance_value and not opt.weight_equivariance_jacobian:
        return NoEquivariance()
    if opt.weight_equivariance_jacobian and not opt.estimate_jacobian:
        raise UserError("--weight_equivariance_jacobian needs jacobians: set it to 0, or set --estimate_jacobian")
    return Equivariance(
        value_weight=opt.weight_equivariance_value,
        jacobian_weight=opt.weight_equivariance_jacobian,
        sigma_affine=opt.sigma_affine,
        sigma_tps=opt.sigma_tps,
        points_tps=opt.points_tps,
        align_corners=opt.align_corners,
    )
