"""The rich set: drawn people with scenes, cameras, accessories, and the truth about all of them."""

import hashlib
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from paths import ROOT

from data.sample_faces import RichState, Truth, check, perform_rich, person, render_clip
from data.sample_faces.motion import MotionTruth, motion_truth
from data.sample_faces.rich.performance import AWAY, TRACKS
from data.sample_faces.rich.phone import compressed
from data.sample_faces.rich.scene import camera_matrix, draw_scene, layer_motion, paint_layers
from data.sample_faces.rich.style import draw_style
from util.errors import UserError

SCRIPT = ROOT / "script" / "make_sample_dataset.py"
PLAIN_DIGEST = "b51117059c65996b454c4e3244c07e7ff180a652e58d24f09d4dfbcb08891dfe"
"""Of frames and truth of a plain clip, as they were before there was a rich set."""


def rich_clip(identity: int, frames: int = 4, size: int = 64, clip: int = 0):
    rng = np.random.default_rng([0, identity, clip])
    return render_clip(0, identity, perform_rich(rng, frames, 3.0, clip, 0.5), size, 3.0)


def warped_back(second: np.ndarray, flow: np.ndarray) -> np.ndarray:
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(second, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)


@pytest.mark.parametrize("identity", [2, 7, 12])
@pytest.mark.slow
def test_dense_motion_of_person_and_scene_brings_a_frame_to_another(identity):
    frames, truth = rich_clip(identity, size=96)
    flow, seen = truth.motion(0, 3)
    still = np.abs(frames[3].astype(float) - frames[0])[seen].mean()
    moved = np.abs(warped_back(frames[3], flow).astype(float) - frames[0])[seen].mean()
    assert seen.mean() > 0.4
    assert moved < 0.7 * still


def test_the_background_moves_with_the_camera():
    scene = draw_scene(0, 3, 1)
    first, second = np.array([1.0, 0, 0, 0]), np.array([1.06, 3.0, 0.04, -0.03])
    one, two = (paint_layers(scene.layers, move, 96) for move in (first, second))
    flow, seen = layer_motion(scene.layers, first, second, 96)
    error = np.abs(warped_back(two, flow) - one).mean(-1)
    assert error[seen].mean() < 0.3 * np.abs(two - one).mean()
    far = camera_matrix(np.array([1.06, 0, 0.04, -0.03]), depth=0.0)
    np.testing.assert_allclose(far, [[1, 0, 0], [0, 1, 0]], atol=1e-12)


def test_occluders_hide_points_of_the_face():
    subject = person(0, 1, "rich")
    away, near = RichState(), RichState(hand=np.array([0.0, 60, 60, 0]))
    assert away.hand[1] == AWAY
    free, covered = subject.draw(away, 96), subject.draw(near, 96)
    assert covered.visible[48:].sum() < free.visible[48:].sum()
    assert covered.mask.sum() < 0.9 * free.mask.sum()
    np.testing.assert_array_equal(covered.landmarks, free.landmarks)


def test_halves_of_the_face_move_apart():
    subject = person(0, 2, "rich")
    rest = subject.draw(RichState(), 96).points
    lopsided = RichState()
    lopsided.left[8] = 5.0  # AU12
    moved = subject.draw(lopsided, 96).points - rest
    assert moved[54, 1] < -1.5 and abs(moved[48, 1]) < 0.1
    wink = RichState()
    wink.aus[16] = 5.0  # AU45
    moved = subject.draw(wink, 96).points - rest
    assert moved[37, 1] > 1 and abs(moved[44, 1]) < 0.1


def test_long_hair_and_shoulders_move_separately():
    hanging = next(k for k in range(20) if len(person(0, k, "rich").hanging))
    subject = person(0, hanging, "rich")
    rest = subject.pose(RichState())[0]
    late = subject.pose(RichState(rotation=np.array([30.0, 0, 0])))[0]
    np.testing.assert_allclose(late[subject.hanging], rest[subject.hanging])
    body = subject.pose(RichState(body=np.array([20.0, 0, 0])))[0]
    clothes = subject.slices["clothes"]
    np.testing.assert_allclose(body[clothes], rest[clothes] + [20, 0, 0], atol=1e-9)


def test_a_rich_truth_is_kept_and_gives_the_same_motion(tmp_path):
    frames, truth = rich_clip(4)
    truth.save(tmp_path / "clip.npz")
    again = Truth.load(tmp_path / "clip.npz")
    assert again.variety == "rich" and set(again.performance.tracks) == set(TRACKS)
    np.testing.assert_array_equal(again.motion(0, 2)[0], truth.motion(0, 2)[0])
    redrawn, _ = render_clip(0, 4, again.performance, 64, 3.0)
    np.testing.assert_array_equal(redrawn, frames)


def test_motion_on_disk_is_that_of_the_mesh(tmp_path):
    _, truth = rich_clip(5)
    motion_truth(truth, np.random.default_rng(0), count=3).save(tmp_path / "m.npz")
    kept = MotionTruth.load(tmp_path / "m.npz")
    subject, state = person(0, 5, "rich"), truth.performance.state
    for (one, two), flow, seen in zip(kept.pairs, kept.flow, kept.seen, strict=True):
        wanted, there = subject.motion(state(int(one)), state(int(two)), 32)
        np.testing.assert_allclose(flow, wanted / 32, atol=2e-3, rtol=2e-3)
        np.testing.assert_array_equal(seen, there)
    (tmp_path / "m.npz").write_bytes(b"no")
    with pytest.raises(UserError, match="--layouts motion"):
        MotionTruth.load(tmp_path / "m.npz")


def test_a_thousand_people_differ():
    styles = {(style, style.pattern_scale) for style in (draw_style(0, k, person(0, 0).identity) for k in range(1000))}
    assert len(styles) == 1000


def test_the_phone_compresses():
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    assert compressed(image, 0) is image
    assert 1 < np.abs(compressed(image, 30).astype(int) - image).mean() < 80


def test_the_plain_set_is_unchanged():
    from data.sample_faces import tiny_clip

    frames, truth = tiny_clip(3, frames=3, size=64, kind=3)
    digest = hashlib.sha256(frames.tobytes())
    for name in ("landmarks", "visible", "points", "box", "mask"):
        digest.update(getattr(truth, name).tobytes())
    assert digest.hexdigest() == PLAIN_DIGEST


@pytest.mark.slow
def test_the_command_draws_a_rich_set(tmp_path):
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path), "--variety", "rich", "--identities", "2"]
    command += ["--clips", "1", "--frames", "3", "--stride", "8", "--size", "64", "--workers", "1"]
    subprocess.run(command, check=True, capture_output=True)
    settings = json.loads((tmp_path / "sample.json").read_text())
    assert settings["variety"] == "rich" and settings["stride"] == 8
    assert (tmp_path / "train" / "id000#00.mp4").is_file() and (tmp_path / "motion" / "id000#00.npz").is_file()
    refused = subprocess.run([*command, "--layouts", "micro"], capture_output=True, text=True)
    assert refused.returncode == 2 and "--variety rich" in refused.stderr


def test_plain_settings_on_disk_have_no_new_entries():
    import runpy

    settings = runpy.run_path(str(SCRIPT))["Settings"](1, 1, 1, 64, 0, ("frames",))
    assert set(settings.as_dict()) == {"identities", "clips", "frames", "size", "seed", "layouts", "version"}


def test_the_bars_of_both_varieties_are_stated():
    assert set(check.BARS) == {"plain", "rich"}
