"""Cases of the first order motion model and of its facial prior."""

import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from paths import ROOT
from reference import formula
from torch import Tensor, nn

from adapters.common import Case, Computed, Kinds, Reference, as_array, assert_close, fill_weights, stream, take
from data.augment import crop, draw_flip, flip, jitter, rescale, rotate
from data.frames import listed_pairs, random_pairs, random_split
from data.micro.prior_points import points_of_face
from data.preparation.fomm_crop import commands
from metrics.aed import squared_distance
from metrics.akd import body_distance, coordinate_distance
from models import find_family
from models.fomm.family import FirstOrderMotion
from models.fomm.movement import relative_key_points
from models.fomm_prior.networks import prior_mask
from models.parts.blocks import AntiAliasDown, ImagePyramid
from models.parts.keypoints import KeyPoints, gaussian_maps
from models.parts.losses import PerceptualPyramid
from models.parts.movement import movement_scale
from models.parts.vgg import Vgg19
from models.parts.warps import PlaneTransform, coordinate_grid
from options import parse
from util.epoch_log import epoch_line
from util.geometry import nearest_pose
from util.resizing import resize, to_bytes, to_floats
from util.visualisation import draw_points, enlarge, mask_columns, strip

KINDS = Kinds()
DENSE_MOTION = "model_params.generator_params.dense_motion_params"
CONFIGS = ROOT / "configs"


# --- inputs, weights, configurations ----------------------------------------------------------------------------------


def make_input(spec: dict[str, Any], literal: dict[str, Any] | None = None) -> np.ndarray:
    """The array that an input of a case describes, in the layout of `then`."""
    make = formula.image if spec["from"] == "formula.image" else formula.values
    x = make(spec["name"], spec["shape"], spec["seed"])
    then = spec.get("then", "")
    if "h w 3" in then:
        x = np.moveaxis(x, -3, -1)
    names = {"x": x, "eye": np.eye, "clip": np.clip, "rint": np.rint, "uint8": np.uint8, "float32": np.float32}
    expression = re.search(r"(?:float32|uint8)\(.*|^x .*", then)
    # The files spell out the arithmetic; it is evaluated as it stands, with these names only.
    return np.asarray(eval(expression[0], {"__builtins__": {}}, names | (literal or {}))) if expression else x


def inputs_of(case: Case) -> dict[str, Tensor]:
    """The inputs of a case that are arrays, in float32."""
    constants = case.get("literal", {}).get("transform_params", {})
    return {
        name: torch.from_numpy(np.ascontiguousarray(make_input(spec, constants), np.float32))
        for name, spec in case["inputs"].items()
        if isinstance(spec, dict)
    }


def key_points(inputs: dict[str, Tensor], name: str) -> KeyPoints:
    """The key points whose inputs end in name.value and name.jacobian."""
    found = {
        ending: value
        for key, value in inputs.items()
        for ending in ("value", "jacobian")
        if key.endswith(f"{name}.{ending}")
    }
    return KeyPoints(found["value"], found.get("jacobian"))


def numbers_in(text: str, pattern: str) -> list[float]:
    """The numbers that a description gives, e.g. those of "scale 0.9" by the pattern "scale NUMBER"."""
    match = re.search(pattern.replace("NUMBER", r"(-?[\d.]*\d)"), text)
    assert match, f"{text!r} does not say {pattern!r}"
    return [float(number) for number in match.groups()]


def description(case: Case, output: str) -> str:
    return case["outputs"][f"{case['name']}/{output}"]["what"]


