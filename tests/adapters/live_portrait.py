"""Cases of LivePortrait."""

import re
from typing import Any

import numpy as np
import torch
from reference import formula
from torch import Tensor

from adapters.common import (
    Case,
    Computed,
    Kinds,
    Reference,
    compare_sampled,
    fill_weights,
    given,
    sample_count,
    stored,
)
from data.faces.portrait_crop import PasteBack, common_square, openness, square_of
from models import Family, find_family
from models.live_portrait.animation import hull_ratio
from models.live_portrait.keypoints import Motion, degrees_of, rotation_of
from models.live_portrait.losses import Equivariance, deformation_prior, guide, keypoint_prior
from models.live_portrait.motion_extractor import motion_of
from models.live_portrait.networks import (
    motion_heatmaps,
    sparse_motions,
    warp_by_each,
)
from models.live_portrait.smoothing import KalmanSmoother
from models.live_portrait.volumes import volume_grid, volume_heatmaps, warp_volume
from models.parts.warps import PlaneTransform
from options import parse
from util.portrait_edits import EDITS

KINDS = Kinds()
PERCEPTRONS = ("stitching", "eye", "lip")
OVERRIDES = {
    "block_expansion": "block_expansion",
    "max_features": "max_features",
    "reshape_channel": "volume_channels",
    "reshape_depth": "volume_depth",
    "num_resblocks": "num_resblocks",
    "depths": "motion_depths",
    "dims": "motion_widths",
    "upscale": "upscale",
}
DENSE = {"block_expansion": "flow_block_expansion", "max_features": "flow_max_features",
         "num_blocks": "flow_num_blocks", "reshape_depth": "volume_depth", "compress": "compress"}  # fmt: skip
ARGUMENTS = {
    "flag_relative_motion": "relative",
    "flag_stitching": "stitching",
    "flag_normalize_lip": "normalize_lip",
    "flag_eye_retargeting": "eye_retargeting",
    "flag_lip_retargeting": "lip_retargeting",
    "flag_source_video_eye_retargeting": "source_video_eye_retargeting",
    "animation_region": "animation_region",
    "driving_option": "driving_option",
    "driving_multiplier": "driving_multiplier",
}
"""The original's option -> ours."""


def compare(reference: Reference, case: Case, computed: Computed) -> None:
    """Every output that the case names, within its tolerance."""
    compare_sampled(reference, case, computed)


# --- inputs, weights, configurations ----------------------------------------------------------------------------------


def drawn(case: Case, name: str, *shape: int) -> Tensor:
    return torch.from_numpy(formula.values(name, shape, case["seed"]).astype(np.float32))


def make_family(case: Case, *words: str, training: bool = False) -> Family:
    """The family of the released configuration, or of the case's, with the weights of the networks it names."""
    sizes = settings(case.get("override", {}))
    words = ("--model=live_portrait", *(f"--{key}={value}" for key, value in sizes.items()), *words)
    opt = parse(list(words), training)
    family = find_family(opt.model)(opt, training)
    if training:
        family.prepare_training(opt)
    for name, network in family.networks().items():
        if name in case["networks"]:
            fill_weights(network, **case["reference"].weights(name))
    return family.train(training)


def settings(override: dict[str, Any]) -> dict[str, str]:
    """Our options for the original's sizes."""
    found: dict[str, str] = {}
    for key, value in override.items():
        if key == "dense_motion_params":
            found |= {DENSE[name]: str(number) for name, number in value.items()}
        elif isinstance(value, dict):
            found |= settings(value)
        else:
            found[OVERRIDES[key]] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return found


def key_points(case: Case) -> tuple[Tensor, Tensor]:
    count = sample_count(case)
    source = 0.5 * torch.tanh(drawn(case, "kp_source", count, 21, 3))
    return source, source + 0.1 * drawn(case, "kp_driving", count, 21, 3)


# --- points -----------------------------------------------------------------------------------------------------------


