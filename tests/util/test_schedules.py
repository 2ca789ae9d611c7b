"""Learning-rate rules against their formulas, and what happens when a run is extended."""

import math

import pytest
import torch
from paths import ROOT
from running import run

from engine.clock import Clock
from options import parse
from util.errors import UserError
from util.schedules import Schedule, Schedules, cosine, every, linear_decay, milestones, warm_up


def curve(schedule, steps, planned=None, epoch_size=10):
    clock, values = Clock(epoch_size, planned_steps=planned), []
    for _ in range(steps):
        values.append(schedule(clock))
        clock.advance(1)
    return values


def test_schedules_match_their_formulas():
    assert [linear_decay(n, 2, 4, 0.2) for n in range(8)] == pytest.approx([1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0.2])
    expected = [1, 1, 0.5 + math.sqrt(0.5) / 2, 0.5, 0.5 - math.sqrt(0.5) / 2, 0, 0]
    assert [cosine(n, 1, 4) for n in range(7)] == pytest.approx(expected, abs=1e-15)
    assert cosine(5, 1, 4, 0.1) == pytest.approx(0.1) and cosine(3, 1, 4, 0.1) == pytest.approx(0.55)
    assert [warm_up(n, 4) for n in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert [warm_up(n, 0) for n in range(2)] == [1, 1]
    assert [milestones(n, [1, 3], 0.5) for n in range(5)] == [1, 0.5, 0.5, 0.25, 0.25]
    assert [every(n, 2, 0.5) for n in range(5)] == [1, 1, 0.5, 0.5, 0.25]


def test_a_cosine_after_a_warm_up_is_that_of_pytorch():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    theirs = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 1 / 5, total_iters=4),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 15, eta_min=0.1),
        ],
        [5],
    )
    ours, rates = curve(Schedule("cosine", warm_up=5, end=0.1), 20, planned=20), []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert ours == pytest.approx(rates, abs=1e-12)


def test_rules_of_epochs_combine_with_a_warm_up():
    rule = Schedule("milestones", warm_up=2, milestones=[1], factor=0.5)
    assert curve(rule, 6, epoch_size=3) == [0.5, 1, 1, 0.5, 0.5, 0.5]
    assert curve(Schedule("step", period=2, factor=0.5), 6, epoch_size=1) == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_an_extended_run_continues_the_schedule_of_its_new_length():
    rule = Schedule("cosine", warm_up=2)
    clock, long = Clock(10, planned_steps=8), curve(rule, 16, planned=16)
    for _ in range(8):
        clock.advance(1)
    assert rule(clock) == 0
    clock.planned_steps = 16
    assert rule(clock) == long[8] > 0.5


def test_without_a_length_rules_that_follow_it_are_refused():
    with pytest.raises(UserError, match="--lr_schedule cosine: needs the length of training"):
        Schedule("cosine")(Clock(10))
    assert Schedule("constant")(Clock(10)) == 1


def test_each_optimizer_may_have_its_rule():
    rules = Schedules(Schedule("constant"), {"generator": "linear"}, ("generator", "critic"))
    clock = Clock(10, step=5, planned_steps=10)
    assert (rules.rate("generator", clock), rules.rate("critic", clock)) == (0.5, 1)
    with pytest.raises(UserError, match="no optimizer genrator; available: generator, critic"):
        Schedules(Schedule(), {"genrator": "linear"}, ("generator", "critic"))


def test_commands_and_yaml_name_rules(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("model: fomm\nlr_schedule: {generator: cosine}\nwarm_up: 100\n")
    assert parse([f"--config={path}"], training=True).lr_schedule == {"generator": "cosine"}
    opt = parse([f"--config={path}", "--lr_schedule=generator=linear,discriminator=step"], training=True)
    assert opt.lr_schedule == {"generator": "linear", "discriminator": "step"} and opt.warm_up == 100
    assert parse(["--model=fomm"], training=True).lr_schedule == "milestones"
    with pytest.raises(UserError, match="cosin"):
        parse(["--model=fomm", "--lr_schedule=cosin"], training=True)


@pytest.mark.slow
def test_a_run_of_a_family_warms_up_and_falls(sample, tmp_path):
    command = [
        f"--config={ROOT / 'configs/tiny/fomm.yaml'}", f"--dataroot={sample}", "--gpu_id=-1", "--name=a",
        "--nThreads=0", "--batch_size=2", "--visdom=no", "--lr_schedule=cosine", "--warm_up=2",
        "--print_every=1",
    ]  # fmt: skip
    run(tmp_path, *command, "--steps=4")

    def rates(step):
        state = torch.load(tmp_path / "result" / "a" / f"{step:08d}_training.pth")["optimizers"]["generator"]
        group = state["param_groups"][0]
        return group["lr"] / group["initial_lr"]

    assert rates(4) == pytest.approx(0.5), "the second of two steps of the cosine"
    run(tmp_path, "--continue_train", "--name=a", "--gpu_id=-1", "--steps=8")
    assert rates(8) == pytest.approx((1 + math.cos(math.pi * 5 / 6)) / 2)
