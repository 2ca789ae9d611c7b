"""The adapters of the reference cases on other cases of the same kinds: one sample, other sizes, lengths, names.

What a smaller case computes is compared with the first part of what the public one does, which test_reference.py
compares with the original: formulas draw the first samples of a batch alike, whatever its size.
"""

import copy
import importlib
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from adapters.common import Case, Reference, as_array, compare_sampled
from paths import REFERENCE

Shape = list[int]


class Altered(Reference):
    """A folder of cases some of whose arrays are others."""

    def __init__(self, folder, others: Mapping[str, np.ndarray]):
        super().__init__(folder)
        object.__setattr__(self, "arrays", ChainMap(dict(others), dict(Reference(folder).arrays)))


def public(family: str, name: str) -> Case:
    return next(case for case in Reference(REFERENCE / family).cases if case["name"] == name)


def compute(family: str, case: Case) -> dict[str, Any]:
    return importlib.import_module(f"adapters.{family}").KINDS.find(case)(case)


def with_shape(value: Any, shape: Any) -> Any:
    """An input of another shape, in the format of its family's cases; a string replaces it."""
    if isinstance(value, dict):
        return value | {"shape": shape}
    if isinstance(value, list) and value and isinstance(value[0], str):
        return [value[0], shape]
    return shape


@dataclass(frozen=True)
class Variant:
    """A public case with other inputs, and the shapes that some of its outputs have then."""

    family: str
    name: str
    inputs: dict[str, Any]
    shapes: dict[str, Shape]
    others: dict[str, Any] = field(default_factory=dict)
    """Other entries of the case, e.g. its image_size."""
    outputs: dict[str, Shape] = field(default_factory=dict)
    """The shapes that outputs are said to have, where the case's own are read by its adapter."""
    stored: dict[str, Any] = field(default_factory=dict)
    """Of stored arrays of the case, the parts that this one has."""
    part: bool = False
    """Whether the outputs are the first part of the public case's."""

    def case(self) -> Case:
        case = copy.copy(public(self.family, self.name)) | copy.deepcopy(self.others)
        given = {name: with_shape(case["inputs"][name], shape) for name, shape in self.inputs.items()}
        case |= {"inputs": case["inputs"] | given, "outputs": copy.deepcopy(case["outputs"])}
        for name, shape in self.outputs.items():
            case["outputs"][name]["shape"] = shape
        arrays = {f"{self.name}/{name}": case["reference"].arrays[f"{self.name}/{name}"][part]
                  for name, part in self.stored.items()}  # fmt: skip
        return case | {"reference": Altered(case["reference"].folder, arrays)}


