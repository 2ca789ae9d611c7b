"""Cases of GANimation."""

import base64
import json
import re
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from paths import REFERENCE
from reference import formula
from torch import Tensor

from adapters.common import SLACK, Case, Computed, Kinds, Reference, as_array, assert_close, fill_weights
from data.expressions.annotations import HELD
from data.expressions.clips import ORIGINAL_WHITE
from data.expressions.faces import cut_face
from data.expressions.openface import read_table
from data.faces.crop import Crop
from engine.animator import to_bytes
from engine.clock import Clock
from engine.distributed import Processes
from engine.trainer import Trainer
from models.ganimation.family import Ganimation, to_networks, to_pictures
from models.ganimation.losses import Objective, Weights, condition_error, gradient_norms, mix, total_variation
from models.ganimation.networks import saturate
from models.parts.losses import mean_difference
from options import parse
from util.errors import UserError
from util.expressions import STRONGEST, UNITS, VIEWS, mixture
from util.tiles import tile
from util.unpickling import read_pickle

KINDS = Kinds()
MANIFEST = REFERENCE / "ganimation" / "manifest.json"


# --- inputs and weights -----------------------------------------------------------------------------------------------


def inputs_of(case: Case, prefix: str | None = None) -> dict[str, Tensor]:
    """The tensors of a case, by the recipes at the top of the file."""
    given, seed = case["inputs"], case["input_seed"]
    prefix = given["prefix"] if prefix is None else prefix
    batch, units = (given.get("real_cond") or given.get("desired_cond") or given["real_img"])[0], case["cond_nc"]

    def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
        return formula.values(prefix + name, shape, seed)

    def picture(name: str) -> np.ndarray:
        return formula.image(prefix + name, given["real_img"], seed, low=-1, high=1)

    def condition(name: str) -> np.ndarray:
        return np.clip(0.3 * np.abs(values(name, (batch, units))), 0, 1)

    noise = np.clip(0.05 * values("noise", (batch, units)), -0.1, 0.1)
    made = {
        "real_img": picture("real_img"),
        "fake_img": picture("fake_img"),
        "real_cond": condition("real_cond"),
        "desired_cond": condition("desired_cond") + noise,
        "alpha": 1 / (1 + np.exp(-values("alpha", (batch, 1, 1, 1)))),
    }
    return {name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in made.items()}


def make_family(case: Case, *words: str) -> Ganimation:
    """The family of a case's size and weights."""
    batch = case.get("batch") or case["inputs"].get("real_img", [1])[0]
    given = [f"--{key}={value}" for key, value in case.get("options", {}).items()]
    sizes = [f"--image_size={case['image_size']}", f"--cond_nc={case['cond_nc']}", f"--batch_size={batch}"]
    opt = parse(["--model=ganimation", *sizes, *given, *words], training=True)
    family = Ganimation(opt, training=True)
    fill_weights(family.generator, case["seed_G"], case["gain_G"])
    if "seed_D" in case:
        family.prepare_training(opt)
        fill_weights(family.discriminator, case["seed_D"], case["gain_D"])
    return family


def shape_in_text(recipe: str) -> tuple[int, ...]:
    """The shape in the recipe of an input, e.g. (3,2,2) in 'values("small/critic", (3,2,2))'."""
    (said,) = re.findall(r"\((\d+(?:,\s*\d+)*)\)", recipe)
    return tuple(map(int, said.split(",")))


def statistics(name: str, values: Tensor) -> Computed:
    found = {"mean": values.mean(), "std": values.std(correction=0), "min": values.min(), "max": values.max()}
    return {f"{name}_stats": {key: float(value) for key, value in found.items()}}


# --- comparing --------------------------------------------------------------------------------------------------------


def compare(reference: Reference, case: Case, computed: Computed) -> None:
    """Every output that the case names, within its tolerance."""
    special = {"steps": compare_training, "schedules": compare_schedules}
    for key, function in special.items():
        if key in case["outputs"]:
            return function(case, computed)
    for key, spec in case["outputs"].items():
        assert key in computed, f"{case['name']}: the adapter computes no output {key!r}"
        compare_value(key, computed[key], _expected(reference, spec), _tolerance(case, key), case["tolerance"])


