"""Cases of articulated animation."""

from collections.abc import Iterator

import numpy as np
import torch
from paths import ROOT
from reference import formula
from torch import Tensor

from adapters.common import (
    Case,
    Computed,
    Kinds,
    compare_sampled,
    fill_weights,
    given,
    number_in_description,
    sample_count,
    steps_of,
    stored,
    vgg19_file,
)
from models import Family, find_family
from models.mraa.networks import BackgroundPredictor, Generator
from models.mraa.regions import Regions, affine_of_covariance, covariance_of_affine, principal_axes, principal_regions
from models.parts.blocks import AntiAliasDown
from models.parts.keypoints import spatial_softmax
from models.parts.motion import Motion
from models.parts.warps import PlaneTransform
from options import parse

KINDS = Kinds()
CONFIGS = {"mraa": "vox256", "mraa_avd": "vox256-avd"}
NAMES = {"pad": "region_predictor_pad"}
"""Names of the cases' settings here, where they differ."""

compare = compare_sampled


# --- inputs, weights, configurations ----------------------------------------------------------------------------------


def regions_of(case: Case) -> tuple[Regions, Regions]:
    """The given regions of source and driving frame."""
    count, regions = sample_count(case), case.get("override", {}).get("num_regions", 10)

    def drawn(name: str, *shape: int) -> np.ndarray:
        return formula.values(name, (count, regions, *shape), case["seed"])

    shift = 0.6 * np.tanh(drawn("source.shift", 2))
    shifts = {"source": shift, "driving": shift + 0.1 * drawn("driving.shift", 2)}
    affines = {name: 0.35 * np.eye(2) + 0.08 * drawn(f"{name}.affine", 2, 2) for name in shifts}
    affines["driving"][:, 1::2] *= -1
    tensors = [torch.from_numpy(value[name].astype(np.float32)) for name in shifts for value in (shifts, affines)]
    source, driving = tensors[:2], tensors[2:]
    return tuple(Regions(*pair, covariance_of_affine(pair[1])) for pair in (source, driving))


def background_of(case: Case) -> Tensor | None:
    """The given matrix of the background, where the case has one."""
    kind = case["inputs"].get("bg", "").split(",")[0]
    if not kind:
        return None
    drawn = formula.values("bg", (sample_count(case), 3, 3), case["seed"])
    matrix = np.eye(3) + 0.1 * drawn
    matrix[:, 2] = [0, 0, 1]
    if kind == "perspective":
        matrix[:, 2, :2] = 0.1 * drawn[:, 2, :2]
    return torch.from_numpy(matrix.astype(np.float32))


def make_family(case: Case, *words: str, training: bool = False) -> Family:
    """The family of the faces' configuration, holding the case's weights."""
    model = "mraa_avd" if KINDS.of(case) == "train_avd" else "mraa"
    settings = {name: value for name, value in case.get("override", {}).items() if " " not in name}
    words = [*words, *(f"--{NAMES.get(name, name)}={value}" for name, value in settings.items())]
    words += [f"--config={ROOT / 'configs' / 'mraa' / CONFIGS[model]}.yaml"]
    if training:
        words += ["--init_from=given"] if model == "mraa_avd" else [f"--vgg19={vgg19_file(case['reference'])}"]
    opt = parse(words, training)
    family = find_family(model)(opt, training)
    if training:
        family.prepare_training(opt)
    networks = family.networks()
    for name in [name for name in case.get("networks", ()) if name in networks]:
        spec = case["reference"].weights(name)
        gain = case.get("override", {}).get(f"gain of {name}", spec["gain"])
        spec = spec | {"keep": case.get("keep", spec["keep"]), "gain": gain}
        fill_weights(networks[name], **spec)
    if "weights" in case:
        fill_weights(family.generator.pixelwise_flow_predictor, **case["weights"])
    return family.train(training)


# --- regions ----------------------------------------------------------------------------------------------------------


@KINDS("svd")
def svd(case: Case) -> Computed:
    matrix = given(case, "m")
    covar = covariance_of_affine(matrix)
    axes, variances = principal_axes(covar)
    return {"u": axes, "s": variances, "affine": affine_of_covariance(covar)}


@KINDS("region_affine")
def region_affine(case: Case) -> Computed:
    logits = 0.6 * given(case, "logits") - 0.3
    return described(principal_regions(spatial_softmax(logits, 0.1)))


