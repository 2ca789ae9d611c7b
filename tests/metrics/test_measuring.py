"""Measuring: control rows, missing faces, weightings, batches, bad frames, names."""

import numpy as np
import pytest
import torch
from metrics_faces import drawn, moved

from metrics import find_metric, find_metrics, metric_names
from metrics.evaluation.measuring import Measurement
from metrics.evaluation.results import definition, totals
from metrics.metric import REPEATED, RESULT, TRUTH, Video
from util.errors import UserError

NAMES = ["l1", "akd/dlib", "akd/euclidean", "face_missed", "id/dlib", "pose"]


@pytest.fixture(scope="module")
def clip():
    return drawn()[0]


@pytest.fixture(scope="module")
def measurement():
    return Measurement(NAMES, ["truth"])


def tensor(frames):
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


def record_of(measurement, made, real, name="a", parts=1, **named):
    with measurement.video(Video(name)) as measured:
        for one, other in zip(np.array_split(made, parts), np.array_split(real, parts), strict=True):
            measured.add(tensor(one), truth=tensor(other), **named)
    return measured.record


def test_a_shift_measures_half_in_akd_and_whole_in_euclidean(measurement, clip):
    found = totals([record_of(measurement, moved(clip, 3), clip)], measurement.metrics)
    in_256 = 3 * 256 / clip.shape[1]
    assert found["akd/euclidean"]["frames"] == pytest.approx(in_256, rel=0.25)
    assert found["akd/dlib"]["frames"] == pytest.approx(in_256 / 2, rel=0.4)
    assert found["id/dlib"]["frames"] < 0.3
    assert found["face_missed"]["frames"] == 0


def test_control_rows_are_shown_with_the_result(measurement, clip):
    record = record_of(measurement, moved(clip, 3), clip)
    assert list(record["rows"]) == [RESULT, REPEATED, TRUTH]
    truth = totals([record], measurement.metrics, TRUTH)
    assert all(truth[name]["frames"] == 0 for name in NAMES)
    repeated = totals([record], measurement.metrics, REPEATED)
    expected = np.abs(clip[:1].astype(float) - clip).mean() / 255
    assert repeated["l1"]["frames"] == pytest.approx(expected, rel=1e-5)
    # The first frame of the repetition is the true one.
    assert repeated["pose"]["frames"] > 0


def test_missing_faces_are_counted_and_not_averaged(measurement, clip):
    made = moved(clip, 2)
    made[2:4] = 127
    record = record_of(measurement, made, clip)
    found = totals([record], measurement.metrics)
    for name in ("akd/dlib", "id/dlib", "pose"):
        assert found[name]["n"] == 4 and found[name]["missed"] == pytest.approx(1 / 3)
        assert np.isnan(record["values"][name][2:4]).all()
    assert found["face_missed"]["frames"] == pytest.approx(1 / 3)
    assert found["l1"]["n"] == 6


def test_frames_without_a_true_face_are_not_measured(measurement, clip):
    real = clip.copy()
    real[1] = 127
    record = record_of(measurement, clip, real)
    found = totals([record], measurement.metrics)
    assert record["values"]["akd/dlib"][1] is None
    assert found["akd/dlib"]["n"] == 5 and found["akd/dlib"]["missed"] == 0


def test_batches_do_not_change_the_values(measurement, clip):
    made = moved(clip, 2)
    batch_slices, in_parts = (record_of(measurement, made, clip, parts=parts) for parts in (1, 3))
    np.testing.assert_equal(batch_slices, in_parts)  # a control row at rest correlates with nothing: NaN


def test_both_weightings_and_their_order(measurement, clip):
    long, short = record_of(measurement, moved(clip, 4), clip), record_of(measurement, clip[:2], clip[:2], "b")
    found = totals([long, short], measurement.metrics)
    one = totals([long], measurement.metrics)["l1"]["frames"]
    assert found["l1"]["frames"] == pytest.approx(one * 6 / 8)
    assert found["l1"]["videos"] == pytest.approx(one / 2)
    assert found == totals([short, long], measurement.metrics)


def test_another_person_is_recognised_by_identity(measurement, clip):
    found = totals([record_of(measurement, drawn(identity=2)[0], clip)], measurement.metrics)
    same = totals([record_of(measurement, moved(clip, 2), clip)], measurement.metrics)
    assert found["id/dlib"]["frames"] > 2 * same["id/dlib"]["frames"]


BAD = {
    "NaN": lambda made: made.masked_fill(torch.arange(6)[:, None, None, None] == 4, float("nan")),
    "from 0 to 255": lambda made: made * 255,
    "differ in size": lambda made: made[..., :-2],
    "unequal numbers": lambda made: made[:-1],
    "frames \\(N, 3": lambda made: made[:, :1],
}


@pytest.mark.parametrize("message", BAD)
def test_bad_frames_are_reported_by_video_and_frame(measurement, clip, message):
    made = (tensor(clip) * 255).round() / 255
    made[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    with pytest.raises(UserError, match=f"clip 7.*{message}"), measurement.video(Video("clip 7")) as measured:
        measured.add(BAD[message](made), truth=tensor(clip))


def test_ambiguous_names_are_refused_with_who_uses_which():
    with pytest.raises(UserError, match="(?s)ssim: the name is ambiguous.*ssim/gfla.*GFLA.*ssim/mcnet"):
        find_metric("ssim")
    with pytest.raises(UserError, match="Did you mean akd/dlib"):
        find_metric("akd/dlip")
    with pytest.raises(UserError, match="at least one"):
        find_metrics([])


def test_a_metric_without_its_video_is_refused():
    with pytest.raises(UserError, match="l1.*its truth, which is missing"):
        Measurement(["l1"], ["source"])


@pytest.mark.parametrize("name", metric_names())
def test_every_metric_describes_itself(name):
    kind = find_metric(name)
    assert kind.says and kind.used_by and kind.better in ("lower", "higher", "like truth")
    assert all(set(need.split("|")) <= {"truth", "driving", "source"} for need in kind.needs)


def test_definitions_hold_the_hashes_of_weights(measurement):
    akd = definition(measurement.metrics[1])
    assert len(akd["weights"]["68 points"]["sha256"]) == 64
    assert akd["libraries"]["dlib-bin"]