def _expected(reference: Reference, spec: Any) -> Any:
    return reference.arrays[spec["npz"]] if isinstance(spec, dict) and "npz" in spec else spec


def _tolerance(case: Case, key: str) -> dict[str, Any]:
    """The entry of a case's tolerances that an output falls under."""
    given = case["tolerance"]
    if key.endswith("_stats"):
        return {"abs": given["stats_abs"]}
    if key in ("critic", "aus"):
        return given.get("critic_aus", given)
    if key.endswith("_levels") or "levels" in given:
        return {"abs": given["levels"]}
    if "panel_levels" in given:
        return {"abs": given["face_levels" if key.startswith("face") else "panel_levels"], "share": 0.005}
    if "means_abs" in given and "mean" in key:
        return {"abs": given["means_abs"]}
    return given


def compare_value(name: str, got: Any, expected: Any, tolerance: dict[str, Any], given: dict[str, Any]) -> None:
    """Nested dictionaries, texts, facts and arrays of numbers."""
    if isinstance(expected, dict):
        assert set(got) == set(expected), f"{name}: {sorted(got)} instead of {sorted(expected)}"
        for key in expected:
            compare_value(f"{name}.{key}", got[key], expected[key], tolerance, given)
        return
    if isinstance(expected, (str, bool)) or (isinstance(expected, list) and expected and isinstance(expected[0], str)):
        assert got == expected, f"{name}: {got!r} instead of {expected!r}"
        return
    got, expected = as_array(got), np.asarray(expected)
    allowed = tolerance.get("abs", 0) + tolerance.get("rel", 0) * np.abs(expected.astype(np.float64))
    if "share" in tolerance:
        off = np.abs(got.astype(int) - expected.astype(int)) > allowed
        assert off.mean() <= tolerance["share"], f"{name}: {off.sum()} of {off.size} values are off"
        return
    assert_close(name, got.reshape(expected.shape), expected, allowed)


# --- networks ---------------------------------------------------------------------------------------------------------


def step_of(case: Case) -> int:
    """Every how many pixels the case keeps one: "x_sub = x[..., ::3, ::3]"."""
    return int(case["subsampling"].split("::")[1].split(",")[0].rstrip("]"))


@KINDS("generator")
@torch.no_grad()
def generator(case: Case) -> Computed:
    given, family, step = inputs_of(case), make_family(case), step_of(case)
    made = family.change(given["real_img"], given["desired_cond"])
    computed = {"attention_first": made.attention[0, 0], "color_first_red": made.color[0, 0]}
    for name, values in {"color": made.color, "attention": made.attention, "composed": made.image}.items():
        computed |= {f"{name}_sub": values[..., ::step, ::step]} | statistics(name, values)
    return computed


@KINDS("discriminator")
@torch.no_grad()
def discriminator(case: Case) -> Computed:
    given, family = inputs_of(case), make_family(case)
    pictures = {"real": given["real_img"], "fake": family.change(given["real_img"], given["desired_cond"]).image}
    judged = {name: family.discriminator(picture) for name, picture in pictures.items()}
    return {f"{what}_{name}": pair[i] for name, pair in judged.items() for i, what in enumerate(("critic", "aus"))}


@KINDS("replicate_import")
@torch.no_grad()
def replicate_import(case: Case) -> Computed:
    given, family, step = inputs_of(case), make_family(case), step_of(case)
    shapes = json.loads(MANIFEST.read_text())["replicate"]
    for network, key in (("generator", "G"), ("discriminator", "D")):
        filled = formula.fill(shapes[key], case[f"seed_{key}"], case[f"gain_{key}"])
        state = {name: torch.from_numpy(value) for name, value in filled.items()}
        state, dropped = family.convert_state(network, state)
        assert dropped == shapes["G_entries_without_effect"] if key == "G" else not dropped
        getattr(family, network).load_state_dict(state)
    made = family.change(given["real_img"], given["desired_cond"])
    critic, aus = family.discriminator(given["real_img"])
    computed = {"critic": critic.flatten(1), "aus": aus, "composed_sub": made.image[..., ::step, ::step]}
    for name, values in {"color": made.color, "attention": made.attention}.items():
        computed |= {f"{name}_sub": values[..., ::step, ::step]} | statistics(name, values)
    return computed