def make_family(case: Case, training: bool, **options: Any) -> FirstOrderMotion:
    """The family of a case's configuration, holding the case's weights."""
    config = case["config"]
    base, changes = (config, {}) if isinstance(config, str) else (config["base"], config.get("changes", {}))
    options["align_corners"] = case.get("grid_sample_align_corners", True)
    changes = changes | literal_options(case.get("literal", {}))
    weights = dict(case.get("weights", {}))
    vgg = weights.pop("vgg19", None)
    options["vgg19"] = vgg19_file(vgg["seed"], vgg["gain"]) if vgg else None
    options["no_perceptual"] = vgg is None
    if changes.get(DENSE_MOTION, {}) is None:
        options["dense_motion_num_blocks"] = 0
    words = [f"--{key}={_as_word(value)}" for key, value in (changes | options).items() if value is not None]
    opt = parse([f"--config={config_file(base)}", *words], training=True)
    family = find_family(opt.model)(opt, training=True)
    if training or "discriminator" in weights:
        family.prepare_training(opt)
    for network, spec in weights.items():
        fill_weights(getattr(family, network), **spec)
    return family.train(training)


def config_file(name: str) -> Path:
    """Our file of one of the original's configurations."""
    names = {"facial-prior": "fomm_prior/mixed"}.get(name), f"fomm/{name}", f"fomm/{name.removesuffix('-256')}"
    return next(path for path in (CONFIGS / f"{one}.yaml" for one in names if one) if path.is_file())


def literal_options(literal: dict[str, Any]) -> dict[str, Any]:
    """The further settings of a training case under their names in the original's configuration."""
    rates = dict(zip(("generator", "kp_detector", "discriminator"), literal.get("learning_rates", ()), strict=False))
    groups = ("loss_weights", "transform_params")
    return {
        **{f"train_params.lr_{name}": rate for name, rate in rates.items()},
        **{f"train_params.{group}.{key}": value for group in groups for key, value in literal.get(group, {}).items()},
        **({"train_params.scales": literal["scales"]} if "scales" in literal else {}),
    }


def _as_word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


@cache
def vgg19_file(seed: int, gain: float) -> str:
    """A file in torchvision's layout that holds formula weights."""
    network = Vgg19()
    fill_weights(network, seed, gain)
    path = Path(tempfile.mkdtemp(prefix="grimace")) / "vgg19.pth"
    torch.save(network.state_dict(), path)
    return str(path)


# --- comparing --------------------------------------------------------------------------------------------------------


def compare(reference: Reference, case: Case, computed: Computed) -> None:
    """Every output that the case names, within its tolerance; or its expected facts."""
    if "expected" in case:
        compare_facts(case["name"], computed["expected"], case["expected"])
    for key, spec in case.get("outputs", {}).items():
        name = key.split("/", 1)[1]
        assert name in computed, f"{case['name']}: the adapter computes no output {name!r}"
        got = as_array(computed[name])
        assert list(got.shape) == spec["shape"], f"{key}: shape {got.shape}, expected {spec['shape']}"
        expected = reference.arrays[key]
        got = take(got, spec["stored"]) if "stored" in spec else got
        assert_close(key, got, expected, allowed(spec["tolerance"], expected, case.get("notes", "")))


def allowed(tolerance: Any, expected: np.ndarray, notes: str) -> Any:
    """The absolute difference that a tolerance permits, per element."""
    if isinstance(tolerance, dict):
        relative = np.asarray(next(iter(tolerance.values())), np.float64)
        relative = relative[:, None] if "relative per step" in tolerance else relative
        return relative * np.abs(expected)
    return 1 if "allowing +-1" in notes and tolerance == 0 else tolerance


def compare_facts(name: str, got: Any, expected: Any) -> None:
    """Compare nested lists, dictionaries, strings and numbers; numbers to 1e-4 if they are not integers."""
    if isinstance(expected, dict):
        assert set(got) == set(expected), f"{name}: {sorted(got)} instead of {sorted(expected)}"
        for key in expected:
            compare_facts(f"{name}.{key}", got[key], expected[key])
    elif isinstance(expected, list):
        assert len(got) == len(expected), f"{name}: {got} instead of {expected}"
        for index, pair in enumerate(zip(got, expected, strict=True)):
            compare_facts(f"{name}[{index}]", *pair)
    elif isinstance(expected, float):
        assert abs(got - expected) <= 1e-4 * abs(expected), f"{name}: {got} instead of {expected}"
    else:
        assert got == expected, f"{name}: {got!r} instead of {expected!r}"


