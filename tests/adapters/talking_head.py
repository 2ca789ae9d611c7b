"""Cases of the few-shot talking heads."""

import json
import random
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from paths import REFERENCE
from PIL import Image
from reference import formula
from torch import Tensor, nn

from adapters.common import Case, Computed, Kinds, Reference, as_array, assert_close, norms_relatively
from data.faces.detector import Face
from data.talking.drawing import BLUE, GREEN, ORANGE, PURPLE, RED, draw_landmarks
from data.talking.frames import main_face
from data.talking_head import TalkingHeadDataset
from data.video import thin
from engine.clock import Clock
from engine.distributed import Processes
from engine.trainer import Trainer
from models.parts.vgg import CaffeVgg
from models.talking_head import blocks
from models.talking_head.family import TalkingHead
from models.talking_head.layers import Flow, build_layers
from models.talking_head.losses import Content, Judged, Objective, hinge
from models.talking_head.networks import Discriminator, Embedder, Generator, Judgement, pair
from models.talking_head.options import DISCRIMINATOR, EMBEDDER, GENERATOR, TAPS
from models.talking_head.step_log import step_line
from models.talking_head_finetune.family import TalkingHeadFinetune
from options import parse
from script.convert_vgg_caffe import forward
from util.layer_language import body
from util.resizing import to_bytes, to_floats

KINDS = Kinds()
FOLDER = REFERENCE / "talking_head"
LOG = ("l_vgg19", "l_vggface", "l_cnt", "l_adv", "l_fm", "l_mch", "l_eg", "l_d", "l_d2", "score", "score_hat")


# --- inputs and weights -----------------------------------------------------------------------------------------------


def make_input(spec: Any) -> Tensor:
    """The tensor that an input of a case describes."""
    if isinstance(spec, list):
        return torch.tensor(spec)
    if spec["from"] == "image":
        x = formula.image(spec["name"], spec["shape"], spec["seed"], spec.get("low", 0.0), spec.get("high", 1.0))
    else:
        values = formula.values(spec["name"], spec["shape"], spec["seed"])
        x = (spec.get("scale", 1) * values + spec.get("shift", 0)).astype(np.float32)
    x = torch.from_numpy(x)
    return x.abs() if spec.get("then") == "absolute value" else x


def inputs_of(case: Case) -> dict[str, Tensor]:
    return {name: make_input(spec) for name, spec in case["inputs"].items()}


@cache
def manifest() -> dict[str, dict[str, list[int]]]:
    return json.loads((FOLDER / "manifest.json").read_text())["networks"]


def formula_state(spec: dict[str, Any]) -> dict[str, Tensor]:
    """The state dict that a module's weights describe."""
    shapes = spec["shapes"]
    if "manifest" in shapes:
        shapes = {
            name: shape
            for name, shape in manifest()[shapes["manifest"]].items()
            if name.startswith(shapes.get("only", ""))
        }
    if "with" in spec:
        filled = {name: formula.parameter(name, shape, spec["seed"], spec["gain"]) for name, shape in shapes.items()}
    else:
        filled = formula.fill(shapes, spec["seed"], spec["gain"])
    return {name: torch.from_numpy(np.asarray(value)) for name, value in filled.items()}


def weights_of(case: Case) -> dict[str, dict[str, Tensor]]:
    return {spec["module"].split(" ")[0]: formula_state(spec) for spec in case["weights"]}


def filled(case: Case, network: nn.Module) -> nn.Module:
    """The only network of a case, with its weights, in its mode."""
    (spec,) = case["weights"]
    network.load_state_dict(formula_state(spec))
    return network.train(case["mode"] == "train")


@cache
def vgg_file(module: str, seed: int, gain: float) -> str:
    """A converted file that holds formula weights."""
    shapes = {"manifest": module.split(" ")[0], "only": "conv_layers."}
    path = Path(tempfile.mkdtemp(prefix="grimace")) / f"{module.split(' ')[0]}.pth"
    torch.save(formula_state({"shapes": shapes, "seed": seed, "gain": gain}), path)
    return str(path)


