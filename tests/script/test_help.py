"""Every command answers --help at once: without torch, whose import takes longer than the answer."""

import json
import subprocess
import sys

import pytest
from paths import ROOT

from models import family_names

SCRIPTS = sorted(
    f"script/{path.name}" for path in (ROOT / "script").glob("*.py") if "ArgumentParser" in path.read_text("utf-8")
)
FAMILIES = [f"{command} --model {name}" for name in family_names() for command in ("train.py", "test.py")]
COMMANDS = ["train.py", "test.py", *FAMILIES, *SCRIPTS]
ANSWER_ALL = """
import contextlib, io, json, runpy, sys

for command in sys.argv[1:]:
    told, status, sys.argv = io.StringIO(), None, [*command.split(), "--help"]
    try:
        with contextlib.redirect_stdout(told):
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        status = end.code
    except Exception as error:
        status = repr(error)
    heavy = sorted({"torch", "torchvision", "dlib", "av", "pandas"} & set(sys.modules))
    print(json.dumps([command, status, told.getvalue(), heavy]))
"""


@pytest.fixture(scope="module")
def answers():
    """Of each command: its status, its answer, and the heavy libraries that it or one before it has imported."""
    done = subprocess.run(
        [sys.executable, "-c", ANSWER_ALL, *COMMANDS], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return {name: rest for name, *rest in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_does_not_import_torch(answers, command):
    status, told, heavy = answers[command]
    assert status in (None, 0) and "usage" in told
    assert not heavy
