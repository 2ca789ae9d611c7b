"""script/evaluate.py: pairs by name, files of results, tables, resuming, several processes, bad input."""

import csv
import json
import os
import signal
from unittest import mock

import numpy as np
import pytest
import torch
from metrics_faces import drawn, moved, run_script, write_frames

from data.video import VideoWriter, write_image
from metrics import find_metrics
from metrics.evaluation.pairing import Pair, pairs
from metrics.evaluation.protocols import find_protocol, protocol_names
from metrics.evaluation.running import Plan
from metrics.evaluation.running import measure as run_pair
from util.errors import UserError

METRICS = "l1,ssim/gauss,akd/dlib"


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


def evaluate(*arguments, status=0):
    code, output = run_script("evaluate", *arguments)
    assert code == status, output
    return output


def given(folders, out, *arguments):
    return "--generated", folders / "made", "--real", folders / "real", "--out", out, *arguments


def test_results_are_written_as_csv_json_and_table(folders, tmp_path):
    output = evaluate(*given(folders, tmp_path / "o", "--metrics", METRICS, "--table", "md", "--json"))
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


@pytest.mark.slow
def test_several_processes_measure_what_one_measures(folders, tmp_path):
    for workers in (1, 2):
        evaluate(*given(folders, tmp_path / str(workers), "--metrics", "l1", "--workers", workers))
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in "12")
    for key in ("total", "controls", "videos"):
        assert one[key] == two[key]
    assert (tmp_path / "1" / "metrics.csv").read_bytes() == (tmp_path / "2" / "metrics.csv").read_bytes()


def test_processes_end_with_the_command_that_started_them(folders, tmp_path, monkeypatch):
    started = []

    def terminated(queue, processes, shares, measurement):
        started.extend(processes)
        os.kill(os.getpid(), signal.SIGTERM)
        yield

    monkeypatch.setattr("metrics.evaluation.running._collected", terminated)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        evaluate(*given(folders, tmp_path / "o", "--metrics", "l1", "--workers", 2), status=143)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(started) == 2 and not any(process.is_alive() for process in started)


def test_an_interrupted_run_is_continued_and_a_changed_result_is_measured_again(folders, tmp_path):
    arguments = given(folders, tmp_path / "o", "--metrics", "l1")
    evaluate(*arguments)
    whole = (tmp_path / "o" / "metrics.json").read_bytes()
    kept = tmp_path / "o" / "metrics_videos.jsonl"
    lines = kept.read_text().splitlines()
    # As a killed run leaves it: one video measured, the next line cut off.
    kept.write_text(lines[0] + "\n" + lines[1][:40])
    assert "9 frames in" in evaluate(*arguments)
    assert (tmp_path / "o" / "metrics.json").read_bytes() == whole
    write_frames(folders / "made" / "b", moved(drawn(1, 4)[0], 5))
    assert "4 frames in" in evaluate(*arguments)
    assert (tmp_path / "o" / "metrics.json").read_bytes() != whole


@pytest.mark.slow
def test_a_protocol_sets_its_metrics(folders, tmp_path):
    evaluate(*given(folders, tmp_path / "o", "--protocol", "real"))
    content = json.loads((tmp_path / "o" / "metrics.json").read_text())
    assert content["protocol"]["name"] == "real" and content["protocol"]["weighting"] == "videos"
    assert {"l1", "akd/dlib", "id/dlib", "pose", "face_missed"} <= set(content["total"])


REFUSED = {
    "no counterpart of 1 of 3 results: c.mp4 \\(truth\\)": lambda root: (root / "real" / "c").rename(root / "away"),
    "b: unequal numbers of frames \\(result 4, truth 3\\)": lambda root: (root / "real" / "b" / "0003.png").unlink(),
    "have the same name a": lambda root: write_image(root / "made" / "a.png", np.zeros((8, 8, 3), np.uint8)),
    "a: result and truth differ in size": lambda root: shrink(root / "real" / "a"),
}


def shrink(folder):
    for path in folder.glob("*.png"):
        write_image(path, np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("message", REFUSED)
def test_mismatching_pairs_are_reported(folders, tmp_path, message):
    import re
    import shutil

    shutil.copytree(folders, tmp_path / "copy")
    REFUSED[message](tmp_path / "copy")
    arguments = given(tmp_path / "copy", tmp_path / "o", "--metrics", "l1")
    code, output = run_script("evaluate", *arguments)
    assert code in (1, 2) and re.search(message, output), output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metrics", "ssim"], "ssim/mcnet"),
        (["--protocol", "fom"], "no such protocol"),
        ([], "--metrics NAME,... or --protocol"),
        (["--metrics", "pose", "--real", "nowhere"], "nowhere: no such folder"),
        (["--metrics", "l1", "--fps", "1/0"], "--fps: '1/0' is not a frame rate"),
        (["--metrics", "l1", "--fps", "0"], "--fps: 0 frames per second: the rate must be above 0"),
    ],
)
def test_bad_options_are_reported(folders, tmp_path, arguments, message):
    output = evaluate("--generated", folders / "made", *arguments, status=2)
    assert message in output and "Traceback" not in output


