"""results.jsonl and failures.csv: what a folder of results holds, and what is taken for made already."""

import csv
import os
from pathlib import Path

import pytest
import torch
from browser import content_of
from torch import nn

from engine.records import Failures, Records, begin_fingerprints, fingerprint_of_options, fingerprint_of_weights
from util.errors import UserError
from util.files import write_text
from util.page import Figure, Page

WITH = {"weights": "1", "options": "2"}


def result(folder, name="a.mp4"):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(b"video")
    return path


def test_a_result_is_known_again(tmp_path):
    output = result(tmp_path)
    Records(tmp_path, WITH).add({"output": output, "sources": "x"})
    assert Records(tmp_path, WITH).has(output, {"sources": "x"})
    assert not Records(tmp_path, WITH).has(tmp_path / "b.mp4", {})
    output.unlink()
    assert not Records(tmp_path, WITH).has(output, {"sources": "x"})
    assert Records(tmp_path, WITH).entries() == []


def test_results_of_damaged_videos_do_not_count_with_strict_video(tmp_path):
    output = result(tmp_path)
    Records(tmp_path, WITH).add({"output": output, "damaged": "b.mp4: 1 of 9 frames could be read"})
    assert Records(tmp_path, WITH).has(output, {}) and not Records(tmp_path, WITH).has(output, {}, whole=True)


@pytest.mark.parametrize(
    ("common_inputs", "inputs", "words"),
    [
        ({"weights": "9", "options": "2"}, {"sources": "x"}, "made with other weights"),
        ({"weights": "9", "options": "8"}, {"sources": "x"}, "made with other weights and options"),
        (WITH, {"sources": "y"}, "made with other sources"),
    ],
)
def test_results_of_the_same_name_are_distinguished(tmp_path, common_inputs, inputs, words):
    output = result(tmp_path)
    Records(tmp_path, WITH).add({"output": output, "sources": "x"})
    with pytest.raises(UserError, match=f"a.mp4 exists already, {words}: .*--overwrite.*--results_dir"):
        Records(tmp_path, common_inputs).has(output, inputs)


def test_a_result_is_known_from_everywhere_and_after_its_folder_was_moved(tmp_path, monkeypatch):
    output, outside = result(tmp_path / "made"), result(tmp_path, "b.mp4")
    (tmp_path / "link").symlink_to("made")
    monkeypatch.chdir(tmp_path)
    records = Records(Path("link"), WITH)
    records.add({"output": Path("link") / "a.mp4", "sources": "x"})
    records.add({"output": Path("b.mp4"), "sources": "x"})
    monkeypatch.chdir(tmp_path / "made")
    for folder in (Path(), tmp_path / "made", tmp_path / "link"):
        known = Records(folder, WITH)
        assert known.has(folder / "a.mp4", {"sources": "x"}) and known.has(outside, {"sources": "x"})
    (tmp_path / "made").rename(tmp_path / "moved")
    assert Records(tmp_path / "moved", WITH).has(tmp_path / "moved" / output.name, {"sources": "x"})


def test_a_file_of_unknown_origin_is_not_mistaken_for_a_result(tmp_path):
    with pytest.raises(UserError, match="no record tells how it was made"):
        Records(tmp_path, WITH).has(result(tmp_path), {})


def test_a_truncated_line_loses_only_that_line(tmp_path, caplog):
    first, second, third = (result(tmp_path, f"{name}.mp4") for name in "abc")
    records = Records(tmp_path, WITH)
    records.add({"output": first, "frames": 1})
    records.add({"output": second, "frames": 2})
    records.path.write_bytes(records.path.read_bytes()[:-20])
    records.add({"output": third, "frames": 3})
    assert [entry["frames"] for entry in Records(tmp_path, WITH).entries()] == [1, 3]
    assert "unreadable lines" in caplog.text


def test_the_last_line_of_a_result_counts_and_other_commands_do_not(tmp_path):
    output, other = result(tmp_path), result(tmp_path, "b.mp4")
    for frames in (1, 2):
        Records(tmp_path, WITH).add({"output": output, "frames": frames})
    Records(tmp_path, {**WITH, "options": "9"}).add({"output": other, "frames": 3})
    records = Records(tmp_path, WITH)
    assert [entry["frames"] for entry in records.entries()] == [2, 3]
    assert [entry["frames"] for entry in records.current_entries()] == [2]


