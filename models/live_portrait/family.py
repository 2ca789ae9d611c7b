"""LivePortrait: encodes a source picture as a feature volume, warps it by implicit key points, renders it with
SPADE."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.family import Family, Layout
from models.live_portrait.animation import Frames, Mover, Points, edited_openness, edited_points
from models.live_portrait.composing import as_painted, copy_at_first, flat_deformation, with_source_pixels
from models.live_portrait.finished import finish_generator, finish_warping
from models.live_portrait.keypoints import Motion
from models.live_portrait.losses import (
    Adversarial,
    Cascade,
    Equivariance,
    Identity,
    NoAdversarial,
    PerceptualCascade,
    Priors,
    Regions,
)
from models.live_portrait.motion_extractor import MotionExtractor
from models.live_portrait.networks import (
    AppearanceExtractor,
    DenseMotion,
    SpadeGenerator,
    Stitching,
    WarpingModule,
    eye_retargeting,
    lip_retargeting,
)
from models.live_portrait.options import add_options
from models.live_portrait.pictures import Step, drawn_columns
from models.live_portrait.released import RETARGETING_STEM, find_released
from models.live_portrait.retargeting import Adjuster, Adjustments, Openness
from models.live_portrait.smoothing import KalmanSmoother, build_smoother
from models.live_portrait.transfer import Rules
from models.parts.arcface import load_arcface
from models.parts.blocks import fold_norms
from models.parts.cpu_convolutions import quicken
from models.parts.equivariance import NoEquivariance
from models.parts.losses import NoTerms, Terms
from models.parts.options import PerceptualSettings, ScheduleSettings, build_perceptual, build_schedules
from models.parts.pictures import Pictures, first_samples
from models.parts.sizes import check_size
from models.parts.truth import build_truth
from util.errors import UserError
from util.schedules import Clock
from util.settings import settings_of

ANIMATORS = ("appearance_feature_extractor", "motion_extractor", "warping_module", "spade_generator")
PERCEPTRONS = {"stitching": "stitching", "eye": "eye_retargeting", "lip": "lip_retargeting"}
"""The retargeting networks, and the option that needs each."""


class LivePortrait(Family):
    """Animate a portrait with another face's pose and expression.

    Training batches hold `source` and `driving` (B, 3, H, W), two frames of one clip at the size of the result. For
    animation `image` has that size or --input_size; data.portraits describes optional entries of items.
    """

    layout = Layout(
        pattern="{which}-{entry}.pth",
        entries={name: name for name in (*ANIMATORS, *PERCEPTRONS, "discriminators")},
    )

    add_options = staticmethod(add_options)

    @staticmethod
    def recognises(sections: dict) -> bool:
        return "spade_generator_params" in (sections.get("model_params") or {})

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        _refuse_without_effect(opt)
        self.appearance_feature_extractor = AppearanceExtractor(
            opt.block_expansion,
            opt.num_down_blocks,
            opt.max_features,
            opt.volume_channels,
            opt.volume_depth,
            opt.num_resblocks,
        )
        self.motion_extractor = MotionExtractor(opt.num_kp, opt.motion_depths, opt.motion_widths)
        self.warping_module = WarpingModule(
            opt.num_kp,
            opt.volume_channels,
            opt.volume_depth,
            opt.block_expansion,
            opt.max_features,
            opt.num_down_blocks,
            motion_expansion=opt.flow_block_expansion,
            motion_max_features=opt.flow_max_features,
            motion_num_blocks=opt.flow_num_blocks,
            compress=opt.compress,
            kernel=opt.flow_kernel,
        )
        self.spade_generator = _generator(opt)
        self.stitching = Stitching(opt.num_kp)
        self.eye, self.lip = eye_retargeting(opt.num_kp), lip_retargeting(opt.num_kp)
        self.compose = with_source_pixels if opt.copy_pixels else as_painted
        self.rules, self.mover, self.smoother = _rules(opt), _mover(opt), _smoother(opt)
        self.adjuster = Adjuster(_adjustments(opt), self.stitching, self.eye, self.lip)
        self.input_size, self.multiple = opt.input_size, 2 ** (opt.num_down_blocks + opt.flow_num_blocks)
        self.retargeting_weights = opt.retargeting_weights
        self.tells_motion = not opt.smooth_motion  # the last frames of a smoothed clip come without their flow
        # Weights may lack networks that no option uses.
        asked = _retargeted(opt)
        used = {name: asked[name] or _edits(opt, f"{name}s") for name in asked} | {"stitching": opt.stitching}
        self.optional = tuple(name for name in PERCEPTRONS if not used[name])
        self.retargeted = tuple(name for name, wanted in asked.items() if wanted)

    def prepare_training(self, opt: Any) -> None:
        if opt.start_at_rest:
            self.motion_extractor.start_at_rest()
            if opt.copy_pixels:
                copy_at_first(self.spade_generator)
        self.discriminators = _cascade(opt) if opt.weight_gan else None
        self.adversarial = _adversarial(opt) if opt.weight_gan else NoAdversarial()
        pyramid = build_perceptual(settings_of(PerceptualSettings, opt))
        self.perceptual = PerceptualCascade(pyramid, _regions(opt, "perceptual_regions"))
        self.identity = _identity(opt.identity_network, opt.weight_identity)
        self.equivariance, self.priors = _equivariance(opt), _priors(opt)
        self.truth = build_truth(
            motion=opt.weight_truth_motion, occlusion=opt.weight_truth_occlusion, face=opt.weight_truth_face
        )
        self.motion_first = opt.motion_first
        self.adam = partial(torch.optim.Adam, lr=opt.lr, betas=tuple(opt.adam_betas))
        self.largest_gradient = opt.clip_gradients
        self.schedules = build_schedules(settings_of(ScheduleSettings, opt), ("animator", "discriminator"))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        optimizers = {"animator": self.adam([p for name in ANIMATORS for p in getattr(self, name).parameters()])}
        if self.discriminators is not None:
            optimizers["discriminator"] = self.adam(self.discriminators.parameters())
        return optimizers

    def rate(self, name: str, clock: Clock) -> float:
        return self.schedules.rate(name, clock)

    def before_update(self, names: tuple[str, ...]) -> None:
        if self.largest_gradient and "animator" in names:
            parameters = [p for name in ANIMATORS for p in getattr(self, name).parameters()]
            nn.utils.clip_grad_norm_(parameters, self.largest_gradient)

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        source, driving = (self.seen(batch[name]) for name in ("source", "driving"))
        of_source, of_driving = self.motion_extractor(source), self.motion_extractor(driving)
        # The driving frame uses the source's canonical points, so that it differs from the source by motion only.
        kp_source, kp_driving = of_source.points(), of_driving.points(of_source.canonical)
        made = None
        if clock.step >= self.motion_first:
            made = self.generate_with_motion(self.encode(source), kp_source, kp_driving)

        def detect(frame: Tensor) -> Tensor:
            return self.motion_extractor(frame).points(of_source.canonical)

        equivariance_terms, transformed = self.equivariance(detect, driving, kp_driving)
        terms = {**equivariance_terms, **self.priors(of_source, of_driving, batch)}
        if made is None:
            self.truth.check(batch)
            yield "animator", terms
            prediction = source
        else:
            prediction = yield from self._compared(batch, *made, terms)
        shown = first_samples(Step(source, driving, prediction, kp_source, kp_driving, transformed))
        return Pictures(partial(drawn_columns, shown))

    def _compared(
        self, batch: dict[str, Any], prediction: Tensor, motion: DenseMotion, terms: Terms
    ) -> Iterator[tuple]:
        """The updates by a generated picture, which is returned; `terms`: those on points alone."""
        target = resized(batch["driving"], prediction.shape[-1])
        truth = {**batch, "driving": target}
        yield (
            "animator",
            {
                **self.perceptual(prediction, target, batch),
                **self.identity(prediction, target, batch),
                **self.adversarial.for_generator(self.discriminators, prediction, target, batch),
                **terms,
                **self.truth(truth, prediction, flat_deformation(motion.deformation), [motion.occlusion_map]),
            },
        )
        prediction = prediction.detach()
        if self.adversarial.on:
            judged = self.adversarial.for_discriminator(self.discriminators, prediction, target, batch)
            yield "discriminator", judged
        return prediction

    def released_states(self, path: Path) -> Mapping[str, Mapping[str, Tensor]] | None:
        states = find_released(path, self.retargeting_weights)
        missing = [name for name in PERCEPTRONS if name not in (states or PERCEPTRONS) and name not in self.optional]
        if missing:
            raise UserError(
                f"{path}: no {RETARGETING_STEM}.pth with the networks {', '.join(missing)}: set "
                f"--retargeting_weights, or remove {', '.join(f'--{PERCEPTRONS[name]}' for name in missing)} "
                "(stitching: --no_stitching) and edits of eyes and lips"
            )
        return states

    def prepare_inference(self) -> None:
        untrained = [name for name in self.retargeted if not getattr(self, name).changes_anything]
        if untrained:
            raise UserError(
                f"--eye_retargeting, --lip_retargeting, --normalize_lip or --source_video_eye_retargeting: these "
                f"weights' retargeting of {' and '.join(f'{name}s' for name in untrained)} is untrained and changes "
                f"nothing; train it with --model live_portrait_retarget, or remove the option"
            )
        self.spade_generator = finish_generator(self.spade_generator)
        self.warping_module = finish_warping(self.warping_module)
        fold_norms(self.appearance_feature_extractor)
        quicken(self)

    def encode_source(self, source: dict[str, Any]) -> dict[str, Any]:
        picture, video = bool("driving_picture" in source), bool("source_video" in source)
        if video:
            return {"mover": self._mover(picture, video)}
        image = self.seen(source["image"].flatten(0, -4))
        numbers = source.get("openness")
        return {
            "mover": self._mover(picture, video, faces=len(image)),
            "motion": self.motion_extractor(image),
            "encoded": self.encode(image),
            "openness": None if numbers is None else numbers.flatten(0, -2),
        }

    def begin_with(self, state: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
        return state["mover"].begin(state, self._frames(state, first))

    def animate(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        if "edit" in driving:
            return self._edited(state, driving), state
        frames, state, _ = self._advance(state, driving)
        return frames, state

    def animate_with_motion(
        self, state: dict[str, Any], driving: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any], Tensor]:
        frames, state, motion = self._advance(state, driving)
        return frames, state, flat_deformation(motion.deformation)

    def _advance(
        self, state: dict[str, Any], driving: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any], DenseMotion | None]:
        """The frames of driving frames, the next state, and the flow of these frames if there are any."""
        state, points = state["mover"].push(state, self._frames(state, driving))
        frames, motion = self._painted(state, points)
        return frames, state, motion

    def finish(self, state: dict[str, Any], max_frames: int) -> tuple[Tensor, dict[str, Any]]:
        state, points = state["mover"].finish(state, max_frames)
        return self._painted(state, points)[0], state

    def measure(self, driving: dict[str, Any]) -> dict[str, Tensor]:
        """The arrays of a motion template for driving frames."""
        motion = self._driving_motion(driving)
        found = {
            "scale": motion.scale,
            "R": motion.rotation,
            "exp": motion.expression,
            "t": motion.translation,
            "kp": motion.canonical,
            "x_s": motion.points(),
        }
        return found | ({"openness": driving["openness"]} if "openness" in driving else {})

    def seen(self, picture: Tensor) -> Tensor:
        """A picture at the input size of the networks."""
        small = resized(picture, self.input_size)
        check_size(small, self.multiple)
        return small

    def encode(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is computed once for a source: its volume, the few channels that show how it moves, and itself."""
        return *self.warping_module.encode(self.appearance_feature_extractor(picture)), picture

    def generate(self, encoded: tuple[Tensor, Tensor, Tensor], kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        """The picture (N, 3, H, W) of a source whose points are moved; one source may serve all driving points."""
        return self.generate_with_motion(encoded, kp_source, kp_driving)[0]

    def generate_with_motion(
        self, encoded: tuple[Tensor, Tensor, Tensor], kp_source: Tensor, kp_driving: Tensor
    ) -> tuple[Tensor, DenseMotion]:
        """The same, and the flow that made it."""
        *volumes, picture = encoded
        features, motion = self.warping_module.warp_and_motion(volumes, kp_source, kp_driving)
        return self.compose(self.spade_generator(features), picture, motion), motion

    def _mover(self, driving_picture: bool, source_video: bool, faces: int = 1) -> Mover:
        rules = self.rules(per_frame=source_video, picture=driving_picture)
        smoother = self.smoother(source_video=source_video, driving_picture=driving_picture, faces=faces)
        return self.mover(rules, self.adjuster, smoother)

    def _frames(self, state: dict[str, Any], driving: dict[str, Any]) -> Frames:
        """Driving frames with the source of each."""
        motion = self._driving_motion(driving)
        if "source_image" in driving:
            picture = self.seen(driving["source_image"])
            source, openness = self.motion_extractor(picture), driving.get("source_openness")
        else:
            # With several faces in a picture, items name the face.
            picture = driving.get("face", torch.zeros(len(motion.scale), dtype=torch.long, device=motion.scale.device))
            source = state["motion"].rows(picture)
            openness = None if state["openness"] is None else state["openness"][picture]
        if motion.canonical is None:
            motion = motion._replace(canonical=source.canonical)
        return Frames(source, motion, picture, openness, driving.get("openness"))

    def _driving_motion(self, driving: dict[str, Any]) -> Motion:
        if "motion" not in driving:
            return self.motion_extractor(self.seen(driving["image"]))
        given = driving["motion"]
        return Motion(given.get("kp"), given["R"], given["exp"], given["t"], given["scale"])

    def _painted(self, state: dict[str, Any], points: Points | None) -> tuple[Tensor, DenseMotion | None]:
        """The frames of points and their flow; none while motions are pending in the smoother."""
        if points is None:
            return next(self.parameters()).new_zeros(0, 3, 1, 1), None
        picture = points.frames.picture
        if picture.ndim > 1:
            return self.generate_with_motion(self.encode(picture), points.source, points.driven)
        return self._moved(state, picture, points.source, points.driven)

    def _edited(self, state: dict[str, Any], driving: dict[str, Any]) -> Tensor:
        edit, face = driving["edit"], driving["face"]
        source, openness = state["motion"].rows(face), state["openness"]
        openness = None if openness is None else Openness.of(openness[face])
        kp_source, kp = source.points(), edited_points(source, edit)
        kp = kp + edited_openness(self.adjuster, kp_source, openness, edit)
        if self.adjuster.adjustments.stitching:
            kp = self.stitching(kp_source, kp)
        return self._moved(state, face, kp_source, kp)[0]

    def _moved(self, state: dict[str, Any], face: Tensor, kp_source: Tensor, kp: Tensor) -> tuple[Tensor, DenseMotion]:
        """Render the source's faces, for each frame the one that it names, with moved points."""
        encoded = state["encoded"]
        if len(encoded[0]) > 1:
            encoded = tuple(part[face] for part in encoded)
        return self.generate_with_motion(encoded, kp_source, kp)


def resized(picture: Tensor, side: int) -> Tensor:
    """Resize square pictures to this side, by area averaging when it shrinks."""
    if picture.shape[-1] == side:
        return picture
    return F.interpolate(picture, size=(side, side), mode="area" if picture.shape[-1] > side else "bilinear")


def _generator(opt: Any) -> SpadeGenerator:
    return SpadeGenerator(
        opt.upscale,
        opt.block_expansion,
        opt.max_features,
        opt.num_down_blocks,
        out_channels=opt.generator_out_channels,
        hidden=opt.spade_width,
        num_middle_blocks=opt.num_middle_blocks,
        masked=opt.copy_pixels,
    )


def _rules(opt: Any) -> Callable[..., Rules]:
    """The rules of motion transfer, except those that depend on the source and the driving video."""
    return partial(
        Rules,
        relative=opt.relative and not opt.animals,
        region=opt.animation_region,
        picture_as_original="driving_picture" in opt.as_original,
        whole_expression=opt.animals,
        lip_points=tuple(opt.lip_points),
        eye_points=tuple(opt.eye_points),
    )


def _mover(opt: Any) -> Callable[..., Mover]:
    return partial(
        Mover,
        scaling=opt.driving_option,
        bent_rotations="rotations" in opt.as_original,
        animals=opt.animals,
    )


def _smoother(opt: Any) -> Callable[..., KalmanSmoother | None]:
    return partial(build_smoother, opt.smooth_motion, opt.smooth_variance, opt.look_ahead)


def _adjustments(opt: Any) -> Adjustments:
    return Adjustments(
        stitching=opt.stitching,
        multiplier=opt.driving_multiplier,
        eyes=opt.eye_retargeting,
        lips=opt.lip_retargeting,
        normalize_lip=opt.normalize_lip,
        normalize_eyes=opt.source_video_eye_retargeting,
        relative=opt.relative,
        as_original=frozenset(opt.as_original),
        eye_points=tuple(opt.eye_points),
    )


def _edits(opt: Any, part: str) -> bool:
    """Whether edits, options of the dataset mode `portraits` only, set the openness of the eyes or the lips."""
    given = vars(opt)
    named = f"{given.get('edit', '')},{given.get('edit_sweep', '')}".split(",")
    return given.get("edit_grid", False) or part in (edit.partition("=")[0].strip() for edit in named)


def _retargeted(opt: Any) -> dict[str, bool]:
    """The retargeting networks, and whether an option of animations asks for each."""
    return {
        "eye": opt.eye_retargeting is not None or opt.source_video_eye_retargeting,
        "lip": opt.lip_retargeting is not None or opt.normalize_lip,
    }


def _refuse_without_effect(opt: Any) -> None:
    """Refuse options that change nothing in absolute motion."""
    if opt.relative and not opt.animals:
        return
    given = {"normalize_lip": opt.normalize_lip, "driving_option adapt-scale": opt.driving_option == "adapt-scale"}
    if unused := [f"--{name}" for name, wanted in given.items() if wanted]:
        how = "--animals" if opt.animals else "--no_relative"
        raise UserError(f"{', '.join(unused)}: only for relative motion, which {how} replaces; remove one of them")


def _cascade(opt: Any) -> Cascade:
    return Cascade(
        opt.gan_regions,
        expansion=opt.discriminator_block_expansion,
        num_blocks=opt.discriminator_num_blocks,
        max_features=opt.discriminator_max_features,
    )


def _regions(opt: Any, option: str) -> Regions:
    return Regions(getattr(opt, option), opt.region_size, f"--{option}")


def _adversarial(opt: Any) -> Adversarial:
    regions = _regions(opt, "gan_regions")
    return Adversarial(regions, weight=opt.weight_gan, matching=opt.weight_matching, loss=opt.gan_loss)


def _identity(file: str, weight: float) -> Identity | NoTerms:
    return Identity(weight, load_arcface(Path(file))) if file else NoTerms()


def _priors(opt: Any) -> Priors:
    return Priors(
        {name: getattr(opt, f"weight_{name}") for name in ("prior", "deformation", "headpose", "guide")},
        distance=opt.prior_distance,
        depth=opt.prior_depth,
        guided=opt.guide_points,
        guides=opt.guide_landmarks,
        wing_shape=opt.wing,
        both_poses=opt.headpose_source,
    )


def _equivariance(opt: Any) -> Equivariance | NoEquivariance:
    if not opt.weight_equivariance:
        return NoEquivariance()
    return Equivariance(
        opt.weight_equivariance,
        sigma_affine=opt.sigma_affine,
        sigma_tps=opt.sigma_tps,
        points_tps=opt.points_tps,
        align_corners=opt.transform_align_corners,
    )