@KINDS("headpose")
def headpose(case: Case) -> Computed:
    return {
        "degrees": degrees_of(3 * given(case, "logits"))[:, 0],
        "passed_on": degrees_of(30 * given(case, "degrees")),
    }


@KINDS("rotation")
def rotation(case: Case) -> Computed:
    return {"R": rotation_of(*(30 * given(case, name) for name in ("pitch", "yaw", "roll")))}


@KINDS("transform")
def transform(case: Case) -> Computed:
    source, driving = (drawn_motion(case, prefix) for prefix in ("", "driving_"))
    return {"source": source.points(), "driving": driving.points(source.canonical)}


def drawn_motion(case: Case, prefix: str) -> Motion:
    count = sample_count(case)
    angles = (30 * drawn(case, f"{prefix}{name}", count, 1) for name in ("pitch", "yaw", "roll"))
    return Motion(
        0.2 * drawn(case, f"{prefix}kp", count, 21, 3),
        rotation_of(*angles),
        0.03 * drawn(case, f"{prefix}exp", count, 21, 3),
        0.1 * drawn(case, f"{prefix}t", count, 3),
        1.4 + 0.1 * drawn(case, f"{prefix}scale", count, 1),
    )


@KINDS("gaussian3d")
def gaussian3d(case: Case) -> Computed:
    size, kp = tuple(case["arguments"]["size"]), torch.tanh(given(case, "kp"))
    heat, wide = (volume_heatmaps(kp, size, case["arguments"][name]) for name in ("heat", "wide"))
    return {"grid": volume_grid(size, like=kp), "heat": heat, "wide": wide}


@KINDS("motion_multiplier")
def motion_multiplier(case: Case) -> Computed:
    return {"multiplier": [hull_ratio(0.2 * given(case, "kp")[:1], 0.3 * given(case, "driving_kp")[:1])]}


@KINDS("smoothing")
def smoothing(case: Case) -> Computed:
    series = 0.02 * given(case, "series")
    series += 0.01 * torch.arange(len(series), dtype=torch.float32)[:, None, None]
    computed = {}
    for name, variance in case["arguments"].items():
        smoother = KalmanSmoother(variance)
        waiting, first = smoother.push(None, series.flatten(1))
        computed[name] = torch.cat([first, smoother.finish(waiting, len(series))[1]]).view_as(series)
    return computed


@KINDS("edits")
def edits(case: Case) -> Computed:
    names = {"lip_variation_zero": "pouting", "lip_variation_one": "pursing", "lip_variation_two": "grin",
             "lip_variation_three": "mouth", "mov_x": "move_x", "mov_y": "move_y"}  # fmt: skip
    computed = {}
    for output in case["outputs"]:
        if output.startswith("eyeball_direction"):
            x, y = map(float, output.split("_")[-2:])
            computed[output] = EDITS["gaze_x"].delta(x) + EDITS["gaze_y"].delta(y)
        else:
            name, _, value = output.rpartition("_")
            computed[output] = EDITS[names.get(name, name)].delta(float(value))
    return computed


# --- crops ------------------------------------------------------------------------------------------------------------


@KINDS("ratios")
def ratios(case: Case) -> Computed:
    found = openness(stored(case, "landmarks"))
    eyes, lip = found[:, :2], found[:, 2:]
    wanted = {name: np.full_like(lip, case["arguments"][f"wanted_{name}"]) for name in ("eyes", "lip")}
    combined = {
        "combined_eyes": np.hstack([eyes, wanted["eyes"]]),
        "combined_lip": np.hstack([lip, wanted["lip"]]),
    }
    return {"eyes": eyes, "lip": lip} | combined


@KINDS("crop_")
def crop(case: Case) -> Computed:
    arguments, kind = case["arguments"], case["inputs"]["landmarks"]
    points = stored(case, "landmarks") if isinstance(kind, str) else (200 + 60 * given(case, "landmarks")).numpy()
    square = square_of(points, arguments["scale"], (0, arguments["vy_ratio"]))
    placed = square if arguments.get("rot", True) else square.upright()
    matrix = placed.matrix(arguments["dsize"])
    return {
        "center": square.centre,
        "size": [square.side] * 2,
        "angle": [square.angle],
        "matrix": matrix,
        "points": points @ matrix[:, :2].T + matrix[:, 2],
    }


