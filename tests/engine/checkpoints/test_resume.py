"""Going on from weights: those of the originals, which have no training state of ours, and those of other runs."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from paths import ROOT
from toys import Chunks, Joint, Killed, kill_at_training_state
from trainers import assert_equal, build, scrambled, trainer_at

from engine.checkpoints.load import load_networks
from engine.checkpoints.save import Checkpoints, continue_from
from engine.clock import Clock
from engine.distributed import Processes
from engine.trainer import Trainer
from models import find_family
from options import parse
from train import train
from util.errors import UserError
from util.weights_file import read_weights

CPU = Processes(torch.device("cpu"))
TOY = ["--model=tests.toys:Joint", "--gpu_id=-1", "--batch_size=4", "--nThreads=0"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)


def run(*arguments):
    """Like train.py with these arguments, after those that make it a toy."""
    return train(parse([*TOY, *map(str, arguments)], training=True), CPU)


def steps_of(name):
    return read_weights(Path("result") / name / "latest_training.pth")["clock"]["step"]


def trained(toy=Joint, steps=3):
    """A trainer after some steps, so that its optimizers remember something."""
    trainer = Trainer(build(toy), CPU, Clock(20))
    for _ in range(steps):
        trainer.step([{name: torch.rand(4, 1, 2, 3, dtype=torch.float64) for name in "xyz"}])
        trainer.clock.advance(4)
    return trainer


def released(trainer, path, epoch=1, **entries):
    """One file as the originals of the first-order projects write it: counters of Adam are plain numbers."""
    family = trainer.family
    content = {entry: getattr(family, name).state_dict() for name, entry in family.layout.entries.items()}
    for name, optimizer in trainer.optimizers.items():
        state = optimizer.state_dict()
        moments = {
            key: {k: int(v) if k == "step" else v for k, v in each.items()} for key, each in state["state"].items()
        }
        content[family.layout.optimizers[name]] = state | {"state": moments}
    content |= {"epoch": epoch} | entries
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({key: value for key, value in content.items() if value is not None}, path)


def resumed(folder, toy=Joint, **options):
    trainer = Trainer(scrambled(toy), CPU, Clock(20))
    trainer.family.needed = frozenset({"generator"})
    assert Checkpoints(folder, options={"batch_size": 4}).resume(trainer, **options)
    return trainer


# --- files of the originals -------------------------------------------------------------------------------------------


def test_one_file_resumes_with_weights_optimizers_and_the_next_epoch(tmp_path):
    before = trained()
    released(before, tmp_path / "00000001-checkpoint.pth.tar")
    after = resumed(tmp_path)
    assert_equal(before.family, after.family)
    assert (after.clock.epoch, after.clock.step) == (2, 10)
    for name, optimizer in before.optimizers.items():
        expected, got = optimizer.state_dict()["state"], after.optimizers[name].state_dict()["state"]
        assert all(torch.equal(value, got[key][k]) for key, each in expected.items() for k, value in each.items()), name


def test_files_of_the_original_are_kept_when_the_run_resumes(tmp_path):
    path = tmp_path / "00000001-checkpoint.pth.tar"
    released(trained(), path)
    theirs = path.read_bytes()
    after, checkpoints = resumed(tmp_path), Checkpoints(tmp_path, keep=1, options={"batch_size": 4})
    for _ in range(3):
        after.clock.advance(4)
        checkpoints.save(after)
    assert path.read_bytes() == theirs
    assert resumed(tmp_path).clock.step == 13


def test_a_file_of_the_original_with_the_name_of_one_to_save_is_moved(tmp_path):
    path = tmp_path / "00000001-checkpoint.pth.tar"
    released(trained(), path, epoch=None)
    theirs = path.read_bytes()
    after = resumed(tmp_path)
    after.clock.advance(4)
    Checkpoints(tmp_path).save(after)
    assert (tmp_path / "previous_1" / path.name).read_bytes() == theirs
    assert resumed(tmp_path).clock.step == 1


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"discriminator": None}, ["has no critic", "resetting the optimizer of dis"]),
        ({"discriminator": {"odd": torch.zeros(1)}}, ["reinitialising critic", "resetting the optimizer of dis"]),
        ({"optimizer_generator": None}, ["resetting the optimizer of gen", "has no optimizer_generator"]),
        (
            {"optimizer_generator": {"state": {}, "param_groups": []}},
            ["resetting the optimizer of gen", "other parameters"],
        ),
        ({"optimizer_generator": 3}, ["resetting the optimizer of gen", "not an optimizer's state"]),
        (
            {"optimizer_generator": {"state": {}, "param_groups": 3}},
            ["resetting the optimizer of gen", "optimizer's state is damaged"],
        ),
        ({"epoch": None}, ["after 0 epochs, at step 0; its length of training is unknown"]),
    ],
)
def test_missing_or_mismatching_parts_start_from_scratch_with_a_warning(tmp_path, caplog, entries, words):
    before = trained()
    released(before, tmp_path / "00000001-checkpoint.pth.tar", **entries)
    after = resumed(tmp_path)
    assert torch.equal(before.family.generator[0].weight, after.family.generator[0].weight)
    assert after.clock.epoch == (0 if "epoch" in entries else 2)
    assert all(word in caplog.text for word in words)
    after.step([{name: torch.rand(4, 1, 2, 3, dtype=torch.float64) for name in "xyz"}])


@pytest.mark.parametrize("epoch", ["x", [1], float("nan")])
def test_an_epoch_that_is_not_a_number_is_reported(tmp_path, epoch):
    released(trained(), tmp_path / "00000001-checkpoint.pth.tar", epoch=epoch)
    with pytest.raises(UserError, match="checkpoint.pth.tar: its record of the training length is damaged"):
        resumed(tmp_path)


def test_an_optimizer_of_other_shapes_starts_from_scratch(tmp_path, caplog):
    before = trained()
    other = before.optimizers["gen"].state_dict()
    other["state"][0]["exp_avg"] = torch.zeros(7)
    released(before, tmp_path / "00000001-checkpoint.pth.tar", optimizer_generator=other)
    assert not resumed(tmp_path).optimizers["gen"].state_dict()["state"]
    assert "parameters have other shapes" in caplog.text


def test_a_file_per_network_resumes_at_the_largest_number(tmp_path, caplog):
    before = trained(Chunks)
    for name in ("latest_net_G.pth", "latest_net_D.pth", "9_net_G.pth", "10_net_G.pth"):
        network = before.family.generator if "G" in name else before.family.critic
        torch.save({f"module.{key}": value for key, value in network.state_dict().items()}, tmp_path / name)
    theirs = (tmp_path / "latest_net_G.pth").read_bytes()
    after = resumed(tmp_path, Chunks)
    assert_equal(before.family, after.family)
    assert (after.clock.step, after.clock.samples) == (10, 40)
    assert "resetting the optimizer of gen" in caplog.text
    Checkpoints(tmp_path).save(after)
    assert (tmp_path / "10_net_G.pth").is_file()
    assert (tmp_path / "previous_1" / "latest_net_G.pth").read_bytes() == theirs


def test_weights_that_can_not_be_loaded_are_an_error_and_stay(tmp_path):
    torch.save(build(Chunks).critic.state_dict(), tmp_path / "latest_net_D.pth")
    with pytest.raises(UserError, match=r"latest_net_G.pth: no such file.*--init_from FILE"):
        resumed(tmp_path, Chunks)
    torch.save({"odd": torch.zeros(1)}, tmp_path / "latest_net_G.pth")
    with pytest.raises(UserError, match=r"does not fit Sequential.*--init_from FILE"):
        resumed(tmp_path, Chunks)
    assert {path.name for path in tmp_path.iterdir()} == {"latest_net_D.pth", "latest_net_G.pth"}


def test_weights_of_another_name_are_an_error_with_the_remedy():
    released(trained(), Path("result/b/vox-cpk.pth.tar"))
    with pytest.raises(UserError, match=r"no file has.*contains: vox-cpk.pth.tar.*--checkpoint FILE.*--init_from FILE"):
        run("--name=b", "--steps=2", "--continue_train")
    assert [path.name for path in Path("result/b").iterdir()] == ["vox-cpk.pth.tar"]


def test_training_does_not_overwrite_foreign_weights():
    path = Path("result/b/00000001-checkpoint.pth.tar")
    released(trained(), path)
    theirs = path.read_bytes()
    with pytest.raises(UserError, match="contains a run already: .*--continue_train.*--init_from"):
        run("--name=b", "--steps=2")
    run("--name=b", "--steps=1", f"--init_from={path}")
    assert (path.parent / "previous_1" / path.name).read_bytes() == theirs


def test_the_first_save_may_be_interrupted(tmp_path, monkeypatch):
    """Weights without training state are then no checkpoint to continue from, neither here nor among released ones."""

    with monkeypatch.context() as patches, pytest.raises(Killed):
        patches.setattr(torch, "save", kill_at_training_state)
        Checkpoints(tmp_path).save(trained())
    assert (tmp_path / "00000003-checkpoint.pth.tar").is_file()
    assert not Checkpoints(tmp_path).resume(trainer_at(0))
    released(trained(), tmp_path / "00000001-checkpoint.pth.tar")
    assert resumed(tmp_path).clock.epoch == 2


# --- runs of ours -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("damage", "words"), [("delete", "is missing"), ("cut", "is damaged"), ("state", "cut off")])
def test_a_run_without_a_complete_checkpoint_is_an_error_that_names_the_files(damage, words):
    run("--name=b", "--steps=2", "--save_every=1")
    folder = Path("result/b")
    for path in folder.glob("*_training.pth" if damage == "state" else "*.pth.tar"):
        content = path.read_bytes()
        path.unlink()
        if damage != "delete":
            path.write_bytes(content[:-100])
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    with pytest.raises(UserError, match=rf"no complete checkpoint: .*00000002.*{words}.*latest.*Nothing was changed"):
        run("--name=b", "--steps=3", "--continue_train")
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_run_resumes_from_the_requested_checkpoint():
    run("--name=b", "--steps=4", "--save_every=1", "--keep=0")
    run("--name=b", "--steps=3", "--continue_train", "--which_iter=2", "--keep=1")
    folder = Path("result/b")
    assert Checkpoints(folder).numbers() == ["00000003"]
    assert (folder / "previous_1" / "00000004_training.pth").is_file()
    assert parse(["--name=b"], training=False).which == "latest"
    run("--name=b", "--steps=5", "--continue_train", "--which_iter=latest")
    assert steps_of("b") == 5


def test_a_run_from_weights_that_saved_nothing_is_not_resumed_without_them():
    run("--name=a", "--steps=1")
    run("--name=b", "--steps=1", "--init_from=result/a")
    for path in Path("result/b").glob("*.pth*"):
        path.unlink()
    with pytest.raises(UserError, match="--init_from result/a again"):
        run("--name=b", "--steps=2", "--continue_train")


def test_a_run_from_a_checkpoint_that_saved_nothing_starts_from_it_again():
    run("--name=a", "--steps=3")
    run("--name=b", "--steps=4", "--checkpoint=result/a")
    for path in Path("result/b").glob("*.pth*"):
        path.unlink()
    run("--name=b", "--steps=5", "--continue_train")
    assert read_weights("result/b/latest_training.pth")["optimizers"]["gen"]["state"][0]["step"] == 5


def test_a_missing_checkpoint_is_an_error():
    run("--name=b", "--steps=1")
    with pytest.raises(UserError, match=r"--which 7: .* no such checkpoint; available: 00000001, latest. Nothing was"):
        run("--name=b", "--steps=3", "--continue_train", "--which=7")
    with pytest.raises(UserError, match="--which 7 .*: add --continue_train or --checkpoint"):
        run("--name=c", "--steps=3", "--which=7")


def test_a_resumed_run_removes_leftovers_of_an_interrupted_save(monkeypatch):
    def kill(content, path, save=torch.save):
        save(content, path)
        if content.get("clock", {}).get("step") == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patches, pytest.raises(KeyboardInterrupt):
        patches.setattr(torch, "save", kill)
        run("--name=b", "--steps=4", "--save_every=1")
    assert Path("result/b/00000003-checkpoint.pth.tar").is_file()
    run("--name=b", "--steps=4", "--save_every=2", "--continue_train")
    assert not list(Path("result/b").glob("00000003*"))
    assert Checkpoints(Path("result/b")).numbers() == ["00000001", "00000002", "00000004"]


def test_a_finished_run_is_reported(caplog):
    run("--name=b", "--steps=2")
    run("--name=b", "--continue_train")
    assert "already at step 2: nothing to do; train longer with more --epochs or --steps" in caplog.text


def test_a_checkpoint_is_found_by_the_value_of_its_number(tmp_path):
    for toy in (Joint, Chunks):
        trainer, other = trainer_at(7, toy), scrambled(toy)
        Checkpoints(tmp_path / toy.__name__).save(trainer)
        load_networks(other, tmp_path / toy.__name__, which="7")
        assert_equal(trainer.family, other)


HOLD = (
    "import pathlib, engine.claim\nwith engine.claim.claimed(pathlib.Path('{}')): print('holding', flush=True), input()"
)


def test_a_run_that_another_process_trains_is_left_alone(monkeypatch):
    run("--name=b", "--steps=2")
    folder = Path("result/b").absolute()
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD.format(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "holding\n"
        before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
        for words in (["--continue_train"], ["--init_from=result/b"]):
            with pytest.raises(UserError, match=f"process {other.pid} on .* another --name"):
                run("--name=b", "--steps=3", *words)
        assert before == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
        other.communicate("\n")
    run("--name=b", "--steps=3", "--continue_train")
    assert steps_of("b") == 3


def test_earlier_runs_are_kept_when_one_of_them_was_removed():
    for _ in range(3):
        run("--name=b", "--steps=1", *(["--init_from=result/b"] if Path("result/b").exists() else []))
    shutil.rmtree("result/b/previous_1")
    run("--name=b", "--steps=1", "--init_from=result/b")
    assert {path.name for path in Path("result/b").glob("previous_*")} == {"previous_1", "previous_2"}


def test_the_best_checkpoint_is_found_by_a_sparse_loss_with_nan_values(monkeypatch):
    """The generator's loss is there at steps 1, 4 and 7, and no number at the first of them."""
    monkeypatch.setattr(sys.modules[__name__], "TOY", ["--model=tests.toys:EveryNth", *TOY[1:]])
    run("--name=b", "--steps=6", "--save_every=1", "--best_by=gen", "--on_nan=skip", "--spoil_at=0")
    assert json.loads(Path("result/b/best.json").read_text())["step"] == 4


