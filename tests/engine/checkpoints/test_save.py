"""Checkpoints: layouts, strictness, interrupted writing, and files that are not what they should be."""

import os
import pickle
import tarfile
from collections import OrderedDict
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from paths import ROOT
from safetensors.torch import save_file as save_safetensors
from toys import Chunks, Joint, Killed, TwiceCritic, kill_at_training_state
from trainers import assert_equal, build, scrambled, trainer_at

from engine.checkpoints import save
from engine.checkpoints.load import load_networks, load_strictly
from engine.checkpoints.save import Checkpoints
from models import find_family
from options import parse
from util.errors import UserError
from util.weights_file import read_weights


def test_one_file_per_network(tmp_path):
    trainer = trainer_at(7, Chunks)
    Checkpoints(tmp_path).save(trainer)
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"{which}_net_{entry}.pth" for which in ("latest", "00000007") for entry in "GD"),
        *(f"{which}_training.pth" for which in ("latest", "00000007")),
    }
    assert set(torch.load(tmp_path / "latest_net_G.pth")) == set(trainer.family.generator.state_dict())
    for place in (tmp_path, tmp_path / "latest_net_G.pth", tmp_path / "00000007_net_D.pth"):
        other = scrambled(Chunks)
        load_networks(other, place)
        assert_equal(trainer.family, other)


def test_one_file_with_entries(tmp_path):
    trainer = trainer_at(7, Joint)
    Checkpoints(tmp_path).save(trainer)
    content = torch.load(tmp_path / "latest-checkpoint.pth.tar")
    assert list(content) == ["generator", "coder", "discriminator", "epoch"] and content["epoch"] == 1
    other = scrambled(Joint)
    load_networks(other, tmp_path / "latest-checkpoint.pth.tar")
    assert_equal(trainer.family, other)


def test_renamed_prefixes_and_module(tmp_path):
    class Renamed(Chunks):
        layout = replace(Chunks.layout, rename={"generator.0.": "first."})

    trainer = trainer_at(1, Renamed)
    Checkpoints(tmp_path).save(trainer)
    saved = torch.load(tmp_path / "latest_net_G.pth")
    assert list(saved) == ["first.weight", "first.bias", "2.weight", "2.bias"]
    torch.save({f"module.{key}": value for key, value in saved.items()}, tmp_path / "latest_net_G.pth")
    (tmp_path / "latest_training.pth").unlink()  # it knows what was saved there
    other = scrambled(Renamed)
    load_networks(other, tmp_path)
    assert torch.equal(trainer.family.generator[0].weight, other.generator[0].weight)


def test_every_kind_of_mismatch_is_listed():
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    state = network.state_dict()
    state["0.weight"] = torch.zeros(3, 5)
    state["2.weight"] = state.pop("1.bias")
    with pytest.raises(UserError) as error:
        load_strictly(network, state, "weights.pth (G)")
    for part in ("weights.pth (G)", "1 missing: 1.bias", "1 unexpected: 2.weight", "(3, 5) in the file, (3, 2)"):
        assert part in str(error.value)
    assert not torch.equal(network[0].weight, torch.zeros(3, 2)), "half-loaded"


def test_counters_of_batch_norm_may_be_missing():
    network = torch.nn.BatchNorm1d(3)
    state = {key: value + 1 for key, value in network.state_dict().items() if key != "num_batches_tracked"}
    load_strictly(network, state, "old file")
    assert torch.equal(network.running_mean, torch.ones(3))


def test_a_missing_entry_lists_the_existing_ones(tmp_path):
    torch.save({"region_predictor": {}, "generator": {}}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="lacks the entries coder.*it has region_predictor, generator"):
        load_networks(build(Joint), tmp_path / "other.pth", needed=["coder"])