KP_OF_ONE = "batch 1, see README"
TRAIN_SMALL = {".source": (3, 64, 64), ".driving": (3, 64, 64), " theta": (2, 3), " control_params": (1, 25)}
VARIANTS = [
    Variant("articulated", "region_predictor", {"source": [1, 3, 128, 128]}, {"affine": [1, 10, 2, 2]}, part=True),
    Variant("articulated", "region_predictor", {"source": [3, 3, 128, 256]}, {"heatmap": [3, 10, 32, 64]}),
    Variant("articulated", "flow_background", {"source": [1, 3, 128, 128]},
            {"optical_flow": [1, 32, 32, 2]}, part=True),
    Variant("articulated", "flow", {"source": [1, 3, 256, 128]}, {"heatmaps": [1, 11, 1, 64, 32]}),
    Variant("articulated", "avd_network", {"region parameters": KP_OF_ONE}, {"shift": [1, 10, 2]}, part=True),
    Variant("articulated", "avd_network_no_revert", {"region parameters": "batch 5"}, {"covar": [5, 10, 2, 2]}),
    Variant("articulated", "reconstruction", {"video": [2, 3, 128, 128]},
            {"l1": [2], "bg_1": [1, 3, 3], "prediction_1": [1, 3, 128, 128]}),
    Variant("articulated", "train_avd", {"source": [3, 3, 128, 128], "driving": [3, 3, 128, 128]},
            {"step1/pose_shift": [3, 10, 2]}, stored={"uniform": np.s_[:, :3]}),
    Variant("thin_plate", "gaussian", {"key points": "batch 3"}, {"heat": [3, 50, 8, 20]},
            outputs={"heat": [3, 50, 8, 20]}),
    Variant("thin_plate", "tps", {"key points": KP_OF_ONE}, {"grid": [1, 10, 12, 16, 2]}, part=True),
    Variant("thin_plate", "tps", {"key points": "batch 3"}, {"grid": [3, 10, 7, 9, 2]},
            outputs={"grid": [3, 10, 7, 9, 2]}),
    Variant("thin_plate", "tps_random",
            {"key points": KP_OF_ONE, "frame": [1, 3, 20, 26], "theta": [1, 2, 3], "control": [1, 1, 25]},
            {"points": [1, 50, 2], "warped": [1, 3, 20, 26]}, outputs={"grid": [1, 20, 26, 2]}),
    Variant("thin_plate", "dropout_softmax", {"X": [1, 11, 6, 5], "G": [1, 11, 6, 5]}, {"maps": [1, 11, 6, 5]},
            stored={"uniform": np.s_[:1]}, part=True),
    Variant("thin_plate", "dense_motion_dropout", {"source": [1, 3, 128, 128], "key points": KP_OF_ONE},
            {"deformation": [1, 32, 32, 2]}, stored={"uniform": np.s_[:1]}, part=True),
    Variant("thin_plate", "dense_motion", {"source": [1, 3, 128, 256], "key points": KP_OF_ONE},
            {"deformation": [1, 32, 64, 2], "occlusion_map_3": [1, 1, 128, 256]}),
    Variant("thin_plate", "avd_network", {"key points": "batch 1"}, {"fg_kp": [1, 50, 2]}, part=True),
    Variant("thin_plate", "animate_relative", {"driving": [2, 3, 128, 128]}, {"key_points_1": [1, 50, 2]}, part=True),
    Variant("thin_plate", "train_avd", {"source": [3, 3, 128, 128], "driving": [3, 3, 128, 128]},
            {"step1/pose": [3, 50, 2]}, stored={"uniform": np.s_[:, :3]}),
    Variant("first_order", "kp_detector", {"frame": [1, 3, 128, 128]}, {"value": [1, 10, 2]}, part=True),
    Variant("first_order", "kp_detector", {"frame": [3, 3, 128, 256]}, {"jacobian": [3, 10, 2, 2]}),
    Variant("first_order", "discriminator", {"frame": [1, 3, 128, 128]},
            {"feature_map_1_0": [1, 64, 62, 62]}, part=True),
    Variant("first_order", "train_small",
            {f"step{index}{name}": [1, *shape] for index in range(3) for name, shape in TRAIN_SMALL.items()},
            {"prediction": [1, 3, 64, 64], "losses": [3, 6]}),
    Variant("ganimation", "generator", {"real_img": [1, 3, 128, 128], "desired_cond": [1, 17]},
            {"color_sub": [1, 3, 43, 43]}, others={"batch": 1}),
    Variant("ganimation", "generator", {"real_img": [3, 3, 64, 64], "desired_cond": [3, 9]},
            {"attention_first": [64, 64], "color_sub": [3, 3, 22, 22]},
            others={"batch": 3, "image_size": 64, "cond_nc": 9}),
    Variant("ganimation", "loss_functions",
            {"critic": "(2,3,1)", "mask": "(2,1,4,4)", "aus": "(2,9)", "target": "(2,9)", "x": "(2,6)", "y": "(2,6)"},
            {"mask_mean": [], "critic_real": []}),
    Variant("ganimation", "pictures", {"picture": 'image("picture", (2,3,4,5))', "mask": 'image("mask", (2,1,4,5))'},
            {"picture_first": [4, 5, 3], "grid_one_per_row": [14, 9, 3]}),
    Variant("face", "block_extractor_k3_0",
            {"source": [1, 2, 5, 4], "flow": [1, 2, 5, 4], "grad_output": [1, 2, 15, 12]}, {"out": [1, 2, 15, 12]}),
    Variant("face", "source_encoder_64", {"P": [1, 3, 64, 64]}, {"feature1": [1, 64, 32, 32]}, part=True),
    Variant("face", "generator_64", {"BP_first": [1, 1, 16, 64, 64]},
            {"frame3": [1, 3, 64, 64], "flow3_p3": [1, 2, 8, 8]}),
    Variant("face", "adversarial", {"score": [3, 1, 5, 6]}, {"loss": [2, 3]}),
    Variant("talking_head", "attention", {"x": [1, 24, 6, 5]}, {"y": [1, 24, 6, 5]}, part=True),
    Variant("talking_head", "embedder", {"x": [1, 3, 128, 128], "y": [1, 3, 128, 128]}, {"e": [1, 512]}),
    Variant("talking_head", "discriminator", {"x": [1, 3, 128, 128], "y": [1, 3, 128, 128], "video_index": [3]},
            {"scores": [1], "w": [1, 512]}),
    Variant("live_portrait", "transform", {}, {"driving": [2, 21, 3]}, others={"what": "of a source (batch 2)"}),
    Variant("live_portrait", "smoothing", {"series": [4, 21, 3]}, {"strong": [4, 21, 3]}),
    Variant("live_portrait", "retargeting", {"key points": "B = 1", "eye_ratio": [1, 3], "lip_ratio": [1, 2]},
            {"stitched": [1, 21, 3]}, part=True),
    Variant("live_portrait", "motion_extractor_small", {"source": [1, 3, 64, 96]}, {"kp": [1, 21, 3]}, part=True),
]  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda one: f"{one.family}-{one.name}")
def test_an_adapter_takes_sizes_from_its_case(variant):
    computed = {name: as_array(value) for name, value in compute(variant.family, variant.case()).items()
                if isinstance(value, (torch.Tensor, np.ndarray, float))}  # fmt: skip
    for name, shape in variant.shapes.items():
        assert list(computed[name].shape) == shape, name
        assert np.isfinite(computed[name].astype(np.float64)).all(), name
    if variant.part:
        whole = compute(variant.family, public(variant.family, variant.name))
        compared = [name for name, value in computed.items() if is_first_part(name, value, as_array(whole[name]))]
        assert set(variant.shapes) <= set(compared)