def make_opt(case: Case, model: str, *words: str) -> Any:
    """The options of a training case."""
    files = [
        f"--{spec['module'].split(' ')[0]}={vgg_file(spec['module'], spec['seed'], spec['gain'])}"
        for spec in case["weights"]
        if spec["module"].startswith("vgg")
    ]
    size = next(spec["shape"][-1] for spec in case["inputs"].values() if isinstance(spec, dict))
    rates = case.get("learning_rates", {})
    changes = [f"--{name}={rates[key]}" for name, key in (("lr_EG", "E+G"), ("lr_D", "D")) if key in rates]
    return parse([f"--model={model}", f"--image_size={size}", *files, *changes, *words], training=True)


# --- comparing --------------------------------------------------------------------------------------------------------


def compare(reference: Reference, case: Case, computed: Computed) -> None:
    """Every output that the case names, within its tolerance, and the form of its log lines."""
    for name, spec in case["outputs"].items():
        assert name in computed, f"{case['name']}: the adapter computes no output {name!r}"
        got = computed[name]
        if "value" in spec or name == "table":
            assert got == spec.get("value", spec), f"{case['name']}/{name}: {got}"
            continue
        got = as_array(got)
        assert list(got.shape) == spec["shape"], f"{spec['key']}: shape {got.shape}, expected {spec['shape']}"
        got = taken(got, spec.get("take", ""))
        expected = reference.arrays[spec["key"]]
        tolerance = spec.get("tolerance") or case["tolerance"]
        if "rel_l2" in tolerance:
            difference = np.linalg.norm(got.astype(np.float64) - expected) / np.linalg.norm(expected)
            assert difference <= tolerance["rel_l2"], f"{spec['key']}: relative difference {difference:.3g}"
        else:
            assert_close(
                spec["key"], got, expected, np.maximum(allowed(tolerance, expected), at_the_limit(name, expected))
            )
    if "log_lines" in case:
        compare_lines(computed["log_lines"], case["log_lines"])


def taken(array: np.ndarray, how: str) -> np.ndarray:
    """The stored part of an array: "[:, ::4]" or ".reshape(-1)[::7][:48]"."""
    assert re.fullmatch(r"(\.reshape\(-1\))?(\[[\d:, -]*\])*", how), how
    # What the files spell out is numpy's own indexing, and nothing else passes the line above.
    return eval(f"array{how}", {"__builtins__": {}}, {"array": array})


def allowed(tolerance: dict[str, Any], expected: np.ndarray) -> Any:
    if "pixels" in tolerance:
        return tolerance["pixels"]
    if "exact" in tolerance:
        return 0
    return tolerance["atol"] + tolerance["rtol"] * np.abs(expected)


def at_the_limit(output: str, expected: np.ndarray) -> Any:
    return norms_relatively(output) * np.abs(expected)


def compare_lines(got: list[str], expected: list[str]) -> None:
    """The form exactly; the numbers of the second step differ by what Adam makes of rounding."""
    shape = [[len(word.partition(".")[2]) for word in line.split(", ")] for line in expected]
    assert [[len(word.partition(".")[2]) for word in line.split(", ")] for line in got] == shape
    first, wanted = ([float(word) for word in lines[0].split(", ")] for lines in (got, expected))
    np.testing.assert_allclose(first, wanted, atol=0.08)


# --- blocks -----------------------------------------------------------------------------------------------------------


def style(case: Case, index: int) -> Tensor:
    given = inputs_of(case)
    return torch.stack([given[f"sigma_{index}"], given[f"mu_{index}"]], 2)


def kernel_of(case: Case, entry: str) -> tuple[int, int, int]:
    """Channels before and after a convolution of the case's block, and the size of its kernel."""
    after, before, size, _ = case["weights"][0]["shapes"][f"{entry}.weight_orig"]
    return before, after, size


def side_ratio(large: Any, small: Any) -> int:
    """How many times as large the one picture is."""
    return large[-1] // small[-1]


@KINDS("down")
@torch.no_grad()
def down(case: Case) -> Computed:
    pooling = side_ratio(case["inputs"]["x"]["shape"], case["outputs"]["y"]["shape"])
    return {"y": filled(case, blocks.Down(*kernel_of(case, "conv_r1"), pooling))(inputs_of(case)["x"])}


@KINDS("up")
@torch.no_grad()
def up(case: Case) -> Computed:
    scale = side_ratio(case["outputs"]["y"]["shape"], case["inputs"]["x"]["shape"])
    block = filled(case, blocks.Up(*kernel_of(case, "conv_r1"), scale, "bilinear"))
    return {"y": block(inputs_of(case)["x"], style(case, 1), style(case, 2))}


