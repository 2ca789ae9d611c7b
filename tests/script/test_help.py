"""Every script starts: a module that moved without it would stop it before its first line of help."""

import subprocess
import sys

import pytest
from paths import ROOT

SCRIPTS = sorted(path.name for path in (ROOT / "script").glob("*.py") if "ArgumentParser" in path.read_text("utf-8"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_tells_its_options(name):
    command = [sys.executable, str(ROOT / "script" / name), "--help"]
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert told.returncode == 0, told.stderr[-2000:]
    assert "usage" in told.stdout