def is_first_part(name: str, part: np.ndarray, whole: np.ndarray) -> bool:
    """Compare what a smaller case computes with the first samples of the public one's; whether there are such."""
    if part.ndim != whole.ndim or part.shape[1:] != whole.shape[1:]:
        return False
    np.testing.assert_allclose(part, whole[: len(part)], rtol=1e-3, atol=1e-4 * max(1, abs(whole).max()), err_msg=name)
    return True


RENAMED = [
    ("articulated", "train_avd"), ("thin_plate", "dropout_softmax"), ("thin_plate", "dense_motion_dropout"),
    ("thin_plate", "train_avd"), ("first_order", "gaussian"), ("first_order", "prior_mask"),
    ("first_order", "normalise"), ("ganimation", "discriminator"), ("face", "visuals"), ("face", "structure"),
    ("face", "net_D_eval"), ("talking_head", "down_k9"), ("talking_head", "to_picture"),
    ("live_portrait", "animate_source_video"), ("live_portrait", "crop_driving"), ("live_portrait", "ratios"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "name"), RENAMED)
def test_a_case_may_have_another_name_of_its_kind(family, name):
    """With the arrays stored under it: it meets the original's numbers as the public one does."""
    case, new = public(family, name), f"{name}_again"
    arrays = {new + key.removeprefix(name): value for key, value in case["reference"].arrays.items()
              if key.startswith((f"{name}/", f"{name}."))}  # fmt: skip
    reference = Altered(case["reference"].folder, arrays)
    renamed = with_new_name(case, name, new) | {"name": new, "reference": reference}
    adapter = importlib.import_module(f"adapters.{family}")
    adapter.compare(reference, renamed, adapter.KINDS.find(renamed)(renamed))


def with_new_name(value: Any, old: str, new: str) -> Any:
    """The outputs of a case, whose names and keys start with its own."""

    def changed(text: str) -> str:
        return new + text.removeprefix(old) if text.startswith((f"{old}/", f"{old}.")) else text

    outputs = value["outputs"]
    if isinstance(outputs, list):
        return value | {"outputs": [spec | {"key": changed(spec["key"])} for spec in outputs]}
    return value | {"outputs": {changed(key): spec for key, spec in outputs.items()}}


def test_norms_of_gradients_are_compared_relatively_in_single_precision_and_exactly_in_double():
    spec = {"shape": [], "stored": "all", "atol": 1e-6, "mean": 50.0}
    names = ("step1/grad_norm/generator", "float64/step1/grad_norm/generator")
    case = {"name": "train", "outputs": dict.fromkeys(names, spec)}
    reference = Altered(REFERENCE / "articulated", {f"train/{name}": np.float64(50) for name in names})
    near, far = 50 * (1 + 1e-3), 50 * (1 + 2e-2)
    exact = dict.fromkeys(names, np.float64(50))
    compare_sampled(reference, case, exact | {names[0]: np.float64(near)})
    for wrong in ({names[0]: np.float64(far)}, {names[1]: np.float64(near)}):
        with pytest.raises(AssertionError, match="values are off"):
            compare_sampled(reference, case, exact | wrong)
