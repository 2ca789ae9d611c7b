"""Runs the commands as their users do."""

import atexit
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import torch
from paths import ROOT
from script_runner import ScriptRunner


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


@cache
def runner() -> ScriptRunner:
    """The process that runs the commands of this test process."""
    commands = ScriptRunner("torch", environment=environment())
    atexit.register(commands.__exit__)
    return commands.__enter__()


def run(folder, *arguments, script="train.py", status=0):
    """Run a command to its end; returns its output."""
    found, output = runner().run(script, *arguments, folder=Path(folder))
    assert found == status, output
    return output


def run_two_processes(program, folder):
    """Run a program of tests/engine under torchrun, which leaves 0.pth and 1.pth in a folder; returns their content."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    script = ROOT / "tests" / "engine" / program
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", script.parent)))
    done = subprocess.run(
        [*torchrun, str(script), str(folder)],
        cwd=ROOT, env=environment() | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (folder / "1.pth").is_file(), done.stderr
    return [torch.load(folder / f"{rank}.pth", weights_only=False) for rank in (0, 1)]
