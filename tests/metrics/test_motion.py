"""Metrics of motion and of tables: jitter, warp error, action units, coefficients, spotting."""

import numpy as np
import pytest
import torch
from metrics_faces import drawn

from metrics.evaluation.measuring import Measurement
from metrics.evaluation.results import totals
from metrics.metric import REPEATED, RESULT, TRUTH, Video
from metrics.parts.openings import eyes_opening, mouth_opening
from metrics.parts.tools import Tools
from metrics.spotting import matches, overlap
from util.errors import UserError
from util.expressions import UNITS


def tensor(frames):
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255


def measure(names, made, real, tools=None, parts=1, name="a"):
    measurement = Measurement(names, ["truth"], tools)
    with measurement.video(Video(name)) as measured:
        for one, other in zip(np.array_split(made, parts), np.array_split(real, parts), strict=True):
            measured.add(tensor(one), truth=tensor(other))
    return measurement, measured.record


@pytest.fixture(scope="module")
def clip():
    return drawn(frames=8)[0]


def test_a_static_picture_does_not_jitter(clip):
    measurement, record = measure(["jitter"], np.repeat(clip[:1], 8, 0), clip)
    found = totals([record], measurement.metrics)
    assert found["jitter"]["frames"] == 0 and found["jitter.truth"]["frames"] > 0
    assert record["values"]["jitter"][:2] == [None, None] and found["jitter"]["n"] == 6


def test_trembling_raises_jitter_and_warp_error_and_batches_do_not_matter(clip):
    trembling = np.stack([np.roll(frame, 2 * (-1) ** k, axis=1) for k, frame in enumerate(clip)])
    measurement, record = measure(["jitter", "warp_error"], trembling, clip)
    found = totals([record], measurement.metrics)
    assert found["jitter.ratio"]["frames"] > 2 and found["warp_error.ratio"]["frames"] > 1.5
    assert measure(["jitter", "warp_error"], trembling, clip, parts=3)[1] == record
    assert totals([record], measurement.metrics, TRUTH)["jitter.ratio"]["frames"] == 1


def test_the_mouth_is_open_as_far_as_its_lips_are_apart():
    points = np.zeros((3, 68, 2))
    points[:, 45, 0] = 50
    points[:, [67, 66, 65], 1] = np.array([0, 5, -10])[:, None]
    points[:, [41, 40, 47, 46], 1] = 5
    np.testing.assert_allclose(mouth_opening(points), [0, 0.1, 0.2])
    np.testing.assert_allclose(eyes_opening(points), [0.1, 0.1, 0.1])


def test_moving_heads_and_mouths_correlate_and_still_ones_do_not(clip):
    names = ["pose", "opening/mouth", "opening/eyes"]
    measurement, record = measure(names, clip, clip, parts=2)
    found, still = (totals([record], measurement.metrics, row) for row in (RESULT, REPEATED))
    for name in ("pose.r", "pose.r.yaw", "opening/mouth.r", "opening/eyes.r"):
        assert found[name]["videos"] == pytest.approx(1) and still[name]["videos"] is None, name
    assert found["opening/mouth"]["frames"] == 0 and still["opening/mouth"]["frames"] > 0
    backwards = measure(names, clip[::-1], clip)[1]
    assert totals([backwards], measurement.metrics)["pose.r.yaw"]["videos"] < 0.9


def write_units(path, intensities, failed=()):
    """An OpenFace table of a video."""
    names = [f"{unit.column}_r" for unit in UNITS]
    lines = [",".join(["frame", "face_id", "timestamp", "confidence", "success", *names])]
    for number, row in enumerate(intensities, 1):
        good = number - 1 not in failed
        lines.append(",".join(map(str, [number, 0, number / 25, 0.98 if good else 0.1, int(good), *row])))
    path.write_text("\n".join(lines) + "\n")


def tables(folder, result, driving, failed=()):
    for role, rows in {"result_aus": result, "driving_aus": driving}.items():
        (folder / role).mkdir()
        write_units(folder / role / "a.csv", rows, failed if role == "result_aus" else ())
    return Tools(tables={role: folder / role for role in ("result_aus", "driving_aus")})


