"""Values that a family logs in a step, further reports, and the sinks that get them."""

import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from averaged import Averaged, Reports, advance, monitor_of, trainer_of
from running import run
from toys import Chunks, Joint
from trainers import batches, build

from engine.sinks import LogFile, RunInfo, TensorBoard, find_sink, numbers_of
from engine.updates import StepError
from util.errors import UserError


def test_numbers_histograms_and_pictures_reach_the_sinks():
    trainer, reports = trainer_of(build(Averaged), norms_every=3), Reports()
    advance(trainer, batches(3), 2, monitor_of(trainer, reports))
    (entry,) = reports.entries
    weights = trainer.family.critic[0].weight.detach()
    assert np.allclose(entry["histograms"]["weights"], weights.flatten())
    assert entry["lr"] == {"gen": 1e-2, "coder": 1e-2, "dis": 1e-2}
    assert set(entry["gradient"]) == {"gen", "coder", "dis"} and all(value > 0 for value in entry["gradient"].values())
    assert entry["memory_gib"] > 0.05 and 0 <= entry["waiting_for_data"] <= 1
    (picture,) = reports.pictures
    assert picture.shape[1] == 2 * 3 * 48, "the pictures of the step, and the logged ones, enlarged to 96 lines"


def test_norms_are_those_of_the_full_gradients_and_only_on_request():
    trainer = trainer_of(build(Joint), norms_every=2)
    measured, update = [], trainer.family.before_update

    def before_update(names):
        grads = {name: torch.cat([p.grad.flatten() for p in trainer._parameters[name]]).norm().item() for name in names}
        measured.append(grads)
        update(names)

    trainer.family.before_update = before_update
    advance(trainer, batches(1), 2)
    assert trainer.details()["gradient"] == {}
    advance(trainer, batches(2)[1:], 2)
    norms = {name: value.item() for name, value in trainer.details()["gradient"].items()}
    assert norms == pytest.approx(measured[-2] | measured[-1])
    assert trainer.details()["gradient"] == {}, "they are told once"


def test_clipping_shortens_the_gradients_of_each_optimizer():
    trainer, seen = trainer_of(build(Joint), clip_norm=0.05), {}

    def before_update(names):
        for name in names:
            seen[name] = torch.nn.utils.get_total_norm([p.grad for p in trainer._parameters[name]]).item()

    trainer.family.before_update = before_update
    advance(trainer, batches(1), 2)
    before = {name: value.item() for name, value in trainer.details()["gradient"].items()}
    assert before.keys() == seen.keys() == {"gen", "coder", "dis"}
    assert all(seen[name] == pytest.approx(min(0.05, value), rel=1e-4) for name, value in before.items())
    assert max(before.values()) > 0.05


def test_a_python_number_and_a_name_that_comes_twice_are_averaged():
    trainer = trainer_of(build(Joint))
    for value in (1, torch.tensor([3.0], requires_grad=True)):
        trainer.family.log("both", value)
    assert trainer.notes.numbers()["both"].item() == 2
    assert not trainer.notes.numbers()["both"].requires_grad
    assert build(Joint).log("outside training", 1) is None


@pytest.mark.parametrize(
    ("name", "value", "kind", "told"),
    [
        ("step", 1.0, None, "the log uses this name already"),
        ("map", torch.ones(2, 3), "pictures", "a tensor of shape (2, 3) as 'pictures'"),
        ("map", torch.ones(2, 3), "number", "a tensor of shape (2, 3) as 'number'"),
        ("map", torch.ones(2), "histogramm", "for the kinds number, histogram, pictures"),
    ],
)
def test_values_that_cannot_be_logged_are_refused(name, value, kind, told):
    class Wrong(Chunks):
        def training_step(self, batch, clock):
            self.log(name, value, kind=kind)
            yield from super().training_step(batch, clock)

    with pytest.raises(StepError) as error:
        advance(trainer_of(build(Wrong)), batches(1))
    assert told in str(error.value)
    assert "self.log(name, value, kind=kind)" in "\n".join(str(entry.statement) for entry in error.traceback)


def test_a_logged_name_that_a_term_has_is_refused():
    class Twice(Joint):
        def training_step(self, batch, clock):
            self.log("l1", 1.0)
            yield from super().training_step(batch, clock)

    with pytest.raises(StepError, match="'l1'.*a loss term has this name"):
        advance(trainer_of(build(Twice)), batches(1))


def test_nothing_in_a_step_waits_for_the_device():
    """On the meta device there are no numbers: what read one would raise."""
    trainer = trainer_of(build(Averaged))
    trainer.notes.device = torch.device("meta")
    trainer.family.log("number", torch.ones((), device="meta"))
    trainer.family.log("python", 2.0)
    trainer.family.log("many", torch.ones(5, device="meta"))
    assert {value.device.type for value in trainer.notes.numbers().values()} == {"meta"}


