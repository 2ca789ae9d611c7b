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


def run(folder, *arguments, script="train.py", status=0):
    process = start(folder, *arguments, script=script)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == status, output
    return output