def described(regions: Regions) -> Computed:
    """The outputs of a region predictor, with the axes and deviations from which its affine part is made."""
    computed = regions._asdict()
    if regions.covar is not None:
        axes, variances = principal_axes(regions.covar)
        computed |= {"u": axes.flatten(0, 1), "d": torch.diag_embed(variances.sqrt()).flatten(0, 1)}
    return computed


@KINDS("antialias")
def antialias(case: Case) -> Computed:
    frame, computed = given(case, "frame"), {}
    for scale in {name.rsplit("_", 1)[1] for name in case["outputs"]}:
        down = AntiAliasDown(frame.shape[1], float(scale))
        computed |= {f"kernel_{scale}": down.weight[0, 0], f"down_{scale}": down(frame)}
    return computed


@KINDS("region_predictor")
@torch.no_grad()
def region_predictor(case: Case) -> Computed:
    return described(make_family(case, "--use_covar_heatmap=no").region_predictor(given(case, "source")))


@KINDS("bg_predictor")
@torch.no_grad()
def bg_predictor(case: Case) -> Computed:
    pair = given(case, "source"), given(case, "driving")
    computed = {}
    for kind in case["outputs"]:
        network = BackgroundPredictor(kind, num_channels=3, expansion=32, max_features=1024, num_blocks=5)
        fill_weights(network, **case["reference"].weights("bg_predictor"))
        computed[kind] = network.eval()(*pair)
    return computed


# --- motion and pictures ----------------------------------------------------------------------------------------------


def generated(case: Case) -> tuple[Generator, Tensor, tuple[Tensor, Motion]]:
    generator, source = make_family(case).generator, given(case, "source")
    return generator, source, generator(generator.encode(source), *regions_of(case), background_of(case))


@KINDS("flow")
@torch.no_grad()
def flow(case: Case) -> Computed:
    motion = generated(case)[2][1]
    return {
        "optical_flow": motion.deformation,
        "occlusion_map": motion.occlusion_map,
        "heatmaps": motion.heatmap,
        "sparse_motions": motion.sparse_motion,
        "deformed_sources": motion.sparse_deformed,
    }


@KINDS("generator")
@torch.no_grad()
def generator(case: Case) -> Computed:
    network, source, (prediction, motion) = generated(case)
    deformed = network.deformed(source, motion)
    return {"prediction": prediction, "deformed": deformed, "occlusion_map": motion.occlusion_map}


@KINDS("avd_network")
@torch.no_grad()
def avd_network(case: Case) -> Computed:
    source, driving = regions_of(case)
    negated = int(number_in_description(case, r"batch entry (\d+) are negated once more", -1))
    if 0 <= negated < sample_count(case):
        driving.affine[negated] *= -1
    return make_family(case, "--mode=avd").avd_network(source, driving)._asdict()


# --- animation --------------------------------------------------------------------------------------------------------


@KINDS("animate", "generate")
@torch.no_grad()
def animate(case: Case) -> Computed:
    family = make_family(case, f"--mode={case['mode']}")
    used: list[Regions] = []
    family.generator.register_forward_hook(lambda module, args, out: used.append(args[2]))
    state, computed = family.encode_source({"image": given(case, "source")[None]}), {}
    for index, frame in enumerate(given(case, "driving")):
        prediction, state = family.animate(state, {"image": frame[None]})
        computed[f"prediction_{index}"] = prediction[0]
        computed |= {f"{name}_{index}": getattr(used[-1], name) for name in ("shift", "affine", "covar")}
    return computed | {"movement_scale": np.float64(state.get("scale", 1))}


@KINDS("reconstruction")
@torch.no_grad()
def reconstruction(case: Case) -> Computed:
    family, video = make_family(case, "--mode=reconstruction"), given(case, "video")
    state, frames = family.encode_source({"image": video[:1]}), []
    for piece in video.split(2):
        made, state = family.animate(state, {"image": piece})
        frames.append(made)
    frames, matrices = torch.cat(frames), family.bg_predictor(video[:1], video)
    losses = (frames - video).abs().mean((1, 2, 3))
    computed = {f"prediction_{index}": frames[index : index + 1] for index in range(len(video))}
    computed |= {f"bg_{index}": matrices[index : index + 1] for index in range(len(video))}
    return computed | {"l1": losses, "l1_mean": losses.mean()}