@KINDS("crop_driving")
def crop_driving(case: Case) -> Computed:
    arguments, points = case["arguments"], stored(case, "landmarks")
    how = arguments["scale"], (0, arguments["vy_ratio"])
    common = common_square(points, *how)
    matrix = common.matrix(arguments["dsize"])
    return {
        "boxes": np.array([square_of(one, *how).box for one in points]),
        "mean": common.box,
        "matrix": np.vstack([matrix, [0, 0, 1]]),
        "points": points[0] @ matrix[:, :2].T + matrix[:, 2],
    }


def picture(case: Case, name: str, *shape: int) -> np.ndarray:
    """An 8-bit picture (H, W, 3) that a formula draws."""
    return np.rint(255 * formula.image(name, shape, case["seed"])).astype(np.uint8).transpose(1, 2, 0)


def shape_in_text(case: Case, name: str) -> tuple[int, ...]:
    """The shape of a picture that is described as image("name", (3,80,110))."""
    described = " ".join([case["what"], *map(str, case["inputs"].values())])
    return tuple(map(int, re.search(rf'image\("{name}", \((\d+),(\d+),(\d+)\)\)', described).groups()))


@KINDS("paste_back")
def paste_back(case: Case) -> Computed:
    arguments, original = case["arguments"], picture(case, "original", *shape_in_text(case, "original"))
    square = square_of(stored(case, "landmarks"), arguments["scale"], (0, arguments["vy_ratio"]))
    paste = PasteBack(square, original.shape[:2], arguments["dsize"])
    mask = np.zeros((*original.shape[:2], 1), np.float32)
    mask[paste.window] = paste.weight
    return {
        "crop": square.cut(original, arguments["dsize"]),
        "mask": mask.repeat(3, axis=2),
        "pasted": paste(original, picture(case, "generated", *shape_in_text(case, "generated"))),
    }


# --- networks ---------------------------------------------------------------------------------------------------------


@KINDS("appearance_feature_extractor")
@torch.no_grad()
def appearance(case: Case) -> Computed:
    return {"feature": make_family(case).appearance_feature_extractor(given(case, "source"))}


@KINDS("motion_extractor")
@torch.no_grad()
def motion_extractor(case: Case) -> Computed:
    raw = make_family(case).motion_extractor.raw(given(case, "source"))
    motion, names = motion_of(raw), ("pitch", "yaw", "roll")
    angles = {name: degrees_of(raw[name]) for name in names}
    return {f"raw_{name}": raw[name] for name in names} | angles | {
        "t": motion.translation, "exp": motion.expression, "scale": motion.scale, "kp": motion.canonical,
        "x": motion.points(),
    }  # fmt: skip


@KINDS("warping")
@torch.no_grad()
def warping(case: Case) -> Computed:
    module, volume = make_family(case).warping_module, given(case, "feature")
    network, (source, driving) = module.dense_motion_network, key_points(case)
    compressed, size = network.compressed(volume), tuple(volume.shape[2:])
    grids, motion = sparse_motions(source, driving, size), network(volume, source, driving)
    return motion._asdict() | {
        "compressed": compressed,
        "sparse_motion": grids,
        "deformed_feature": warp_by_each(compressed, grids),
        "heatmap": motion_heatmaps(source, driving, size)[:, :, None],
        "warped_feature": warp_volume(volume, motion.deformation),
        "out": module(volume, source, driving),
    }


@KINDS("generator")
@torch.no_grad()
def generator(case: Case) -> Computed:
    return {"picture": make_family(case).spade_generator(given(case, "feature"))}