# --- building blocks --------------------------------------------------------------------------------------------------


@KINDS("antialias", "anti-alias")
def antialias(case: Case) -> Computed:
    frame = inputs_of(case)["x"]
    computed = {}
    for scale in {key.rsplit("_", 1)[1] for key in case["outputs"]}:
        down = AntiAliasDown(frame.shape[1], float(scale))
        computed |= {f"kernel_{scale}": down.weight[0, 0], f"out_{scale}": down(frame)}
    return computed


@KINDS("gaussian", "coordinate grid")
def gaussian(case: Case) -> Computed:
    value, size = inputs_of(case)["value"], tuple(case["inputs"]["spatial_size"])
    variances = {name: numbers_in(description(case, name), "variance NUMBER")[0] for name in ("map", "wide")}
    maps = {name: gaussian_maps(value, size, variance) for name, variance in variances.items()}
    return {"grid": coordinate_grid(*size, like=value), **maps}


@KINDS("transform", "random transform")
def transform(case: Case) -> Computed:
    given = inputs_of(case)
    frame, points = given["frame"], given["points"]
    whole = PlaneTransform(given["theta"], given["control_params"])
    affine = PlaneTransform(given["theta"])
    size = frame.shape[-2:]
    grid = coordinate_grid(*size, like=points).flatten(0, 1).expand(len(frame), -1, -1)
    return {
        "grid": whole.points(grid).unflatten(1, size),
        "points": whole.points(points),
        "jacobian": whole.jacobian(points),
        "frame_corners": whole.frame(frame, align_corners=True),
        "frame_centres": whole.frame(frame, align_corners=False),
        "affine_points": affine.points(points),
        "affine_jacobian": affine.jacobian(points),
    }


@KINDS("perceptual", "VGG-19 taps")
@torch.no_grad()
def perceptual(case: Case) -> Computed:
    given, spec = inputs_of(case), next(iter(case["weights"].values()))
    network = Vgg19()
    fill_weights(network, spec["seed"], spec["gain"])
    loss = PerceptualPyramid(network, case["inputs"]["scales"], [10] * 5)
    maps = network(given["a"])
    return {
        "distance": torch.stack([torch.stack(row) for row in loss.distances(given["a"], given["b"])]),
        "total": loss(given["a"], given["b"])["perceptual"],
        **{f"tap{index}": feature for index, feature in enumerate(maps)},
    }


# --- networks ---------------------------------------------------------------------------------------------------------


@KINDS("kp_detector", "key-point detector")
@torch.no_grad()
def kp_detector(case: Case) -> Computed:
    kp = make_family(case, training=False).kp_detector(inputs_of(case)["frame"])
    return {"value": kp.value, "jacobian": kp.jacobian}


@KINDS("dense_motion", "dense motion")
@torch.no_grad()
def dense_motion(case: Case) -> Computed:
    given = inputs_of(case)
    generator = make_family(case, training=False).generator
    source, driving = key_points(given, "source"), key_points(given, "driving")
    return generator.motion(generator.encode(given["source"]), source, driving)._asdict()


@KINDS("generator", "detector on source and driving")
@torch.no_grad()
def generator(case: Case) -> Computed:
    given = inputs_of(case)
    family = make_family(case, training=False)
    kp_source, kp_driving = family.kp_detector(given["source"]), family.kp_detector(given["driving"])
    prediction, motion = family.generator(given["source"], kp_source, kp_driving)
    count = len(given["driving"])
    return {
        **(motion._asdict() if motion else {}),
        "prediction": prediction.expand(count, -1, -1, -1),
        "deformed": family.generator.deformed(given["source"], motion) if motion else None,
        "kp_source_value": kp_source.value.expand(count, -1, -1),
        "kp_driving_value": kp_driving.value,
    }


