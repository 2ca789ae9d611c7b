"""Runs the commands as their users do."""

import os
import subprocess
import sys

from paths import ROOT


def command(script, *arguments):
    return [sys.executable, str(ROOT / script), *map(str, arguments)]


def environment():
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def start(folder, *arguments, script="train.py"):
    return subprocess.Popen(
        command(script, *arguments), cwd=folder, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def killed_when_naming(folder, moment, script, *arguments):
    """Run a command that is killed at one of the moments at which it names a file (script_runner.kill_when_naming)."""
    program = (
        f"import runpy, sys; sys.path.append({str(ROOT / 'tests')!r}); import script_runner; "
        f"script_runner.kill_when_naming({moment}); sys.argv[:1] = []; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    process = subprocess.run(
        [sys.executable, "-c", program, *command(script, *arguments)[1:]], cwd=folder, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
    )  # fmt: skip
    assert process.returncode == -9, process.stdout


def run(folder, *arguments, script="train.py", status=0):
    process = start(folder, *arguments, script=script)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == status, output
    return output