@KINDS("block")
@torch.no_grad()
def residual(case: Case) -> Computed:
    return {"y": filled(case, blocks.Residual(*kernel_of(case, "conv_1")[1:]))(inputs_of(case)["x"])}


@KINDS("block_adaptive")
@torch.no_grad()
def adaptive(case: Case) -> Computed:
    block = filled(case, blocks.AdaptiveResidual(*kernel_of(case, "conv_1")[1:]))
    return {"y": block(inputs_of(case)["x"], style(case, 1), style(case, 2))}


@KINDS("attention")
@torch.no_grad()
def attention(case: Case) -> Computed:
    x = inputs_of(case)["x"]
    y = filled(case, blocks.SelfAttention(x.shape[1]))(x)
    return {"y": y, "y_minus_x": y - x}


@KINDS("adain")
def adain(case: Case) -> Computed:
    given = inputs_of(case)
    return {"y": blocks.adaptive_norm(given["x"], torch.stack([given["sigma"], given["mu"]], 2))}


@KINDS("instance_norm")
@torch.no_grad()
def instance_norm(case: Case) -> Computed:
    x = inputs_of(case)["x"]
    layers, _ = build_layers(body("I"), Flow(x.shape[1], x.shape[-1]), network="generator")
    return {"y": filled(case, layers[0])(x)}


@KINDS("spectral_norm_training")
@torch.no_grad()
def spectral_norm(case: Case) -> Computed:
    x, pooling = inputs_of(case)["x"], side_ratio(case["inputs"]["x"]["shape"], case["outputs"]["y_1"]["shape"])
    block, computed = filled(case, blocks.Down(*kernel_of(case, "conv_r1"), pooling)), {}
    for index in sorted(int(name[2:]) for name in case["outputs"] if re.fullmatch(r"y_\d+", name)):
        computed[f"y_{index}"] = block(x)
        vectors = {name: value.clone() for name, value in block.state_dict().items() if name[-2:] in ("_u", "_v")}
        computed |= {f"{name}_{index}": value for name, value in vectors.items()}
    return computed | {"y_eval": block.eval()(x)}


# --- networks ---------------------------------------------------------------------------------------------------------


class Probes:
    """The outputs of a network's layers, as layer_NN."""

    def __init__(self, network: nn.Module):
        self.computed: Computed = {}
        for index, layer in enumerate(network.layers):
            layer.register_forward_hook(partial(self._keep, f"layer_{index:02d}"))

    def _keep(self, name: str, layer: nn.Module, given: Any, made: Tensor) -> None:
        self.computed[name] = made


@KINDS("mini_generator")
@torch.no_grad()
def mini_generator(case: Case) -> Computed:
    given = inputs_of(case)
    channels = case["outputs"]["y"]["shape"][1]
    network = filled(case, Generator(case["config"], given["e"].shape[1], given["y"].shape[-1], channels=channels))
    assert network.style_channels == [n for pair_of in case["adain_slices"] for n in pair_of]
    assert sum(network.style_channels) == case["adain_count"]
    return {"y": network(given["y"], network.style(given["e"]))}


@KINDS("embedder")
@torch.no_grad()
def embedder(case: Case) -> Computed:
    given = inputs_of(case)
    network = filled(case, Embedder(body(EMBEDDER), case["outputs"]["e"]["shape"][1], given["x"].shape[-1]))
    probes = Probes(network)
    return {"e": network(pair(given["x"], given["y"])), **probes.computed}


@KINDS("generator")
@torch.no_grad()
def generator(case: Case) -> Computed:
    given = inputs_of(case)
    network = filled(case, Generator(body(GENERATOR), given["e"].shape[1], given["y"].shape[-1]))
    probes = Probes(network)
    return {"x_hat": network(given["y"], network.style(given["e"])), **probes.computed}


@KINDS("discriminator")
@torch.no_grad()
def discriminator(case: Case) -> Computed:
    given = inputs_of(case)
    videos, width = weights_of(case)["discriminator"]["embedding.weight"].shape
    rows = nn.Embedding(videos, width)
    network = filled(case, Discriminator(body(DISCRIMINATOR), width, given["x"].shape[-1], rows=rows))
    judged = network(pair(given["x"], given["y"]), given["video_index"])
    maps = {f"feature_{index}": feature for index, feature in enumerate(judged.maps)}
    return maps | {"scores": judged.scores, "w": judged.rows}


