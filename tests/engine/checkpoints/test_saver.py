"""When checkpoints are due, and which one is the best."""

from types import SimpleNamespace

import pytest
from trainers import trainer_at

from engine.checkpoints.save import Checkpoints
from engine.checkpoints.saver import Saver
from engine.clock import Clock
from util.errors import UserError


def due_steps(every=1, every_epochs=None, batch_size=4, epoch_size=10, steps=12, folder="."):
    saver = Saver(Checkpoints(folder), every=every, every_epochs=every_epochs, batch_size=batch_size, best_by=None)
    clock, due = Clock(epoch_size), []
    for _ in range(steps):
        clock.advance(batch_size)
        if saver.is_due(clock):
            due.append(clock.step)
    return due


def test_every_so_many_steps(tmp_path):
    assert due_steps(every=5, folder=tmp_path) == [5, 10]


def test_every_so_many_epochs_by_the_step_that_ends_one(tmp_path):
    """Epochs of 10 samples in batches of 4 end within steps 3, 5, 8 and 10."""
    assert due_steps(every_epochs=1, folder=tmp_path) == [3, 5, 8, 10]
    assert due_steps(every_epochs=2, folder=tmp_path) == [5, 10]


class Reports:
    """A monitor with a given next average."""

    names = ("l1",)

    def __init__(self):
        self.averages = {}

    def report(self, clock):
        """Averages are there already."""


def saver_in(folder, best_by="l1"):
    return Saver(Checkpoints(folder), every=1, every_epochs=None, batch_size=4, best_by=best_by)


def test_the_best_stays_when_later_ones_are_worse_and_over_a_restart(tmp_path):
    monitor, trainer = Reports(), trainer_at(0)
    steps = []
    for _ in range(2):
        saver = saver_in(tmp_path)
        for value in (0.5, 0.3, 0.4, float("nan")):
            trainer.clock.advance(4)
            monitor.averages = {"l1": value}
            saver.save(trainer, monitor)
            steps.append(Checkpoints(tmp_path).complete_set("best")[1]["clock"]["step"])
    assert steps == [1, 2, 2, 2, 2, 2, 2, 2]
    assert Checkpoints(tmp_path).complete_set("latest")[1]["clock"]["step"] == 8


def test_an_unknown_loss_is_an_error_after_saving(tmp_path):
    trainer = trainer_at(3)
    with pytest.raises(UserError, match=r"--best_by l2: choose from the losses l1"):
        saver_in(tmp_path, "l2").save(trainer, SimpleNamespace(names=("l1",), averages={}, report=lambda clock: None))
    assert Checkpoints(tmp_path).complete_set()[1]["clock"]["step"] == 3
