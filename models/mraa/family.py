"""Motion representations for articulated animation: regions with their covariance, a background, a generator."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from models.family import Layout
from models.mraa.losses import RegionEquivariance
from models.mraa.movement import relative_regions
from models.mraa.networks import (
    AvdNetwork,
    BackgroundPredictor,
    Encoded,
    Generator,
    PixelwiseFlowPredictor,
    RegionPredictor,
)
from models.mraa.options import add_options
from models.mraa.pictures import drawn_columns
from models.mraa.regions import Regions
from models.parts.equivariance import NoEquivariance
from models.parts.keypoint_family import KeyPointFamily, Step, generator_sizes, hourglass_sizes, transform_sizes
from models.parts.motion import Motion
from models.parts.sizes import check_size, input_channels, multiple_of
from util.errors import UserError
from util.schedules import Clock

FIRST_STAGE = Layout(
    pattern="{which}-cpk-reconstruction.pth",
    entries={name: name for name in ("generator", "bg_predictor", "region_predictor", "avd_network")},
    optimizers={"reconstruction": "optimizer_reconstruction"},
    epoch="epoch_reconstruction",
)
SECOND_STAGE = replace(
    FIRST_STAGE, pattern="{which}-cpk-avd.pth", optimizers={"avd": "optimizer_avd"}, epoch="epoch_avd"
)


class ArticulatedAnimation(KeyPointFamily):
    """Animate a picture with the motion of regions that are learned without labels.

    Training batches hold `source` and `driving` (B, 3, H, W), two frames of one clip; animation reads `image`.
    """

    layout = replace(FIRST_STAGE, others=(SECOND_STAGE,))
    optional = ("bg_predictor",)
    explained_modes = ("animate", "reconstruction")
    planned_epochs = 100
    second_stage = "mraa_avd"
    largest_gradient = 0.0
    """Maximum norm of a step's gradients; 0: no clipping."""

    add_options = staticmethod(add_options)

    @staticmethod
    def recognises(sections: dict) -> bool:
        return "region_predictor_params" in (sections.get("model_params") or {})

    def recognises_weights(self, content: Any) -> bool:
        return (
            self.holds_entries(content, less=("avd_network",))
            and input_channels(content, "region_predictor") is not None
        )

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        self.region_predictor = _region_predictor(opt)
        self.bg_predictor = BackgroundPredictor(
            kind=opt.bg_type, num_channels=opt.num_channels, **hourglass_sizes(opt, "bg_predictor")
        )
        self.generator = Generator(
            num_channels=opt.num_channels,
            **generator_sizes(opt),
            pixelwise_flow_predictor=_flow_predictor(opt),
            skips=opt.skips,
            align_corners=opt.align_corners,
            exact_resize=opt.align_corners,
        )
        self.multiple = multiple_of(
            (opt.region_predictor_num_blocks, opt.region_predictor_scale_factor),
            (opt.flow_predictor_num_blocks, opt.flow_predictor_scale_factor),
            (opt.num_down_blocks, 1),
        )
        self.relative_covar = opt.relative_covar
        self.region_bg_color = opt.region_bg_color
        self.avd_network = build_avd(opt) if self.needs_avd else None

    def prepare_training(self, opt: Any) -> None:
        super().prepare_training(opt)
        if opt.start_with_source:
            self.generator.start_with_source()
        self.equivariance = _equivariance(opt)
        self.motion_first = opt.motion_first
        self.largest_gradient = opt.clip_gradients
        self.learning_rate = opt.lr

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        networks = (self.generator, self.region_predictor, self.bg_predictor)
        parameters = chain.from_iterable(network.parameters() for network in networks)
        return {"reconstruction": torch.optim.Adam(parameters, self.learning_rate, betas=(0.5, 0.999))}

    def before_update(self, names: tuple[str, ...]) -> None:
        if self.largest_gradient:
            parameters = [parameter for group in self.networks().values() for parameter in group.parameters()]
            nn.utils.clip_grad_norm_(parameters, self.largest_gradient)

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        source, driving = batch["source"], batch["driving"]
        check_size(source, self.multiple)
        regions_source, regions_driving = self.region_predictor(source), self.region_predictor(driving)
        background = self.bg_predictor(source, driving)
        prediction, motion = self.step_networks(clock)(source, regions_source, regions_driving, background)
        equivariance_terms, transformed = self.equivariance(self.region_predictor, driving, regions_driving)
        step = Step(source, driving, prediction, regions_source, regions_driving, motion, transformed)
        terms = {**self.perceptual(prediction, driving), **equivariance_terms, **self.truth_terms(batch, step)}
        yield "reconstruction", terms
        return self.shown(step)

    def step_networks(self, clock: Clock) -> Callable[..., tuple[Tensor, Motion]]:
        """The generator of this step's prediction and motion; with --motion_first initially the warped source."""
        first = self.motion_first and clock.step < self.motion_first
        return self.generator.moved if first else self.generator.from_source

    def detection(self, item: dict[str, Any]) -> Callable[[Tensor], Regions]:
        return self.region_predictor

    def encode(self, source: Tensor) -> Encoded:
        return self.generator.encode(source)

    def generate(
        self, encoded: Encoded, kp_source: Regions, kp: Regions, background: Tensor | None = None
    ) -> tuple[Tensor, Motion]:
        return self.generator(encoded, kp_source, kp, background)

    def relative_kp(self, kp_source: Regions, kp_driving: Regions, kp_initial: Regions, scale: float) -> Regions:
        return relative_regions(kp_source, kp_driving, kp_initial, scale=scale, turn_covar=self.relative_covar)

    def pictures(self, step: Step) -> dict[str, Tensor]:
        return drawn_columns(self.generator, step, self.style, self.region_bg_color)

    def encode_source(self, source: dict[str, Any]) -> dict[str, Any]:
        # Once per clip, so cost does not matter: everything warped into frames is exact under any --precision.
        with torch.autocast(source["image"].device.type, enabled=False):
            return super().encode_source(source)