# --- losses -----------------------------------------------------------------------------------------------------------


@KINDS("hinge")
def hinge_loss(case: Case) -> Computed:
    given = inputs_of(case)
    return {"loss": hinge(given["real"], given["fake"])}


def caffe(kind: str, state: dict[str, Tensor], maps: str) -> CaffeVgg:
    network = CaffeVgg(kind, TAPS[maps][kind])
    names = network.features.state_dict()
    network.features.load_state_dict({name: state[f"conv_layers.{name}"] for name in names})
    return network


@KINDS("activation_")
@torch.no_grad()
def activations(case: Case) -> Computed:
    ((kind, state),) = weights_of(case).items()
    x = inputs_of(case)["x"]
    network = caffe(kind, state, "original")
    before = caffe(kind, state, "before_relu")(x)
    return {
        "network_input": network.prepare(x),
        **{f"feature_{index}": feature for index, feature in enumerate(network(x))},
        **{f"before_relu_{index}": feature for index, feature in enumerate(before)},
    }


@KINDS("loss_")
def losses(case: Case) -> Computed:
    given = {name: x.requires_grad_() for name, x in inputs_of(case).items()}
    networks = {kind: caffe(kind, state, "original") for kind, state in weights_of(case).items()}
    objective = Objective(Content(networks, {"vgg19": 1e-2, "vggface": 2e-3}), 10, 80)
    real, fake = ([x for name, x in given.items() if re.fullmatch(rf"{kind}_\d+", name)] for kind in ("real", "fake"))
    real = Judgement(real, torch.zeros_like(given["score_hat"]), None)
    fake = Judgement(fake, given["score_hat"], given.get("w"))
    terms, report = objective(given["x"], given["x_hat"], Judged(real, fake), given.get("e_hat"))
    sum(terms.values()).backward()
    names = {"total": "l_eg", "vgg19": "l_vgg19", "vggface": "l_vggface", "content": "l_cnt", "adversarial": "l_adv",
             "feature_matching": "l_fm", "matching": "l_mch"}  # fmt: skip
    computed = {name: report[column] for name, column in names.items() if column in report}
    return computed | {f"grad_{name}": x.grad for name, x in given.items()}


@KINDS("vggface_full")
@torch.no_grad()
def whole_vggface(case: Case) -> Computed:
    ((_, state),) = weights_of(case).items()
    fc8 = forward("vggface", state, inputs_of(case)["x"])
    return {"fc8": fc8, "prob": fc8.softmax(1)}


# --- training ---------------------------------------------------------------------------------------------------------


class Watched:
    """Records the outputs and gradients of a family's networks during a step."""

    def __init__(self, family: nn.Module):
        self.family, self.scores, self.gradients, self.seen = family, [], [], {}
        family.generator.register_forward_hook(lambda module, given, made: self.seen.update(x_hat=made.detach()))
        family.discriminator.register_forward_hook(
            lambda module, given, made: self.scores.append(made.scores.detach().clone())
        )
        if getattr(family, "embedder", None) is not None:
            family.embedder.register_forward_hook(lambda module, given, made: self.seen.update(e_hat=made.detach()))
        family.before_update = self.before_update

    def before_update(self, names: tuple[str, ...]) -> None:
        self.gradients.append(
            {
                f"{network}/{name}": parameter.grad.norm()
                for network, module in self.family.networks().items()
                for name, parameter in module.named_parameters()
                if parameter.grad is not None
            }
        )

    def take(self) -> Computed:
        """The outputs of the step that has been done, and forget them."""
        order = ("score_first", "score_hat_first", "score_second", "score_hat_second")
        computed = dict(zip(order, self.scores, strict=True)) | self.seen
        first, second = self.gradients
        for name, norm in first.items():
            place = name.replace("discriminator/", "discriminator_first/")
            computed[f"grad_norm/{place}"] = norm
        for name, norm in second.items():
            computed[f"grad_norm/{name.replace('discriminator/', 'discriminator_second/')}"] = norm
        self.scores, self.gradients = [], []
        return computed


