"""--original_fit and --original_levels: structure maps and pictures as the original makes them, bit for bit."""

import json

import numpy as np
import pytest
import torch
from adapters.face import options, weigh, write_sequence
from paths import REFERENCE
from running import run

from data.face import FaceDataset
from data.structure.maps import structure_maps
from data.structure.original_fit import interpolate_as_original
from data.structure.parabolas import interpolate
from data.structure.sequences import find_sequences
from data.video.images import read_image
from models.face.family import FaceAnimation
from options import parse

CASES = {case["name"]: case for case in json.loads((REFERENCE / "face/cases.json").read_text())["cases"]}
ARRAYS = np.load(REFERENCE / "face/cases.npz")


def test_curves_have_the_noise_of_the_original_s_fit():
    rows = [row for row in CASES["interpolated_curves"]["rows"] if row["result"] != "RuntimeError"]
    assert len(rows) > 50
    for row in rows:
        corners = np.array([row["x"], row["y"]], float).T
        piece, x, y = interpolate_as_original(corners[[0, 1, -1]][None], lines=[len(corners) == 2])
        assert [x.tolist(), y.tolist()] == (row["result"] or [[], []]), row
        assert (piece == 0).all() and len(piece) == len(x)


def test_a_curve_on_which_the_original_crashes_is_drawn_exactly():
    corners = np.array([[[139, 160], [139, 178], [76, 179]]], float)
    for got, exact in zip(interpolate_as_original(corners, lines=[False]), interpolate(corners), strict=True):
        assert len(got) == 63 and (got == exact).all()
    (row,) = (row for row in CASES["interpolated_curves"]["rows"] if row["result"] == "RuntimeError")
    piece, *_ = interpolate_as_original(np.array([row["x"], row["y"]], float).T[None], lines=[False])
    assert not len(piece), "its ends have one position along, so there is nothing to draw"


@pytest.mark.parametrize("cache", ["none", "edges"])
def test_structure_maps_are_the_original_s(tmp_path, cache):
    case = CASES["structure"]
    write_sequence(tmp_path, "train", "clip", case["frames"])
    sequence = find_sequences(tmp_path, "train")[0]
    words = [f"--dataroot={tmp_path}", f"--structure_cache={cache if cache == 'none' else tmp_path / cache}"]
    for original, differing in ((False, True), (True, False), (True, False)):
        opt = parse(["--model=face", "--frames_D_V=2", f"--original_fit={original}", *words], training=True)
        _, maps = FaceDataset(opt, training=True).load(sequence, [0, 1])
        assert (maps.numpy() != ARRAYS["structure.structure"]).any() == differing, "edges of the two are kept apart"


def test_one_frame_alone_and_several_are_drawn_alike():
    points = np.array([frame["keypoints"] for frame in CASES["test_run"]["sequences"]["first"]], float)
    together = structure_maps(points, (280, 300), 64, original_fit=True)
    alone = [structure_maps(own[None], (280, 300), 64, original_fit=True)[0] for own in points]
    assert (together == np.stack(alone)).all()


@pytest.mark.slow
def test_a_test_run_writes_the_original_s_pictures(tmp_path):
    case = CASES["test_run"]
    for name, described in case["sequences"].items():
        write_sequence(tmp_path / "data", "test", name, described)
    (tmp_path / "result" / "face").mkdir(parents=True)
    family = FaceAnimation(options(case, training=False), training=False)
    weigh(family.generator, case["weights"]["net_G"])
    torch.save(family.generator.state_dict(), tmp_path / "result" / "face" / "latest_net_G.pth")
    run(
        tmp_path, "--model=face", "--dataset_mode=face", "--name=face", "--dataroot=data", "--load_size=64", "--cpu",
        "--original_fit", "--original_levels", "--results_dir=out", script="test.py",
    )  # fmt: skip
    for name, frames in case["sequences"].items():
        edges, made = written(tmp_path / "out" / name, "edge"), written(tmp_path / "out" / name, "vis")
        assert (edges[..., 0] == ARRAYS[f"test_run.edge_{name}"]).all()
        # The original repeats the last map up to a multiple of 6 and keeps what the last repetition gave.
        whole = len(frames) if len(frames) % 6 == 0 else len(frames) - 1
        difference = np.abs(made[:whole].astype(int) - ARRAYS[f"test_run.vis_{name}"][:whole])
        assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def written(folder, kind):
    """The pictures of a kind in a folder, every second row and column, as the case has them."""
    return np.stack([read_image(path)[::2, ::2] for path in sorted(folder.glob(f"*_{kind}.png"))])