@KINDS("discriminator", "image pyramid at the discriminator scales")
@torch.no_grad()
def discriminator(case: Case) -> Computed:
    given = inputs_of(case)
    network = make_family(case, training=False).discriminator
    frame = given["frame"]
    kp = KeyPoints(given["kp value"]) if "kp value" in given else None
    scales = [name.replace("-", ".") for name in network.discs]
    computed = {}
    for scale, (maps, prediction) in network(ImagePyramid(scales)(frame), kp).items():
        computed[f"prediction_map_{scale}"] = prediction
        computed |= {f"feature_map_{scale}_{index}": feature for index, feature in enumerate(maps)}
    return computed


# --- training ---------------------------------------------------------------------------------------------------------


@KINDS("train", "training steps", "prior_train")
def train(case: Case) -> Computed:
    given, family = inputs_of(case), make_family(case, training=True)
    optimizers = family.optimizers()
    seen = Watched(family)
    rows, computed = [], {}
    for index in range(case["outputs"][f"{case['name']}/losses"]["shape"][0]):
        script = PlaneTransform(given[f"step{index} theta"], given.get(f"step{index} control_params"))
        family.equivariance.draw = lambda _, script=script: script
        batch = {name: given[f"step{index}.{name}"] for name in ("source", "driving")}
        if f"step{index} points" in given:
            batch["keypoint"] = given[f"step{index} points"]
        losses: dict[str, Tensor] = {}
        for names, terms in family.training_step(batch, clock=None):
            losses |= terms
            if index == 0 and "equivariance_value" in terms:
                computed["value_loss_gradients"] = receivers(terms["equivariance_value"], family.kp_detector)
            update(optimizers, names, terms)
            if index == 0:
                computed |= seen.after_update(names)
            clear(optimizers)
        rows.append([losses[name].item() for name in case["loss_columns"]])
    computed |= {
        "losses": np.array(rows),
        "final_bias": family.generator.final.bias,
        **of_discriminator(family),
    }
    return computed


def update(optimizers: dict, names: str | tuple[str, ...], terms: dict[str, Tensor]) -> None:
    """One update as the engine does it: gradients for the named optimizers only."""
    names = (names,) if isinstance(names, str) else names
    parameters = [p for name in names for group in optimizers[name].param_groups for p in group["params"]]
    sum(terms.values()).backward(inputs=parameters)
    for name in names:
        optimizers[name].step()


def receivers(term: Tensor, network: nn.Module) -> int:
    """How many parameters of a network get a gradient from a loss."""
    if not term.requires_grad:
        return 0
    gradients = torch.autograd.grad(term, list(network.parameters()), allow_unused=True, retain_graph=True)
    return sum(gradient is not None for gradient in gradients)


def clear(optimizers: dict) -> None:
    for optimizer in optimizers.values():
        optimizer.zero_grad()


def of_discriminator(family: FirstOrderMotion) -> Computed:
    state = family.discriminator.state_dict()
    names = {"disc_bias": "discs.1.conv.bias", "weight_u": "discs.1.down_blocks.1.conv.weight_u"}
    return {key: state[name].clone() for key, name in names.items() if name in state}


class Watched:
    """Records what the networks of a family compute in the first step."""

    def __init__(self, family: FirstOrderMotion):
        self.family, self.kps, self.predictions = family, [], []
        family.kp_detector.register_forward_hook(lambda module, args, kp: self.kps.append(kp.detach()))
        family.generator.register_forward_hook(lambda module, args, out: self.predictions.append(out[0].detach()))

    def after_update(self, names: str | tuple[str, ...]) -> Computed:
        """The values after an update of the first step, including gradients."""
        family = self.family
        if names == "discriminator":
            last = next(iter(family.discriminator.discs.values())).conv
            return {"grad_disc": next(p.grad for p in last.parameters() if p.ndim == 4)}
        detector, generator = family.kp_detector, family.generator
        return {
            "kp_equal": np.int64(torch.equal(self.kps[0].value, self.kps[1].value)),
            "kp_driving": self.kps[1].value,
            "jacobian_driving": self.kps[1].jacobian,
            "transformed_kp": self.kps[2].value,
            "prediction": self.predictions[0],
            "running_mean": detector.predictor.decoder.up_blocks[-1].norm.running_mean.clone(),
            "running_var": generator.bottleneck[-1].norm2.running_var.clone(),
            "grad_final": generator.final.weight.grad,
            "grad_mask": generator.dense_motion_network.mask.weight.grad,
            "grad_jacobian": detector.jacobian.bias.grad,
            "grad_kp": detector.kp.weight.grad,
            "kp_weight_gradient": detector.kp.weight.grad.abs().max(),
        }