@pytest.mark.parametrize("content", [{"a": 1}, [1]])
def test_a_foreign_training_state_is_reported_by_file(content):
    run("--name=b", "--steps=2")
    torch.save(content, "result/b/00000009_training.pth")
    run("--name=b", "--steps=3", "--continue_train")
    assert steps_of("b") == 3
    torch.save(content, "other_training.pth")
    released(trained(), Path("other-checkpoint.pth.tar"))
    with pytest.raises(UserError, match="other_training.pth: not the training state of a checkpoint"):
        run("--name=c", "--steps=30", "--checkpoint=other-checkpoint.pth.tar")


# --- --checkpoint -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place", ["result/a", "result/a/latest-checkpoint.pth.tar", "result/a/00000003-checkpoint.pth.tar"]
)
@pytest.mark.slow
def test_a_new_run_resumes_another_one(place):
    """It ends as the other one would have; with --continue_train the same line can be repeated."""
    run("--name=a", "--steps=3")
    run("--name=whole", "--steps=6")
    run("--name=b", "--steps=5", f"--checkpoint={place}", "--continue_train")
    shutil.rmtree("result/a")
    run("--name=b", "--steps=6", f"--checkpoint={place}", "--continue_train")
    one, other = (read_weights(f"result/{name}/latest-checkpoint.pth.tar") for name in ("whole", "b"))
    assert one.pop("epoch") == other.pop("epoch") == 1
    assert all(torch.equal(value, other[name][key]) for name, state in one.items() for key, value in state.items())
    with pytest.raises(UserError, match="contains a run already"):
        run("--name=b", "--steps=6", f"--checkpoint={place}")