def test_unneeded_networks_may_be_missing_or_start_from_scratch(tmp_path, caplog):
    family = build(Joint)
    content = {"generator": family.generator.state_dict(), "coder": family.coder.state_dict()}
    torch.save(content, tmp_path / "a.pth")
    load_networks(build(Joint), tmp_path / "a.pth", needed=["generator", "coder"])
    torch.save(content | {"discriminator": {"odd": torch.zeros(1)}}, tmp_path / "b.pth")
    load_networks(build(Joint), tmp_path / "b.pth", needed=["generator", "coder"])
    assert "reinitialising critic" in caplog.text


def test_optional_networks_may_be_missing_but_must_fit(tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO")
    Checkpoints(tmp_path).save(trainer_at(7))
    monkeypatch.setattr(Joint, "optional", ("coder",))
    content = read_weights(tmp_path / "latest-checkpoint.pth.tar")
    content.pop("coder")
    torch.save(content, tmp_path / "a.pth")
    load_networks(build(Joint), tmp_path / "a.pth")
    assert "has no coder" in caplog.text
    torch.save(content | {"coder": {"odd": torch.zeros(1)}}, tmp_path / "b.pth")
    with pytest.raises(UserError, match="coder"):
        load_networks(build(Joint), tmp_path / "b.pth")


def test_keep_and_best(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 3, 4):
        trainer = trainer_at(step)
        checkpoints.save(trainer)
        if step == 2:
            checkpoints.save(trainer, "best", value=0.5)
    assert checkpoints.numbers() == ["00000003", "00000004"]
    assert (tmp_path / "best-checkpoint.pth.tar").is_file()
    assert not (tmp_path / "00000002-checkpoint.pth.tar").exists()
    assert checkpoints.best_value() == 0.5
    assert read_weights(tmp_path / "best_training.pth")["clock"]["step"] == 2


@pytest.mark.parametrize("toy", [Joint, TwiceCritic])
@pytest.mark.slow
def test_interrupted_at_every_single_write(tmp_path, monkeypatch, toy):
    """Whatever the moment of a kill, resuming finds a complete set: the new one or the one before."""
    calls = 0

    def count_down(function):
        def wrapped(*arguments, **named):
            nonlocal calls
            calls -= 1
            if calls == 0:
                raise Killed
            return function(*arguments, **named)

        return wrapped

    monkeypatch.setattr(torch, "save", count_down(torch.save))
    monkeypatch.setattr(os, "link", count_down(os.link))
    monkeypatch.setattr(save.Path, "unlink", count_down(save.Path.unlink))
    monkeypatch.setattr(save.Path, "replace", count_down(save.Path.replace))
    interrupted = 0
    for moment in range(1, 60):
        folder = tmp_path / str(moment)
        calls = 0
        first, second = trainer_at(1, toy), trainer_at(2, toy)
        with torch.no_grad():
            second.family.generator[0].bias.add_(1)
        checkpoints = Checkpoints(folder, keep=1)
        checkpoints.save(first)
        calls = moment
        try:
            checkpoints.save(second)
        except Killed:
            interrupted += 1
        calls = 0
        resumed = trainer_at(0, toy)
        assert Checkpoints(folder).resume(resumed)
        assert resumed.clock.step in (1, 2)
        expected = {1: first, 2: second}[resumed.clock.step]
        assert_equal(expected.family, resumed.family)
        Checkpoints(folder).remove_unfinished(resumed.family)
        left = {path.name.split("_")[0].split("-")[0] for path in folder.iterdir() if not path.name.startswith(".")}
        assert left - {"latest"} == set(checkpoints.numbers()), "nothing is left of a set that is none"
    assert interrupted > 8


def test_an_interrupted_link_is_not_mistaken_for_foreign_files(tmp_path, monkeypatch):
    def kill(path, name, link=os.link):
        if "_training" in str(path):
            raise Killed
        link(path, name)

    with monkeypatch.context() as patches, pytest.raises(Killed):
        patches.setattr(os, "link", kill)
        Checkpoints(tmp_path).save(trainer_at(1))
    Checkpoints(tmp_path).save(trainer_at(2))
    assert not list(tmp_path.glob("previous_*"))
    assert read_weights(tmp_path / "latest_training.pth")["clock"]["step"] == 2


def test_a_number_that_is_written_again_may_be_interrupted_and_nothing_is_lost(tmp_path, monkeypatch):
    """Numbers of epochs: the state saved within the epoch resumes, not the end of the previous epoch."""
    monkeypatch.setattr(Joint, "layout", replace(Joint.layout, numbered_by="epoch"))

    checkpoints = Checkpoints(tmp_path, options={"batch_size": 4})
    for step in (5, 7):
        checkpoints.save(trainer_at(step))
    with monkeypatch.context() as patches, pytest.raises(Killed):
        patches.setattr(torch, "save", kill_at_training_state)
        changed = trainer_at(8)
        with torch.no_grad():
            changed.family.generator[0].bias.add_(1)
        checkpoints.save(changed)
    resumed = trainer_at(0)
    assert Checkpoints(tmp_path, options={"batch_size": 4}).resume(resumed)
    assert checkpoints.numbers() == ["1", "2"]
    assert resumed.clock.step == 7


def test_a_damaged_newest_set_is_passed_over(tmp_path, caplog):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(trainer_at(step))
    path = tmp_path / "00000002-checkpoint.pth.tar"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)  # and so of "latest", which is the same file
    resumed = trainer_at(0)
    assert checkpoints.resume(resumed)
    assert resumed.clock.step == 1
    assert "00000002 is incomplete" in caplog.text


