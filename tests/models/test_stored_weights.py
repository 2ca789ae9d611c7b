"""Weights that each version wrote must load in every later one, and make the same frames (tests/weights)."""

import io
import zipfile

import numpy as np
import pytest
from paths import ROOT

from models import family_names, find_family
from script.store_weights import FOLDER, SMALL, frames_of
from util.version import VERSION

ARCHIVES = sorted(FOLDER.glob("*/*.zip"))
EQUAL = 1e-3
"""Of [0, 1]; another processor's rounding, which splines magnify, stays below it."""
MAX_BYTES = 60 * 1024


def stored_frames(archive):
    with zipfile.ZipFile(archive) as content:
        return np.load(io.BytesIO(content.read("frames.npz")))["frames"]


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_weights_of_every_version_make_their_frames(archive, tmp_path):
    with zipfile.ZipFile(archive) as content:
        content.extractall(tmp_path / archive.stem)
    made, stored = frames_of(archive.stem, tmp_path / archive.stem), stored_frames(archive)
    assert made.shape == stored.shape
    assert np.abs(made - stored).max() <= EQUAL


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_stored_frames_show_something_and_differ(archive):
    frames = stored_frames(archive)
    assert frames.std() > 0.01 and np.abs(frames[0] - frames[-1]).max() > 10 * EQUAL
    assert archive.stat().st_size <= MAX_BYTES


def test_this_version_stores_weights_of_every_small_family():
    first_stages = {name for name in family_names() if not find_family(name).begins_with} - {"live_portrait"}
    assert set(SMALL) == first_stages
    assert {path.stem for path in ARCHIVES if path.parent.name == VERSION} == first_stages, ROOT
