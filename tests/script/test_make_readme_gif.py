"""The gif of README.md: a column per model, a row per pair."""

import subprocess
import sys

from paths import ROOT

from data.video import open_video


def make(*words):
    command = [sys.executable, str(ROOT / "script" / "make_readme_gif.py"), "--cpu", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_models_are_shown_side_by_side(sample, tmp_path):
    clips = sorted(path.stem for path in (sample / "test").glob("*.mp4"))
    pairs = [f"{clips[0]}:{clips[1]}", f"{clips[1]}:{clips[0]}"]
    out = tmp_path / "a.gif"
    done = make(
        "--people", sample / "test", "--pairs", *pairs, "--models", "own=weights/own", "--out", out, "--size", 32,
        "--frames", 3,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with open_video(out) as gif:
        frames = list(gif)
    assert len(frames) == 3 and frames[0].shape == (2 * 32 + 16, 3 * 32, 3)
    source, driving = frames[0][:64, :32], [frame[:64, 32:64] for frame in frames]
    assert abs(frames[2][:64, :32].astype(int) - source).mean() < 2, "the source stays"
    assert abs(driving[2].astype(int) - driving[0]).mean() > 1, "the driving video moves"


def test_a_missing_clip_is_reported(sample, tmp_path):
    done = make("--people", sample / "test", "--models", "own=weights/own", "--out", tmp_path / "a.gif")
    assert done.returncode == 2 and "id003#00" in done.stderr and "Traceback" not in done.stderr