def build_avd(opt: Any) -> AvdNetwork:
    """The network that combines the identity of one picture's regions with another one's pose."""
    if not (opt.estimate_affine or opt.pca_based):
        raise UserError("--estimate_affine=no: an AVD network needs affine parts; remove this setting")
    return AvdNetwork(
        num_regions=opt.num_regions,
        id_bottle_size=opt.id_bottle_size,
        pose_bottle_size=opt.pose_bottle_size,
        revert_axis_swap=opt.revert_axis_swap,
        upright_axes=opt.upright_axes,
    )


def _region_predictor(opt: Any) -> RegionPredictor:
    if opt.use_covar_heatmap and not (opt.pca_based or opt.estimate_affine):
        raise UserError("--use_covar_heatmap needs regions with a shape: set --pca_based or --estimate_affine")
    return RegionPredictor(
        num_regions=opt.num_regions,
        num_channels=opt.num_channels,
        **hourglass_sizes(opt, "region_predictor"),
        temperature=opt.temperature,
        estimate_affine=opt.estimate_affine,
        pca_based=opt.pca_based,
        scale_factor=opt.region_predictor_scale_factor,
        pad=opt.region_predictor_pad,
    )


def _flow_predictor(opt: Any) -> PixelwiseFlowPredictor:
    return PixelwiseFlowPredictor(
        num_regions=opt.num_regions,
        num_channels=opt.num_channels,
        **hourglass_sizes(opt, "flow_predictor"),
        estimate_occlusion_map=opt.estimate_occlusion_map,
        scale_factor=opt.flow_predictor_scale_factor,
        use_deformed_source=opt.use_deformed_source,
        use_covar_heatmap=opt.use_covar_heatmap,
        region_var=opt.region_var,
        revert_axis_swap=opt.revert_axis_swap,
        align_corners=opt.align_corners,
    )


def _equivariance(opt: Any) -> RegionEquivariance | NoEquivariance:
    if not opt.weight_equivariance_shift and not opt.weight_equivariance_affine:
        return NoEquivariance()
    if opt.weight_equivariance_affine and not (opt.pca_based or opt.estimate_affine):
        raise UserError("--weight_equivariance_affine needs affine parts: set it to 0, or set --estimate_affine")
    return RegionEquivariance(
        shift_weight=opt.weight_equivariance_shift,
        affine_weight=opt.weight_equivariance_affine,
        revert_axis_swap=opt.revert_axis_swap,
        **transform_sizes(opt),
        align_corners=opt.align_corners,
    )