@contextmanager
def plain_convolutions() -> Iterator[None]:
    """oneDNN's faster algorithms round more, depending on the number of threads; Adam turns rounding into whole
    steps."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.backends.mkldnn.flags(enabled=False):
            yield
    finally:
        torch.set_num_threads(before)


def trainer_of(family: nn.Module, videos: int) -> Trainer:
    return Trainer(family, Processes(torch.device("cpu")), Clock(videos), folder=Path(tempfile.mkdtemp()))


def step_numbers(case: Case) -> list[int]:
    """The steps of training that the outputs of a case come from: step_0/..., step_1/..."""
    return sorted({int(number) for name in case["outputs"] for number in re.findall(r"^step_(\d+)/", name)})


@KINDS("meta_training_two_steps_small_rates")
def meta_training(case: Case) -> Computed:
    """Small steps do not magnify rounding, so this case may take oneDNN's faster algorithms."""
    given, weights = inputs_of(case), weights_of(case)
    count = len(given["step_0/x_t"])
    opt = make_opt(case, "talking_head", f"--batch_size={count}")
    family = TalkingHead(opt, training=True)
    family.prepare_training(opt)
    rows = weights["discriminator"].pop("embedding.weight")
    for name, network in family.networks().items():
        network.load_state_dict(weights[name])
    trainer = trainer_of(family.train(), len(rows))
    table = trainer.rows["videos"].table
    still = {"exp_avg_sq": torch.zeros_like(rows), "updates": torch.zeros(len(rows), dtype=torch.int64)}
    table.load_state_dict({"rows": torch.arange(len(rows)), "value": rows, **still})
    watched, computed, lines = Watched(family), {}, []
    for step in step_numbers(case):
        batch = batch_of(given, step)
        numbers, _ = trainer.step([batch])
        trainer.clock.advance(count)
        seen = watched.take() | numbers | {
            "d_score_mean": numbers["score"],
            "d_score_hat_mean": numbers["score_hat"],
            "embedding_row": table.read(np.array([given[f"step_{step}/video_index"][0]]), 0)["value"][0],
            "embedding_unseen_row": table.read(np.array([0]), 0)["value"][0],
            **of_networks(family),
        }  # fmt: skip
        seen["e_hat"] = seen["e_hat"].unflatten(0, (count, -1))
        computed |= {f"step_{step}/{name}": value for name, value in seen.items()}
        lines.append(step_line(0, step, step, [float(numbers[name]) for name in LOG]))
    return computed | {"log_lines": lines}


@KINDS("meta_training_two_steps")
@plain_convolutions()
def meta_training_at_full_rates(case: Case) -> Computed:
    return meta_training(case)


def batch_of(given: dict[str, Tensor], step: int) -> dict[str, Tensor]:
    count = len(given[f"step_{step}/x_t"])
    x, y = (given[f"step_{step}/{name}"].unflatten(0, (count, -1)) for name in "xy")
    return {
        "pictures": x,
        "landmarks": y,
        "target": given[f"step_{step}/x_t"],
        "target_landmarks": given[f"step_{step}/y_t"],
        "video": given[f"step_{step}/video_index"],
    }


def of_networks(family: TalkingHead) -> Computed:
    generator, discriminator = family.generator.state_dict(), family.discriminator.state_dict()
    names = {"w0": "w0", "b": "b", "discriminator_u": "layers.7.conv_2.weight_u"}
    kept = {key: discriminator[name].clone() for key, name in names.items()}
    return kept | {"generator_u": generator["layers.9.conv_1.weight_u"].clone()}


@KINDS("finetuning_two_steps")
@plain_convolutions()
def finetuning(case: Case) -> Computed:
    opt, given, weights = (
        make_opt(
            case, "talking_head_finetune", "--init_from=somewhere", f"--batch_size={case['inputs']['x']['shape'][0]}"
        ),
        inputs_of(case),
        weights_of(case),
    )
    videos = len(weights["discriminator"].pop("embedding.weight"))
    family = TalkingHeadFinetune(opt, training=True)
    family.prepare_training(opt)
    for name, network in family.networks().items():
        network.load_state_dict(weights[name])
    embeddings: list[Tensor] = []
    family.embedder.register_forward_hook(lambda module, given, made: embeddings.append(made))
    whole = {
        "pictures": given["x"],
        "landmarks": given["y"],
        "target": given["x"][:1],
        "target_landmarks": given["y_t"],
    }
    family.personalise(whole)
    computed = {
        "e_mean": embeddings[0].mean(0, keepdim=True),
        "adain": family.generator.adain.detach().clone(),
        "w": family.discriminator.w.detach().clone(),
    }
    with torch.no_grad():
        computed["x_hat_0"] = family.eval().preview(whole)["generated"]
    trainer, watched = trainer_of(family.train(), videos), Watched(family)
    for step in step_numbers(case):
        numbers, _ = trainer.step([{"picture": given["x"], "landmarks": given["y"]}])
        seen = watched.take() | numbers | {name: getattr(family.discriminator, name).detach().clone() for name in "wb"}
        computed |= {f"step_{step}/{name}": value for name, value in seen.items()}
    with torch.no_grad():
        computed["x_hat_1"] = family.preview(whole)["generated"]
    return computed


