"""Metrics that know the truth: drawn people; and the scores of THEval."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from metrics_faces import drawn, moved

from data.faces.head_pose import head_rotation, yaw_pitch_roll
from metrics import find_metrics
from metrics.evaluation.measuring import Measurement
from metrics.evaluation.results import of_video, totals
from metrics.metric import REPEATED, RESULT, TRUTH, Video
from metrics.motion import MotionTruth, displacement
from metrics.parts.tools import Tools
from metrics.theval import LipDynamics, silences
from util.errors import UserError


@pytest.fixture(scope="module")
def clip():
    return drawn(frames=8)


@pytest.fixture(scope="module")
def tools(clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth")
    clip[1].save(folder / "a.npz")
    return Tools(tables={"drawn_truth": folder})


def tensor(frames):
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255


def measure(names, made, real, tools, parts=1, motion=None):
    measurement = Measurement(names, ["truth"], tools)
    with measurement.video(Video("a")) as measured:
        for index in np.array_split(np.arange(len(made)), parts):
            part = slice(index[0], index[-1] + 1)
            given = None if motion is None else motion[part]
            measured.add(tensor(made[part]), truth=tensor(real[part]), motion=given)
    return measurement, measured.record


def test_landmarks_and_pose_against_the_drawn_truth(clip, tools):
    frames, truth = clip
    names = ["landmarks/truth", "pose/truth"]
    measurement, record = measure(names, moved(frames, 6), frames, tools, parts=2)
    result, own = (totals([record], measurement.metrics, row) for row in (RESULT, TRUTH))
    eyes = np.linalg.norm(truth.landmarks[:, 36] - truth.landmarks[:, 45], axis=-1).mean() * 256 / truth.size
    assert own["landmarks/truth"]["frames"] < 0.1 * eyes
    shift = 6 * 256 / truth.size
    assert result["landmarks/truth"]["frames"] == pytest.approx(shift, abs=own["landmarks/truth"]["frames"])
    assert own["pose/truth"]["frames"] < 10


def pose_of(points, height, width):
    return yaw_pitch_roll(head_rotation(points, height, width))


def test_pose_follows_the_drawn_rotation():
    from data.sample_faces import render

    for axis, sign in [(0, 20), (0, -20), (1, 12), (2, 15), (2, -15)]:
        rest = pose_of(render(identity=3, size=192).landmarks, 192, 192)
        rotation = np.zeros(3)
        rotation[axis] = sign
        turned = pose_of(render(identity=3, rotation=tuple(rotation), size=192).landmarks, 192, 192) - rest
        assert turned[axis] == pytest.approx(sign, abs=8), (axis, sign, turned)
        assert np.abs(np.delete(turned, axis)).max() < 8, (axis, sign, turned)


def true_grids(truth):
    """The sampling positions of a perfect model, on the truth's own pixels."""
    size = truth.size
    steps = np.linspace(-1, 1, size, dtype=np.float32)
    resting = np.stack(np.meshgrid(steps, steps), -1)
    flows = np.stack([truth.motion(frame, 0)[0] for frame in range(len(truth))])
    return torch.from_numpy(resting + 2 * flows / (size - 1))


def test_true_motion_has_no_error_and_no_motion_its_full_length(clip, tools):
    frames, truth = clip
    measurement, record = measure(["motion/truth"], frames, frames, tools, parts=2, motion=true_grids(truth))
    result, still = (totals([record], measurement.metrics, row) for row in (RESULT, REPEATED))
    assert result["motion/truth"]["frames"] == pytest.approx(0, abs=1e-4)
    flow, seen = truth.motion(5, 0)
    expected = np.linalg.norm(flow, axis=-1)[seen & truth.mask[5]].mean() * 256 / truth.size
    assert still["motion/truth.face"]["frames"] > 0 and expected > 0
    assert totals([record], measurement.metrics, TRUTH)["motion/truth"]["n"] == 0
    alone = Measurement(["motion/truth"], ["truth"], tools)
    with (
        pytest.raises(UserError, match="motion/truth: the motion of the frames.*--motion"),
        alone.video(Video("a")) as measured,
    ):
        measured.add(tensor(frames), truth=tensor(frames))


