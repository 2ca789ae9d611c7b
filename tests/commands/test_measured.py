"""test.py --metrics as people call it: in the same pass, resumed, shared out, without a truth."""

import csv
import json
import re
from urllib.parse import unquote

import pytest
from browser import content_of
from paths import ROOT
from running import run

from options import parse
from options.measuring import measuring_plan
from options.results import result_options
from util.errors import UserError

pytestmark = pytest.mark.slow
TINY = f"--config={ROOT / 'configs' / 'tiny' / 'fomm.yaml'}"


@pytest.fixture(scope="module")
def folder(sample, tmp_path_factory):
    """A working folder with a model of one step: result/tiny."""
    folder = tmp_path_factory.mktemp("measured")
    run(
        folder, TINY, f"--dataroot={sample}", "--steps=1", "--batch_size=2", "--num_repeats=1", "--name=tiny",
        "--gpu_id=-1", "--visdom=no", "--nThreads=0",
    )  # fmt: skip
    return folder


def measure(folder, sample, *arguments, status=0):
    return run(folder, "--name=tiny", f"--dataroot={sample}", *arguments, script="test.py", status=status)


def numbers(folder):
    content = json.loads((folder / "metrics.json").read_text())
    assert content.pop("command")[0].endswith("test.py")
    return content


def test_reconstruction_is_measured_in_the_same_pass_and_resumes(folder, sample):
    call = ["--mode=reconstruction", "--results_dir=rec", "--format=png", "--metrics=l1,ssim/gauss", "--cpu"]
    measure(folder, sample, *call[:-2], "--max_clips=1", "--cpu")
    output = measure(folder, sample, *call, "--table=md", "--json")
    assert "made 1 existing results again to measure them" in output
    content = numbers(folder / "rec")
    line = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
    assert line["total"] == content["total"] and "| l1 ↓ " in output
    # Its loss is the same number, computed elsewhere.
    printed = float(output.split("Reconstruction loss: ")[1].split()[0])
    assert content["total"]["l1"]["frames"] == pytest.approx(printed, rel=1e-5)
    repeated = content["controls"]["first frame repeated"]["l1"]["frames"]
    assert f"repeating the first frame ({repeated:.6g}"[:36] in output
    rows = list(csv.DictReader((folder / "rec" / "metrics.csv").open()))
    assert len(rows) == 16 and all(float(row["ssim/gauss"]) < 1 for row in rows)
    shown = content_of(folder / "rec" / "index.html")
    assert shown["order"] == "l1" and shown["better"]["ssim/gauss"] == "higher"
    assert {one["name"]: one["facts"]["l1"] for one in shown["results"]} == {
        name: pytest.approx(values["l1"], rel=1e-5) for name, values in content["videos"].items()
    }
    assert all("ssim/gauss" in (folder / "rec" / unquote(one["curves"])).read_text() for one in shown["results"])

    stamps = {path: path.stat().st_mtime_ns for path in (folder / "rec").glob("*/*.png")}
    assert "skipped 2 existing results" in measure(folder, sample, *call)
    assert stamps == {path: path.stat().st_mtime_ns for path in (folder / "rec").glob("*/*.png")}
    assert numbers(folder / "rec") == content


def test_processes_and_shards_measure_what_one_process_measures(folder, sample):
    call = ["--mode=reconstruction", "--metrics=l1,jitter"]
    measure(folder, sample, *call, "--results_dir=one", "--cpu")
    measure(folder, sample, *call, "--results_dir=two", "--gpu_id=-1,-1")
    for shard in ("1/2", "2/2"):
        measure(folder, sample, *call, "--results_dir=shards", f"--shard={shard}", "--cpu")
    assert numbers(folder / "one") == numbers(folder / "two") == numbers(folder / "shards")


def test_animation_is_measured_by_metrics_without_truth(folder, sample):
    call = ["--results_dir=moved", "--metrics=id/dlib,pose,jitter,face_missed", "--num_pairs=2", "--cpu"]
    output = measure(folder, sample, *call[:1], "--metrics=pose,jitter", *call[2:])
    content = numbers(folder / "moved")
    assert list(content["controls"]) == ["first frame repeated", "driving video replayed"]
    assert content["protocol"]["mode"] == "animation" and "driving video replayed" in output
    assert content["controls"]["driving video replayed"]["pose"]["frames"] in (0, None)
    told = measure(folder, sample, *call, status=2)
    assert "--metrics face_missed: it compares the result with its truth" in told and "Traceback" not in told


def test_the_motion_of_a_family_is_measured_against_the_truth(folder, sample):
    truth = f"--drawn_truth={sample / 'truth'}"
    measure(folder, sample, "--mode=reconstruction", "--results_dir=flow", "--metrics=motion/truth", truth, "--cpu")
    content = numbers(folder / "flow")
    moved, still = (one["motion/truth"] for one in (content["total"], content["controls"]["first frame repeated"]))
    # An untrained model that begins by repeating its source hardly moves: its error is the length of the true motion.
    assert moved["n"] == still["n"] == 16 and still["frames"] > 0
    assert 0.5 < moved["frames"] / still["frames"] < 2
    told = measure(folder, sample, "--metrics=motion/truth", truth, "--results_dir=none", "--cpu", status=2)
    assert "--metrics motion/truth: the dense motion behind the frames is unknown" in told


def test_a_missing_file_is_reported_before_anything_is_made(folder, sample):
    call = ["--mode=reconstruction", "--results_dir=refused", "--metrics=l1,csim/arcface", "--cpu"]
    output = measure(folder, sample, *call, status=2)
    assert "w600k_r50.onnx is missing" in output and "Traceback" not in output
    assert not list((folder / "refused").glob("*.mp4"))


REFUSED = {
    "--metrics ssim: the name is ambiguous": ["--metrics=ssim"],
    "abc: no such metric": ["--metrics=abc"],
    "--protocol fomm: it compares results with the truth": ["--protocol=fomm", "--mode=animate"],
    "use --results_dir FOLDER instead of --output": ["--metrics=l1", "--output=a.mp4"],
    "pose/truth: needs files that are not set": ["--metrics=pose/truth"],
}


@pytest.mark.parametrize("words", REFUSED)
def test_impossible_measurements_are_refused(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opt = parse([TINY, "--mode=reconstruction", *REFUSED[words]], training=False)
    with pytest.raises(UserError, match=re.escape(words)):
        plan, _ = measuring_plan(opt, {"source", "driving"}, "cpu")
        plan.measurement()


def test_measuring_changes_no_frame_and_no_fingerprint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    measured = ["--metrics=l1", "--lpips_trunk=a.pth", "--controls=no", "--table=csv", "--drawn_truth=t"]
    plain, other = (result_options(parse([TINY, *more], training=False)) for more in ([], measured))
    assert plain == other
