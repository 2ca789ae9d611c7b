"""Thin-plate spline motion model: splines through key points, dense motion, inpainting at every size."""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models.family import Layout
from models.parts.blocks import fold_norms
from models.parts.cpu_convolutions import quicken
from models.parts.equivariance import NoEquivariance
from models.parts.keypoint_family import KeyPointFamily, Step, hourglass_sizes, transform_sizes
from models.parts.keypoints import KeyPoints
from models.parts.losses import NoTerms
from models.parts.movement import relative_points
from models.parts.sizes import check_size, multiple_of
from models.tps.dropout import MapDropout
from models.tps.losses import BackgroundLoss, SplineEquivariance, WarpLoss
from models.tps.networks import (
    AvdNetwork,
    BackgroundPredictor,
    DenseMotionNetwork,
    Encoded,
    InpaintingNetwork,
    KeyPointDetector,
    Motion,
)
from models.tps.options import add_options
from models.tps.pictures import drawn_columns
from util.errors import UserError
from util.schedules import Clock


class ThinPlateSplineMotion(KeyPointFamily):
    """Animate a picture with thin-plate splines through key points that are learned without labels.

    Training batches hold `source` and `driving` (B, 3, H, W), two frames of one clip; animation reads `image`.
    """

    layout = Layout(
        pattern="{which}-checkpoint.pth.tar",
        entries={
            "inpainting_network": "inpainting_network",
            "dense_motion_network": "dense_motion_network",
            "kp_detector": "kp_detector",
            "bg_predictor": "bg_predictor",
            "avd_network": "avd_network",
        },
        optimizers={"animator": "optimizer", "background": "optimizer_bg_predictor"},
    )
    optional = ("bg_predictor",)
    planned_epochs = 100
    second_stage = "tps_avd"
    is_second_stage = False
    """Whether this family trains the AVD network."""

    add_options = staticmethod(add_options)

    @staticmethod
    def recognises(sections: dict) -> bool:
        return "num_tps" in ((sections.get("model_params") or {}).get("common_params") or {})

    def recognises_weights(self, content: Any) -> bool:
        return self.holds_entries(content, less=("avd_network",))

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        self.kp_detector = KeyPointDetector(opt.num_tps, opt.num_channels, opt.encoder_width)
        self.dense_motion_network = _dense_motion(opt)
        self.inpainting_network = InpaintingNetwork(
            num_channels=opt.num_channels,
            expansion=opt.generator_block_expansion,
            max_features=opt.generator_max_features,
            num_down_blocks=opt.num_down_blocks,
        )
        self.multiple = multiple_of(
            (opt.dense_motion_num_blocks, opt.dense_motion_scale_factor), (opt.num_down_blocks, 1)
        )
        self.bg_predictor = build_background(opt) if self.way == "reconstruction" else None
        self.avd_network = build_avd(opt) if self.needs_avd else None

    def prepare_training(self, opt: Any) -> None:
        super().prepare_training(opt)
        self.bg_predictor = build_background(opt)
        self.bg_start = opt.bg_start if opt.bg else math.inf
        self.dropout = MapDropout(
            opt.dropout_startp, opt.dropout_maxp, opt.dropout_inc_epoch, opt.dropout_epoch, opt.paper_dropout
        )
        self.equivariance = _equivariance(opt)
        self.warp_loss = WarpLoss(opt.weight_warp_loss) if opt.weight_warp_loss else NoTerms()
        self.background_loss = BackgroundLoss(opt.weight_bg)
        self.adam = partial(_adam, rate=opt.lr_generator, decay=opt.weight_decay, decay_norms=opt.decay_norms)
        self.clipped = _clipped_networks(opt)
        self.largest_gradient = opt.clip_gradients

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        optimizers = {"animator": self.adam(self.inpainting_network, self.dense_motion_network, self.kp_detector)}
        return optimizers if self.bg_predictor is None else optimizers | {"background": self.adam(self.bg_predictor)}

    def before_update(self, names: tuple[str, ...]) -> None:
        for network in (network for name in names for network in self.clipped.get(name, ())):
            nn.utils.clip_grad_norm_(getattr(self, network).parameters(), self.largest_gradient, norm_type=math.inf)

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        source, driving = batch["source"], batch["driving"]
        check_size(source, self.multiple)
        kp_source, kp_driving = self.kp_detector(source), self.kp_detector(driving)
        moving = clock.epoch >= self.bg_start
        background = self.bg_predictor(source, driving) if moving else None
        encoded = self.encode(source)
        share = self.dropout.at(clock.epoch)
        motion = self.dense_motion_network(encoded.small_source, kp_source, kp_driving, background, share)
        prediction = self.inpainting_network(encoded, motion)
        equivariance_terms, transformed = self.equivariance(self.kp_detector, driving, kp_driving)
        step = Step(source, driving, prediction, kp_source, kp_driving, motion, transformed)
        terms = {
            **self.perceptual(prediction, driving),
            **equivariance_terms,
            **self.warp_loss(self.inpainting_network, driving, encoded, motion),
            **self.truth_terms(batch, step),
        }
        if moving:
            terms |= self.background_loss(background, self.bg_predictor(driving, source))
        yield ("animator", "background") if moving else ("animator",), terms
        return self.shown(step)

    def trained_for(self, content: Mapping[str, Any]) -> dict[str, int]:
        # The original's files of both stages have the same name; `epoch` counts those of the stage that wrote the file.
        return super().trained_for(content) if ("avd_network" in content) == self.is_second_stage else {}

    def prepare_inference(self) -> None:
        # Splines amplify the rounding of their points, so the detector stays unchanged; it takes little time.
        for network in filter(None, (self.dense_motion_network, self.inpainting_network, self.bg_predictor)):
            fold_norms(network)
            quicken(network)

    def encode(self, source: Tensor) -> Encoded:
        return Encoded(source, self.dense_motion_network.down(source), self.inpainting_network.encode(source))

    def generate(
        self, encoded: Encoded, kp_source: KeyPoints, kp: KeyPoints, background: Tensor | None = None
    ) -> tuple[Tensor, Motion]:
        motion = self.dense_motion_network(encoded.small_source, kp_source, kp, background)
        return self.inpainting_network(encoded, motion), motion

    def relative_kp(
        self, kp_source: KeyPoints, kp_driving: KeyPoints, kp_initial: KeyPoints, scale: float
    ) -> KeyPoints:
        return KeyPoints(relative_points(kp_source.value, kp_driving.value, kp_initial.value, scale))

    def pictures(self, step: Step) -> dict[str, Tensor]:
        return drawn_columns(step, self.style)