# --- data -------------------------------------------------------------------------------------------------------------


@KINDS("landmarks")
def landmarks(case: Case) -> Computed:
    points = {name: np.array(value, np.float32) for name, value in case["inputs"]["points"].items()}
    points["upright_mirrored"] = points["upright"] * np.float32([-1, 1]) + np.float32([255, 0])
    colours = [(255, 255, 255), GREEN, ORANGE, BLUE, RED, PURPLE]
    computed = {}
    for name, value in points.items():
        size = case["outputs"][name]["shape"][0]
        picture = draw_landmarks(value, size)
        index = np.full((size, size), 255, np.uint8)
        for number, colour in enumerate(colours):
            index[(picture == colour).all(-1)] = number
        computed[name] = index
    return computed


@KINDS("main_face")
def largest(case: Case) -> Computed:
    points = [np.array(face, np.float32) for face in case["inputs"]["faces"]]
    faces = [Face(np.zeros(4), face, 1.0) for face in points]
    assert main_face([]) is None
    return {"index": next(index for index, face in enumerate(faces) if face is main_face(faces))}


@KINDS("to_picture")
def to_picture(case: Case) -> Computed:
    arrays = case["reference"].arrays
    value, raw = (arrays[case["inputs"][name]["npz"]] for name in ("value", "raw"))
    return {
        "pixels": to_bytes(value.transpose(1, 2, 0), truncate=True),
        "tensor_normalised": to_floats(raw).transpose(2, 0, 1),
        "tensor_plain": raw.astype(np.float32).transpose(2, 0, 1),
    }


@KINDS("even_sampling")
def even_sampling(case: Case) -> Computed:
    table = {}
    for row, expected in case["outputs"]["table"].items():
        indices = thin(*map(int, re.findall(r"\d+", row)))
        # The original lists repeats too; what it does with them is to write the same file again.
        table[row] = expected if indices == sorted(set(expected)) else indices
    return {"table": table}


@KINDS("item")
def item(case: Case) -> Computed:
    given, root, size = case["inputs"], Path(tempfile.mkdtemp()), case["outputs"]["x"]["shape"][-1]
    frames, wanted = (int(re.search(pattern, text)[1]) for pattern, text in
                      ((r"(\d+) frames", case["what"]), (r"item (\d+)", case["call"])))  # fmt: skip
    base = np.array(given["points_base"], np.float32)
    for position, video in enumerate(given["videos"]):
        folder = root / video
        folder.mkdir(parents=True)
        points = [(base + frame * np.float32([1.5, -0.75])).astype(np.float32) for frame in range(frames)]
        names = [given["file"].replace("<frame>", str(frame)) for frame in range(frames)]
        for frame, name in enumerate(names):
            picture = formula.image(f"item/{position}/{frame}", given["frame"]["shape"], given["seed"], 0, 255)
            Image.fromarray(np.round(picture).astype(np.uint8).transpose(1, 2, 0)).save(folder / name)
        np.savez(folder / "metadata.npz", names=np.array(names), landmarks=np.array(points), size=size, frames=frames)
    shots = case["outputs"]["x"]["shape"][0]
    opt = SimpleNamespace(
        dataroot=str(root), image_size=size, shots=shots, fit="squash", random_flip=True, retarget=False
    )
    dataset = TalkingHeadDataset(opt, training=True)
    random.seed(given["seed"])
    made = dataset[wanted]
    names = {"x": "pictures", "y": "landmarks", "x_t": "target", "y_t": "target_landmarks"}
    computed = {name: as_array(made[key]) for name, key in names.items()}
    # The draws are those of the original, so that order and flips need no words: the frames show them.
    return computed | {name: case["outputs"][name]["value"] for name in ("order", "flips")}
