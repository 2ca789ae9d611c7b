"""What script/new_family.py writes works at once: trained, resumed, animated, reconstructed, and tried by the tests.

All happens in a copy of the checkout, since new families, modes and metrics are found by their files.
"""

import json
import re
import runpy
import shutil
import subprocess
import sys

import pytest
import torch
from paths import ROOT
from running import environment

from util.errors import UserError

pytestmark = pytest.mark.slow
NEW = ("my_paper", "zebra", "my_mode", "my_metric")


def files_of_the_checkout():
    """The project's own files, as git knows them; all but results and caches where there is no git."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.split("\n")  # fmt: skip
    found = [ROOT / name for name in listed if name] or [
        path for path in ROOT.rglob("*") if not {"result", ".git", ".venv"} & set(path.relative_to(ROOT).parts)
    ]
    return [path for path in found if path.is_file()]


def call(folder, *arguments, status=0, **variables):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, env=environment() | variables, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the checkout with a family of each kind, a mode and a metric, all as they are written."""
    folder = tmp_path_factory.mktemp("checkout")
    for path in files_of_the_checkout():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    for arguments in (["my_paper"], ["zebra", "--like=fomm"], ["my_mode", "--dataset_mode"], ["my_metric", "--metric"]):
        call(folder, "script/new_family.py", *arguments, PYTHONPATH="")
    return folder


def try_on(folder, words, *files):
    """Run the generic tests of what is new; how many there are is in a line of its own."""
    program = (
        "import pytest, sys\n"
        "class Count:\n    def pytest_collection_finish(self, session): print('\\ntests:', len(session.items))\n"
        "sys.exit(pytest.main(sys.argv[1:], [Count()]))"
    )
    arguments = ["-q", "-n0", "-s", "-p", "no:cacheprovider", *files, "-k", words]
    return call(folder, "-c", program, *arguments, PYTHONPATH=str(folder))


def train(folder, sample, *arguments, **settings):
    settings = ["--gpu_id=-1", "--nThreads=0", "--visdom=no", "--tensorboard=no", "--batch_size=2"]
    return call(folder, "train.py", f"--dataroot={sample}", *settings, *arguments, PYTHONPATH="")


def test_the_generic_tests_pass_on_the_new_files(checkout):
    families, style = "tests/models/test_families.py", ("tests/test_documents.py", "tests/test_architecture.py")
    output = try_on(checkout, " or ".join([*NEW, "small_at", "index"]), families, *style)
    (line,) = [line for line in output.splitlines() if line.startswith("tests:")]
    assert int(line.split()[1]) > 40


def test_the_new_files_have_the_style_of_the_project(checkout):
    written = ["models/my_paper", "models/zebra", "data/my_mode.py", "metrics/my_metric.py"]
    call(checkout, "-m", "ruff", "check", *written)
    call(checkout, "-m", "ruff", "format", "--check", *written)
    lines = [path.read_text().splitlines() for path in (checkout / "models" / "my_paper").glob("*.py")]
    assert sum(map(len, lines)) <= 200


def test_a_new_family_trains_resumes_animates_and_reconstructs(checkout, sample):
    train(checkout, sample, "--config=configs/tiny/my_paper.yaml", "--name=mine", "--steps=2", "--print_every=1")
    assert "at step 2" in train(checkout, sample, "--name=mine", "--continue_train", "--steps=3", "--print_every=1")
    log = [json.loads(line) for line in (checkout / "result" / "mine" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [1, 2, 3] and 0 < log[-1]["visible"] < 1
    made = {mode: results_of(checkout, "mine", mode) for mode in ("animate", "reconstruction")}
    assert all(entry["frames"] > 2 for entry in made.values()) and made["reconstruction"]["l1"] < 0.2


def results_of(checkout, name, mode):
    """The record of test.py for one clip."""
    folder = f"{mode}_{name}"
    arguments = [f"--name={name}", f"--mode={mode}", "--max_clips=1", f"--results_dir={folder}", "--gpu_id=-1"]
    call(checkout, "test.py", *arguments, PYTHONPATH="")
    (entry,) = map(json.loads, (checkout / folder / "results.jsonl").read_text().splitlines())
    return entry


def test_a_family_based_on_fomm_trains_with_a_new_mode_and_reconstructs(checkout, sample):
    train(checkout, sample, "--config=configs/tiny/zebra.yaml", "--name=z", "--dataset_mode=my_mode", "--steps=1")
    assert results_of(checkout, "z", "reconstruction")["l1"] < 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fomm",), "this family exists already"),
        (("frames", "--dataset_mode"), "this name exists already"),
        (("l1", "--metric"), "this name exists already"),
        (("My-Paper",), "use lower-case letters"),
    ],
)
def test_taken_and_invalid_names_are_refused(arguments, message, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["new_family.py", *arguments])
    with pytest.raises(UserError, match=message):
        runpy.run_path(str(ROOT / "script" / "new_family.py"))["main"]()


def test_a_package_outside_the_checkout_trains_and_animates(sample, tmp_path):
    call(tmp_path, ROOT / "script" / "new_family.py", "outer_paper", "--out=.", PYTHONPATH="")
    settings = ["--gpu_id=-1", "--nThreads=1", "--visdom=no", "--tensorboard=no", "--batch_size=2", "--steps=1"]
    call(tmp_path, ROOT / "train.py", "--config=outer_paper.yaml", f"--dataroot={sample}", *settings, PYTHONPATH="")
    arguments = ["--name=outer_paper", "--max_clips=1", "--results_dir=made", "--gpu_id=-1"]
    call(tmp_path, ROOT / "test.py", *arguments, PYTHONPATH="")
    assert list((tmp_path / "made").glob("*.mp4"))


def diffs(text):
    return re.findall(r"^```diff\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_changes_that_the_document_shows_apply_and_work(checkout, sample, tmp_path):
    """After the tests above: it changes what was written."""
    shown = diffs((ROOT / "docs" / "extending.md").read_text())
    assert len(shown) >= 6
    for diff in shown:
        done = subprocess.run(
            ["git", "apply", "--recount", "--whitespace=nowarn", "-"],
            input=diff, text=True, cwd=checkout, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + diff
    call(checkout, "-m", "ruff", "check", "models/my_paper", "models/my_paper_fine", "metrics/my_metric.py")
    config = "--config=configs/tiny/my_paper.yaml"
    changed = ["--weight_hidden=0.5", "--lr_schedule=cosine", "--warm_up=2", "--steps=2", "--print_every=1"]
    assert "hidden=" in train(checkout, sample, config, "--name=first", *changed)
    averaged = torch.load(checkout / "result" / "first" / "latest_averaged.pth")
    assert set(averaged) == {"my_paper_generator", "my_paper_motion_encoder"}
    second = ["--model=my_paper_fine", "--init_from=result/first", "--name=second", "--steps=1", "--no_perceptual"]
    train(checkout, sample, *second, "--scales=1", "--load_size=64")
    trained = torch.load(checkout / "result" / "second" / "latest-my_paper.pth.tar")
    same = {name: torch.equal(value, averaged["my_paper_generator"][name]) or "running" in name or "num_b" in name
            for name, value in trained["my_paper_generator"].items()}  # fmt: skip
    assert all(same.values()), "the generator begins with the average of the first stage, and stays"
    program = "from metrics import find_metric; print(*(find_metric(f'my_metric{end}').says for end in ('', '/bytes')))"
    output = call(checkout, "-c", program, PYTHONPATH=str(checkout))
    assert "[0, 1]" in output and "[0, 255]" in output