def build_background(opt: Any) -> BackgroundPredictor | None:
    """The background predictor, if the configuration has one."""
    return BackgroundPredictor(opt.num_channels, opt.encoder_width) if opt.bg else None


def build_avd(opt: Any) -> AvdNetwork:
    """The network of the second stage."""
    return AvdNetwork(opt.num_tps, opt.id_bottle_size, opt.pose_bottle_size)


def _dense_motion(opt: Any) -> DenseMotionNetwork:
    doublings = math.log2(1 / opt.dense_motion_scale_factor)
    masks = opt.num_down_blocks + 1 if opt.multi_mask else 1
    if opt.multi_mask and not (doublings.is_integer() and 0 <= masks - 1 - doublings < opt.dense_motion_num_blocks):
        raise UserError(
            f"--multi_mask needs the flow at the size of one of its {masks} masks (--num_down_blocks), which is "
            f"impossible with --dense_motion_scale_factor {opt.dense_motion_scale_factor} and "
            f"--dense_motion_num_blocks "
            f"{opt.dense_motion_num_blocks}. Change these, or set --no_multi_mask"
        )
    return DenseMotionNetwork(
        num_tps=opt.num_tps,
        num_channels=opt.num_channels,
        **hourglass_sizes(opt, "dense_motion"),
        scale_factor=opt.dense_motion_scale_factor,
        kp_variance=opt.kp_variance,
        num_masks=masks,
        regulariser=tuple(opt.spline_regulariser),
        flow_limit=opt.flow_limit or None,
    )


def _equivariance(opt: Any) -> SplineEquivariance | NoEquivariance:
    if not opt.weight_equivariance_value:
        return NoEquivariance()
    return SplineEquivariance(opt.weight_equivariance_value, **transform_sizes(opt))


def _clipped_networks(opt: Any) -> dict[str, tuple[str, ...]]:
    """The networks whose gradients are clipped, each by itself, per optimizer."""
    if not opt.clip_gradients:
        return {}
    others = ("inpainting_network",) if opt.clip_inpainting else ()
    return {"animator": ("kp_detector", "dense_motion_network", *others), "background": ("bg_predictor",)}


def _adam(*networks: nn.Module, rate: float, decay: float, decay_norms: bool) -> torch.optim.Adam:
    parameters = [parameter for network in networks for parameter in network.parameters()]
    groups = [{"params": parameters}]
    if not decay_norms:
        # Norms and biases are vectors, weights are not.
        groups = [
            {"params": [parameter for parameter in parameters if parameter.ndim > 1]},
            {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
        ]
    return torch.optim.Adam(groups, rate, betas=(0.5, 0.999), weight_decay=decay)