@KINDS("retargeting")
@torch.no_grad()
def retargeting(case: Case) -> Computed:
    family, (source, driving) = make_family(case), key_points(case)
    return {
        "stitch": family.stitching.raw(source, driving),
        "stitched": family.stitching(source, driving),
        "eye_delta": family.eye(source, 0.3 * given(case, "eye_ratio").abs()),
        "lip_delta": family.lip(source, 0.3 * given(case, "lip_ratio").abs()),
    }


# --- animation --------------------------------------------------------------------------------------------------------


def to_tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32) / 255).permute(2, 0, 1)


def pictures(case: Case, name: str) -> Tensor:
    """The given pictures of one name, (N, 3, H, W)."""
    side, count = case["image_size"], int(case["inputs"][name].split()[0])
    names = [name] if count == 1 and name == "source" else [f"{name}_{index}" for index in range(count)]
    return torch.stack([to_tensor(picture(case, one, 3, side, side)) for one in names])


def words_of(case: Case) -> list[str]:
    """Our options for those of the case; the original's faults are wanted, too."""
    given_options = {ARGUMENTS[name]: value for name, value in case["arguments"].items() if name in ARGUMENTS}
    return ["--as_original=all", f"--input_size={case['image_size']}",
            *(f"--{name}={value}" for name, value in given_options.items())]  # fmt: skip


@KINDS("animate_")
@torch.no_grad()
def animate(case: Case) -> Computed:
    family = make_family(case, *words_of(case))
    source, driving = pictures(case, "source"), pictures(case, "driving")
    open_source, open_driving = (
        torch.from_numpy(openness(stored(case, f"{name}_landmarks"))) for name in ("source", "driving")
    )
    video = len(source) > 1
    given_source = {"image": source[:1], "openness": open_source.view(-1, 3)[:1]}
    given_source |= {"source_video": torch.ones(1)} if video else {}
    given_source |= {"driving_picture": torch.ones(1)} if len(driving) == 1 else {}
    items = {"image": driving, "openness": open_driving.view(-1, 3)}
    if video:
        items |= {"source_image": source, "source_openness": open_source}
    found = Animated(family, given_source, items)
    return found.computed() | template(family, driving, items["openness"])


class Animated:
    """The frames of a case in batches of two, and the points that moved them."""

    def __init__(self, family: Family, source: dict[str, Tensor], items: dict[str, Tensor]):
        self.points: list[tuple[Tensor, Tensor]] = []
        self.smoothed: list[tuple[Tensor, Tensor]] = []
        state = family.encode_source(source)
        mover = state["mover"]
        points = mover._points

        def watched(state, frames, driven):
            found = points(state, frames, driven)
            self.points.append((found.source, found.driven))
            self.smoothed.append((driven.expression, driven.rotation))
            return found

        mover._points = watched
        frames, count = [], len(items["image"])
        for start in range(0, count, 2):
            made, state = family.animate(state, {name: value[start : start + 2] for name, value in items.items()})
            frames += list(made)
        if len(frames) < count:
            frames += list(family.finish(state, count)[0])
        self.frames = frames

    def computed(self) -> Computed:
        source, driven = (torch.cat(parts) for parts in zip(*self.points, strict=True))
        expression, rotations = (torch.cat(parts) for parts in zip(*self.smoothed, strict=True))
        same = bool((source == source[:1]).all())
        computed: Computed = {f"prediction_{index}": frame[None] for index, frame in enumerate(self.frames)}
        return computed | {"kp_source": source[:1] if same else source, "kp_driving": driven,
                           "smooth_exp": expression, "smooth_R": rotations}  # fmt: skip


def template(family: Family, driving: Tensor, open_driving: Tensor) -> Computed:
    """The arrays of the driving video's motion template."""
    kept = family.measure({"image": driving, "openness": open_driving})
    numbers = kept.pop("openness")
    kept |= {"c_eyes_lst": numbers[:, :2], "c_lip_lst": numbers[:, 2:]}
    return {f"template_{name}": value for name, value in kept.items()}


