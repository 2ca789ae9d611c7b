"""Moving averages, `after_update` and schedules against loops written by hand, in all ways in which training runs."""

import copy
import json

import pytest
import torch
from averaged import (
    DECAY,
    STEPS,
    Averaged,
    Reports,
    advance,
    assert_as_by_hand,
    assert_reports_as_by_hand,
    monitor_of,
    trainer_of,
)
from running import run, run_two_processes
from toys import EveryNth, Joint, TwiceCritic
from trainers import assert_equal, batches, build

from engine.checkpoints.load import load_networks
from engine.checkpoints.save import Checkpoints
from util.errors import UserError


class RareAverage(EveryNth):
    averaged = {"generator": DECAY}


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_averages_and_schedules_equal_the_loop_by_hand(accumulate):
    trainer, reports = trainer_of(build(Averaged)), Reports()
    advance(trainer, batches(STEPS), accumulate, monitor_of(trainer, reports))
    assert_as_by_hand(trainer)
    assert_reports_as_by_hand(reports.entries)


@pytest.mark.slow
def test_two_processes_equal_the_loop_by_hand(tmp_path):
    for saved in run_two_processes("two_processes.py", tmp_path):
        trainer = trainer_of(build(Averaged))
        trainer.family.load_state_dict(saved["weights"])
        trainer.averages.of["generator"].values = saved["average"]
        assert_as_by_hand(trainer)
        assert_reports_as_by_hand(saved["reports"])


@pytest.mark.parametrize("toy", [Averaged, RareAverage])
def test_averages_resume_bit_for_bit(toy, tmp_path):
    whole = trainer_of(build(toy))
    advance(whole, batches(STEPS))
    half = trainer_of(build(toy))
    advance(half, batches(STEPS)[:3])
    Checkpoints(tmp_path).save(half)
    resumed = trainer_of(copy.deepcopy(build(toy)))
    with torch.no_grad():
        for parameter in resumed.family.parameters():
            parameter.add_(1)
    assert Checkpoints(tmp_path).resume(resumed)
    advance(resumed, batches(STEPS)[3:])
    assert_equal(whole.family, resumed.family)
    one, other = whole.averages.of["generator"], resumed.averages.of["generator"]
    assert one.updates == other.updates == {Averaged: 7, RareAverage: 3}[toy]
    assert all(torch.equal(value, other.values[name]) for name, value in one.values.items())


def test_reports_of_a_resumed_run_equal_those_of_an_uninterrupted_one(tmp_path):
    half, reports = trainer_of(build(Averaged)), Reports()
    advance(half, batches(STEPS)[:3], monitor=monitor_of(half, reports))
    Checkpoints(tmp_path).save(half)
    resumed = trainer_of(build(Averaged))
    assert Checkpoints(tmp_path).resume(resumed)
    advance(resumed, batches(STEPS)[3:], monitor=monitor_of(resumed, reports))
    assert_reports_as_by_hand(reports.entries)


def test_after_update_is_called_once_for_each_update_that_happened():
    trainer = trainer_of(build(Averaged, spoil_at=1), on_nan="skip")
    advance(trainer, batches(3), accumulate=2)
    assert trainer.family.updates == [("gen", "coder"), ("dis",), ("dis",), ("gen", "coder"), ("dis",)]
    assert trainer.averages.of["generator"].updates == 2


def test_an_overflow_of_fp16_updates_no_average():
    class Overflow(Averaged):
        def training_step(self, batch, clock):
            big = 1e35 if clock.step == 0 else 1.0
            yield "gen", {"big": self.generator(batch["x"].flatten(1)).float().square().sum() * big}

    some = [{key: value.float() for key, value in batch.items()} for batch in batches(2)]
    trainer = trainer_of(build(Overflow).float(), precision="fp16")
    advance(trainer, some[:1])
    assert trainer.family.updates == [] and trainer.averages.of["generator"].updates == 0
    while not trainer.family.updates:  # the scale of the losses falls until nothing overflows
        trainer.clock.step = 1
        trainer.step(some[1:])
    assert trainer.family.updates == [("gen",)] and trainer.averages.of["generator"].updates == 1


def test_running_statistics_are_averaged_and_other_buffers_copied():
    class Normed(Averaged):
        def __init__(self, opt, training):
            super().__init__(opt, training)
            layer = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(6, 6))
            self.generator = torch.nn.Sequential(layer, torch.nn.BatchNorm1d(6))

    trainer = trainer_of(build(Normed))
    start = {name: value.clone() for name, value in trainer.family.generator.state_dict().items()}
    advance(trainer, batches(1))
    live, average = trainer.family.generator.state_dict(), trainer.averages.of["generator"].values
    mean = 0.1 * start["1.running_mean"] + 0.9 * live["1.running_mean"]
    assert torch.allclose(average["1.running_mean"], mean, rtol=0, atol=1e-12) and mean.abs().min() > 0
    vectors = [name for name in live if name.endswith(("._u", "._v"))]
    assert len(vectors) == 2
    for name in (*vectors, "1.num_batches_tracked"):
        assert torch.equal(average[name], live[name]) and not torch.equal(start[name], live[name]), name