def test_saving_after_a_loss_that_is_not_finite_is_refused(tmp_path):
    from engine.finite import NotFinite

    trainer = trainer_at(3)
    trainer.watch._pending = (["l1"], torch.tensor([float("inf")]), None, 3)
    with pytest.raises(NotFinite, match="l1 = inf"):
        Checkpoints(tmp_path).save(trainer)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_reported_with_the_file_and_keeps_what_was_saved(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(trainer_at(1))
    monkeypatch.setattr(save, "replacing", lambda path: nullcontext(Path("/dev/full")))
    with pytest.raises(UserError, match=r"cannot write .*00000002-checkpoint.pth.tar \(No space left on device"):
        checkpoints.save(trainer_at(2))
    resumed = trainer_at(0)
    assert Checkpoints(tmp_path).resume(resumed)
    assert resumed.clock.step == 1


def test_files_of_old_torch_versions(tmp_path):
    state = {"generator": OrderedDict(weight=torch.ones(2)), "epoch": 99, "lr": np.float64(0.1), "step": np.int64(3)}
    torch.save(state, tmp_path / "old.pth.tar", _use_new_zipfile_serialization=False)
    torch.save(state, tmp_path / "new.pth.tar")
    for name in ("old.pth.tar", "new.pth.tar"):
        content = read_weights(tmp_path / name)
        assert content["epoch"] == 99 and content["lr"] == 0.1
        assert torch.equal(content["generator"]["weight"], torch.ones(2))


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hacked",)


@pytest.mark.parametrize("new_format", [True, False])
def test_code_is_never_run(tmp_path, monkeypatch, new_format):
    monkeypatch.chdir(tmp_path)
    torch.save({"generator": Hostile()}, "evil.pth", _use_new_zipfile_serialization=new_format)
    with pytest.raises(UserError, match=r"evil.pth: refused: it would run or build \w+.system"):
        read_weights("evil.pth")
    with Path("plain.pth").open("wb") as file:
        pickle.dump(Hostile(), file)
    with pytest.raises(UserError, match=r"plain.pth"):
        read_weights("plain.pth")
    assert not (tmp_path / "hacked").exists()


def test_a_pickled_network_is_refused_by_name(tmp_path):
    torch.save(torch.nn.Linear(1, 1), tmp_path / "whole.pth")
    with pytest.raises(UserError, match="torch.nn.modules.linear.Linear"):
        read_weights(tmp_path / "whole.pth")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Google Drive", "web page"),
        (b"\n  <html><body>quota", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "Git LFS pointer"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"PK\x03\x04 the rest is missing", "cut off"),
        (b"just some text", "not a file of weights|damaged"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        ((16).to_bytes(8, "little") + b'{"a": {}}       ' + b"0" * 8, "damaged"),
    ],
)
def test_other_kinds_of_files_are_recognised(tmp_path, content, words):
    path = tmp_path / "latest_net_G.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"latest_net_G.pth: .*({words})"):
        read_weights(path)


