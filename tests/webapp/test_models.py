"""The models that the app offers, and those that stay loaded."""

import os
import shutil

import pytest
import torch

from options.resolve import OWN_WEIGHTS
from util.errors import UserError
from webapp import models
from webapp.models import OWN_LABEL, Models, arguments_of_file, available_models, runs_in


@pytest.fixture
def runs(tmp_path):
    """Two runs with the weights that ship, and folders that are none."""
    for name in ("anna", "bert"):
        shutil.copytree(OWN_WEIGHTS, tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "options.yaml").write_text("a: [")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "options.yaml").write_text("- a list\n")
    return tmp_path


def test_the_own_model_comes_first_and_then_every_run(runs, tmp_path, caplog):
    found = available_models(runs)
    assert list(found) == [OWN_LABEL, "anna (mraa)", "bert (mraa)"] and "damaged" in caplog.text
    assert found["anna (mraa)"] == ("--name=anna", f"--checkpoints_dir={runs}")
    assert list(available_models(tmp_path / "nowhere")) == [OWN_LABEL]


def test_runs_of_the_usual_folder_are_named_as_test_py_names_them(runs, monkeypatch):
    (runs / "result").mkdir()
    shutil.copytree(OWN_WEIGHTS, runs / "result" / "anna")
    monkeypatch.chdir(runs)
    (run,) = runs_in(models.RUNS)
    assert (run.arguments, run.family) == (("--name=anna",), "mraa")


def test_two_models_stay_loaded_and_a_run_that_trained_on_is_read_again(runs):
    loaded = Models(torch.device("cpu"))
    arguments = [("--name=own", f"--checkpoint={OWN_WEIGHTS}"), *list(available_models(runs).values())[1:]]
    one, two = loaded.load(arguments[0]), loaded.load(arguments[1])
    assert loaded.load(arguments[0]) is one and loaded.load(arguments[1]) is two
    loaded.load(arguments[0])
    loaded.load(arguments[2])
    assert loaded.load(arguments[0]) is one and loaded.load(arguments[1]) is not two, "the one that was used last stays"
    os.utime(runs / "anna", (1, 1))
    assert loaded.load(arguments[1]).options.name == "anna" and loaded.load(arguments[1]) is loaded.load(arguments[1])
    names = {option.name for option in loaded.options(arguments[0])}
    assert {"relative_covar", "crop_image", "audio"} <= names and "magnify" not in names


def test_a_file_is_named_with_its_configuration(tmp_path):
    file = tmp_path / "vox.pth.tar"
    file.touch()
    assert arguments_of_file(str(file), "configs/fomm/vox-256.yaml") == (
        f"--checkpoint={file}", "--config=configs/fomm/vox-256.yaml",
    )  # fmt: skip
    assert arguments_of_file(f" {file} ", "") == (f"--checkpoint={file}",)
    for wrong in ("", str(tmp_path / "none")):
        with pytest.raises(UserError, match="no such file"):
            arguments_of_file(wrong, "")
