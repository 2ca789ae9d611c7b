"""Replaced options of the original projects: errors and docs/originals.md agree."""

import re

import pytest
from paths import ROOT

from options import parse
from options.originals import REMOVED
from util.errors import UserError

ROWS = [(name, now.replace("`", "")) for names, now in REMOVED for name in names]


def face(*arguments, training=True):
    return parse(["--model=face", "--dataset_mode=face", *arguments], training)


def test_the_document_shows_the_table_of_the_errors():
    section = (ROOT / "docs" / "originals.md").read_text().split("## Replaced options")[1].split("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    assert [(tuple(re.findall(r"`([^`]+)`", names)), now) for names, now in lines] == list(REMOVED)


@pytest.mark.parametrize(("name", "now"), ROWS, ids=[name for name, _ in ROWS])
def test_the_error_names_the_replacement(name, now):
    typed = name if name.startswith("launch") else f"--{name}" if "=" in name else f"--{name}=1"
    with pytest.raises(UserError, match=re.escape(f"here: {now}.")):
        face(typed)


def test_a_removed_value_is_reported_for_a_separate_argument():
    with pytest.raises(UserError, match="--gan_mode: no such value 'wgan-gp'.*lsgan"):
        face("--gan_mode", "wgan-gp")


@pytest.mark.parametrize(("line", "words"), [("display_id: 0", "--visdom=no"), ("lr_policy: plateau", "lambda, step")])
def test_removed_options_are_reported_in_files_too(tmp_path, line, words):
    path = tmp_path / "old.yaml"
    path.write_text(line)
    with pytest.raises(UserError, match=rf"old.yaml: .*{words}"):
        face(f"--config={path}")


def test_options_of_the_other_command_are_reported_as_such():
    with pytest.raises(UserError, match="--n_frames_total: .*an option of python train.py"):
        face("--n_frames_total=30", training=False)
    with pytest.raises(UserError, match="--start_frame: .*an option of python test.py"):
        face("--start_frame=3")


def test_a_misspelt_option_is_still_guessed():
    with pytest.raises(UserError, match="Did you mean --display_port"):
        face("--display_prt=3")