def test_truncated_files_and_archives(tmp_path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "full.pth")
    torch.save({"a": torch.zeros(1000)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("full.pth", "old.pth"):
        data = (tmp_path / name).read_bytes()
        for length in (len(data) // 2, len(data) - 10):
            (tmp_path / "cut.pth").write_bytes(data[:length])
            with pytest.raises(UserError, match=r"cut.pth: .*(cut off|damaged)"):
                read_weights(tmp_path / "cut.pth")
    with tarfile.open(tmp_path / "real.tar", "w") as archive:
        archive.add(tmp_path / "full.pth", "full.pth")
    with pytest.raises(UserError, match="tar archive; unpack"):
        read_weights(tmp_path / "real.tar")
    with pytest.raises(UserError, match="no such file; in its folder: .*full.pth"):
        read_weights(tmp_path / "absent.pth")


def test_a_name_without_network_is_refused(tmp_path):
    torch.save({}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="use a name like latest_net_G.pth"):
        load_networks(build(Chunks), tmp_path / "weights.pth")


def test_a_missing_run_is_reported_with_the_existing_ones(tmp_path):
    Checkpoints(tmp_path / "result" / "here").save(trainer_at(1))
    with pytest.raises(UserError, match=r"nosuch: no such file or folder.*contains: here\. .*--checkpoint"):
        load_networks(build(Joint), tmp_path / "result" / "nosuch")


def test_a_folder_of_other_weights_is_reported_with_its_content(tmp_path):
    torch.save({}, tmp_path / "vox-cpk.pth.tar")
    with pytest.raises(UserError, match=r"no file has .* latest_net_G.pth, .*contains: vox-cpk.pth.tar.*--model"):
        load_networks(build(Chunks), tmp_path)


def test_a_foreign_single_file_is_reported_with_its_family(tmp_path):
    torch.save({"generator": {}}, tmp_path / "vox-cpk.pth.tar")
    with pytest.raises(UserError, match="checkpoint of the family fomm: load it with --model fomm and the --config"):
        load_networks(build(Chunks), tmp_path / "vox-cpk.pth.tar", owner=lambda family, content: "fomm")


def test_options_travel_with_the_checkpoint(tmp_path):
    Checkpoints(tmp_path, options=vars(SimpleNamespace(width=6, kernel_size={2: 5}))).save(trainer_at(1))
    assert read_weights(tmp_path / "latest_training.pth")["options"] == {"width": 6, "kernel_size": {2: 5}}


@pytest.mark.parametrize("name", ["fomm", "ganimation"])
def test_weights_in_the_safetensors_format_load_as_those_of_torch(tmp_path, name):
    opt = parse([f"--config={ROOT / 'configs' / 'tiny' / f'{name}.yaml'}"], training=False)
    family, other = (find_family(name)(opt, training=False) for _ in range(2))
    states = {family.layout.entries[key]: network.state_dict() for key, network in family.networks().items()}
    if "{entry}" in family.layout.pattern:
        for entry, state in states.items():
            file = family.layout.pattern.format(which="latest", entry=entry)
            save_safetensors(state, tmp_path / file.replace(".pth", ".safetensors"))
    else:
        flat = {f"{entry}.{key}": value for entry, state in states.items() for key, value in state.items()}
        file = family.layout.pattern.format(which="latest")
        save_safetensors(flat, tmp_path / file.replace(".pth.tar", ".safetensors"))
    load_networks(other, tmp_path)
    for key, value in family.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])
    first = next(tmp_path.iterdir())
    first.write_bytes(first.read_bytes()[:-8])
    with pytest.raises(UserError, match="damaged or incomplete"):
        load_networks(other, tmp_path)
