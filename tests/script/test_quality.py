"""script/quality.py: rows that resume and count their time, and a page that says what was measured."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from paths import ROOT

from script import quality
from util.errors import RunError, UserError


@dataclass(frozen=True)
class Script(quality.Row):
    """A row that is trained by a line of Python."""

    line: str = ""

    @property
    def train(self) -> str:
        return f"python -c '{self.line}'"


@pytest.fixture
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_time_adds_up_over_attempts_and_failures_count(inside):
    busy = "import time; [None for _ in iter(lambda: time.process_time() < 0.2, False)]"
    with pytest.raises(RunError, match="failed, see above"):
        quality.trained(Script("mraa", "tiny", f"{busy}; raise SystemExit(3)"), again=False)
    attempt = quality.trained(Script("mraa", "tiny", busy), again=True)
    noted = [json.loads(line) for line in Path("result/mraa_tiny/cpu.jsonl").read_text().splitlines()]
    assert [one["status"] for one in noted] == [3, 0] and noted[1] == attempt
    assert all(0.2 <= one["seconds"] < 20 for one in noted)


def test_a_second_attempt_continues_the_run(inside):
    told = Script("mraa", "tiny", 'import sys, pathlib; pathlib.Path("told").write_text(str(sys.argv[1:]))')
    quality.trained(told, again=True)
    assert Path("told").read_text() == "['--continue_train']"
    assert quality.words_of("python train.py --name a")[0] == sys.executable


def test_the_page_shows_the_stored_numbers():
    known = json.loads(quality.NUMBERS.read_text())
    page = quality.PAGE.read_text(encoding="utf-8")
    assert known and quality.with_tables(page, known) == page, "run script/quality.py --table"
    assert "Not measured yet." in quality.with_tables(page, {})


def test_every_row_has_a_configuration_and_prints_its_commands():
    rows = {row.name: row for row in quality.all_rows()}
    assert all((ROOT / row.config).is_file() for row in rows.values())
    assert rows["fomm_small"].train.startswith(
        "python train.py --config configs/small/fomm.yaml --dataroot dataset/sample_128 "
    )
    assert "--protocol sample --drawn_truth" in rows["face_tiny"].measure
    assert "--protocol real" in rows["tps_real"].measure and "sample" not in rows["tps_real"].measure


def test_unknown_rows_and_missing_videos_are_reported():
    with pytest.raises(UserError, match="--rows abc: no such row; there are tps_tiny"):
        quality.chosen_rows("mraa_tiny, abc", has_videos=False)
    with pytest.raises(UserError, match="--real FOLDER"):
        quality.chosen_rows("mraa_real", has_videos=False)
    with pytest.raises(UserError, match="the marks <!-- drawn -->"):
        quality.filled("no marks", "drawn", "")