# --- animation --------------------------------------------------------------------------------------------------------


@KINDS("normalise", "key-point normalisation")
def normalised(case: Case) -> Computed:
    given = inputs_of(case)
    source, driving, initial = (key_points(given, name) for name in ("source", "driving", "initial"))
    scale = movement_scale(source.value, initial.value)
    computed = {"scale": np.float64(scale)}
    for name in {key.split("/")[1].rsplit("_", 1)[0] for key in case["outputs"] if not key.endswith("/scale")}:
        kp = driving
        if "relative" in name:
            sizes = {"scale": scale if "scaled" in name else 1.0, "jacobian": "value_only" not in name}
            kp = relative_key_points(source, driving, initial, **sizes)
        computed |= {f"{name}_value": kp.value, f"{name}_jacobian": kp.jacobian}
    return computed


@KINDS("animate", "whole animation loop")
@torch.no_grad()
def animate(case: Case) -> Computed:
    given, how = inputs_of(case), case["literal"]
    family = make_family(
        case,
        training=False,
        relative=how["relative"],
        relative_jacobian=how["relative"],
        adapt_scale=how["adapt_movement_scale"],
    )
    source, driving = given["source"].movedim(-1, 0)[None], given["driving"].movedim(-1, 1)
    start = how.get("best_frame")
    if start is None:
        frames = stream(family, source, driving, 3)
    else:
        backward = stream(family, source, driving[: start + 1].flip(0), 3).flip(0)
        frames = torch.cat([backward, stream(family, source, driving[start:], 3)[1:]])
    return {"frames": frames.movedim(1, -1)}


# --- facial prior -----------------------------------------------------------------------------------------------------


@KINDS("prior_mask")
def mask_of_points(case: Case) -> Computed:
    default = torch.tensor(case["inputs"]["default points"])[None]
    points = torch.from_numpy(make_input(case["inputs"]["points"]))[None]
    (wide,) = numbers_in(case["calls"], "and NUMBER$")
    size = tuple(case["outputs"][f"{case['name']}/default"]["shape"][-2:])
    (side,) = numbers_in(case["calls"], "pixels of a NUMBERx")
    default, points = (kp * size[0] / side for kp in (default, points))
    return {
        "default": prior_mask(default, size)[0],
        "points": prior_mask(points, size)[0],
        "wide": prior_mask(points, size, wide)[0],
    }


@KINDS("prior_points")
def prior_points(case: Case) -> Computed:
    return {"expected": [points_of_face(np.array(landmarks)).astype(float).tolist() for landmarks in case["given"]]}


@KINDS("prior_detector")
@torch.no_grad()
def prior_detector(case: Case) -> Computed:
    given, detector = inputs_of(case), make_family(case, training=False).kp_detector
    kp = detector(given["frame"], detector.prior(given["points"], given["frame"].shape[-2:]))
    return {"value": kp.value, "jacobian": kp.jacobian}


@KINDS("prior_animate")
@torch.no_grad()
def prior_animate(case: Case) -> Computed:
    given, family = inputs_of(case), make_family(case, training=False, relative=True, relative_jacobian=True)
    used = []
    family.generator.register_forward_hook(lambda module, args, out: used.append(args[2]))
    state, frames = family.encode_source({"image": given["source"], "keypoint": given["source points"]}), []
    for piece in given["driving"].split(2):
        driving = {"image": piece, "keypoint": given["driving points"].expand(len(piece), -1, -1)}
        made, state = family.animate(state, driving)
        frames.append(made)
    return {
        "value": torch.cat([kp.value for kp in used]),
        "jacobian": torch.cat([kp.jacobian for kp in used]),
        "frames": torch.cat(frames),
    }