def test_a_device_that_is_not_there_is_reported(folders, tmp_path):
    for device in ("gpu", "cuda:99"):
        output = evaluate(*given(folders, tmp_path / "o", "--metrics", "l1", "--device", device), status=2)
        assert f"--device {device}: not usable here" in output and "Traceback" not in output


def test_a_place_that_cannot_be_written_is_reported_before_measuring(folders):
    output = evaluate(*given(folders, __file__, "--metrics", "l1"), status=2)
    assert "--out: cannot write into" in output and "frames in" not in output


def test_the_list_names_every_metric(folders):
    output = evaluate("--list")
    assert "ssim/gfla" in output and "used by: " in output


def test_a_list_names_the_pairs(folders, tmp_path):
    (tmp_path / "pairs.csv").write_text("generated,real\na,a\nb,b\n")
    evaluate(*given(folders, tmp_path / "o", "--metrics", "l1", "--pairs", tmp_path / "pairs.csv"))
    content = json.loads((tmp_path / "o" / "metrics.json").read_text())
    assert list(content["videos"]) == ["a", "b"]
    (tmp_path / "pairs.csv").write_text("generated,real\na,away\n")
    output = evaluate(*given(folders, tmp_path / "o", "--metrics", "l1", "--pairs", tmp_path / "pairs.csv"), status=2)
    assert "missing: " in output and "away (line 2)" in output


def small(folder, count=3, size=24):
    return write_frames(folder, np.random.default_rng(count).integers(0, 256, (count, size, size, 3), np.uint8))


def test_listed_results_keep_their_subfolders_and_dots(tmp_path):
    for name in ("take.1", "take.2", "one/take"):
        small(tmp_path / "made" / name), small(tmp_path / "real" / name)
    table, out = tmp_path / "pairs.csv", tmp_path / "o"
    table.write_text("generated,real\r\ntake.1,take.1\r\ntake.2,take.2\r\none/take,one/take\r\n", encoding="utf-8-sig")
    call = (
        "--generated",
        tmp_path / "made",
        "--real",
        tmp_path / "real",
        "--metrics",
        "l1",
        "--out",
        out,
        "--pairs",
        table,
    )
    evaluate(*call)
    assert set(json.loads((out / "metrics.json").read_text())["videos"]) == {"take.1", "take.2", "one/take"}
    table.write_text("generated,real\ntake.1,take.1\ntake.1,take.2\n")
    assert "stand in several lines: take.1" in evaluate(*call, status=2)
    table.write_text(f"generated,real\n{'x' * 300}.mp4,take.2\n")
    assert f"missing: {tmp_path / 'made' / 'x'}" in evaluate(*call, status=2)
    table.write_text("generated,real\n")
    assert "has a header but no rows" in evaluate(*call, status=2)


def test_what_is_not_measured_is_told(tmp_path, caplog):
    for name in ("a", "b"):
        small(tmp_path / "real" / name)
    small(tmp_path / "made" / "a")
    with VideoWriter(tmp_path / "made" / "more" / "b.mp4", 25) as writer:
        writer.write(np.zeros((24, 24, 3), np.uint8))
    assert [pair.name for pair in pairs({"result": tmp_path / "made", "truth": tmp_path / "real"})] == ["a"]
    assert "left out the videos in subfolders (more); list them with --pairs" in caplog.text
    assert "1 of 2 true videos have no result and are not measured: b" in caplog.text
    (tmp_path / "made" / "a").rename(tmp_path / "a")
    with pytest.raises(UserError, match="contains no videos.*its subfolders are not searched: more"):
        pairs({"result": tmp_path / "made", "truth": tmp_path / "real"})


def test_weights_of_another_network_are_one_error_before_the_first_video(tmp_path):
    for name in ("a", "b"):
        small(tmp_path / "made" / name)
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pth")
    call = ["--generated", tmp_path / "made", "--real", tmp_path / "made", "--metrics", "kid"]
    output = evaluate(*call, "--inception", tmp_path / "other.pth", "--out", tmp_path / "o", status=2)
    assert output.startswith("error: ") and "failed: a" not in output and "Traceback" not in output


def test_names_that_are_not_utf8_are_escaped_in_the_table(tmp_path):
    name = os.fsdecode(b"a\xff")
    small(tmp_path / "made" / name), small(tmp_path / "real" / name)
    evaluate("--generated", tmp_path / "made", "--real", tmp_path / "real", "--metrics", "l1", "--out", tmp_path / "o")
    rows = list(csv.DictReader((tmp_path / "o" / "metrics.csv").open()))
    assert {row["video"] for row in rows} == {"a\\xff"}
    assert list(json.loads((tmp_path / "o" / "metrics.json").read_text())["videos"]) == [name]


