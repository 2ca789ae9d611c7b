"""Toy families ready to train, as the tests of the engine want them."""

from types import SimpleNamespace

import torch
from toys import Joint, ToyData

from engine.clock import Clock
from engine.distributed import Processes
from engine.trainer import Trainer, seed_everything


def build(toy, **options):
    seed_everything(1)
    family = toy(SimpleNamespace(width=6, **options), training=True)
    family.prepare_training(SimpleNamespace())
    return family.double()


def trainer_at(step, toy=Joint):
    trainer = Trainer(build(toy), Processes(torch.device("cpu")), Clock(20))
    trainer.clock.step, trainer.clock.samples = step, 4 * step
    return trainer


def scrambled(toy):
    family = build(toy)
    with torch.no_grad():
        for parameter in family.parameters():
            parameter.mul_(-3)
    return family


def assert_equal(one, other):
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def batches(count, size=4):
    torch.manual_seed(5)
    data = ToyData(SimpleNamespace(samples=count * size, bad_sample=-1), True)
    items = [data[index] for index in range(count * size)]
    joined = [items[i * size : (i + 1) * size] for i in range(count)]
    return [{key: torch.stack([item[key] for item in part]).double() for key in "xyz"} for part in joined]


def parts_of(batch, count):
    return [{key: value.chunk(count)[i] for key, value in batch.items()} for i in range(count)]


def cpu_trainer(family, epoch_size=20):
    """A trainer of a family as it is."""
    return Trainer(family, Processes(torch.device("cpu")), Clock(epoch_size))