def test_a_new_run_resumes_a_file_of_the_original(caplog):
    released(trained(), Path("vox-cpk.pth.tar"), epoch=3)
    run("--name=b", "--epochs=5", "--checkpoint=vox-cpk.pth.tar")
    assert steps_of("b") == 25
    assert "vox-cpk.pth.tar after 4 epochs, at step 20" in caplog.text


def test_a_run_on_other_data_resumes_at_the_same_epoch():
    run("--name=a", "--epochs=2", "--batch_size=5")
    run("--name=b", "--epochs=3", "--samples=40", "--checkpoint=result/a")
    state = read_weights("result/b/latest_training.pth")["clock"]
    assert (state["step"], state["samples"]) == (30, 120)
    assert read_weights("result/b/latest_training.pth")["optimizers"]["gen"]["state"][0]["step"] == 8 + 10


def test_options_to_resume_and_to_start_exclude_each_other():
    with pytest.raises(UserError, match="use only one of them"):
        run("--name=b", "--steps=1", "--init_from=x", "--checkpoint=y")


def test_the_adversarial_stage_resumes_at_the_published_epoch_and_rate(tmp_path):
    """From a file of the first: 50 more epochs at the full rate, another discriminator, the animators' optimizers."""

    def stage(*words):
        words = [f"--config={ROOT}/configs/tiny/fomm.yaml", "--no_perceptual", "--epoch_milestones=60,90", *words]
        opt = parse(words, training=True)
        family = find_family("fomm")(opt, training=True)
        family.needed = frozenset(family.networks())
        family.prepare_training(opt)
        return Trainer(family, CPU, Clock(80))

    first = stage()
    first.step([{"source": torch.rand(2, 3, 64, 64), "driving": torch.rand(2, 3, 64, 64)}])
    released(first, tmp_path / "vox-cpk.pth.tar", epoch=99)
    published = parse([f"--config={ROOT}/configs/fomm/vox-adv-256.yaml"], training=True)
    second = stage("--weight_generator_gan=1", "--use_kp", f"--epoch_milestones={published.epoch_milestones}")
    continue_from(second, tmp_path / "vox-cpk.pth.tar", batch_size=8)
    assert (second.clock.epoch, published.epochs) == (100, 150)
    assert second.family.rate("generator", second.clock) == 1
    assert_equal(first.family.generator, second.family.generator)
    stepped = {name: bool(optimizer.state_dict()["state"]) for name, optimizer in second.optimizers.items()}
    assert stepped == {"generator": True, "kp_detector": True, "discriminator": False}


