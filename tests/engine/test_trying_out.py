"""--dry_run, --overfit, --profile, --detect_anomaly, --clip_norm; weight decay in groups."""

import json
import math
import pickle
from types import SimpleNamespace

import pytest
import torch
from running import run
from toys import ToyData

from data.loading.overfit import FirstSamples
from models.parts.decay import decay_groups
from util.errors import UserError

TOY = ["--model=tests.toys:Joint", "--gpu_id=-1", "--batch_size=4", "--nThreads=0", "--name=a"]


def toy_data():
    return ToyData(SimpleNamespace(samples=20, bad_sample=-1), True)


def test_overfit_gives_the_same_samples_in_every_epoch_until_they_fill_a_batch():
    few = pickle.loads(pickle.dumps(FirstSamples(toy_data(), 3, batch_size=8)))
    assert len(few) == 9 and few.samples == 20
    torch.manual_seed(1)
    first = [few[index]["y"] for index in range(9)]
    assert all(torch.equal(value, few[index]["y"]) for index, value in enumerate(first))
    assert torch.equal(first[0], first[3]) and not torch.equal(first[0], first[1])
    with pytest.raises(UserError, match="--overfit 21: the dataset has 20 samples"):
        FirstSamples(toy_data(), 21, batch_size=8)


def test_names_of_few_samples_are_repeated():
    class Named(ToyData):
        def item_names(self):
            return [f"clip {index}" for index in range(20)]

    few = FirstSamples(Named(SimpleNamespace(samples=20, bad_sample=-1), True), 2, batch_size=3)
    assert few.item_names() == ["clip 0", "clip 1"] * 2 and few.sample_name(3) == "clip 1"
    assert FirstSamples(toy_data(), 2, batch_size=3).item_names() is None


@pytest.mark.slow
def test_overfit_memorises_its_samples(tmp_path):
    output = run(tmp_path, *TOY, "--overfit=1", "--steps=300", "--print_every=100")
    assert "training tests.toys:Joint on 4 samples" in output
    losses = [json.loads(line)["l1"] for line in (tmp_path / "result" / "a" / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.slow
def test_a_dry_run_does_everything_once_and_leaves_nothing(tmp_path):
    output = run(tmp_path, *TOY, "--steps=1000", "--dry_run")
    assert "1/1" in output and "dry run passed" in output and "l1=" in output
    assert not list(tmp_path.iterdir())
    assert "the length of training is unknown" in run(tmp_path, *TOY, "--dry_run", status=2)
    assert "remove --continue_train" in run(tmp_path, *TOY, "--dry_run", "--continue_train", status=2)


@pytest.mark.slow
def test_a_dry_run_resumes_another_run_for_one_step(tmp_path):
    run(tmp_path, *TOY, "--steps=3")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    output = run(tmp_path, *TOY[:-1], "--name=b", "--checkpoint=result/a", "--steps=9", "--dry_run")
    assert "at step 3" in output and "dry run passed" in output
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_a_profile_is_a_trace_and_a_table_of_ten(tmp_path):
    output = run(tmp_path, *TOY, "--steps=8", "--profile=2")
    folder = tmp_path / "result" / "a" / "profile"
    table = (folder / "table.txt").read_text()
    assert "Self CPU" in table and "Self CPU" in output and len(table.splitlines()) < 25
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    assert sum(event.get("name", "").startswith("ProfilerStep#") for event in events) >= 2
    assert "ended before profiling started" in run(tmp_path, *TOY[:-1], "--name=b", "--steps=2", "--profile=2")


@pytest.mark.slow
def test_detect_anomaly_names_the_operation(tmp_path):
    (tmp_path / "roots.py").write_text(
        "from tests.toys import Joint\n\n\nclass Roots(Joint):\n    def training_step(self, batch, clock):\n"
        "        made = self.generator(batch['x'].flatten(1))\n"
        "        yield 'gen', {'root': (0 * (made - made).sqrt()).sum()}\n"
    )
    toy = ["--model=roots:Roots", *TOY[1:], "--steps=2"]
    output = run(tmp_path, *toy, "--detect_anomaly", status=1)
    assert "SqrtBackward" in output and "yield 'gen', {'root'" in output
    assert "SqrtBackward" not in run(tmp_path, *toy, status=1)


def test_clipping_is_an_option_of_every_family(tmp_path):
    run(tmp_path, *TOY, "--steps=4", "--print_every=2", "--clip_norm=0.5")
    line = json.loads((tmp_path / "result" / "a" / "log.jsonl").read_text().splitlines()[-1])
    assert {"gradient/gen", "gradient/dis", "lr/coder"} <= set(line) and math.isfinite(line["gradient/gen"])


def test_only_weights_decay():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    decaying, others = decay_groups(network, 0.1)
    assert [tuple(value.shape) for value in decaying["params"]] == [(4, 3, 3, 3), (2, 4)]
    assert len(others["params"]) == 4 and (decaying["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