def test_action_units_by_tables(clip, tmp_path):
    rng = np.random.default_rng(0)
    driving = np.round(rng.uniform(1, 3, (8, 17)), 2)
    driving[:, 4] = 2
    tools = tables(tmp_path, np.round(driving + 0.5, 2), driving, failed=[3])
    measurement, record = measure(["au"], clip, clip, tools, parts=2)
    found = totals([record], measurement.metrics)
    assert found["au"]["frames"] == pytest.approx(0.5) and found["au"]["missed"] == pytest.approx(1 / 8)
    assert found["au.AU12"]["frames"] == pytest.approx(0.5)
    assert found["au.r"]["videos"] == pytest.approx(1)
    assert found["au.r.AU06"]["videos"] is None, "a unit at rest has no correlation"
    still = totals([record], measurement.metrics, REPEATED)
    assert still["au"]["frames"] == pytest.approx(np.abs(driving - driving[0]).mean())


def test_tables_that_are_too_short_or_missing_are_reported(clip, tmp_path):
    tools = tables(tmp_path, np.ones((5, 17)), np.ones((8, 17)))
    with pytest.raises(UserError, match="a: --result_aus has 5 rows, the video at least 8"):
        measure(["au"], clip, clip, tools)
    with pytest.raises(UserError, match="b.csv is missing"):
        measure(["au"], clip, clip, tools, name="b")


def test_coefficients_by_files(clip, tmp_path):
    for role, shift in {"result_coefficients": 0.25, "truth_coefficients": 0}.items():
        (tmp_path / role).mkdir()
        pose = np.tile([shift, 0, 0, 4 * shift, 0, 0], (8, 1))
        np.savez(tmp_path / role / "a.npz", expression=np.full((8, 64), shift), pose=pose)
    tools = Tools(tables={role: tmp_path / role for role in ("result_coefficients", "truth_coefficients")})
    measurement, record = measure(["aed/3dmm", "apd/3dmm"], clip, clip, tools)
    found = {name: value["frames"] for name, value in totals([record], measurement.metrics).items()}
    assert found["aed/3dmm"] == 0.25 and found["aed/3dmm.sum"] == 16
    assert found["apd/3dmm"] == pytest.approx(0.25 / 3) and found["apd/3dmm.all"] == pytest.approx(1.25 / 6)
    np.savez(tmp_path / "truth_coefficients" / "a.npz", expression=np.zeros((8, 10)), pose=np.zeros((8, 6)))
    with pytest.raises(UserError, match="expression \\(N, 64\\)"):
        from metrics.parts.tables import coefficient_rows

        coefficient_rows.cache_clear()
        measure(["aed/3dmm"], clip, clip, tools)


def test_intervals_match_one_to_one_at_half_their_union():
    assert overlap((0, 9), (0, 9)) == 1 and overlap((0, 9), (5, 14)) == pytest.approx(1 / 3)
    assert overlap((0, 4), (6, 9)) == 0
    assert matches([(0, 9), (1, 10)], [(0, 9)]) == 1
    assert matches([(0, 9), (20, 29)], [(0, 9), (25, 40)]) == 1
    # The best pairs first: else the first spotted interval takes what only the second fits.
    assert matches([(0, 12), (0, 9)], [(0, 9), (3, 14)]) == 2


def test_spotting_pools_the_counts_of_all_videos(clip, tmp_path):
    head = "video,onset,offset,kind\n"
    (tmp_path / "spotted.csv").write_text(head + "a,0,9,micro\na,30,39,macro\nb,5,9,micro\n")
    # Some programs write the suffix of the file.
    (tmp_path / "annotated.csv").write_text(head + "a.MP4,0,8,micro\nb,50,60,micro\nb.avi,70,90,macro\n")
    tools = Tools(tables={name: tmp_path / f"{name}.csv" for name in ("spotted", "annotated")})
    measurement = Measurement(["spotting"], ["truth"], tools, controls=False)
    records = []
    for name in "ab":
        with measurement.video(Video(name)) as measured:
            measured.add(tensor(clip), truth=tensor(clip))
        records.append(measured.record)
    found = {name: value["videos"] for name, value in totals(records, measurement.metrics).items()}
    assert found["spotting"] == pytest.approx(2 / 6)
    assert found["spotting.micro"] == 0.5 and found["spotting.macro"] == 0
    assert found["spotting.micro.precision"] == 0.5 and found["spotting.micro.recall"] == 0.5
    (tmp_path / "spotted.csv").write_text(head + "a,9,0,micro\n")
    with pytest.raises(UserError, match="line 2.*onset <= offset"):
        Measurement(["spotting"], ["truth"], tools)