# --- training ---------------------------------------------------------------------------------------------------------


@KINDS("train")
def train(case: Case) -> Computed:
    computed = trained(case, torch.float32)
    if any(name.startswith("float64/") for name in case["outputs"]):
        computed |= {f"float64/{name}": value for name, value in trained(case, torch.float64).items()}
    return computed


def trained(case: Case, kind: torch.dtype) -> Computed:
    """The results of the steps in one precision."""
    family = make_family(case, training=True).to(kind)
    theta = torch.eye(2, 3) + 0.05 * given(case, "theta")
    transform = PlaneTransform(theta.to(kind), (0.005 * given(case, "control")).to(kind))
    family.equivariance.draw = lambda _: transform
    batch = {name: given(case, name).to(kind) for name in ("source", "driving")}
    regions, predictions = watched(family)
    computed: Computed = {}
    for index, terms in enumerate(steps(family, batch, steps_of(case)), 1):
        computed |= {f"step{index}/{name}": value for name, value in terms.items()}
        computed[f"step{index}/total"] = sum(terms.values())
        if index == 1:
            names = zip(("source", "driving", "transformed"), regions, strict=True)
            computed |= {f"step1/{name}_{part}": getattr(found, part) for name, found in names
                         for part in ("shift", "affine")}  # fmt: skip
            computed |= {"step1/prediction": predictions[0]}
            computed |= {"step1/transformed_frame": transform.frame(batch["driving"], align_corners=False)}
            computed |= after_first_step(case, family)
    return computed


def watched(family: Family) -> tuple[list[Regions], list[Tensor]]:
    """Lists that fill with what the networks return."""
    regions, predictions = [], []
    family.region_predictor.register_forward_hook(lambda module, args, out: regions.append(out))
    family.generator.register_forward_hook(lambda module, args, out: predictions.append(out[0]))
    return regions, predictions


def steps(family: Family, batch: dict, count: int) -> Iterator[dict[str, Tensor]]:
    """Training steps as the engine does them; the gradients of the last one stay."""
    (optimizer,) = family.optimizers().values()
    for _ in range(count):
        optimizer.zero_grad()
        for _, terms in family.training_step(batch, clock=None):
            sum(terms.values()).backward()
            optimizer.step()
            yield terms


def after_first_step(case: Case, family: Family) -> Computed:
    """Gradients, running statistics and weights of the names that the case lists."""
    networks = {name: getattr(family, name) for name in ("region_predictor", "generator", "bg_predictor")}
    parameters, state = dict(family.named_parameters()), family.state_dict()
    computed: Computed = {}
    for output in {name.removeprefix("float64/") for name in case["outputs"]}:
        kind, _, name = output.removeprefix("step1/").partition("/")
        if kind == "grad_norm":
            squares = [parameter.grad.norm() ** 2 for parameter in networks[name].parameters()]
            computed[output] = torch.stack(squares).sum().sqrt()
        elif kind == "grad":
            computed[output] = parameters[name].grad.clone()
        elif kind == "state":
            computed[output] = state[name].clone()
        elif kind == "after":
            computed[output] = next(value for key, value in parameters.items() if key.endswith(f".{name}")).clone()
    return computed


@KINDS("train_avd")
def train_avd(case: Case) -> Computed:
    family, uniform = make_family(case, training=True), iter(stored(case, "uniform"))
    found, met = [], []
    family.region_predictor.register_forward_hook(lambda module, args, out: found.append(out))
    family.avd_network.register_forward_hook(lambda module, args, out: met.append((*args, out)))
    batch, computed = {name: given(case, name) for name in ("source", "driving")}, {}
    draw = torch.rand
    try:
        torch.rand = lambda *shape, **_: torch.from_numpy(next(uniform)).view(shape)
        for index, terms in enumerate(steps(family, batch, steps_of(case)), 1):
            computed |= {f"step{index}/{name}": value for name, value in terms.items()}
    finally:
        torch.rand = draw
    for name, regions in zip(("id", "pose", "output"), met[0], strict=True):
        computed |= {f"step1/{name}_{part}": getattr(regions, part) for part in ("shift", "affine")}
    state = family.state_dict()
    return computed | {name: state[name.removeprefix("state/")] for name in case["outputs"] if "state/" in name}