# --- around the networks ----------------------------------------------------------------------------------------------


@KINDS("pictures", "visualisation strip")
def pictures(case: Case) -> Computed:
    given = {name: as_array(value) for name, value in inputs_of(case).items()}
    picture = {name: np.moveaxis(value, -3, -1) for name, value in given.items() if value.ndim > 3}
    size = picture["source frame"].shape[1:3]
    radius = int(numbers_in(case["calls"], "kp_size NUMBER")[0])
    border = "draw_border true" in case["calls"]

    def pointed(frame: str, points: str) -> np.ndarray:
        return draw_points(picture[frame], given[points], radius)

    source, driving = pointed("source frame", "source"), pointed("driving frame", "driving")
    ending = [
        pointed("prediction", "norm"),
        picture["prediction"],
        np.repeat(enlarge(picture["occlusion_map"], size), 3, axis=-1),
    ]
    masks = mask_columns(given["mask"], picture["sparse_deformed"], size, "gist_rainbow")
    whole = [source, pointed("transformed frame", "transformed"), driving, picture["deformed"], *ending, *masks]
    return {
        "all": strip(whole, border).astype(np.int64),
        "animation": strip([source, driving, *ending], border).astype(np.int64),
    }


@KINDS("resizing", "how pictures are resized")
def resizing(case: Case) -> Computed:
    quantised = make_input(case["inputs"]["quantised"])
    computed = {"video_bytes": to_bytes(quantised), "png_bytes": to_bytes(quantised, truncate=True)}
    spec = case["inputs"]["a"]["then"]
    for name, output in {"a": "down", "b": "up", "c": "strong"}.items():
        picture = make_input(case["inputs"][name] | {"then": spec})
        computed[output] = resize(picture, case["outputs"][f"{case['name']}/{output}"]["shape"][:2])
    return computed


