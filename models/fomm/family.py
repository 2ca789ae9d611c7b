"""First order motion model for image animation: key points with jacobians, dense motion, generator."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.family import Layout
from models.fomm.losses import Adversarial, NoAdversarial
from models.fomm.movement import relative_key_points
from models.fomm.networks import DenseMotionNetwork, Discriminator, Encoded, Generator, KeyPointDetector
from models.fomm.options import add_options
from models.fomm.pictures import drawn_columns
from models.fomm.start import start_with_source
from models.parts.equivariance import Equivariance, NoEquivariance
from models.parts.keypoint_family import KeyPointFamily, Step, generator_sizes, hourglass_sizes, transform_sizes
from models.parts.keypoints import KeyPoints
from models.parts.motion import Motion
from models.parts.pictures import Pictures, first_samples
from models.parts.sizes import check_size, input_channels, multiple_of
from util.errors import UserError
from util.schedules import Clock


class FirstOrderMotion(KeyPointFamily):
    """Animate a picture with the motion of key points that are learned without labels.

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
    """The class of the key point detector; relatives override it."""

    explained_modes = ("animate", "reconstruction")

    add_options = staticmethod(add_options)

    @staticmethod
    def recognises(sections: dict) -> bool:
        return {"kp_detector_params", "generator_params"} <= set(sections.get("model_params") or {})

    def recognises_weights(self, content: Any) -> bool:
        return self.holds_entries(content) and input_channels(content, "kp_detector") == 3

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        self.kp_detector = self.detector(
            num_kp=opt.num_kp,
            num_channels=opt.num_channels,
            **hourglass_sizes(opt, "kp_detector"),
            temperature=opt.temperature,
            estimate_jacobian=opt.estimate_jacobian,
            single_jacobian_map=opt.single_jacobian_map,
            scale_factor=opt.kp_detector_scale_factor,
            pad=opt.kp_detector_pad,
        )
        self.generator = Generator(
            num_channels=opt.num_channels,
            **generator_sizes(opt),
            dense_motion_network=_dense_motion(opt),
            align_corners=opt.align_corners,
            composite=opt.composite,
        )
        self.multiple = multiple_of(
            (opt.kp_detector_num_blocks, opt.kp_detector_scale_factor),
            (opt.dense_motion_num_blocks, opt.dense_motion_scale_factor),
            (opt.num_down_blocks, 1),
        )
        self.relative_jacobian = opt.relative_jacobian
        self.shows_moved_points = not training and opt.mode == "animate"

    @staticmethod
    def way_of(opt: Any, training: bool) -> str:
        return "relative" if opt.relative else "standard"

    def prepare_training(self, opt: Any) -> None:
        super().prepare_training(opt)
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
        self.equivariance = _equivariance(opt)
        self.rates = {name: getattr(opt, f"lr_{name}") for name in ("generator", "kp_detector", "discriminator")}
        # With a rate of 0 the detector's weights stay; only its running statistics change.
        self.animators = ("generator", "kp_detector") if opt.lr_kp_detector else ("generator",)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {
            name: torch.optim.Adam(getattr(self, name).parameters(), rate, betas=(0.5, 0.999))
            for name, rate in self.rates.items()
            if any(True for _ in getattr(self, name).parameters())
        }

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        source, driving = batch["source"], batch["driving"]
        check_size(source, self.multiple)
        detect = self.detection(batch)
        kp_source, kp_driving = detect(source), detect(driving)
        prediction, motion = self.generator(source, kp_source, kp_driving)
        equivariance_terms, transformed = self.equivariance(detect, driving, kp_driving)
        step = Step(source, driving, prediction, kp_source, kp_driving, motion, transformed)
        terms = {
            **self.perceptual(prediction, driving),
            **self.adversarial.for_generator(self.discriminator, prediction, driving, kp_driving),
            **equivariance_terms,
            **self.truth_terms(batch, step),
        }
        yield self.animators, terms
        if self.adversarial.on:
            generated = prediction.detach()
            yield (
                "discriminator",
                self.adversarial.for_discriminator(self.discriminator, generated, driving, kp_driving),
            )
        return Pictures(partial(drawn_columns, self.generator, first_samples(step), self.style, masks=True))

    def encode(self, source: Tensor) -> Encoded:
        return self.generator.encode(source)

    def generate(
        self, encoded: Encoded, kp_source: KeyPoints, kp: KeyPoints, background: Tensor | None = None
    ) -> tuple[Tensor, Motion | None]:
        prediction, motion = self.generator(encoded, kp_source, kp)
        # Without a dense motion network every frame equals the source.
        return prediction.expand(len(kp.value), -1, -1, -1), motion

    def relative_kp(
        self, kp_source: KeyPoints, kp_driving: KeyPoints, kp_initial: KeyPoints, scale: float
    ) -> KeyPoints:
        return relative_key_points(kp_source, kp_driving, kp_initial, scale=scale, jacobian=self.relative_jacobian)

    def pictures(self, step: Step) -> dict[str, Tensor]:
        shown = step if self.shows_moved_points else step._replace(kp_moved=None)
        return drawn_columns(self.generator, shown, self.style)


def _dense_motion(opt: Any) -> DenseMotionNetwork | None:
    if not opt.dense_motion_num_blocks:
        return None
    return DenseMotionNetwork(
        num_kp=opt.num_kp,
        num_channels=opt.num_channels,
        **hourglass_sizes(opt, "dense_motion"),
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
            f"(--discriminator_num_blocks), so set {blocks} weights, or 0 for none"
        )


def _equivariance(opt: Any) -> Equivariance | NoEquivariance:
    if not opt.weight_equivariance_value and not opt.weight_equivariance_jacobian:
        return NoEquivariance()
    if opt.weight_equivariance_jacobian and not opt.estimate_jacobian:
        raise UserError("--weight_equivariance_jacobian needs jacobians: set it to 0, or set --estimate_jacobian")
    return Equivariance(
        value_weight=opt.weight_equivariance_value,
        jacobian_weight=opt.weight_equivariance_jacobian,
        **transform_sizes(opt),
        align_corners=opt.align_corners,
    )