def test_warp_error_asks_for_frames_of_one_size_and_does_without_the_source(tmp_path):
    small(tmp_path / "made" / "a"), small(tmp_path / "driving" / "a", size=32), small(tmp_path / "face" / "a", 1, 40)
    call = ["--generated", tmp_path / "made", "--driving", tmp_path / "driving", "--metrics", "warp_error"]
    output = evaluate(*call, status=2)
    assert "warp_error: the result has 24x24 pixels, the video whose flow warps it 32x32" in output
    assert "Traceback" not in output
    small(tmp_path / "driving" / "a")
    output = evaluate(*call, "--source", tmp_path / "face", "--json")
    controls = json.loads(output.strip().splitlines()[-1])["controls"]
    assert controls["first frame repeated"]["warp_error"]["n"] == 0
    assert controls["driving video replayed"]["warp_error"]["frames"] is not None


def test_missed_faces_are_valid_json_and_survive_an_interruption(folders, tmp_path):
    made = tmp_path / "made"
    write_frames(made / "a", np.zeros((6, 96, 96, 3), np.uint8))
    call = ["--generated", made, "--real", folders / "real", "--metrics", "akd/dlib,opening/mouth", "--out", made]
    evaluate(*call)
    table, kept = (made / name for name in ("metrics.csv", "metrics_videos.jsonl"))
    for line in kept.read_text().splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    written = table.read_text()
    assert ",nan" in written
    table.unlink()
    assert "frames in" not in evaluate(*call), "nothing is measured again"
    assert table.read_text() == written


def test_an_interruption_while_kept_measurements_are_read_loses_none(folders, tmp_path):
    call = given(folders, tmp_path / "o", "--metrics", "l1")
    evaluate(*call)
    kept = (tmp_path / "o" / "metrics_videos.jsonl").read_bytes()
    with mock.patch("metrics.evaluation.running.replacing", side_effect=KeyboardInterrupt):
        evaluate(*call, status=130)
    assert (tmp_path / "o" / "metrics_videos.jsonl").read_bytes() == kept


@pytest.mark.parametrize("name", protocol_names())
def test_every_protocol_names_existing_metrics(name):
    protocol = find_protocol(name)
    assert find_metrics(protocol.metrics) and protocol.caveats


def test_a_protocol_that_prints_published_numbers_names_their_source(tmp_path):
    (tmp_path / "own.yaml").write_text("says: x\nmetrics: [l1]\npublished: {rows: {FOMM: {l1: 0.043}}}\n")
    with pytest.raises(UserError, match="need their source"):
        find_protocol(str(tmp_path / "own.yaml"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("metrics: l1,psnr", "metrics is a list of texts, such as .* not 'l1,psnr'"),
        ("metrics: [1.0]", "metrics is a list of texts"),
        ("metrics: [lone]", "no such metric"),
        ("metrics: [l1]\nsize: -4", "size is a number of pixels above 0, not -4"),
        ("metrics: [l1]\nsize: big", "size is a number of pixels above 0, not 'big'"),
        ("metrics: [l1]\npublished: {source: S, rows: [1]}", "the rows of published are of the form METHOD"),
        ("metrics: [l1]\npublished: {source: S, rows: {A: 1}}", "the rows of published are of the form METHOD"),
    ],
)
def test_mistakes_in_a_protocol_name_its_file(tmp_path, content, message):
    (tmp_path / "own.yaml").write_text(f"says: x\n{content}\n")
    with pytest.raises(UserError, match=f"own.yaml: (--metrics lone: )?{message}"):
        find_protocol(str(tmp_path / "own.yaml"))


def test_a_motion_file_with_too_few_frames_is_reported(tmp_path):
    small(tmp_path / "made" / "a")
    np.savez(tmp_path / "a.npz", grid=np.zeros((2, 4, 4, 2)))
    plan = Plan(("l1",), ("truth",), tables={"motion": tmp_path})
    pair = Pair("a", {"result": tmp_path / "made" / "a", "truth": tmp_path / "made" / "a"})
    with pytest.raises(UserError, match="--motion: .*a.npz: grid has 2 frames, the video at least 3"):
        run_pair(pair, plan.measurement(), plan)


@pytest.mark.parametrize("kind", ["latex", "csv", "text"])
def test_tables_of_all_kinds_hold_both_weightings_and_the_controls(folders, tmp_path, kind):
    output = evaluate(*given(folders, tmp_path / "o", "--metrics", "l1", "--table", kind))
    assert "result (frames)" in output and "result (videos)" in output and "first frame repeated" in output
    assert (r"\begin{tabular}" in output) == (kind == "latex")


@pytest.mark.slow
def test_animation_is_measured_without_a_truth(folders, tmp_path):
    """Against the source picture and the driving video; pixels are not compared with anything."""
    arguments = ("--generated", folders / "made", "--driving", folders / "real", "--source", folders / "real")
    evaluate(*arguments, "--metrics", "id/dlib,pose,jitter", "--out", tmp_path / "o")
    content = json.loads((tmp_path / "o" / "metrics.json").read_text())
    assert list(content["controls"]) == ["first frame repeated", "driving video replayed"]
    assert content["controls"]["driving video replayed"]["pose"]["frames"] == 0
    assert content["controls"]["first frame repeated"]["id/dlib"]["frames"] == 0
    assert content["total"]["pose"]["n"] > 0
