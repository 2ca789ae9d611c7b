"""Readers on damaged files (script/fuzz.py), and that its watch sees what it is to see."""

import os
import signal
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from paths import ROOT
from running import environment

from script.fuzz import run_all
from script.fuzzing import damage, oddities
from script.fuzzing.target import Target, digest
from script.fuzzing.watch import FAULT, READ, REFUSED, Limits, fuzz, mutations
from util.errors import UserError

WHOLE = b"whole: " + bytes(range(64))


def test_no_reader_has_a_fault(tmp_path):
    command = [sys.executable, str(ROOT / "script" / "fuzz.py"), "all", "--count", "20", "--out", str(tmp_path / "out")]
    made = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stdout + made.stderr
    assert len(made.stdout.splitlines()) > 50 and not (tmp_path / "out").exists()


def no_name(path):
    raise UserError("it is damaged")


def two_lines(path):
    raise UserError(f"{path}: it is\n  damaged\n  or not") from None


def hidden(path):
    try:
        return len(bytes(2 << 30))
    except MemoryError as error:
        raise UserError(f"{path}: damaged") from error


def half(path):
    warnings.warn("Cannot allocate memory", stacklevel=1)


FAULTS = {
    "KeyError: 'x'": lambda path: {}["x"],
    "is refused without its name: it is damaged": no_name,
    "asks for more memory than there is": hidden,
    "MemoryError": lambda path: len(bytes(2 << 30)),
    "asks for more memory than there is: Cannot allocate": half,
    "ends the process (SIGSEGV)": lambda path: os.kill(os.getpid(), signal.SIGSEGV),
    "ends the process (exit status 3)": lambda path: os._exit(3),
    "hangs for more than 0.3 s": lambda path: time.sleep(60),
}


@pytest.mark.parametrize("says", FAULTS)
def test_faults_are_seen_kept_and_passed(tmp_path, says, capsys):
    """In the second of three files: the others are read, by another process where the first one died."""

    def read(path):
        return FAULTS[says](path) if path.read_bytes() == b"bad" else None

    target = Target("planted", "case.bin", lambda folder: [WHOLE], read)
    limits = Limits(0.3 if "hangs" in says else 60, 0.5)
    case = lambda wholes, number: (b"bad" if number == 1 else b"good", False)  # noqa: E731
    report = fuzz(target, case, range(3), tmp_path, limits)
    assert report.counts == {FAULT: 1, READ: 2} and report.faults[1].startswith(says)
    assert (tmp_path / "planted-1.case.bin").read_bytes() == b"bad"
    assert (tmp_path / "planted-1.txt").read_text().startswith(says)


def test_accepted_outcomes(tmp_path):
    case = lambda wholes, number: (b"bad", False)  # noqa: E731

    def read(path):
        if path.read_bytes() == b"bad":
            two_lines(path)

    report = fuzz(Target("planted", "a.bin", lambda folder: [WHOLE], read), case, range(3), tmp_path / "out")
    assert report.counts == {REFUSED: 3} and not (tmp_path / "out").exists()


def test_damage_revealed_by_checksums_is_never_read(tmp_path):
    target = Target("planted", "case.bin", lambda folder: [WHOLE], lambda path: path.read_bytes(), checked=True)
    report = fuzz(target, mutations(target, 0), range(5), tmp_path)
    assert report.counts[FAULT] >= 4 and "another content" in next(iter(report.faults.values()))


def test_valid_files_must_be_read(tmp_path):
    target = Target("planted", "case.bin", lambda folder: [WHOLE], no_name)
    with pytest.raises(RuntimeError, match="planted: cannot make and read the undamaged files(.|\n)*it is damaged"):
        fuzz(target, mutations(target, 0), range(5), tmp_path)


def test_faults_make_the_exit_status(tmp_path, capsys):
    args = SimpleNamespace(file=None, first=0, count=2, seed=0, seconds=60, gigabytes=1, out=tmp_path)
    fine = Target("fine", "a", lambda folder: [WHOLE], lambda path: None)
    bad = Target("bad", "a", lambda folder: [WHOLE], lambda path: path.read_bytes() == WHOLE or 1 / 0)
    assert run_all([fine], args) == 0 and run_all([fine, bad], args) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
    args.file = tmp_path / "bad-0.a"
    assert run_all([bad], args) == 1


def test_a_seed_damages_in_the_same_ways():
    target = Target("a", "a", lambda folder: [WHOLE], lambda path: None)
    first, again, other = ([mutations(target, seed)([WHOLE], n) for n in range(20)] for seed in (1, 1, 2))
    assert first == again != other and sum(content != WHOLE for content, _ in first) > 15


@pytest.mark.parametrize("value", [{"a": [1, {"b": "x"}]}, [np.arange(6.0).reshape(2, 3)], ("a", 3)])
def test_oddities_differ_from_valid_files(value):
    rng = np.random.default_rng(0)
    assert sum(digest(oddities.odd(rng, value)) != digest(value) for _ in range(40)) > 30


def test_damage_within_a_png_keeps_its_checksums_valid(tmp_path):
    from script.fuzzing.pictures import _png

    rng, contents = np.random.default_rng(0), _png(tmp_path)
    made = [damage.in_png(rng, contents[0], lambda part: part + b"\0") for _ in range(5)]
    from data.video.images import _check_png

    for content in made:
        path = tmp_path / "a.png"
        path.write_bytes(content)
        with path.open("rb") as file:
            file.seek(8)
            _check_png(file)
    assert contents[0] not in made
