"""Gradients averaged over processes: during the backward pass as after it, bit for bit, and in bf16."""

from types import SimpleNamespace

import pytest
import torch
from overlapping import STEPS, WAYS
from running import run_two_processes
from torch import nn
from toys import EveryNth, Joint, TwiceCritic
from trainers import batches, build, parts_of

from engine.clock import Clock
from engine.distributed import Processes
from engine.gradients import GradientAverage, buckets_of
from engine.trainer import Trainer

TOYS = {toy.__name__: toy for toy in (Joint, TwiceCritic, EveryNth)}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The results of both processes for each toy and variant."""
    folder = tmp_path_factory.mktemp("overlapping")
    return run_two_processes("overlapping.py", folder)


def largest_difference(one, other):
    return max((one[name] - other[name]).abs().max().item() for name in one)


@pytest.mark.parametrize("toy", TOYS)
@pytest.mark.parametrize(("early", "late"), [("overlap", "after"), ("bf16", "bf16 after")])
@pytest.mark.slow
def test_overlap_changes_no_bit(made, toy, early, late):
    for rank in made:
        assert largest_difference(rank[toy][early]["weights"], rank[toy][late]["weights"]) == 0
        assert rank[toy][early]["early"] > STEPS and rank[toy][late]["early"] == 0


@pytest.mark.parametrize("toy", TOYS)
@pytest.mark.parametrize("way", WAYS)
def test_processes_stay_equal(made, toy, way):
    one, other = (rank[toy][way]["weights"] for rank in made)
    assert largest_difference(one, other) == 0


@pytest.mark.parametrize("toy", TOYS)
def test_two_processes_equal_one(made, toy):
    trainer = Trainer(build(TOYS[toy]), Processes(torch.device("cpu")), Clock(20, planned_steps=STEPS))
    for batch in batches(STEPS, size=8):
        trainer.step(parts_of(batch, 4))
        trainer.clock.advance(8)
    weights = trainer.family.state_dict()
    assert largest_difference(made[0][toy]["overlap"]["weights"], weights) < 1e-9
    assert 0 < largest_difference(made[0][toy]["bf16"]["weights"], weights) < 0.1


class Doubled:
    """Two processes with the same gradients, whose sums arrive when they are waited for."""

    world, device = 2, torch.device("cpu")

    def __init__(self):
        self.sent = []

    def share(self, tensors):
        pass

    def begin_sum(self, tensor):
        self.sent.append(tensor.numel())
        return SimpleNamespace(wait=lambda: tensor.mul_(2))


def test_buckets_travel_in_the_order_in_which_backward_reaches_them(monkeypatch):
    monkeypatch.setattr("engine.gradients.BUCKET", 8)
    layers = nn.ParameterList([nn.Parameter(torch.full((size,), 2.0)) for size in (2, 1, 3)])
    unused = nn.Parameter(torch.ones(5))
    processes = Doubled()
    average = GradientAverage(processes, {"all": [*layers, unused]})
    for _ in range(2):
        processes.sent.clear()
        with average.last_backward(("all",)):
            # The last parameter is used last, so that its gradient comes first.
            ((layers[0].sum() * layers[1]).sum() * layers[2]).sum().backward()
            early = list(processes.sent)
        average.finish(("all",))
        assert processes.sent == [3, 1, 2, 5]
        assert torch.equal(unused.grad, torch.zeros(5))
        for parameter, wanted in zip(layers, (12, 24, 8), strict=True):
            assert torch.equal(parameter.grad, torch.full_like(parameter, wanted))
            parameter.grad = None
        unused.grad = None
    assert early == [3, 1, 2], "what no loss reaches travels at the end"


def test_buckets_hold_one_type_and_so_many_bytes():
    sizes = (3, 1, 1, 100, 2)
    parameters = [nn.Parameter(torch.zeros(size)) for size in sizes]
    parameters.insert(2, nn.Parameter(torch.zeros(1, dtype=torch.float64)))
    found = [[parameter.numel() for parameter in bucket] for bucket in buckets_of(parameters, max_bytes=16)]
    assert found == [[3, 1], [1], [1], [100], [2]]
    assert list(buckets_of([], max_bytes=16)) == []


def test_one_process_has_no_hooks():
    parameter = nn.Parameter(torch.ones(1))
    GradientAverage(Processes(torch.device("cpu")), {"all": [parameter]})
    assert not parameter._post_accumulate_grad_hooks
