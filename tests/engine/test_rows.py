"""Tables of rows on the host against the same table on the device, trained by Adam's dense rule."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from paths import ROOT
from row_toys import WIDTH, Dense, Rowed

from engine.checkpoints.save import Checkpoints
from engine.clock import Clock
from engine.distributed import Processes
from engine.trainer import Trainer, seed_everything
from util.errors import UserError

CPU = torch.device("cpu")
COUNT = 50
GAPS = ([3, 7, 1, 2], [3, 49, 0, 8], [5, 5, 3, 6], *([20 + i, 30 + i, 40, 41] for i in range(8)), [7, 3, 2, 5])
"""Items of each step: some come again at once, some after many steps, one twice in a step, most never."""


def build(kind, folder, count=COUNT, places=4, names=None):
    seed_everything(1)
    family = kind(SimpleNamespace(width=WIDTH), training=True)
    family.count, family.places = count, places
    family.prepare_training(SimpleNamespace())
    return Trainer(family, Processes(CPU), Clock(count), folder=folder, item_names=names)


def batch_of(items, step):
    torch.manual_seed(step)
    return {"x": torch.randn(len(items), 1, 2, 3), "item": torch.tensor(items)}


def train(trainer, steps, accumulate=1):
    for step, items in steps:
        batch = batch_of(items, step)
        parts = [{key: value.chunk(accumulate)[i] for key, value in batch.items()} for i in range(accumulate)]
        trainer.step(parts)
        trainer.clock.advance(len(items))


def all_rows(trainer):
    table = trainer.rows["items"].table
    return table.read(np.arange(COUNT), trainer.rows["items"]._updates())


def dense_like(sparse, folder):
    """The trainer of the dense table with the same initial rows and weights."""
    dense = build(Dense, folder)
    with torch.no_grad():
        dense.family.critic.embedding.weight.copy_(
            torch.from_numpy(sparse.rows["items"].table.read(np.arange(COUNT), 0)["value"])
        )
        dense.family.critic.linear.load_state_dict(sparse.family.critic.linear.state_dict())
    return dense


@pytest.mark.parametrize("accumulate", [1, 2])
def test_rows_are_trained_as_by_the_dense_rule(accumulate, tmp_path):
    sparse = build(Rowed, tmp_path / "a")
    dense = dense_like(sparse, tmp_path / "b")
    start = all_rows(sparse)["value"]
    for trainer in (sparse, dense):
        train(trainer, enumerate(GAPS), accumulate)
    table = dense.family.critic.embedding.weight
    kept = all_rows(sparse)
    np.testing.assert_allclose(kept["value"], table.detach().numpy(), rtol=0, atol=2e-6)
    moment = dense.optimizers["dis"].state[table]["exp_avg_sq"].numpy()
    np.testing.assert_allclose(kept["exp_avg_sq"], moment, rtol=1e-4, atol=1e-12)
    torch.testing.assert_close(sparse.family.critic.linear.weight, dense.family.critic.linear.weight, rtol=0, atol=2e-6)
    never = [row for row in range(COUNT) if not any(row in items for items in GAPS)]
    np.testing.assert_array_equal(kept["value"][never], start[never])
    assert np.abs(kept["value"] - start).max() > 0.05


def test_the_rows_are_resumed_bit_for_bit_and_are_no_part_of_the_weights(tmp_path):
    steps = list(enumerate(GAPS))
    whole, half = build(Rowed, tmp_path / "a"), build(Rowed, tmp_path / "b")
    train(whole, steps)
    train(half, steps[:5])
    Checkpoints(tmp_path / "b").save(half)
    weights = torch.load(tmp_path / "b" / "latest_net_D.pth", weights_only=True)
    assert set(weights) == {"linear.weight", "linear.bias"}
    other = build(Rowed, tmp_path / "b", places=6)  # a larger batch changes nothing
    assert Checkpoints(tmp_path / "b").resume(other)
    train(other, steps[5:])
    for name, array in all_rows(whole).items():
        np.testing.assert_array_equal(array, all_rows(other)[name])


def test_rows_follow_their_items_when_the_dataset_changes(tmp_path, caplog):
    names = [f"id{number}" for number in range(6)]
    before = build(Rowed, tmp_path / "a", count=6, names=names)
    train(before, [(0, [0, 2, 3, 5])])
    state = before.rows["items"].table.state_dict()
    after = build(Rowed, tmp_path / "b", count=6, names=["a new one", *names[2:], "another"])
    after.rows["items"].table.load_state_dict(state)
    assert "removed 2 items, added 2" in caplog.text
    now = {"value": before, "other": after}
    rows = {key: trainer.rows["items"].table.read(np.arange(6), 2)["value"] for key, trainer in now.items()}
    np.testing.assert_array_equal(rows["other"][[1, 2, 4]], rows["value"][[2, 3, 5]])
    assert after.rows["items"].table.state_dict()["rows"].tolist() == [1, 2, 4]


def test_rows_without_names_need_as_many_items(tmp_path):
    before, fewer = build(Rowed, tmp_path / "a", count=6), build(Rowed, tmp_path / "b", count=4)
    train(before, [(0, [0, 2, 3, 5])])
    with pytest.raises(UserError, match="rows for at least 6 items, but the dataset has 4"):
        fewer.rows["items"].table.load_state_dict(before.rows["items"].table.state_dict())


def test_only_touched_rows_take_disk_and_are_saved(tmp_path):
    trainer = build(Rowed, tmp_path, count=1_000_000)
    train(trainer, [(0, [5, 999_999, 12, 5])])
    state = trainer.rows["items"].table.state_dict()
    assert state["rows"].tolist() == [5, 12, 999_999]
    assert state["value"].shape == (3, WIDTH)
    used = sum(path.stat().st_blocks * 512 for path in (tmp_path / "rows" / "items").iterdir())
    assert used < 1_000_000


def test_too_small_a_parameter_is_named(tmp_path):
    trainer = build(Rowed, tmp_path, places=2)
    with pytest.raises(RuntimeError, match="critic.embedding.weight fits 2"):
        train(trainer, [(0, [1, 2, 3, 4])])


def test_an_optimizer_that_moves_absent_rows_is_refused(tmp_path):
    class Decayed(Rowed):
        def optimizers(self):
            return {"dis": torch.optim.Adam(self.critic.parameters(), weight_decay=0.1)}

    with pytest.raises(ValueError, match="plain Adam"):
        build(Decayed, tmp_path)


@pytest.mark.slow
def test_two_processes_train_the_same_rows(tmp_path):
    """The batch is shared out, so that each process sees other rows; the main one keeps them all."""
    arguments = ["--model=tests.row_toys:Rowed", "--dataset_mode=tests.row_toys:RowData", "--steps=6", "--batch_size=4",
                 "--visdom=no", f"--checkpoints_dir={tmp_path}", "--nThreads=0", "--samples=10"]  # fmt: skip
    for name, devices in (("one", "-1"), ("two", "-1,-1")):
        command = [sys.executable, "train.py", *arguments, f"--name={name}", f"--gpu_id={devices}"]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": "tests"}
        )
        assert done.returncode == 0, done.stderr
    one, two = (
        torch.load(tmp_path / name / "latest_training.pth", weights_only=True)["rows"]["items"]
        for name in ("one", "two")
    )
    assert one["rows"].tolist() == two["rows"].tolist() == list(range(10))
    for name in ("value", "exp_avg_sq", "updates"):
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=1e-5)
