"""Shared settings: one thread per process (tiny networks run tens of times slower with more), fixed seeds."""

import os
import subprocess
import sys

from paths import ROOT

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from engine.trainer import seed_everything


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    torch.set_num_threads(1)
    seed_everything(0)


def pytest_collection_modifyitems(items):
    # Long tests first: at the end of a run short ones keep both processes busy.
    items.sort(key=lambda item: "slow" not in item.keywords)
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="no CUDA device")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A small sample dataset of drawn people, in every family's layout: 2 for training, 1 for testing, 64 x 64."""
    folder = tmp_path_factory.mktemp("sample") / "people"
    command = [sys.executable, str(ROOT / "script" / "make_sample_dataset.py"), "--out", str(folder)]
    sizes = ["--identities", "3", "--clips", "2", "--frames", "8", "--size", "64", "--workers", "1"]
    subprocess.run([*command, *sizes], check=True, capture_output=True)
    return folder