@KINDS("animate_pasted")
@torch.no_grad()
def animate_pasted(case: Case) -> Computed:
    import cv2

    family, original = make_family(case, *words_of(case)), picture(case, "source", *shape_in_text(case, "source"))
    landmarks, side = stored(case, "source_landmarks").reshape(-1, 2), case["image_size"]
    square = square_of(landmarks, 2.3, (0, -0.125))
    small = cv2.resize(square.cut(original), (side, side), interpolation=cv2.INTER_AREA)
    driving = pictures(case, "driving")
    found = Animated(family, {"image": to_tensor(small)[None]}, {"image": driving})
    paste = PasteBack(square, original.shape[:2], 512)
    made = [(255 * frame.clamp(0, 1)).numpy().astype(np.uint8).transpose(1, 2, 0) for frame in found.frames]
    pasted = {f"pasted_{index}": paste(original, frame) for index, frame in enumerate(made)}
    return found.computed() | {"source_crop": small} | pasted


# --- training ---------------------------------------------------------------------------------------------------------


@KINDS("losses")
def losses(case: Case) -> Computed:
    kp, kp_driving = (0.5 * torch.tanh(given(case, name)) for name in ("kp", "kp_driving"))
    landmarks = [0.5 * torch.tanh(given(case, f"landmarks_{name}")) for name in ("source", "driving")]
    yaw, wanted = (degrees_of(3 * given(case, name)) for name in ("yaw", "yaw_wanted"))
    guided = [points[:, : landmarks[0].shape[1]] for points in (kp, kp_driving)]
    shapes = [name for name in case["outputs"] if name.startswith("wing")]
    wings = {name: guide(guided, landmarks, *map(float, name.split("_")[1:])).view(1) for name in shapes}
    return wings | {
        "prior": keypoint_prior(kp, 0.1, 0.33).view(1),
        "deformation": deformation_prior(0.03 * given(case, "exp")).view(1),
        "headpose": (yaw - wanted).abs().mean().view(1),
    }


@KINDS("equivariance")
def equivariance(case: Case) -> Computed:
    theta = torch.eye(2, 3) + 0.05 * given(case, "theta")
    moved = PlaneTransform(theta, 0.005 * given(case, "control"))
    kp, transformed = (0.5 * torch.tanh(given(case, name)) for name in ("kp", "kp_transformed"))
    loss = Equivariance(1.0, sigma_affine=0.05)
    loss.draw = lambda frame: moved
    terms, seen = loss(lambda frame: transformed, given(case, "frame"), kp)
    return {
        "points": moved.points(transformed[..., :2]),
        "loss": terms["equivariance"].view(1),
        "transformed_frame": seen.frame,
        "transformed_frame_shifted": moved.frame(given(case, "frame"), align_corners=False),
    }


@KINDS("train_forward")
def train_forward(case: Case) -> Computed:
    computed = trained(case, torch.float32)
    return computed | {f"float64/{name}": value for name, value in trained(case, torch.float64).items()}


def trained(case: Case, kind: torch.dtype) -> Computed:
    """One pass in training, with the gradients of a mean absolute difference."""
    side = case["inputs"]["source"][1][-1]
    family = make_family(case, f"--input_size={side}", "--no_perceptual", "--weight_gan=0", training=True).to(kind)
    source, driving, target = (given(case, name).to(kind) for name in ("source", "driving", "target"))
    of_source, of_driving = family.motion_extractor(source), family.motion_extractor(driving)
    kp_source, kp_driving = of_source.points(), of_driving.points(of_source.canonical)
    prediction = family.generate(family.encode(source), kp_source, kp_driving)
    loss = (prediction - target).abs().mean()
    loss.backward()
    computed = {"kp_source": kp_source, "kp_driving": kp_driving, "prediction": prediction, "loss": loss.view(1)}
    for name in case["networks"]:
        gradients = [p.grad.flatten() for p in getattr(family, name).parameters() if p.grad is not None]
        computed[f"grad_norm/{name}"] = torch.cat(gradients).norm().view(1)
    computed |= {f"grad/{name}": p.grad for name, p in family.named_parameters() if p.grad is not None}
    return computed | {f"after/{name}": value for name, value in family.state_dict().items()}