# --- losses and training ----------------------------------------------------------------------------------------------


@KINDS("losses_initial", "every weighted loss term")
def losses_initial(case: Case) -> Computed:
    given, family = inputs_of(case), make_family(case)
    real, aus, desired = given["real_img"], given["real_cond"], given["desired_cond"]
    judge, objective = family.discriminator, family.objective
    objective.draw_alpha = lambda _: given["alpha"]
    first = family.change(real, desired)
    second, fake = family.change(first.image, aus), first.image.detach()
    terms = objective.for_discriminator(judge(real), judge(fake), aus)
    game = objective.for_generator(judge(first.image), desired, real, first, second)
    totals = {"loss_D_without_gp": sum(terms.values()), "loss_G": sum(game.values())}
    return terms | objective.penalty(judge, real, fake) | game | totals


@KINDS("gradient_penalty", "penalty of D")
def gradient_penalty(case: Case) -> Computed:
    given, family = inputs_of(case), make_family(case)
    mixed = mix(given["real_img"], given["fake_img"], given["alpha"])
    norms = gradient_norms(family.discriminator, mixed)
    family.objective.draw_alpha = lambda _: given["alpha"]
    return {
        "critic_on_interpolate": family.discriminator(mixed)[0].flatten(1),
        "gradient_norms": norms,
        "penalty_unweighted": (norms - 1).square().mean(),
        **family.objective.penalty(family.discriminator, given["real_img"], given["fake_img"]),
    }


@KINDS("loss_functions", "the loss functions alone")
def loss_functions(case: Case) -> Computed:
    shapes = {name: shape_in_text(text) for name, text in case["inputs"].items()}
    made = {name: formula.values(f"small/{name}", shape, case["input_seed"]) for name, shape in shapes.items()}
    given = {name: torch.from_numpy(value.astype(np.float32)) for name, value in made.items()}
    mask, batch = given["mask"].sigmoid(), len(given["mask"])
    objective = Objective(Weights(condition=1.0), batch)
    terms = objective.for_discriminator((given["critic"], given["aus"]), (given["critic"], None), given["target"])
    assert float(terms["d_cond"]) == float(condition_error(given["aus"], given["target"]) / batch)
    return {
        "critic_real": terms["d_real"],
        "critic_fake": terms["d_fake"],
        "condition_mse_over_batch": terms["d_cond"],
        "cycle_l1": mean_difference(given["x"], given["y"]),
        "mask_mean": mask.mean(),
        "mask_total_variation_sum": total_variation(mask) * batch,
        "saturate_input": case["outputs"]["saturate_input"],
        "saturate_output": saturate(torch.tensor(case["outputs"]["saturate_input"])),
    }


@KINDS("training", "for each step")
def training(case: Case) -> Computed:
    family = make_family(case)
    trainer = Trainer(family, Processes(torch.device("cpu")), Clock(1))
    networks = {"G": family.generator, "D": family.discriminator}
    start = {key: _copy(network) for key, network in networks.items()}
    changes, steps = {}, []
    for number, spec in enumerate(case["outputs"]["steps"], 1):
        given = inputs_of(case, spec["prefix"])
        family.objective.draw_alpha = lambda _, given=given: given["alpha"]
        # The generator's turn comes in every n-th step, counted from 1.
        trainer.clock.step = family.n_critic - 1 if spec["train_generator"] else 0
        pictures = to_pictures(given["real_img"])
        batch = {"image": pictures, "aus": given["real_cond"], "desired": given["desired_cond"]}
        losses, _ = trainer.step([batch])
        # The attention's mean and spread are reported beside the terms.
        terms = {name: float(value) for name, value in losses.items() if not name.startswith("attention")}
        steps.append(spec | {"losses": terms})
        change = {key: _mean_change(start[key], network) for key, network in networks.items()}
        changes |= {"after_last_step": change} | ({"after_step_1": change} if number == 1 else {})
    counters = {key: _steps_of(trainer.optimizers[name]) for key, name in (("G", "generator"), ("D", "discriminator"))}
    weights = {}
    for place in case["outputs"]["weights_after_last_step_first_8"]:
        key, name = place.split("/")
        weights[place] = networks[key].state_dict()[name].flatten()[:8]
    return {
        "steps": steps,
        "mean_absolute_change": changes,
        "adam_step_counters": counters,
        "weights_after_last_step_first_8": weights,
    }