@KINDS("augment", "augmentations")
def augmented(case: Case) -> Computed:
    frames = [make_input(spec) for spec in case["inputs"]["frames"]]
    says = {key.split("/")[1]: spec["what"] for key, spec in case["outputs"].items()}
    words = re.findall(r"(brightness|saturation|hue|contrast) (-?[\d.]*\d)", says["jitter"])
    adjustments = [(name, float(amount)) for name, amount in words]
    window, larger = ([int(x) for x in numbers_in(says[name], "NUMBERxNUMBER")] for name in ("cropped", "padded"))
    computed = {
        "jitter": jitter(frames, adjustments),
        "jitter_reversed": jitter(frames, adjustments[::-1]),
        "shrunk": rescale(frames, *numbers_in(says["shrunk"], "scale NUMBER")),
        "grown": rescale(frames, *numbers_in(says["grown"], "scale NUMBER")),
        "grown_bilinear": rescale(frames, *numbers_in(says["grown_bilinear"], "scale NUMBER"), "bilinear"),
        "rotated": rotate(frames, *numbers_in(says["rotated"], "NUMBER degrees")),
        "cropped": crop(frames, window, draw=lambda low, high: (low + high) // 2),
        "padded": crop(frames, larger),
    }
    return {name: np.stack([to_floats(frame) for frame in made]) for name, made in computed.items()}


@KINDS("flip", "random flip")
def flips(case: Case) -> Computed:
    frames = [np.array([[[2 * i], [2 * i + 1]]]) for i in range(case["given"]["frames"])]
    results = []
    for row in case["expected"]:
        made = flip(frames, draw_flip(row["time_flip"], row["horizontal_flip"], draw=iter(row["draws"]).__next__))
        order, mirrored = [int(frame.min()) // 2 for frame in made], bool(made[0][0, 0, 0] % 2)
        results.append(row | {"order": order, "mirrored": mirrored})
    return {"expected": results}


@KINDS("random_pairs", "pairs for animation")
def pairs(case: Case) -> Computed:
    key = "pairs (driving, source)"
    made = [random_pairs(row["videos"], row["num_pairs"], case["given"]["seed"]) for row in case["expected"]]
    return {
        "expected": [
            row | {key: [list(pair) for pair in drawn]} for row, drawn in zip(case["expected"], made, strict=True)
        ]
    }


@KINDS("random_split", "train / test split")
def split(case: Case) -> Computed:
    rows = []
    for row in case["expected"]:
        names = [f"v{index:02}" for index in range(row["videos"])]
        train_names, test_names = random_split(names, row["random_seed"], case["given"].get("test_size", 0.2))
        rows.append(row | {"train": train_names, "test": test_names})
    return {"expected": rows}


@KINDS("listed_pairs", "pairs from a csv")
def pairs_of_a_list(case: Case) -> Computed:
    given, key = case["given"], "pairs (driving, source)"
    rows = [tuple(row) for row in given["rows (source, driving)"]]
    made = [listed_pairs(rows, given["videos"], row["num_pairs"]) for row in case["expected"]]
    return {
        "expected": [
            row | {key: [list(pair) for pair in kept]} for row, kept in zip(case["expected"], made, strict=True)
        ]
    }


@KINDS("best_frame", "frame of the driving video")
def best_frame(case: Case) -> Computed:
    given = case["given"]
    names = {"float32": np.float32, "formula": formula}
    names["base"] = eval(given["base"], {"__builtins__": {}}, names)
    source = eval(given["source"], {"__builtins__": {}}, names)
    rule = given["landmarks of frame i"]
    frames = [eval(rule.replace("<i>", str(i)), {"__builtins__": {}}, names | {"i": i}) for i in range(given["frames"])]
    best, scores = nearest_pose(source, frames)
    return {"expected": {"best": best, "scores": scores}}


@KINDS("metrics", "AKD of faces")
def metrics(case: Case) -> Computed:
    given = case["given"]
    seed, count = given["seed"], given["frames"]

    def drawn(name: str, *shape: int) -> list[np.ndarray]:
        return [formula.values(f"metric.{name}.{i}", shape, seed) for i in range(count)]

    real = [x * 30 + 128 for x in drawn("real", 68, 2)]
    fake = [a + 2 * b for a, b in zip(real, drawn("fake", 68, 2), strict=True)]
    joints = [x * 30 + 128 for x in drawn("joints", 18, 2)]
    made = [a + 3 * b for a, b in zip(joints, drawn("fakejoints", 18, 2), strict=True)]
    joints = [np.where(x[:, None] > 0.8, -1, a) for a, x in zip(joints, drawn("missing", 18), strict=True)]
    made = [np.where(x[:, None] > 0.6, -1, a) for a, x in zip(made, drawn("fakemissing", 18), strict=True)]
    identity = drawn("identity", 128)
    copied = [a + 0.1 * b for a, b in zip(identity, drawn("fakeidentity", 128), strict=True)]
    one_missing = [np.full_like(points, np.nan) if index == 1 else points for index, points in enumerate(fake)]
    expected = {
        "akd_face": [np.mean(coordinate_distance(np.array(fake), np.array(real)))],
        "akd_face_one_missing": [np.nanmean(coordinate_distance(np.array(one_missing), np.array(real)))],
        "akd_mkr_body": [np.nanmean(values) for values in body_distance(np.array(made), np.array(joints))],
        "aed": [np.mean(squared_distance(np.array(copied), np.array(identity)))],
    }
    return {"expected": expected}


@KINDS("log_line", "line of log.txt")
def log_line(case: Case) -> Computed:
    iterations = case["given"]["iterations"]
    averages = {name: float(np.mean([losses[name] for losses in iterations])) for name in iterations[0]}
    return {"expected": epoch_line(case["given"]["epoch"], averages)}


@KINDS("crop_", "crop suggestions")
def crop_suggestions(case: Case) -> Computed:
    given = case["given"]
    boxes = [
        [np.add(track["box"], np.multiply(index - track["from"], track["step"])) for track in given["tracks"]
         if track["from"] <= index <= track["to"]]
        for index in range(given["frames"])
    ]  # fmt: skip
    return {"expected": commands(boxes, tuple(given["frame"]), given["fps"], **given["options"])}
