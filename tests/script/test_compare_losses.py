"""script/compare_losses.py: where two runs part, and its exit status."""

import json
import runpy
import sys

import pytest
from paths import ROOT

from script.compare_losses import compare, difference, losses_of, missing, read_losses
from util.errors import UserError

ENTRY = {"step": 1, "epoch": 0.1, "samples_per_second": 3.0, "memory_gib": 1.0, "lr/gen": 1e-3, "gradient/gen": 2.0,
         "val/l1": 0.1, "l1": 0.5, "visible": 0.25, "weights": {"min": 0.0, "max": 1.0}}  # fmt: skip


def written(folder, entries):
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    return folder


def run(*arguments):
    sys.argv = ["compare_losses.py", *map(str, arguments)]
    return runpy.run_path(str(ROOT / "script" / "compare_losses.py"))["main"]()


def test_losses_and_logged_numbers_alone_are_compared():
    assert losses_of(ENTRY) == {"l1": 0.5, "visible": 0.25}


def test_equal_runs_are_equal(tmp_path, capsys):
    one, other = (written(tmp_path / name, [ENTRY, ENTRY | {"step": 2}]) for name in "ab")
    assert run(one, other / "log.jsonl") == 0
    assert "equal within 1e-05 in 2 steps" in capsys.readouterr().out


def test_the_first_diverging_step_is_reported(tmp_path, capsys):
    entries = [ENTRY | {"step": step} for step in range(1, 6)]
    one = written(tmp_path / "a", entries)
    apart = [entry | {"l1": 0.5 + 1e-4 * (step > 2), "visible": 0.25 + 1e-2 * (step > 3)}
             for step, entry in enumerate(entries, 1)]  # fmt: skip
    other = written(tmp_path / "b", apart)
    assert run(one, other) == 1
    output = capsys.readouterr().out
    assert "they diverge at step 3 (l1), by more than 1e-05" in output
    assert [line.split()[3] for line in output.splitlines()[1:3]] == ["3", "4"]
    assert run(one, other, "--tolerance=1e-3") == 1 and run(one, other, "--tolerance=0.1") == 0


def test_losses_of_only_one_run_are_reported(tmp_path, capsys):
    one = written(tmp_path / "a", [ENTRY])
    other = written(tmp_path / "b", [{name: value for name, value in ENTRY.items() if name != "visible"}])
    assert run(one, other) == 1 and "only one of the two has: visible" in capsys.readouterr().out
    assert missing(read_losses(one), read_losses(one)) == []


def test_nan_differs_from_numbers():
    nan = float("nan")
    assert difference(nan, nan) == 0 and difference(1.0, nan) == difference(nan, 1.0) == float("inf")
    assert difference(0.0, 1e-9) == pytest.approx(1e-6) and difference(-2.0, 2.0) == 2
    (found,) = compare({1: {"l1": nan}, 2: {"l1": 1.0}}, {1: {"l1": nan}, 2: {"l1": nan}})
    assert found.parts_at == 2
    assert losses_of({"l1": None, "gan": "-inf"}) == pytest.approx({"l1": nan, "gan": -float("inf")}, nan_ok=True)


def test_runs_that_cannot_be_compared_are_refused(tmp_path):
    one, other = written(tmp_path / "a", [ENTRY]), written(tmp_path / "b", [ENTRY | {"step": 7}])
    with pytest.raises(UserError, match="no loss at the same step"):
        run(one, other)
    with pytest.raises(UserError, match="neither a run with a log.jsonl"):
        run(tmp_path / "gone", other)
    (tmp_path / "empty.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="contains no losses"):
        run(tmp_path / "empty.jsonl", other)
