"""The comparison of precisions: by part of the networks, and with OpenVINO where it is installed."""

import importlib.util

import numpy as np
import pytest
from paths import ROOT

from script.benchmark import main
from script.benchmarks.plain import bf16

SMALL = ("--size=64", "--frames=2", "--batch=2", "--rounds=1", "--threads=1")


@pytest.mark.slow
@pytest.mark.parametrize("model", bf16.MODELS)
@pytest.mark.parametrize("what", ["--parts", "--openvino"])
def test_precisions_differ_little(model, what, capsys, monkeypatch):
    if what == "--openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    config = ROOT / "configs" / "tiny" / f"{model}.yaml"
    monkeypatch.setattr("sys.argv", ["benchmark.py", "animate", f"--model={model}", f"--config={config}", what, *SMALL])
    assert main() in (0, 1)  # seconds of tiny networks say nothing
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("|")][2:]
    assert len(rows) == (4 if what == "--openvino" else 5)
    differences = {row[0].strip(): float(row[3]) for row in rows}
    assert differences.pop("float32") == 0
    assert differences.pop("OpenVINO, float32", 0.0) < 1e-3
    # With random weights, points found in bf16 can be anywhere; OpenVINO finds them in it, too.
    points_in_bf16 = {"float32, the detector in bf16 (it never is)", "OpenVINO, bf16"}
    assert all(value > 0 for value in differences.values()), differences
    assert all(value < 0.05 for name, value in differences.items() if name not in points_in_bf16), differences


@pytest.mark.parametrize(("taken", "status"), [(0.9, 1), (1.1, 0)])
def test_bf16_is_judged_by_openvino(taken, status, capsys):
    seconds = {"fp32": 2.0, "bf16": 1.0, "openvino-fp32": 2.5, "openvino-bf16": taken}
    answers = {way: [{"cpu": 9.0}, {"cpu": value}] for way, value in seconds.items()}
    frames = {way: np.full((2, 3, 4, 4), index / 100) for index, way in enumerate(seconds)}
    assert bf16.report(answers, frames, "a model") == status
    table = capsys.readouterr().out
    assert "| bf16 | 500 | 2.00 | 0.01 | 0.01 |" in table


def test_openvino_is_asked_for_once(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(bf16.UserError, match="pip install openvino"):
        bf16.refuse_without_openvino()
