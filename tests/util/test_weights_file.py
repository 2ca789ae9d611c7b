"""Weights as safetensors."""

import os
import stat

import pytest
import torch
from safetensors import safe_open

from util.weights_file import read_weights, write_safetensors


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_written_weights_have_the_permissions_of_every_other_file(tmp_path, mask, mode):
    path = tmp_path / "folder" / "a.safetensors"
    before = os.umask(mask)
    try:
        write_safetensors(path, {"a.weight": torch.arange(6.0).view(2, 3).t()}, {"family": "fomm", "sizes": [1, 2]})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert torch.equal(read_weights(path)["a.weight"], torch.arange(6.0).view(2, 3).t())
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"family": "fomm", "sizes": "[1, 2]"}