def test_log_file_and_tensorboard_hold_everything(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = trainer_of(build(Averaged), norms_every=3)
    monitor = monitor_of(trainer, LogFile(tmp_path / "log.jsonl", 0))
    monitor.sinks.append(TensorBoard(tmp_path / "tensorboard", 0))
    advance(trainer, batches(3), 1, monitor)
    monitor.close()
    line = json.loads((tmp_path / "log.jsonl").read_text())
    assert {"l1", "mean", "lr/gen", "gradient/dis", "memory_gib", "waiting_for_data"} <= set(line)
    assert set(line["weights"]) == {"min", "mean", "max", "std"} and line["weights"]["std"] > 0
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"loss/l1", "mean", "lr/gen", "gradient/dis", "memory/gib", "speed/waiting_for_data"} <= set(
        events.Tags()["scalars"]
    )
    assert events.Tags()["histograms"] == ["weights"] and events.Tags()["images"] == ["pictures"]
    assert events.Scalars("mean")[0].value == pytest.approx(line["mean"])


class StandIn(SimpleNamespace):
    """Replaces wandb or trackio and records the calls."""

    def __init__(self):
        super().__init__(calls=[], util=SimpleNamespace(generate_id=lambda: "abc123"))

    def init(self, **settings):
        self.calls.append(("init", settings))
        return self

    def log(self, values, step=None):
        self.calls.append(("log", values, step))

    def define_metric(self, name, step_metric):
        self.calls.append(("define_metric", name, step_metric))

    def finish(self):
        self.calls.append(("finish",))

    @staticmethod
    def Histogram(values):
        return "histogram", len(values)

    @staticmethod
    def Image(picture):
        return "image", picture.shape


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_services_get_options_numbers_histograms_and_pictures(name, tmp_path, monkeypatch):
    service = StandIn()
    monkeypatch.setitem(sys.modules, name, service)
    info = RunInfo(tmp_path, "mine", 0, {"batch_size": 4})
    trainer = trainer_of(build(Averaged), norms_every=3)
    monitor = monitor_of(trainer, find_sink(name)(info))
    advance(trainer, batches(3), 1, monitor)
    monitor.close()
    settings = service.calls[0][1]
    assert (settings["project"], settings["name"], settings["resume"]) == ("grimace", "mine", "allow")
    assert str(settings["config"]["batch_size"]) == "4"
    logged = {key: value for call in service.calls if call[0] == "log" for key, value in call[1].items()}
    steps = [call[1].get("step", call[2]) for call in service.calls if call[0] == "log"]
    assert steps == [3, 3] and service.calls[-1] == ("finish",)
    assert {"loss/l1", "mean", "lr/gen", "gradient/gen"} <= set(logged) and math.isfinite(logged["loss/l1"])
    assert logged["weights"] == ("histogram", 48) and logged["pictures"][0] == "image"


def test_a_resumed_run_continues_under_its_number_at_wandb(tmp_path, monkeypatch):
    numbers = iter(["first", "second"])
    for _ in range(2):
        service = StandIn()
        service.util.generate_id = lambda: next(numbers)
        monkeypatch.setitem(sys.modules, "wandb", service)
        find_sink("wandb")(RunInfo(tmp_path, "mine", 3, {}))
        assert service.calls[0][1]["id"] == "first"


def test_unknown_sinks_are_reported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(UserError, match="pip install trackio"):
        find_sink("trackio")(RunInfo(tmp_path, "mine", 0, {}))
    with pytest.raises(UserError, match="--sink wanbd: no such sink; available: wandb, trackio"):
        find_sink("wanbd")
    with pytest.raises(UserError, match="--sink toys:Nothing: toys has no class 'Nothing'.*Averaged|Chunks"):
        find_sink("toys:Nothing")
    with pytest.raises(UserError, match="--sink no_such_module:Sink: No module named 'no_such_module'.*PYTHONPATH"):
        find_sink("no_such_module:Sink")


def test_numbers_have_names_by_kind():
    entry = {"step": 4, "epoch": 0.5, "samples_per_second": 8.0, "waiting_for_data": 0.1, "memory_gib": 1.0,
             "losses": {"l1": 2.0}, "logged": {"mine": 3.0}, "lr": {"gen": 1e-4}, "gradient": {},
             "histograms": {}}  # fmt: skip
    assert numbers_of(entry) == {
        "loss/l1": 2.0, "lr/gen": 1e-4, "mine": 3.0, "speed/samples_per_second": 8.0, "speed/waiting_for_data": 0.1,
        "memory/gib": 1.0, "epoch": 0.5,
    }  # fmt: skip


MY_SINK = """
from engine.sinks import Sink


class Mine(Sink):
    def __init__(self, run):
        self.path = run.folder / f"mine_{run.name}_{run.step}_{run.options['batch_size']}.txt"

    def report(self, entry):
        with self.path.open("a") as file:
            file.write(f"{entry['step']}\\n")
"""


def test_a_sink_of_ones_own_beside_the_command(tmp_path):
    (tmp_path / "my_sinks.py").write_text(MY_SINK)
    run(
        tmp_path, "--model=tests.toys:Joint", "--gpu_id=-1", "--batch_size=4", "--nThreads=0", "--name=a", "--steps=4",
        "--print_every=2", "--sink=my_sinks:Mine", "--tensorboard",
    )  # fmt: skip
    assert (tmp_path / "result" / "a" / "mine_a_0_4.txt").read_text() == "2\n4\n"
    assert list((tmp_path / "result" / "a" / "tensorboard").iterdir())
