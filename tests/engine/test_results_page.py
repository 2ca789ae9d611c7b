"""The page of results as written: its content, and the effect of damaged files beside the results."""

import json
import logging

import numpy as np
import pytest
from browser import content_of
from running import run

from data.video import VideoWriter
from engine.records import Commands, Failures, Records
from engine.results_page import write_page
from util.page import Figure, Page

WITH = {"weights": "1", "options": "2"}


@pytest.fixture
def folder(tmp_path):
    """Results a.mp4 and b.mp4, which no page looks into."""
    for name in "ab":
        (tmp_path / f"{name}.mp4").touch()
        Records(tmp_path, WITH).add({"output": tmp_path / f"{name}.mp4", "frames": 2, "fps": "30000/1001"})
    return tmp_path


def shown_in(folder):
    return {one["name"]: one for one in content_of(folder / "index.html")["results"]}


def test_metrics_of_videos_and_frames_are_shown(folder):
    (folder / "metrics.csv").write_text("video,frame,l1,id/dlib\nother,0,0.25,\nother,1,inf,nan\nc,0,1,1\n")
    told = {"videos": {"other": {"l1": 0.5, "id/dlib": None}}, "files": {"other": {"result": "b.mp4"}},
            "protocol": {"weighting": "videos"}, "definitions": {"l1": {"better": "lower"}},
            "total": {"l1": {"frames": 0.4, "videos": 0.5, "missed": 0.125}},
            "controls": {"first frame repeated": {"l1": {"frames": 0.7, "videos": None}}}}  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(told))
    assert write_page(folder) == 2
    shown = shown_in(folder)
    assert shown["b.mp4"]["facts"] == {"frames": 2, "fps": "30000/1001", "l1": 0.5}
    assert shown["b.mp4"]["rate"] == pytest.approx(29.97, abs=0.01) and "curves" not in shown["a.mp4"]
    assert (folder / shown["b.mp4"]["curves"]).read_text() == 'showCurves({"l1": [0.25, null]});\n'
    assert len(list((folder / ".page" / "curves").iterdir())) == 1, "of videos that are not here none is kept"
    assert (
        "<dt>measured l1</dt><dd>0.5, missed in 12.5 % (first frame repeated 0.7)</dd>"
        in (folder / "index.html").read_text()
    )


def test_metrics_keep_their_names_by_which_results_are_ordered(folder):
    # Only the set of all results has a FID.
    told = {"videos": {"a": {"ms_ssim": 0.5}}, "total": {"fid": {"frames": 9.0}, "ms_ssim": {}},
            "definitions": {"fid": {"better": "lower"}, "ms_ssim": {"better": "higher"}}}  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(told))
    write_page(folder)
    content = content_of(folder / "index.html")
    assert content["order"] == "ms_ssim" and content["better"]["ms_ssim"] == "higher"
    assert "ms_ssim" in content["results"][0]["facts"]


def test_results_in_subfolders_have_different_names(tmp_path):
    for name in ("anna", "ben"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "talk.mp4").touch()
        Records(tmp_path, WITH).add({"output": tmp_path / name / "talk.mp4"})
    write_page(tmp_path)
    assert list(shown_in(tmp_path)) == ["anna/talk.mp4", "ben/talk.mp4"]


@pytest.mark.parametrize("name", ["metrics.json", "metrics.csv", "commands.jsonl"])
@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"[1]\n", b"", b'{"videos": 3}\n', b'{"videos": {"a": 1}}\n', b'video,frame,l1\n"a,0\n']
)
def test_damaged_files_beside_the_results_do_not_change_the_page(folder, name, content, caplog):
    (folder / name).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert write_page(folder) == 2
    assert list(shown_in(folder)) == ["a.mp4", "b.mp4"]


def test_the_last_of_equal_commands_counts(folder):
    commands = Commands(folder)
    for number in range(2):
        commands.add(WITH | {"command": f"first {number}", "differing": {}})
    commands.add({"weights": "3", "options": "2", "command": "other", "name": "mine", "differing": {"x": "<1>"}})
    assert [entry["command"] for entry in commands.entries()] == ["first 1", "other"]
    write_page(folder)
    page = (folder / "index.html").read_text()
    assert shown_in(folder)["a.mp4"]["made"] == 0 and "<h1>mine</h1>" in page and "<td>&lt;1&gt;</td>" in page


def test_a_folder_without_results_gets_no_page(tmp_path):
    assert write_page(tmp_path) == 0 and not list(tmp_path.iterdir())
    with Failures(tmp_path, (1, 1), 0, 1) as failures:
        failures.add({"name": "a", "output": tmp_path / "a.mp4"}, "broken")
    write_page(tmp_path)
    assert "<h2>1 failed</h2>" in (tmp_path / "index.html").read_text()


def test_nothing_in_a_name_ends_the_script_or_becomes_markup(tmp_path):
    name = '</script><b title="x">&'
    page = Page(name, {name: name}, [Figure(f"{name}.mp4", {name: name, "nan": float("nan")})]).html()
    (tmp_path / "index.html").write_text(page)
    (shown,) = content_of(tmp_path / "index.html")["results"]
    assert shown["facts"] == {name: name, "nan": "nan"} and "<b title" not in page
    assert page.count("</script>") == 2


def test_the_page_loads_nothing_from_other_servers(folder):
    write_page(folder)
    page = (folder / "index.html").read_text()
    assert "http://" not in page and "https://" not in page and "import(" not in page


def test_script_page_makes_missing_posters_and_adds_metrics(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 25) as writer:
        for _ in range(2):
            writer.write(np.full((64, 96, 3), 200, np.uint8))
    Records(tmp_path, WITH).add({"output": tmp_path / "a.mp4", "frames": 2, "fps": "25"})
    (tmp_path / "metrics.json").write_text(json.dumps({"videos": {"a": {"psnr": 31.0}}}))
    run(tmp_path, ".", script="script/page.py")
    (shown,) = shown_in(tmp_path).values()
    assert (shown["width"], shown["height"], shown["facts"]["psnr"]) == (96, 64, 31.0)
    assert (tmp_path / shown["poster"]).is_file()
    assert "no such folder" in run(tmp_path, "absent", script="script/page.py", status=2)
