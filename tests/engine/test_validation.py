"""Validation while training: shared out, kept to its share of the time, without a trace in the run; collapsed runs."""

import random
import threading
from contextlib import nullcontext
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from data.base import Clip, Job
from engine import validation as module
from engine.clock import Clock
from engine.distributed import Processes
from engine.validation import GAIN, Stagnation, Validation, preserving_random_state, spread

FRAMES = 6


class Shifter(nn.Module):
    """A family that adds a number to the driving frame; in training mode it would add another."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(1, 1, bias=False)

    def networks(self):
        return {"net": self.net}

    def prepare_inference(self):
        assert not self.training

    def encode_source(self, source):
        return {}

    def animate(self, state, driving):
        torch.rand(3)
        return driving["image"] + self.net.weight.view(1, 1, 1, 1), state


class Clips:
    """Clips of noise to validate, one of which may be damaged."""

    every = 5
    names = ("first", "second")

    def __init__(self, count=3, damaged=None):
        self.jobs = [Job(f"c{index}", lambda index=index: self.clip(index)) for index in range(count)]
        self.damaged, self.made = damaged, []
        self.build = Shifter

    def clip(self, index):
        self.made.append(index)
        rng = np.random.default_rng(index)
        height = 4 + index  # pictures of several sizes are shown together
        frames = torch.from_numpy(rng.random((FRAMES, 3, height, 4), np.float32)) / 2
        if index == self.damaged:
            frames = frames[:, :, :, :2]
        items = [{"image": frame} for frame in frames]
        return Clip(f"c{index}", {"image": frames[0]}, items, Fraction(25), length=FRAMES)

    def measure(self, job, clip):
        return Means(job.name == f"c{self.damaged}")


class Means:
    """The mean of all results, and a number that only clips of four columns have."""

    def __init__(self, damaged):
        self.total, self.count, self.damaged = 0.0, 0, damaged

    def add(self, made, items):
        if self.damaged:
            raise ValueError("no such clip")
        self.total += float(made.double().mean((1, 2, 3)).sum())
        self.count += len(items)

    def sums(self):
        return {"first": (self.total, self.count), "second": (0.0, 0)}


def validation(what=None, processes=None, share=1.0, frames=0):
    return Validation(what or Clips(), processes or Processes(torch.device("cpu")), share=share, frames=frames)


def trainer(weight=0.25, step=5):
    family = Shifter().train()
    nn.init.constant_(family.net.weight, weight)
    return SimpleNamespace(family=family, clock=Clock(10, step), averages=SimpleNamespace(applied=nullcontext))


def test_values_and_pictures_use_the_current_weights():
    found = validation().run(trainer())
    whole = torch.stack([item["image"].mean() for index in range(3) for item in Clips().clip(index).driving])
    assert found.values["val/first"] == pytest.approx(float(whole.mean()) + 0.25, abs=1e-6)
    assert "val/second" not in found.values, "there was nothing to measure"
    assert list(found.pictures) == ["c0", "c1", "c2"] and found.pictures["c0"].shape == (2, 3, 6, 4)
    truth, result = found.pictures["c2"]
    np.testing.assert_allclose(result, truth + 0.25, atol=0.01)


def test_validation_does_not_affect_the_run():
    trained = trainer()
    weights = trained.family.net.weight.clone()
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    validation().run(trained)
    assert trained.family.training and torch.equal(weights, trained.family.net.weight)
    assert random.getstate() == states[0] and (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2]) and trained.clock == Clock(10, 5)


def test_random_generators_are_restored_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(ValueError), preserving_random_state(torch.device("cpu")):
        torch.rand(1), random.random(), np.random.rand()
        raise ValueError
    assert torch.equal(before, torch.get_rng_state())


class Together(Processes):
    """One of several processes, which are threads here."""

    def __init__(self, rank, world, shared, barrier):
        super().__init__(torch.device("cpu"), rank, 1)
        self.world, self._shared, self._barrier = world, shared, barrier

    def gather(self, value):
        self._shared[self.rank] = value
        self._barrier.wait(20)
        whole = torch.cat([self._shared[rank] for rank in range(self.world)])
        self._barrier.wait(20)
        return whole

    def any(self, value):
        return bool(self.gather(torch.tensor([value])).any())


@pytest.mark.parametrize("world", [2, 4])
def test_processes_share_the_clips_and_find_the_same_digits(world, monkeypatch):
    monkeypatch.setattr(
        module, "preserving_random_state", lambda device: nullcontext()
    )  # threads share their generators
    shared, barrier, found, clips = {}, threading.Barrier(world), {}, {}

    def work(rank):
        clips[rank] = Clips()
        found[rank] = validation(clips[rank], Together(rank, world, shared, barrier)).run(trainer())

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = validation().run(trainer())
    for rank in range(world):
        assert clips[rank].made == list(range(3))[rank::world]
        assert found[rank].values == alone.values
        for name, picture in alone.pictures.items():
            assert (found[rank].pictures[name] == picture).all()


def test_a_damaged_clip_is_skipped_and_reported(caplog):
    one = validation(Clips(damaged=1))
    assert list(one.run(trainer()).pictures) == ["c0", "c2"] and not one.is_off
    assert "validation: c1: ValueError: no such clip" in caplog.text


def test_validation_is_switched_off_when_nothing_can_be_measured(caplog):
    one = validation(Clips(count=1, damaged=0))
    assert one.run(trainer()).values == {} and "switched off" in caplog.text
    assert not one.is_due(Clock(10, 5))


def test_mismatching_networks_switch_validation_off(caplog):
    trained = trainer()
    trained.family.net = nn.Linear(2, 1)
    one = validation()
    assert one.run(trained).values == {} and one.is_off
    assert "cannot prepare the networks: RuntimeError" in caplog.text and "switched off" in caplog.text


def test_cached_frames_are_read_once_and_evenly_spread():
    clips = Clips()
    one = validation(clips, frames=3)
    assert one.run(trainer()).values == one.run(trainer()).values and clips.made == [0, 1, 2]
    assert spread(range(100), 100, 3) == [0, 50, 99] and spread(range(100), None, 3) == [0, 1, 2]
    assert spread(range(2), 2, 5) == [0, 1] and spread(range(9), 9, 1) == [0]


def test_it_is_due_every_so_many_steps_within_its_share_of_the_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    one = validation(share=0.1)
    due = []
    for step in range(1, 101):
        now[0] += 1.0
        if one.is_due(Clock(10, step)):
            due.append(step)
            now[0] += 2.0
            one.budget.spend(2.0)
    assert due == [5, 40, 55, 75, 90], "the first one always; then a tenth of the time, 5 steps apart at least"


@pytest.mark.parametrize(
    ("made", "copied", "words"),
    [(1.0, 0.001, "motion is the identity"), (1.2, 1.0, "no better than repeating the first frame"), (0.5, 0.9, "")],
)
def test_a_run_without_motion_causes_a_warning_after_hundreds_of_steps(made, copied, words):
    watch = Stagnation(generated=made, repeated=1.0, copied=copied)
    warnings = {step: watch.update(step) for step in range(100, 2000, 100)}
    if not words:
        assert not any(warnings.values())
        return
    assert [step for step, warning in warnings.items() if warning] == [300, 500, 900, 1700], (
        "again when it lasted twice as long"
    )
    assert words in warnings[300] and "FOR 200 STEPS" in warnings[300]
    watch.made, watch.copied = 0.5, 1.0
    assert not watch.update(2000)
    watch.made, watch.copied = made, copied
    assert not watch.update(2100), "it begins anew"


def test_a_clip_without_motion_causes_no_warning():
    watch = Stagnation(generated=0.1, repeated=0.0, copied=0.1)
    assert not any(watch.update(step) for step in range(0, 2000, 100))


def test_the_gain_is_relative_to_repeating_the_first_frame():
    exact = validation().run(trainer(weight=0.0))
    assert exact.values[GAIN] == pytest.approx(100)
