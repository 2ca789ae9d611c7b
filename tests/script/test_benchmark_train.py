"""The plain steps that script/benchmark.py compares training with compute what ours compute."""

from types import SimpleNamespace

import pytest
from paths import ROOT

from script.benchmarks import train

SIZES = {"talking_head": 128}
"""The smallest pictures that the default networks take."""


@pytest.mark.parametrize("model", train.MODELS)
def test_both_ways_report_the_same_losses(model, tmp_path):
    config = ROOT / "configs" / "tiny" / f"{model}.yaml"
    args = SimpleNamespace(
        model=model, config=str(config), gpu_id=-1, threads=1, size=SIZES.get(model, 64), batch_size=1
    )
    losses = {}
    for way in (train.PLAIN, train.OURS, train.BF16):
        trainer, batch = train.trainer_of(train.plugin_of(model), args, way, tmp_path / way)
        losses[way] = trainer.step([batch])[0]
    plain, ours, rounded = losses.values()
    assert rounded.keys() == plain.keys() and rounded != plain
    assert plain.keys() == ours.keys()
    for name, value in plain.items():
        assert float(ours[name]) == pytest.approx(float(value), rel=train.LOSS_TOLERANCE, abs=1e-6), name


def test_the_engine_and_the_loop_by_hand_compute_the_same(tmp_path):
    from script.benchmarks.plain import by_hand

    assert by_hand.largest_difference(tmp_path) <= by_hand.SAME
