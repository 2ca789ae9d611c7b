"""Shared code of the key-point families: encoding a source, choosing the animating points, visualising a step.

A detector returns `kp` for a picture: `KeyPoints`, or the `Regions` of mraa, which have the same attributes.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from models.family import Family
from models.parts.avd import require_avd
from models.parts.blocks import fold_norms
from models.parts.equivariance import Transformed
from models.parts.losses import Terms
from models.parts.movement import movement_scale, unit_scale
from models.parts.options import PerceptualSettings, ScheduleSettings, build_perceptual, build_schedules
from models.parts.pictures import Pictures, Style, first_samples
from models.parts.sizes import check_size
from models.parts.truth import build_truth
from models.parts.warps import coordinate_grid
from util.schedules import Clock
from util.settings import settings_of


class Step(NamedTuple):
    """The results of a training or animation step; one source may be paired with a batch of driving frames."""

    source: Tensor
    driving: Tensor
    prediction: Tensor
    kp_source: Any
    kp_driving: Any
    motion: Any
    """From the driving frame to the source, with `deformation` and `occlusion_maps`; None: no warp."""
    transformed: Transformed | None = None
    """In training, the transformed frame of the equivariance loss."""
    kp_moved: Any = None
    """In animation, the points passed to the generator."""


class KeyPointFamily(Family):
    """Animates a picture by points detected in it and in each driving frame.

    Training batches hold `source` and `driving` (B, 3, H, W), two frames of one clip; animation reads `image`. A family
    builds its networks, sets `multiple`, and defines `encode`, `generate`, `relative_kp` and `pictures`.
    """

    log_lines = "epoch"
    multiple: int
    """Divisor of both sides of a picture."""
    tells_motion = True
    second_stage = ""
    """The family that trains the AVD network, if there is one."""

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        self.way = self.way_of(opt, training)
        # The AVD network is trained in a separate stage.
        self.needs_avd = self.way == "avd" and not training
        self.movement_scale = movement_scale if self.way == "relative" and opt.adapt_scale else unit_scale
        self.style = Style(opt.kp_size, opt.colormap, opt.draw_border)
        self.bg_predictor = self.avd_network = None

    @staticmethod
    def way_of(opt: Any, training: bool) -> str:
        """How to animate: one of WAYS, or "reconstruction" if a clip of test.py drives itself."""
        return "reconstruction" if not training and opt.mode == "reconstruction" else opt.way

    def prepare_training(self, opt: Any) -> None:
        self.perceptual = build_perceptual(settings_of(PerceptualSettings, opt))
        self.truth = build_truth(
            motion=opt.weight_truth_motion,
            occlusion=opt.weight_truth_occlusion,
            points=opt.weight_truth_points,
            face=opt.weight_truth_face,
        )
        self.schedules = build_schedules(settings_of(ScheduleSettings, opt), self.layout.optimizers, "milestones")

    def rate(self, name: str, clock: Clock) -> float:
        return self.schedules.rate(name, clock)

    def detection(self, item: dict[str, Any]) -> Callable[[Tensor], Any]:
        """Detect the key points of an item; a relative may use other entries than the picture."""
        return self.kp_detector

    def encode(self, source: Tensor) -> Any:
        """Everything that the networks compute from the source picture alone; its `source` is the picture."""
        raise NotImplementedError

    def generate(self, encoded: Any, kp_source: Any, kp: Any, background: Tensor | None = None) -> tuple[Tensor, Any]:
        """Generate the source with points `kp` (a batch), and the motion; `background`: matrices of its motion."""
        raise NotImplementedError

    def relative_kp(self, kp_source: Any, kp_driving: Any, kp_initial: Any, scale: float) -> Any:
        """The source's points with the motion of the driving points since the first frame."""
        raise NotImplementedError

    def pictures(self, step: Step) -> dict[str, Tensor]:
        """Visualisation of intermediate results, column by column, as in the original."""
        raise NotImplementedError

    def shown(self, step: Step) -> Pictures:
        """The pictures of a training step, drawn only if they are shown."""
        return Pictures(partial(self.pictures, first_samples(step)))

    def truth_terms(self, batch: dict[str, Any], step: Step) -> Terms:
        """The losses of `--weight_truth_*` on the motion of a step."""
        if step.motion is None:
            return {}
        points = step.kp_source.value, step.kp_driving.value
        return self.truth(batch, step.prediction, step.motion.deformation, step.motion.occlusion_maps, points)

    def released_entries(self, content: Any, path: Path) -> Any:
        # In training the network starts from scratch if the file has none.
        if self.avd_network is not None and not self.training:
            require_avd(content, path, self.second_stage)
        return content

    def prepare_inference(self) -> None:
        fold_norms(self)
        super().prepare_inference()

    def encode_source(self, source: dict[str, Any]) -> dict[str, Any]:
        image = source["image"]
        check_size(image, self.multiple)
        return {"kp_source": self.detection(source)(image), "encoded": self.encode(image)}

    def animate(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        step, state = self.drive(state, driving)
        return step.prediction, state

    def animate_with_motion(
        self, state: dict[str, Any], driving: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any], Tensor]:
        step, state = self.drive(state, driving)
        if step.motion is not None:
            return step.prediction, state, step.motion.deformation
        still = coordinate_grid(*step.prediction.shape[-2:], like=step.prediction)
        return step.prediction, state, still.expand(len(step.prediction), -1, -1, -1)

    def explain(
        self, source: dict[str, Any], state: dict[str, Any], driving: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any], dict[str, Tensor]]:
        step, state = self.drive(state, driving)
        return step.prediction, state, self.pictures(step)

    def drive(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[Step, dict[str, Any]]:
        """Generate frames; returns the step's results and the next state."""
        kp_source, encoded, frame = state["kp_source"], state["encoded"], driving["image"]
        kp_driving = self.detection(driving)(frame)
        if "kp_initial" not in state:
            kp_initial = kp_driving.samples(slice(0, 1))
            state = {**state, "kp_initial": kp_initial, "scale": self.movement_scale(kp_source.value, kp_initial.value)}
        kp = self.moved_kp(state, kp_driving)
        prediction, motion = self.generate(encoded, kp_source, kp, self.background(encoded.source, frame))
        return Step(encoded.source, frame, prediction, kp_source, kp_driving, motion, kp_moved=kp), state

    def moved_kp(self, state: dict[str, Any], kp_driving: Any) -> Any:
        """The animating points, by the way to animate; by default those of the driving frames."""
        if self.way == "relative":
            return self.relative_kp(state["kp_source"], kp_driving, state["kp_initial"], state["scale"])
        return self.avd_network(state["kp_source"], kp_driving) if self.way == "avd" else kp_driving

    def background(self, source: Tensor, driving: Tensor) -> Tensor | None:
        """The background motion, which follows the driving clip in reconstruction only."""
        if self.way != "reconstruction" or self.bg_predictor is None:
            return None
        return self.bg_predictor(source, driving)


def hourglass_sizes(opt: Any, name: str) -> dict[str, int]:
    """The values of `add_hourglass_options`, as arguments of an hourglass."""
    options = {"expansion": "block_expansion", "max_features": "max_features", "num_blocks": "num_blocks"}
    return {argument: getattr(opt, f"{name}_{option}") for argument, option in options.items()}


def generator_sizes(opt: Any) -> dict[str, int]:
    """The values of `add_generator_options`, as arguments of a generator."""
    return {
        "expansion": opt.generator_block_expansion,
        "max_features": opt.generator_max_features,
        "num_down_blocks": opt.num_down_blocks,
        "num_bottleneck_blocks": opt.num_bottleneck_blocks,
    }


def transform_sizes(opt: Any) -> dict[str, Any]:
    """The values of `add_transform_options`, as arguments of a RandomTransform."""
    return {"sigma_affine": opt.sigma_affine, "sigma_tps": opt.sigma_tps, "points_tps": opt.points_tps}