def _copy(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _mean_change(start: dict[str, Tensor], network: torch.nn.Module) -> dict[str, float]:
    return {name: float((value - start[name]).abs().mean()) for name, value in network.state_dict().items()}


def _steps_of(optimizer: torch.optim.Optimizer) -> int:
    return int(next(iter(optimizer.state.values()))["step"])


def compare_training(case: Case, computed: Computed) -> None:
    """The training case has tolerances of its own for every part."""
    allowed, expected = case["tolerance"], case["outputs"]
    for number, (got, step) in enumerate(zip(computed["steps"], expected["steps"], strict=True)):
        assert set(got["losses"]) == set(step["losses"])
        for name, value in step["losses"].items():
            part = "step_1_d_real_d_cond_d_fake" if name in ("d_real", "d_cond", "d_fake") else "step_1_rest"
            how = allowed["later_steps" if number else part]
            limit = how["abs"] + how["rel"] * abs(value)
            assert abs(got["losses"][name] - value) <= limit, (
                f"step {number + 1}, {name}: {got['losses'][name]}, {value}"
            )
    how = allowed["mean_absolute_change"]
    for moment, networks in expected["mean_absolute_change"].items():
        for key, values in networks.items():
            compare_value(f"{moment}.{key}", computed["mean_absolute_change"][moment][key], values, how, allowed)
    assert computed["adam_step_counters"] == expected["adam_step_counters"]
    for place, values in expected["weights_after_last_step_first_8"].items():
        limit = allowed["weights_after_last_step_first_8"][f"{place[0]}_abs"]
        off = np.sort(np.abs(as_array(computed["weights_after_last_step_first_8"][place]) - values))
        # The case allows one of eight whose first step went the other way.
        assert off[-2] <= SLACK * limit and off[-1] <= SLACK * 6e-4, f"{place}: {off}"


@KINDS("learning_rate", "the rate in force")
def learning_rate(case: Case) -> Computed:
    schedules = []
    for spec in case["outputs"]["schedules"]:
        words = [f"--{key}={spec[key]}" for key in ("nepochs_no_decay", "nepochs_decay")]
        opt = parse(["--model=ganimation", "--ngf=4", "--ndf=4", *words, f"--lr_G={spec['lr']}"], training=True)
        family = Ganimation(opt, training=True)
        family.prepare_training(opt)
        start = family.optimizers()["generator"].param_groups[0]["lr"]
        epochs = range(len(spec["lr_used_in_epoch_1_to_last"]))
        rates = [start * family.rate("generator", SimpleNamespace(epoch=epoch)) for epoch in epochs]
        schedules.append(spec | {"lr_used_in_epoch_1_to_last": rates})
    return {"schedules": schedules}


def compare_schedules(case: Case, computed: Computed) -> None:
    for got, expected in zip(computed["schedules"], case["outputs"]["schedules"], strict=True):
        values = expected["lr_used_in_epoch_1_to_last"]
        compare_value("rates", got["lr_used_in_epoch_1_to_last"], values, case["tolerance"], {})


# --- pictures ---------------------------------------------------------------------------------------------------------


@KINDS("interpolation", "for each a")
@torch.no_grad()
def interpolation(case: Case) -> Computed:
    given, family, step = inputs_of(case), make_family(case), step_of(case)
    ends = [given[name].numpy() for name in ("real_cond", "desired_cond")]
    conditions = np.concatenate([mixture(*ends, share) for share in case["inputs"]["alphas"]])
    state = family.encode_source({"image": to_pictures(given["real_img"])})
    pictures, _ = family.animate(state, {"aus": torch.from_numpy(conditions)})
    made = to_networks(pictures)
    attention = family.change(
        given["real_img"].expand(len(conditions), -1, -1, -1), torch.from_numpy(conditions)
    ).attention
    return {
        "composed_sub": made[..., ::step, ::step],
        "attention_mean": attention.mean((1, 2, 3)),
        "mean_absolute_change": (made - given["real_img"]).abs().mean((1, 2, 3)),
        "mean_absolute_difference_to_first": (made - made[:1]).abs().mean((1, 2, 3)),
    }


@KINDS("pictures", "tensor to 8-bit")
def pictures(case: Case) -> Computed:
    seed = case["input_seed"]
    sizes = {name: shape_in_text(text) for name, text in case["inputs"].items()}
    picture = np.clip(1.05 * formula.image("picture", sizes["picture"], seed, low=-1, high=1), -1, 1)
    mask = np.repeat(formula.image("mask", sizes["mask"], seed), 3, axis=1)
    bytes_of = {name: to_bytes(torch.from_numpy(values), ORIGINAL_WHITE).numpy()
                for name, values in {"picture": (picture + 1) / 2, "mask": mask}.items()}  # fmt: skip
    return {
        "picture_first": bytes_of["picture"][0],
        "mask_first": bytes_of["mask"][0],
        "grid_default": tile(bytes_of["picture"], int(len(picture) ** 0.5), border=2),
        "grid_one_per_row": tile(bytes_of["picture"], 1, border=2),
        "mask_grid": tile(bytes_of["mask"], 1, border=2, colour=0),
    }


@KINDS("normalisation", "8-bit RGB value")
def normalisation(case: Case) -> Computed:
    values = torch.tensor(case["inputs"]["values"], dtype=torch.float32)
    return {"normalised": to_networks(values / 255)}


@KINDS("test_pipeline", "the test command")
@torch.no_grad()
def test_pipeline(case: Case) -> Computed:
    family, size, step = make_family(case), case["image_size"], int(case["subsampling"].split("::")[1].split(",")[0])
    photo = (
        np.rint(255 * formula.image("photo", shape_in_text(case["inputs"]["photo"]), case["input_seed"]))
        .astype(np.uint8)
        .transpose(1, 2, 0)
    )
    left, top, width, height = case["inputs"]["box_x_y_w_h"]
    crop = Crop(np.array([[left, top, left + width, top + height]], float), photo.shape[:2])
    face = cut_face(photo, crop, size, bilinear=True)
    assert case["panels"][1] == "composed" and len(case["panels"]) == len(VIEWS)
    expression = torch.tensor(case["inputs"]["expression"]) / STRONGEST
    state = family.encode_source({"image": torch.from_numpy(face).permute(2, 0, 1)[None] / 255})
    driving = {"aus": expression.expand(len(VIEWS), -1), "view": torch.arange(len(VIEWS))}
    panels = tile(to_bytes(family.animate(state, driving)[0], ORIGINAL_WHITE).numpy(), len(VIEWS))
    return {"face_sub": face[::step, ::step], "panels_sub": panels[::step, ::step]}


# --- files ------------------------------------------------------------------------------------------------------------


def _file(content: bytes, suffix: str) -> Path:
    path = Path(tempfile.mkdtemp(prefix="grimace")) / f"case{suffix}"
    path.write_bytes(content)
    return path


@KINDS("openface", "read one OpenFace")
def openface(case: Case) -> Computed:
    text, expected = case["inputs"]["csv"], case["outputs"]
    table = read_table(_file(text.encode(), ".csv"))
    header = [name.strip() for name in text.splitlines()[0].split(",")]
    # What the original made of the file is not computed here: its rule is not ours.
    facts = {key: expected[key] for key in ("original_rule", "original_rule_is_wrong") if key in expected}
    computed = facts | {
        "au_order": [unit.column for unit in UNITS],
        "columns": len(header),
        "rows": len(table.intensities),
        "intensities_by_header_name": table.intensities,
        "confidence": table.confidence,
        "index_of_first_intensity_column": header.index(f"{UNITS[0].column}_r"),
    }
    return computed | ({"success": table.success.astype(int)} if "success" in expected else {})


@KINDS("aus_pickle", "read an aus_openface.pkl", "the same written by Python 3")
def aus_pickle(case: Case) -> Computed:
    path = _file(base64.b64decode(case["inputs"]["base64"]), ".pkl")
    if case["outputs"].get("refused"):
        try:
            read_pickle(path, HELD)
        except UserError as error:
            return {"refused": "posix.system" in str(error)}
        return {"refused": False}
    content = read_pickle(path, HELD)
    value = next(iter(content.values()))
    return {"dictionary": content, "value_dtype": str(value.dtype), "value_shape": list(value.shape)}
