"""How the programs tell their threads to wait."""

import os
import subprocess
import sys

import pytest
from paths import ROOT


@pytest.mark.parametrize("said", [{}, {"OMP_WAIT_POLICY": "ACTIVE"}])
def test_programs_set_thread_waiting_before_importing_torch(said):
    program = """
import builtins, os, runpy
load = builtins.__import__
def watched(name, *rest):
    if name == "torch":
        print(os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"], flush=True)
        os._exit(0)
    return load(name, *rest)
builtins.__import__ = watched
runpy.run_path("test.py")
"""
    environment = {name: value for name, value in os.environ.items() if "OMP" not in name} | said
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [said.get("OMP_WAIT_POLICY", "PASSIVE"), "2000"], done.stderr
