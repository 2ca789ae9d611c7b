"""script/evaluate.py: pairs by name, files of results, tables, resuming, several processes, bad input."""

import csv
import json

import numpy as np
import pytest
from metrics_faces import drawn, moved, write_frames
from script_runner import ScriptRunner

from data.video import write_image

METRICS = "l1,ssim/gauss,akd/dlib"


@pytest.fixture(scope="module")
def runner():
    with ScriptRunner() as runner:
        yield runner


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three results and their truth; the third is a strip, as the originals write them."""
    root = tmp_path_factory.mktemp("evaluate")
    for identity, (name, count) in enumerate({"a": 6, "b": 4, "c": 5}.items()):
        frames = drawn(identity, count)[0]
        write_frames(root / "real" / name, frames)
        if name == "c":
            write_image(root / "made" / "c.mp4.png", np.concatenate(list(moved(frames, 1)), axis=1))
        else:
            write_frames(root / "made" / name, moved(frames, identity + 1))
    return root


def evaluate(runner, folder, *arguments, status=0):
    code, output = runner.run("evaluate", *arguments, folder=folder)
    assert code == status, output
    return output


def given(folders, out, *arguments):
    return "--generated", folders / "made", "--real", folders / "real", "--out", out, *arguments


def test_results_lie_in_csv_and_json_and_a_table(runner, folders, tmp_path):
    output = evaluate(runner, folders, *given(folders, tmp_path / "o", "--metrics", METRICS, "--table", "md", "--json"))
    assert "| metric " in output and "first frame repeated" in output
    content = json.loads((tmp_path / "o" / "metrics.json").read_text())
    rows = list(csv.DictReader((tmp_path / "o" / "metrics.csv").open()))
    assert [row["video"] for row in rows] == ["a"] * 6 + ["b"] * 4 + ["c.mp4"] * 5
    mean = np.mean([float(row["l1"]) for row in rows])
    assert content["total"]["l1"]["frames"] == pytest.approx(mean, rel=1e-12)
    of_videos = [values["l1"] for values in content["videos"].values()]
    assert content["total"]["l1"]["videos"] == pytest.approx(np.mean(of_videos), rel=1e-12)
    assert content["controls"]["truth"]["l1"]["frames"] == 0
    assert content["definitions"]["ssim/gauss"]["settings"]["sigma"] == 1.5
    assert content["versions"]["torch"] and content["command"][0] == "evaluate.py"
    assert json.loads(output.strip().splitlines()[-1])["total"] == content["total"]


def test_several_processes_measure_what_one_measures(runner, folders, tmp_path):
    for workers in (1, 2):
        evaluate(runner, folders, *given(folders, tmp_path / str(workers), "--metrics", "l1", "--workers", workers))
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in "12")
    for key in ("total", "controls", "videos"):
        assert one[key] == two[key]
    assert (tmp_path / "1" / "metrics.csv").read_bytes() == (tmp_path / "2" / "metrics.csv").read_bytes()


def test_an_interrupted_run_is_continued_and_a_changed_result_is_measured_again(runner, folders, tmp_path):
    arguments = given(folders, tmp_path / "o", "--metrics", "l1")
    evaluate(runner, folders, *arguments)
    whole = (tmp_path / "o" / "metrics.json").read_bytes()
    kept = tmp_path / "o" / "metrics_videos.jsonl"
    lines = kept.read_text().splitlines()
    # As a killed run leaves it: one video measured, the next line cut off.
    kept.write_text(lines[0] + "\n" + lines[1][:40])
    assert "9 frames in" in evaluate(runner, folders, *arguments)
    assert (tmp_path / "o" / "metrics.json").read_bytes() == whole
    write_frames(folders / "made" / "b", moved(drawn(1, 4)[0], 5))
    assert "4 frames in" in evaluate(runner, folders, *arguments)
    assert (tmp_path / "o" / "metrics.json").read_bytes() != whole


def test_a_protocol_brings_its_metrics(runner, folders, tmp_path):
    evaluate(runner, folders, *given(folders, tmp_path / "o", "--protocol", "real"))
    content = json.loads((tmp_path / "o" / "metrics.json").read_text())
    assert content["protocol"]["name"] == "real" and content["protocol"]["weighting"] == "videos"
    assert {"l1", "akd/dlib", "id/dlib", "pose", "face_missed"} <= set(content["total"])


REFUSED = {
    "no counterpart of 1 of 3 results: c.mp4 \\(truth\\)": lambda root: (root / "real" / "c").rename(root / "away"),
    "b: unequal numbers of frames \\(result 4, truth 3\\)": lambda root: (root / "real" / "b" / "0003.png").unlink(),
    "both called a": lambda root: write_image(root / "made" / "a.png", np.zeros((8, 8, 3), np.uint8)),
    "a: result and truth have other sizes": lambda root: shrink(root / "real" / "a"),
}


def shrink(folder):
    for path in folder.glob("*.png"):
        write_image(path, np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("message", REFUSED)
def test_pairs_that_do_not_fit_are_told(runner, folders, tmp_path, message):
    import re
    import shutil

    shutil.copytree(folders, tmp_path / "copy")
    REFUSED[message](tmp_path / "copy")
    arguments = given(tmp_path / "copy", tmp_path / "o", "--metrics", "l1")
    code, output = runner.run("evaluate", *arguments, folder=tmp_path)
    assert code in (1, 2) and re.search(message, output), output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metrics", "ssim"], "ssim/mcnet"),
        (["--protocol", "fom"], "there is none"),
        ([], "--metrics NAME,... or --protocol"),
        (["--metrics", "pose", "--real", "nowhere"], "nowhere: there is no such folder"),
    ],
)
def test_bad_options_are_told(runner, folders, tmp_path, arguments, message):
    output = evaluate(runner, folders, "--generated", folders / "made", *arguments, status=2)
    assert message in output and "Traceback" not in output


def test_the_list_names_every_metric(runner, folders):
    output = evaluate(runner, folders, "--list")
    assert "ssim/gfla" in output and "used by: " in output
