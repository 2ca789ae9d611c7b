"""script/compare.py: the best values, significance, the page, runs that cannot be compared."""

import csv
import json
import re
from urllib.parse import unquote

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from metrics_faces import drawn, moved, run_script, write_frames
from sounding import with_sound

from data.video import open_video
from metrics.evaluation.comparing import Difference, best, comparison, difference, read_runs
from metrics.evaluation.comparison_page import write_page
from metrics.evaluation.tables import bold, format_rows, shown


def write_run(folder, l1, jitter=(1.0,), truth=1.0):
    """A metrics.json as evaluate.py writes it, of given values per video."""
    names = [f"v{k}" for k in range(len(l1))]
    jitter = np.resize(jitter, len(l1))
    means = {"l1": float(np.mean(l1)), "jitter": float(jitter.mean()), "jitter.truth": truth}
    content = {
        "total": {name: {"frames": value, "videos": value, "n": 9, "missed": 0.0} for name, value in means.items()},
        "videos": {name: {"l1": a, "jitter": b, "jitter.truth": truth}
                   for name, a, b in zip(names, l1, jitter, strict=True)},
        "definitions": {"l1": {"better": "lower", "settings": {}, "weights": {}},
                        "jitter": {"better": "like truth", "settings": {}, "weights": {}}},
        "sizes": dict.fromkeys(names, [64, 64]),
        "protocol": {"size": None},
    }  # fmt: skip
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(content))
    return str(folder)


@pytest.fixture
def three(tmp_path):
    rng = np.random.default_rng(0)
    base = rng.uniform(0.05, 0.1, 20)
    gain = write_run(tmp_path / "gain", list(base - 0.01 + rng.normal(0, 0.002, 20)), (0.9,))
    luck = write_run(tmp_path / "luck", list(base + rng.normal(0, 0.01, 20)), (1.5,))
    return read_runs([write_run(tmp_path / "base", list(base), (0.2,)), gain, luck])


def test_significant_differences_are_marked(three):
    base, gain, luck = three
    found = difference(base, gain, "l1")
    assert found.mean == pytest.approx(-0.01, abs=0.002) and not found.includes_zero and found.videos == 20
    assert difference(base, luck, "l1").includes_zero
    assert difference(base, gain, "l1") == found, "the same resampling each time"


def test_the_best_is_marked_by_the_direction_of_the_metric(three):
    assert best(three, "l1", "videos") == 1
    assert best(three, "jitter", "videos") == 1, "nearest to that of the truth"
    assert best(three, "jitter.truth", "videos") is None
    head, rows = comparison(three)
    assert head[:4] == ["metric", "base", "gain", "luck"]
    assert rows[0][2].startswith("**") and rows[0][4].endswith("*") and not rows[0][5].endswith("*")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 128}, "v0 was measured at different sizes, one at 64x64, other at 128x128"),
        ({}, "no metrics.json"),
        ({"settings": {"side": 7}}, "differ in its settings"),
    ],
)
def test_incomparable_runs_are_refused(tmp_path, change, message):
    from util.errors import UserError

    one, other = (write_run(tmp_path / name, [0.1, 0.2]) for name in ("one", "other"))
    path = tmp_path / "other" / "metrics.json"
    content = json.loads(path.read_text())
    if "size" in change:
        content["sizes"]["v0"] = [change["size"]] * 2
    content["definitions"]["l1"]["settings"] = change.get("settings", {})
    path.write_text(json.dumps(content))
    if not change:
        path.unlink()
    with pytest.raises(UserError, match=message):
        read_runs([one, other])


def test_the_page_shows_truth_and_runs_in_step(tmp_path):
    frames = drawn(frames=4)[0]
    write_frames(tmp_path / "real" / "a#1", frames)
    for name, shift in {"A": 1, "B": 3}.items():
        write_frames(tmp_path / name / "a#1", moved(frames, shift))
        given = ("--generated", tmp_path / name, "--real", tmp_path / "real", "--metrics", "l1")
        assert run_script("evaluate", *given)[0] == 0
    out = ("--out", tmp_path / "page", "--table", "md", "--json")
    code, output = run_script("compare", tmp_path / "A", tmp_path / "B", *out)
    assert code == 0 and "| metric |" in output, output
    facts = json.loads(output.strip().splitlines()[-1])
    assert facts["l1"]["best"] == "A" and facts["l1"]["values"]["A"] < facts["l1"]["values"]["B"]
    page = (tmp_path / "page" / "index.html").read_text()
    assert page.count("<polyline") == 2 and page.count('class="plot"') == 1, "both runs in one plot"
    links = re.findall(r'<video src="([^"]+)"', page)
    assert [link.rsplit("/", 2)[1].split("-")[0] for link in links] == ["truth", "A", "B"]
    assert all((tmp_path / "page" / link.replace("%23", "#")).resolve().is_file() for link in links)


def made(folder, value, frames=2):
    """A measured folder of frames of one grey; the mean grey of the copies that a comparison shows of it."""
    write_frames(folder / "v0", np.full((frames, 16, 16, 3), value, np.uint8))
    write_run(folder / "o", [0.1])
    (folder / "o" / "metrics.json").rename(folder / "metrics.json")
    content = json.loads((folder / "metrics.json").read_text()) | {"files": {"v0": {"result": "v0"}}}
    (folder / "metrics.json").write_text(json.dumps(content))
    return folder