def test_fingerprints_distinguish_weights_and_options():
    one, same, other = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
    same.load_state_dict(one.state_dict())
    told = [begin_fingerprints(network, {"a": 1}) for network in (one, same, other)]
    assert told[0]() == told[1]() and told[0]()["weights"] != told[2]()["weights"]
    assert told[0]()["weights"] == fingerprint_of_weights(one.state_dict())
    assert fingerprint_of_options({"a": 1, "b": [2]}) == fingerprint_of_options({"b": [2], "a": 1})
    assert fingerprint_of_options({"a": 1}) != fingerprint_of_options({"a": 2})


def test_failures_of_earlier_runs_are_removed_those_of_other_shards_stay(tmp_path):
    for shard, rank, world in (((1, 1), 0, 1), ((1, 2), 0, 1), ((2, 2), 0, 1), ((1, 1), 1, 2)):
        with Failures(tmp_path, shard, rank, world) as failures:
            failures.add({"name": "a"}, f"{shard} {rank}")
    assert len(list(tmp_path.glob("failures*.csv"))) == 4
    Failures(tmp_path, (1, 2), 0, 1).clear()
    assert not (tmp_path / "failures_1_of_2.csv").exists()
    with (tmp_path / "failures_2_of_2.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [list(Failures.COLUMNS), ["a", "", "", "", "", "(2, 2) 0"]]
    Failures(tmp_path, (1, 1), 0, 1).clear()
    assert not list(tmp_path.glob("failures*.csv"))


def test_failures_are_written_after_any_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), Failures(tmp_path, (1, 1), 0, 1) as failures:
        failures.add({"name": "a", "line": 2, "output": tmp_path / "in" / "a.mp4"}, "broken")
        raise KeyboardInterrupt
    (told,) = Failures.of_folder(tmp_path)
    assert told == {"name": "a", "line": "2", "source": "", "driving": "", "output": "in/a.mp4", "reason": "broken"}


def test_names_outside_utf_8_are_written_escaped(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    output = result(tmp_path, f"{name}.mp4")
    Records(tmp_path, WITH).add({"name": name, "output": output, "sources": name})
    assert Records(tmp_path, WITH).has(output, {"sources": name})
    with Failures(tmp_path, (1, 1), 0, 1) as failures:
        failures.add({"name": name, "output": output}, f"{name} is broken")
    (told,) = Failures.of_folder(tmp_path)
    assert told["output"] == r"caf\xe9.mp4" and told["reason"] == r"caf\xe9 is broken"
    page = Page(name, {"run": name}, [Figure(f"{name}.mp4", {"source": name})], [told | {"reason": name}])
    write_text(tmp_path / "index.html", page.html())
    (shown,) = content_of(tmp_path / "index.html")["results"]
    assert shown["file"] == "caf%E9.mp4" and shown["name"] == r"caf\xe9.mp4"
    assert shown["facts"] == {"source": r"caf\xe9"} and "<dd>caf\\xe9</dd>" in page.html()


def test_a_result_with_a_name_too_long_for_the_system_does_not_exist(tmp_path):
    write_text(tmp_path / "results.jsonl", f'{{"output": "{"x" * 300}.mp4"}}\n')
    assert Records(tmp_path, WITH).entries() == []


def test_fingerprints_are_computed_on_demand_from_the_initial_weights(tmp_path):
    network, asked = nn.Linear(2, 2), []
    before = fingerprint_of_weights(network.state_dict())
    told = begin_fingerprints(network, {})
    network.weight = nn.Parameter(torch.zeros(2, 2))
    assert told()["weights"] == before != fingerprint_of_weights(network.state_dict())
    records = Records(tmp_path, lambda: asked.append(1) or WITH)
    assert not records.has(tmp_path / "none.mp4", {}) and not asked
    for _ in range(2):
        records.add({"output": result(tmp_path)})
    assert len(asked) == 1 and Records(tmp_path, WITH).current_entries()
