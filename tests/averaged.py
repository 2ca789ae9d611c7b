"""A toy family with an average, schedules and a log, beside the same as a loop written by hand."""

import pytest
import torch
from toys import Joint
from trainers import batches, build, parts_of

from engine.clock import Clock
from engine.distributed import Processes
from engine.monitor import Monitor
from engine.sinks import Sink
from engine.trainer import Trainer
from util.schedules import Schedule, Schedules

CPU = torch.device("cpu")
DECAY = 0.6
STEPS = 7


class Averaged(Joint):
    """Joint, of whose generator an average is kept; its rates warm up and fall as a cosine."""

    averaged = {"generator": DECAY}

    def __init__(self, opt, training):
        super().__init__(opt, training)
        self.updates = []
        names = ("gen", "coder", "dis")
        self.schedules = Schedules(Schedule("cosine", warm_up=2), {"gen": "cosine", "coder": "linear"}, names)

    def rate(self, name, clock):
        return self.schedules.rate(name, clock)

    def training_step(self, batch, clock):
        self.log("mean", batch["x"].mean())
        self.log("inputs", batch["x"])
        shown = yield from super().training_step(batch, clock)
        self.log("weights", self.critic[0].weight)
        return shown

    def after_update(self, names):
        assert not torch.is_grad_enabled()
        self.updates.append(names)


RATES = {"gen": [0.5, 1, 1, 0.9045084971874737, 0.6545084971874737, 0.3454915028125263, 0.09549150281252627],
         "coder": [0.5, 1, 1, 0.8, 0.6, 0.4, 0.2]}  # fmt: skip
"""Of 7 steps, 2 of them warm-up: (1 + cos(pi n/5)) / 2, and 1 - n/5."""
RATES["dis"] = RATES["gen"]


def by_hand(some, steps=STEPS):
    """Averaged, written out: the network, its average, and the log of each step."""
    family = build(Averaged)
    optimizers = family.optimizers()
    average = {name: value.clone() for name, value in family.generator.state_dict().items()}
    logged = []
    for step, batch in enumerate(some[:steps]):
        for name, optimizer in optimizers.items():
            optimizer.param_groups[0]["lr"] = 1e-2 * RATES[name][step]
        x, y = batch["x"].flatten(1), batch["y"].flatten(1)
        fake = family.generator(family.coder(x))
        l1, gan = (fake - y).abs().mean(), 0.1 * (1 - family.critic(fake)).square().mean()
        (l1 + gan).backward()
        optimizers["gen"].step()
        optimizers["coder"].step()
        family.zero_grad()
        decay = min(DECAY, (1 + step) / (10 + step))
        for name, value in family.generator.state_dict().items():
            average[name] = decay * average[name] + (1 - decay) * value
        hinge = ((1 - family.critic(y)).square() + family.critic(fake.detach()).square()).mean()
        hinge.backward()
        optimizers["dis"].step()
        family.zero_grad()
        logged.append({"l1": l1.item(), "gan": gan.item(), "hinge": hinge.item(), "mean": x.mean().item()})
    return family, average, logged


def trainer_of(family, **options):
    return Trainer(family, Processes(CPU), Clock(20, planned_steps=STEPS), **options)


def advance(trainer, some, accumulate=1, monitor=None):
    for batch in some:
        losses, visuals = trainer.step(parts_of(batch, accumulate))
        trainer.clock.advance(4)
        if monitor:
            monitor.record(trainer.clock, losses, visuals)


class Reports(Sink):
    """Keeps what is reported and shown."""

    def __init__(self):
        self.entries, self.pictures = [], []

    def report(self, entry):
        self.entries.append(entry)

    def show(self, step, picture):
        self.pictures.append(picture)


def monitor_of(trainer, sink, processes=None):
    return Monitor(
        [sink], steps=STEPS, clock=trainer.clock, print_every=3, pictures_every=3, device=CPU, processes=processes,
        trainer=trainer,
    )  # fmt: skip


def assert_reports_as_by_hand(entries):
    """The means of steps 1 to 3, and 4 to 6."""
    logged = by_hand(batches(STEPS))[2]
    for entry, steps in zip(entries, (logged[:3], logged[3:6]), strict=True):
        numbers = entry["losses"] | entry["logged"]
        assert list(entry["losses"]) == ["l1", "gan", "hinge"] and list(entry["logged"]) == ["mean"]
        for name, value in numbers.items():
            assert value == pytest.approx(sum(step[name] for step in steps) / 3, abs=1e-12), name


def assert_as_by_hand(trainer, steps=STEPS):
    family, average, _ = by_hand(batches(STEPS), steps)
    for name, value in family.state_dict().items():
        assert torch.allclose(trainer.family.state_dict()[name], value, rtol=0, atol=1e-12), name
    for name, value in average.items():
        assert torch.allclose(trainer.averages.of["generator"].values[name], value, rtol=0, atol=1e-12), name
    assert not torch.allclose(average["0.weight"], family.generator[0].weight, rtol=0, atol=1e-4)
