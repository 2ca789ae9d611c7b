"""Classes that options name as "module:Class"."""

import pytest
from running import run

from data import find_dataset
from models import find_family
from util.errors import UserError
from util.plugins import find_class


def test_a_module_in_the_current_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "beside_me.py").write_text("class Mine:\n    pass\n")
    monkeypatch.chdir(tmp_path)
    assert find_class("beside_me:Mine", "--sink").__name__ == "Mine"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (
            "no_such_package.family:Mine",
            "No module named 'no_such_package'. It is looked for in .* on PYTHONPATH",
        ),
        ("broken_inside:Mine", "No module named 'numpie'$"),
        ("fine:Other", "fine has no class 'Other'; write MODULE:CLASS, with one of: Mine"),
        ("fine:", "fine has no class ''"),
        ("fine:word", "fine has no class 'word'"),
    ],
)
def test_missing_modules_and_classes_are_reported(tmp_path, monkeypatch, spec, told):
    (tmp_path / "broken_inside.py").write_text("import numpie\n")
    (tmp_path / "fine.py").write_text("from pathlib import Path\n\nword = 1\n\n\nclass Mine:\n    pass\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=told):
        find_class(spec, "--model")


def test_a_class_of_another_kind_is_refused():
    with pytest.raises(UserError, match="--model toys:ToyData: not a family"):
        find_family("toys:ToyData")
    with pytest.raises(UserError, match="--dataset_mode toys:Joint: not a dataset mode"):
        find_dataset("toys:Joint")


@pytest.mark.slow
def test_a_family_and_a_mode_outside_the_checkout_are_trained_under_their_name(tmp_path):
    package = tmp_path / "my_paper"
    package.mkdir()
    (package / "__init__.py").write_text("from my_paper.family import Mine\n")
    (package / "family.py").write_text("from tests.toys import Joint\n\n\nclass Mine(Joint):\n    pass\n")
    (package / "data.py").write_text("from tests.toys import ToyData\n\n\nclass Numbers(ToyData):\n    pass\n")
    arguments = ["--gpu_id=-1", "--batch_size=4", "--nThreads=1", "--steps=2"]
    run(tmp_path, "--model=my_paper.family:Mine", "--dataset_mode=my_paper.data:Numbers", *arguments)
    assert (tmp_path / "result" / "my_paper" / "latest-checkpoint.pth.tar").is_file()
    run(tmp_path, "--name=my_paper", "--continue_train", "--steps=3", "--gpu_id=-1")
    run(tmp_path, "--name=my_paper", "--gpu_id=-1", "--results_dir=made", script="test.py")
    assert (tmp_path / "made" / "toy.mp4").is_file()
