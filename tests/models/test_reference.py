"""Every case of tests/reference/<family>/cases.json: what the original implementations compute.

GRIMACE_REFERENCE=DIR runs DIR/<family>/cases.json too. A kind of case that no adapter knows fails.
"""

import importlib
import json
import os
import shutil
from pathlib import Path

import pytest
from adapters.common import Case, Reference
from paths import REFERENCE

SLOW = {
    "articulated-train",
    "face-training",
    "first_order-prior_train",
    "first_order-train_adv",
    "first_order-train_small",
    "first_order-train_vox",
    "ganimation-training",
    "live_portrait-animate_released",
    "talking_head-finetuning_two_steps",
    "talking_head-meta_training_two_steps",
    "talking_head-meta_training_two_steps_small_rates",
    "thin_plate-train",
    "thin_plate-train_first_epoch",
    "thin_plate-train_late_epoch",
}
"""Training steps and animations with networks of the published sizes."""


def _references() -> list[Reference]:
    places = [REFERENCE]
    if os.environ.get("GRIMACE_REFERENCE"):
        places.append(Path(os.environ["GRIMACE_REFERENCE"]))
        assert any(places[-1].glob("*/cases.json")), f"GRIMACE_REFERENCE={places[-1]}: no folder there has a cases.json"
    return [Reference(path.parent) for place in places for path in sorted(place.glob("*/cases.json"))]


def _parameters() -> list:
    counts: dict[str, int] = {}
    parameters = []
    for reference in _references():
        for case in reference.cases:
            name = f"{reference.family}-{case['name']}"
            counts[name] = counts.get(name, 0) + 1
            suffix = f"-again{counts[name]}" if counts[name] > 1 else ""
            marks = [pytest.mark.slow] if name in SLOW else []
            parameters.append(pytest.param(reference, case, id=name + suffix, marks=marks))
    return parameters


@pytest.mark.parametrize(("reference", "case"), _parameters())
def test_case(reference: Reference, case: Case):
    adapter = importlib.import_module(f"adapters.{reference.family}")
    compute = adapter.KINDS.find(case)
    adapter.compare(reference, case, compute(case))


@pytest.mark.parametrize(("family", "name"), [("thin_plate", "kp_detector"), ("articulated", "region_predictor_pad0")])
def test_another_folder_has_its_own_weights(tmp_path, family, name):
    document = json.loads((REFERENCE / family / "cases.json").read_text())
    for network in document["networks"].values():
        network["weights"]["seed"] += 1
    document["cases"] = [case for case in document["cases"] if case["name"] == name]
    folder = tmp_path / family
    folder.mkdir()
    (folder / "cases.json").write_text(json.dumps(document))
    shutil.copy(REFERENCE / family / "cases.npz", folder)
    reference = Reference(folder)
    with pytest.raises(AssertionError, match="values are off"):
        test_case(reference, reference.cases[0])
