"""train.py --validate_every as people call it."""

import json
from types import SimpleNamespace

import pytest
import torch
from paths import ROOT
from running import run

from metrics.parts.weights import weight_options
from options.validating import evenly_spread, is_higher_better, validation_metrics
from util.errors import UserError

pytestmark = pytest.mark.slow
TINY = f"--config={ROOT / 'configs' / 'tiny' / 'fomm.yaml'}"
CALL = [
    TINY, "--batch_size=2", "--num_repeats=2", "--gpu_id=-1", "--visdom=no", "--nThreads=0", "--print_every=1",
    "--validate_clips=2", "--validate_share=100", "--validate_frames=0", "--validate_metrics=l1,psnr",
]  # fmt: skip


def train(folder, sample, *arguments, status=0):
    return run(folder, *CALL, f"--dataroot={sample}", *arguments, status=status)


def log_of(folder, validated):
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [entry for entry in entries if validated == ("val/l1" in entry)]


def weights(folder, name="latest"):
    content = torch.load(folder / f"{name}-checkpoint.pth.tar", weights_only=True)
    return {f"{network}.{key}": value for network, state in content.items() if isinstance(state, dict)
            for key, value in state.items() if isinstance(value, torch.Tensor)}  # fmt: skip


def assert_same(one, other):
    assert one.keys() == other.keys() and len(one) > 50
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def folder(sample, tmp_path_factory):
    """A run of 4 steps that is validated in each."""
    folder = tmp_path_factory.mktemp("validated")
    output = train(
        folder, sample, "--steps=4", "--name=a", "--validate_every=1", "--best_by=val/psnr", "--save_every=2"
    )
    assert "validation at step 4: l1 " in output and "% of the time" in output
    return folder


def test_validation_does_not_change_the_weights(folder, sample):
    train(folder, sample, "--steps=4", "--name=plain", "--validate_every=0")
    assert_same(weights(folder / "result" / "a"), weights(folder / "result" / "plain"))
    names = ("pixels", "equivariance_value", "equivariance_jacobian")
    one, other = (log_of(folder / "result" / name, validated=False) for name in ("a", "plain"))
    assert [[entry[name] for name in names] for entry in one] == [[entry[name] for name in names] for entry in other]


def test_a_run_leaves_curves_pictures_and_the_best_weights(folder):
    run_folder = folder / "result" / "a"
    entries = log_of(run_folder, validated=True)
    assert [entry["step"] for entry in entries] == [1, 2, 3, 4]
    assert {path.name for path in (run_folder / "pictures").glob("val_*")} == {
        f"val_0000000{n}.png" for n in range(1, 5)
    }
    best = json.loads((run_folder / "best.json").read_text())["value"]
    assert best == max(entry["val/psnr"] for entry in entries), "the direction is that of the metric"
    weights(run_folder, "best")


def test_a_resumed_run_validates_as_if_it_had_not_stopped(folder, sample):
    train(folder, sample, "--steps=2", "--name=resumed", "--validate_every=1", "--best_by=val/psnr", "--save_every=2")
    train(folder, sample, "--steps=4", "--name=resumed", "--continue_train", "--validate_every=1")
    one, other = (folder / "result" / name for name in ("a", "resumed"))
    assert_same(weights(one), weights(other))
    assert log_of(one, validated=True) == log_of(other, validated=True)
    assert (one / "best.json").read_text() == (other / "best.json").read_text()


def test_validation_equals_the_measurement_of_test_py(folder, sample):
    run(
        folder, "--name=a", "--cpu", f"--dataroot={sample}", "--mode=reconstruction", "--metrics=l1,psnr",
        "--results_dir=measured", script="test.py",
    )  # fmt: skip
    total = json.loads((folder / "measured" / "metrics.json").read_text())["total"]
    last = log_of(folder / "result" / "a", validated=True)[-1]
    for name in ("l1", "psnr"):
        assert last[f"val/{name}"] == pytest.approx(total[name]["frames"], rel=1e-5)


def test_bad_requests_stop_before_the_first_step(folder, sample):
    output = train(folder, sample, "--steps=1", "--name=bad", "--best_by=val/jitter", status=2)
    assert "--best_by val/jitter: choose a validated value that can be better or worse: val/l1, val/psnr" in output


def asked(*metrics, frames=16):
    weights = dict.fromkeys(weight_options())
    return SimpleNamespace(validate_metrics=metrics, validate_frames=frames, metric_weights="weights", **weights)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["kid"], "metrics with a value per frame"),
        (["pose/truth"], "use nothing but frames"),
        (["jitter"], "set --validate_frames=0"),
        (["lpips/alex"], "alexnet-owt-7be5be79.pth is missing"),
    ],
)
def test_metrics_that_cannot_be_validated_are_refused(names, words):
    with pytest.raises(UserError, match=words):
        validation_metrics(asked(*names), "cpu")


def test_directions_are_those_of_the_metrics():
    measurement = validation_metrics(asked("l1", "psnr", "jitter", frames=0), "cpu")
    assert is_higher_better("psnr", measurement) and not is_higher_better("l1", measurement)
    with pytest.raises(UserError, match="val/jitter: choose a validated value"):
        is_higher_better("jitter", measurement)


def test_clips_are_chosen_evenly():
    assert evenly_spread(list(range(10)), 4) == [0, 3, 6, 9] and evenly_spread([1, 2], 4) == [1, 2]
    assert evenly_spread(iter(range(9)), 2) == [0, 1] and evenly_spread(list(range(5)), 1) == [0]