def test_covered_pixels_are_apart_and_what_lies_outside_the_first_frame_is_left_out():
    expected = np.zeros((4, 4, 2), np.float32)
    expected[0, 0] = (2, 0)  # covered by something at column 2
    expected[3, 3] = (900, 0)  # a hand that the first frame does not show
    seen = np.ones((4, 4), bool)
    seen[0, 0] = seen[3, 3] = False
    truth = SimpleNamespace(size=256, mask=np.ones((1, 4, 4), bool), motion=lambda frame, first: (expected, seen))
    visible, face, covered = MotionTruth._errors(truth, 0, np.zeros((4, 4, 2), np.float32))
    assert (visible, face, covered) == (0, 0, 2)


def test_a_grid_is_read_as_pixels():
    steps = torch.linspace(-1, 1, 8)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
    grid[..., 0] += 2 * 3 / 63
    np.testing.assert_allclose(displacement(grid, 64), np.tile([3.0, 0.0], (64, 64, 1)), atol=1e-4)


def test_missing_or_too_short_truth_is_reported(clip, tools):
    frames, _ = clip
    with pytest.raises(UserError, match="--drawn_truth"):
        measure(["pose/truth"], frames, frames, Tools())
    longer = np.concatenate([frames, frames])
    with pytest.raises(UserError, match="a: --drawn_truth covers 8 frames"):
        measure(["landmarks/truth"], longer, longer, tools)


THEVAL = ["theval/lip_dynamics", "theval/head_dynamics", "theval/eyebrow_dynamics"]


def test_the_scores_of_theval_are_one_for_the_truth_and_nothing_for_a_picture(clip, tools):
    frames, _ = clip
    measurement, record = measure(THEVAL, np.repeat(frames[:1], 8, 0), frames, tools)
    still, truth = (totals([record], measurement.metrics, row) for row in (RESULT, TRUTH))
    for name in THEVAL:
        assert still[name]["videos"] == pytest.approx(0, abs=1e-9)
        assert still[f"{name}.score"]["videos"] == pytest.approx(0, abs=1e-9)
        assert truth[f"{name}.score"]["videos"] == 1
    assert of_video(record, measurement.metrics)["theval/lip_dynamics.score"] < 1e-9


def test_the_scores_of_theval_compare_the_same_videos():
    name, values = "theval/lip_dynamics", [(2.0, 4.0), (math.nan, 40.0), (3.0, 6.0), (1.0, math.nan)]
    videos = [{name: made, f"{name}.truth": truth} for made, truth in values]
    # Only the first and the third have both: 2.5 of 5.
    assert LipDynamics(Tools()).totals(videos) == {f"{name}.score": pytest.approx(0.5)}
    assert math.isnan(LipDynamics(Tools()).totals(videos[1:2])[f"{name}.score"])


def test_theval_names_a_group_of_scores():
    assert len(find_metrics(["theval"])) == 8


def test_scores_with_sound_need_sound(clip, tools):
    frames, _ = clip
    names = ["theval/silent_lip_stability", "theval/lip_sync"]
    measurement, record = measure(names, frames, frames, tools)
    found = totals([record], measurement.metrics)
    assert all(found[name]["videos"] is None and found[name]["missed"] == 1 for name in names)


def test_sound_of_a_film_is_heard_in_its_frames(tmp_path):
    from data.sample_faces import write_film
    from metrics.parts.loudness import loudness

    sound = np.concatenate([np.zeros(12000), 0.5 * np.sin(np.arange(12000) / 10)]).astype(np.float32)
    write_film(tmp_path / "a.mp4", np.zeros((25, 32, 32, 3), np.uint8), 25, sound)
    loud = loudness(tmp_path / "a.mp4", 25, 25)
    assert loud[:10].max() < 0.05 and loud[15:24].min() > 0.2
    assert silences(loud, 25).tolist() == [True] * 12 + [False] * 13 or silences(loud, 25)[:11].all()
    assert loudness(tmp_path, 25, 25) is None


def test_short_silences_do_not_count():
    loud = np.ones(30)
    loud[3:6] = 0
    loud[10:20] = 0
    assert np.flatnonzero(silences(loud, 25)).tolist() == list(range(10, 20))