def videos_on(page):
    """The brightness of the videos on a page that compares."""
    links = re.findall(r'<video src="([^"]+)"', (page / "index.html").read_text())
    paths = [(page / unquote(link)).resolve() for link in links]
    greys = []
    for path in paths:
        with open_video(path) as video:
            greys.append(round(float(video[0].mean()), -1))
    return greys, paths


def test_a_comparison_shows_its_own_runs_and_writes_only_into_its_folder(tmp_path):
    page = tmp_path / "page"
    one, other, third = (made(tmp_path / name / "png", grey) for name, grey in (("a", 50), ("b", 100), ("c", 200)))
    # Folders of equal names are called by their paths, which are absolute here.
    assert run_script("compare", one, other, "--out", page)[0] == 0
    greys, paths = videos_on(page)
    assert greys == [50, 100] and all(path.is_relative_to(page) for path in paths)
    assert run_script("compare", one, other, "--labels", "A,../B", "--out", page)[0] == 0
    assert all(path.is_relative_to(page) for path in videos_on(page)[1])
    for second, grey in ((other, 100), (third, 200)):
        assert run_script("compare", one, second, "--labels", "A,B", "--out", page)[0] == 0
        assert videos_on(page)[0] == [50, grey], "an earlier comparison with the same labels lends no video"


def test_totals_over_different_videos_are_told_and_runs_without_a_common_one_refused(tmp_path):
    one, other = write_run(tmp_path / "one", [0.1, 0.2, 0.3]), write_run(tmp_path / "other", [0.1, 0.2])
    code, output = run_script("compare", one, other, "--out", tmp_path / "page")
    warning = "the runs have 2 videos in common (one 3, other 2)"
    assert code == 0 and warning in output and warning in (tmp_path / "page" / "index.html").read_text()
    content = json.loads((tmp_path / "other" / "metrics.json").read_text())
    content["videos"] = {"elsewhere": content["videos"]["v0"]}
    (tmp_path / "other" / "metrics.json").write_text(json.dumps(content))
    code, output = run_script("compare", one, other, "--out", tmp_path / "page")
    assert code == 2 and "one, other have no video in common" in output


def test_missed_faces_stand_beside_what_the_others_give(three):
    assert not any("missed" in row[0] for row in comparison(three)[1])
    three[1].content["total"]["l1"]["missed"] = 0.25
    assert comparison(three)[1][1] == ["l1: missed", "0.0 %", "25.0 %", "0.0 %", "–", "–"]


def test_the_best_is_bold_in_latex_and_a_number_in_csv():
    head, body = ["metric", 'A & "B"', "C|D"], [["face_missed", bold("0.5"), "25.0 %"]]
    latex, table = (format_rows(head, body, kind) for kind in ("latex", "csv"))
    assert r'metric & A \& "B" & C|D \\' in latex and r"face\_missed & \textbf{0.5} & 25.0 \% \\" in latex
    assert list(csv.reader(table.splitlines())) == [head, ["face_missed", "0.5", "25.0 %"]]
    assert r" C\|D |" in format_rows(head, body, "md") and shown(float("nan")) == "–"


def test_an_interval_that_is_not_known_is_not_significant():
    assert Difference(np.nan, np.nan, np.nan, 2).includes_zero


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_videos_without_a_value_come_last(tmp_path):
    runs = read_runs([write_run(tmp_path / name, [0.3, 0.1, 0.2, 0.4]) for name in ("one", "other")])
    runs[1].content["videos"]["v1"]["l1"] = None
    write_page(tmp_path / "index.html", runs, "videos")
    with Browser(tmp_path / "profile") as browser:
        browser.open((tmp_path / "index.html").as_uri())
        for order, expected in {"c0": ["v2", "v0", "v3", "v1"], "-c0": ["v3", "v0", "v2", "v1"]}.items():
            browser.run(f"at = document.getElementById('sort'); at.value = '{order}'; at.onchange({{target: at}})"
                        )  # fmt: skip
            assert browser.run("[...list.children].map(one => one.dataset.name)") == expected


PAINTED = """[...document.querySelectorAll("video")].every(video => {
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  canvas.width = canvas.height = 1;
  pen.drawImage(video, 0, 0, 1, 1);
  return pen.getImageData(0, 0, 1, 1).data[3] > 0;
})"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_videos_with_sound_show_their_first_picture_before_they_are_scrolled_to(tmp_path):
    runs = read_runs([write_run(tmp_path / name, [0.1, 0.2]) for name in ("one", "other")])
    for run in runs:
        with_sound(run.folder / "v.mp4", "libx264")
        run.content["files"] = {name: {"result": "v.mp4"} for name in run.content["videos"]}
    page = tmp_path / "index.html"
    assert write_page(page, runs, "videos") == 2
    # A canvas tells pixels of files to pages of files alone with this option.
    with Browser(tmp_path / "profile", height=600, options=["--allow-file-access-from-files"]) as browser:
        browser.open(page.as_uri())
        browser.until(PAINTED)
        assert browser.errors() == []
