"""Motion representations for articulated animation: regions with their covariance, a background, a generator."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.family import Family, Layout
from models.mraa.losses import Equivariance
from models.mraa.movement import relative_regions
from models.mraa.networks import (
    AvdNetwork,
    BackgroundPredictor,
    Generator,
    PixelwiseFlowPredictor,
    RegionPredictor,
)
from models.mraa.options import (
    add_animation_options,
    add_drawing_options,
    add_network_options,
    add_training_options,
)
from models.mraa.pictures import Step, drawn_columns
from models.parts.avd import require_avd
from models.parts.blocks import fold_norms
from models.parts.equivariance import NoEquivariance
from models.parts.motion import Motion
from models.parts.movement import movement_scale, unit_scale
from models.parts.options import build_perceptual, way_of
from models.parts.pictures import Pictures, Style, first_samples
from models.parts.sizes import check_size, input_channels, multiple_of
from models.parts.truth import build_truth
from util.errors import UserError
from util.schedules import milestones

FIRST_STAGE = Layout(
    pattern="{which}-cpk-reconstruction.pth",
    entries={name: name for name in ("generator", "bg_predictor", "region_predictor", "avd_network")},
    optimizers={"reconstruction": "optimizer_reconstruction"},
    epoch="epoch_reconstruction",
)
SECOND_STAGE = replace(
    FIRST_STAGE, pattern="{which}-cpk-avd.pth", optimizers={"avd": "optimizer_avd"}, epoch="epoch_avd"
)


class ArticulatedAnimation(Family):
    """Animate a picture by the movement of regions that are learned without labels.

    Training batches hold `source` and `driving` (B, 3, H, W), two frames of one clip; animation reads `image`.
    """

    layout = replace(FIRST_STAGE, others=(SECOND_STAGE,))
    log_lines = "epoch"
    optional = ("bg_predictor",)
    explained_modes = ("animate", "reconstruction")
    planned_epochs = 100
    largest_gradient = 0.0
    """The length to which the gradients of a step are scaled; 0: they are as they are."""

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        add_network_options(parser)
        add_animation_options(parser, "relative")
        add_drawing_options(parser)
        if training:
            add_training_options(parser)
        parser.accept_unused("train_avd_params.*")
        parser.set_defaults(dataset_mode="frames")

    @staticmethod
    def recognises(sections: dict) -> bool:
        return "region_predictor_params" in (sections.get("model_params") or {})

    def recognises_weights(self, content: Any) -> bool:
        return (
            self.holds_entries(content, less=("avd_network",))
            and input_channels(content, "region_predictor") is not None
        )

    def __init__(self, opt: Any):
        super().__init__(opt)
        self.region_predictor = _region_predictor(opt)
        self.bg_predictor = BackgroundPredictor(
            kind=opt.bg_type,
            num_channels=opt.num_channels,
            expansion=opt.bg_predictor_block_expansion,
            max_features=opt.bg_predictor_max_features,
            num_blocks=opt.bg_predictor_num_blocks,
        )
        self.generator = Generator(
            num_channels=opt.num_channels,
            expansion=opt.generator_block_expansion,
            max_features=opt.generator_max_features,
            num_down_blocks=opt.num_down_blocks,
            num_bottleneck_blocks=opt.num_bottleneck_blocks,
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
        self.way = way_of(opt)
        self.movement_scale = movement_scale if opt.adapt_scale else unit_scale
        self.relative = partial(relative_regions, turn_covar=opt.relative_covar)
        self.style = Style(opt.kp_size, opt.colormap, opt.draw_border)
        self.region_bg_color = opt.region_bg_color
        # Training knows no --mode: there the network is learned in a stage of its own.
        self.avd_network = build_avd(opt) if self.way == "avd" and hasattr(opt, "mode") else None

    def prepare_training(self, opt: Any) -> None:
        if opt.start_with_source:
            self.generator.start_with_source()
        self.perceptual = build_perceptual(opt)
        self.equivariance = _equivariance(opt)
        self.truth = build_truth(opt)
        self.motion_first = opt.motion_first
        self.largest_gradient = opt.clip_gradients
        self.learning_rate = opt.lr
        self.epoch_milestones = opt.epoch_milestones

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        networks = (self.generator, self.region_predictor, self.bg_predictor)
        parameters = chain.from_iterable(network.parameters() for network in networks)
        return {"reconstruction": torch.optim.Adam(parameters, self.learning_rate, betas=(0.5, 0.999))}

    def before_update(self, names: tuple[str, ...]) -> None:
        if self.largest_gradient:
            parameters = [parameter for group in self.networks().values() for parameter in group.parameters()]
            nn.utils.clip_grad_norm_(parameters, self.largest_gradient)

    def rate(self, name: str, clock: Any) -> float:
        return milestones(clock.epoch, self.epoch_milestones)

    def training_step(self, batch: dict[str, Any], clock: Any) -> Iterator[tuple]:
        source, driving = batch["source"], batch["driving"]
        check_size(source, self.multiple)
        regions_source, regions_driving = self.region_predictor(source), self.region_predictor(driving)
        background = self.bg_predictor(source, driving)
        prediction, motion = self.step_networks(clock)(source, regions_source, regions_driving, background)
        equivariance_terms, transformed = self.equivariance(self.region_predictor, driving, regions_driving)
        occlusion = [] if motion.occlusion_map is None else [motion.occlusion_map]
        points = (regions_source.shift, regions_driving.shift)
        terms = {
            **self.perceptual(prediction, driving),
            **equivariance_terms,
            **self.truth(batch, prediction, motion.deformation, occlusion, points),
        }
        yield "reconstruction", terms
        step = Step(source, driving, prediction, regions_source, regions_driving, transformed, motion)
        return Pictures(partial(self.pictures, first_samples(step)))

    def step_networks(self, clock: Any) -> Callable[..., tuple[Tensor, Motion]]:
        """What makes a prediction and a motion in this step: at first the warped source itself, if training asks so."""
        first = self.motion_first and clock.step < self.motion_first
        return self.generator.moved if first else self.generator.from_source

    def pictures(self, step: Step) -> dict[str, Tensor]:
        """How frames came about, column by column."""
        return drawn_columns(self.generator, step, self.style, self.region_bg_color)

    def released_entries(self, content: Any, path: Path) -> Any:
        # In training the network begins anew where a file has none.
        if self.avd_network is not None and not self.training:
            require_avd(content, path, "mraa_avd")
        return content

    def prepare_inference(self) -> None:
        fold_norms(self)
        super().prepare_inference()

    def encode_source(self, source: dict[str, Any]) -> dict[str, Any]:
        image = source["image"]
        check_size(image, self.multiple)
        # Once a clip, so it may cost: what is warped into every frame is exact under any --precision.
        with torch.autocast(image.device.type, enabled=False):
            return {"regions": self.region_predictor(image), "encoded": self.generator.encode(image)}

    def animate(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        step, state = self.drive(state, driving)
        return step.prediction, state

    def explain(
        self, source: dict[str, Any], state: dict[str, Any], driving: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any], dict[str, Tensor]]:
        step, state = self.drive(state, driving)
        return step.prediction, state, self.pictures(step)

    def drive(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[Step, dict[str, Any]]:
        """The frames and how they came about, and the next state."""
        source, encoded, background = state["regions"], state["encoded"], None
        regions = found = self.region_predictor(driving["image"])
        if self.way == "relative" and "initial" not in state:
            initial = regions.samples(slice(0, 1))
            state = {**state, "initial": initial, "scale": self.movement_scale(source.shift, initial.shift)}
        if self.way == "relative":
            regions = self.relative(source, regions, state["initial"], scale=state["scale"])
        elif self.way == "avd":
            regions = self.avd_network(source, regions)
        elif self.way == "reconstruction":
            background = self.bg_predictor(encoded.source, driving["image"])
        prediction, motion = self.generator(encoded, source, regions, background)
        return Step(encoded.source, driving["image"], prediction, source, found, None, motion), state


def build_avd(opt: Any) -> AvdNetwork:
    """The network that joins one picture's regions with another one's pose."""
    if not (opt.estimate_affine or opt.pca_based):
        raise UserError("--estimate_affine=no: an AVD network joins affine parts too; there are none with this setting")
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
        expansion=opt.region_predictor_block_expansion,
        max_features=opt.region_predictor_max_features,
        num_blocks=opt.region_predictor_num_blocks,
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
        expansion=opt.flow_predictor_block_expansion,
        max_features=opt.flow_predictor_max_features,
        num_blocks=opt.flow_predictor_num_blocks,
        estimate_occlusion_map=opt.estimate_occlusion_map,
        scale_factor=opt.flow_predictor_scale_factor,
        use_deformed_source=opt.use_deformed_source,
        use_covar_heatmap=opt.use_covar_heatmap,
        region_var=opt.region_var,
        revert_axis_swap=opt.revert_axis_swap,
        align_corners=opt.align_corners,
    )


def _equivariance(opt: Any) -> Equivariance | NoEquivariance:
    if not opt.weight_equivariance_shift and not opt.weight_equivariance_affine:
        return NoEquivariance()
    if opt.weight_equivariance_affine and not (opt.pca_based or opt.estimate_affine):
        raise UserError("--weight_equivariance_affine needs affine parts: set it to 0, or set --estimate_affine")
    return Equivariance(
        shift_weight=opt.weight_equivariance_shift,
        affine_weight=opt.weight_equivariance_affine,
        revert_axis_swap=opt.revert_axis_swap,
        sigma_affine=opt.sigma_affine,
        sigma_tps=opt.sigma_tps,
        points_tps=opt.points_tps,
        align_corners=opt.align_corners,
    )