# --- families ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "content", "length"),
    [
        ("fomm", {"epoch": 99}, {"epochs": 100}),
        ("fomm", {}, {}),
        ("mraa", {"epoch_reconstruction": 99}, {"epochs": 100}),
        ("mraa", {"epoch_avd": 29, "avd_network": {}}, {}),
        ("mraa_avd", {"epoch_avd": 4, "avd_network": {}}, {"epochs": 5}),
        ("mraa_avd", {"epoch_reconstruction": 99}, {}),
        ("tps", {"epoch": 99}, {"epochs": 100}),
        ("tps", {"epoch": 99, "avd_network": {}}, {}),
        ("tps_avd", {"epoch": 99, "avd_network": {}}, {"epochs": 100}),
        ("tps_avd", {"epoch": 99}, {}),
        ("talking_head", {"step": 4999}, {"steps": 5000}),
    ],
)
def test_the_training_length_of_a_file_counts_in_its_stage(model, content, length):
    opt = parse([f"--config={ROOT}/configs/tiny/{model}.yaml", "--init_from=x"], training=True)
    assert find_family(model)(opt, training=True).trained_for(content) == length


def test_every_optimizer_of_a_layout_is_one_of_its_family():
    """Else what the files of the originals keep of it would never be found."""
    for model in ("fomm", "fomm_prior", "mraa", "mraa_avd", "tps", "tps_avd", "talking_head", "ganimation"):
        opt = parse([f"--config={ROOT}/configs/tiny/{model}.yaml", "--init_from=x"], training=True)
        with torch.device("meta"):
            family = find_family(model)(opt, training=True)
            family.prepare_training(opt)
        assert set(family.optimizers()) <= set(family.layout.optimizers), model