def test_applied_swaps_averages_in_and_out():
    trainer = trainer_of(build(Averaged))
    advance(trainer, batches(2))
    live = copy.deepcopy(trainer.family.state_dict())
    average = copy.deepcopy(trainer.averages.of["generator"].values)
    with pytest.raises(RuntimeError, match="while averages"), trainer.averages.applied():
        assert all(torch.equal(value, average[name]) for name, value in trainer.family.generator.state_dict().items())
        raise RuntimeError("while averages are in use")
    assert all(torch.equal(value, live[name]) for name, value in trainer.family.state_dict().items())
    assert all(torch.equal(value, average[name]) for name, value in trainer.averages.of["generator"].values.items())
    advance(trainer, batches(STEPS)[2:])
    assert_as_by_hand(trainer)


def test_a_tensor_with_two_names_is_restored_after_applied():
    class Tied(Averaged):
        def __init__(self, opt, training):
            super().__init__(opt, training)
            self.generator = torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Linear(6, 6))
            self.generator[1].weight = self.generator[0].weight

    trainer = trainer_of(build(Tied))
    advance(trainer, batches(2))
    live = copy.deepcopy(trainer.family.state_dict())
    with trainer.averages.applied():
        assert not torch.equal(trainer.family.generator[1].weight, live["generator.1.weight"])
    assert all(torch.equal(value, live[name]) for name, value in trainer.family.state_dict().items())


@pytest.mark.parametrize("toy", [Averaged, RareAverage])
def test_averaged_weights_are_loaded_by_default(toy, tmp_path):
    trainer = trainer_of(build(toy))
    advance(trainer, batches(4))
    Checkpoints(tmp_path).save(trainer)
    file = "latest-checkpoint.pth.tar" if toy is Averaged else "latest_net_G.pth"
    for place in (tmp_path, tmp_path / file):
        averaged, last = build(toy), build(toy)
        load_networks(averaged, place)
        load_networks(last, place, averaged=False)
        assert_equal(trainer.family, last)
        assert_equal(trainer.family.critic, averaged.critic)
        values = trainer.averages.of["generator"].values
        assert all(torch.equal(value, values[name]) for name, value in averaged.generator.state_dict().items())


def test_old_averages_are_removed_when_none_are_kept(tmp_path):
    trainer = trainer_of(build(Averaged))
    advance(trainer, batches(1))
    Checkpoints(tmp_path).save(trainer)
    assert {"latest_averaged.pth", "00000001_averaged.pth"} <= {path.name for path in tmp_path.iterdir()}
    later = trainer_of(build(Joint))
    assert Checkpoints(tmp_path).resume(later)
    advance(later, batches(1))
    Checkpoints(tmp_path, keep=1).save(later)
    assert not list(tmp_path.glob("*averaged*"))
    loaded = build(Joint)
    load_networks(loaded, tmp_path)
    assert_equal(later.family, loaded)


def test_a_new_average_starts_from_the_current_weights(tmp_path, caplog):
    earlier = trainer_of(build(Joint))
    advance(earlier, batches(2))
    Checkpoints(tmp_path).save(earlier)
    trainer = trainer_of(build(Averaged))
    assert Checkpoints(tmp_path).resume(trainer)
    assert "no average of generator" in caplog.text
    average = trainer.averages.of["generator"]
    assert average.updates == 0
    assert all(
        torch.equal(value, average.values[name]) for name, value in earlier.family.generator.state_dict().items()
    )


def test_a_damaged_average_is_refused(tmp_path):
    trainer = trainer_of(build(Averaged))
    advance(trainer, batches(1))
    Checkpoints(tmp_path).save(trainer)
    path = tmp_path / "latest_averaged.pth"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="latest_averaged.pth is damaged"):
        load_networks(build(Averaged), tmp_path)


@pytest.mark.parametrize(
    ("averaged", "told"),
    [
        ({"genrator": 0.9}, "averaged names 'genrator', which is not a network; available: generator, coder, critic"),
        ({"generator": 1.0}, "gives 'generator' the decay 1.0; choose one in"),
    ],
)
def test_wrong_averages_are_reported(averaged, told):
    family = build(Joint)
    family.averaged = averaged
    with pytest.raises(UserError, match=told):
        trainer_of(family)


@pytest.mark.slow
def test_the_commands_save_resume_and_animate_with_averages(tmp_path):
    toy = ["--model=tests.toys:Kept", "--gpu_id=-1", "--batch_size=4", "--nThreads=0", "--name=a"]
    run(tmp_path, *toy, "--steps=4")
    folder = tmp_path / "result" / "a"
    last, averaged = torch.load(folder / "latest-checkpoint.pth.tar"), torch.load(folder / "latest_averaged.pth")
    assert set(averaged) == {"generator"}
    assert not torch.equal(averaged["generator"]["0.weight"], last["generator"]["0.weight"])
    run(tmp_path, "--name=a", "--gpu_id=-1", "--results_dir=one", script="test.py")
    run(tmp_path, "--name=a", "--gpu_id=-1", "--results_dir=two", "--averaged=no", script="test.py")
    made = [json.loads((tmp_path / name / "results.jsonl").read_text().splitlines()[0]) for name in ("one", "two")]
    assert made[0]["weights"] != made[1]["weights"]


def test_an_update_that_is_clipped_by_its_family_is_averaged_too():
    class Clipped(TwiceCritic):
        averaged = {"critic": 0.5}

    trainer = trainer_of(build(Clipped))
    advance(trainer, batches(2))
    assert trainer.averages.of["critic"].updates == 4
