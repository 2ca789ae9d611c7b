"""script/benchmark.py gpu on the CPU: parts are kept, failures reported, tables written between their markers."""

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from paths import ROOT
from running import environment

from script.benchmarks import gpu

PARTS = (
    gpu.Part("good", "A table", (sys.executable, "-c", "print('| a |\\n| - |\\n| 1 |')"), 30),
    gpu.Part("missed", "A bar", (sys.executable, "-c", "print('MISSED'); raise SystemExit(1)"), 30),
    gpu.Part("broken", "An error", (sys.executable, "-c", "1 / 0"), 30),
)


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "parts", lambda gpu_id: PARTS)
    monkeypatch.setattr(gpu, "DOCUMENT", tmp_path / "benchmarks.md")
    monkeypatch.setattr(gpu, "machine", lambda gpu_id: "A device")
    gpu.DOCUMENT.write_text(f"above\n{gpu.BEGIN}\nold\n{gpu.END}\nbelow\n")
    return SimpleNamespace(gpu_id=0, out=tmp_path / "out", parts=None, measure=None)


def test_finished_parts_are_not_run_again(arguments, capsys):
    assert gpu.run(arguments) == 1, "a bar is missed"
    (arguments.out / "good.txt").write_text("kept")
    gpu.run(arguments)
    assert (arguments.out / "good.txt").read_text() == "kept"
    assert "good: there already" in capsys.readouterr().out


def test_figures_go_between_the_marks(arguments):
    gpu.run(arguments)
    text = gpu.DOCUMENT.read_text()
    assert text.startswith(f"above\n{gpu.BEGIN}\nA device") and text.endswith(f"{gpu.END}\nbelow\n")
    assert "### A table\n\n| a |\n| - |\n| 1 |\n" in text and "### A bar\n\n```\nMISSED\n```" in text
    assert "old" not in text and "An error" not in text
    assert "ZeroDivisionError" in (arguments.out / "broken.failed").read_text()


def test_a_part_that_takes_too_long_is_stopped_and_run_again(arguments, monkeypatch):
    endless = (sys.executable, "-uc", "print('begun', flush=True); import time; time.sleep(60)")
    monkeypatch.setattr(gpu, "parts", lambda gpu_id: [replace(PARTS[0], command=endless, seconds=1)])
    assert gpu.run(arguments) == 1
    assert "stopped after 1 s" in (arguments.out / "good.failed").read_text()
    assert not (arguments.out / "good.txt").exists()


def test_a_trial_run_writes_no_document(arguments):
    arguments.gpu_id = -1
    gpu.run(arguments)
    assert "old" in gpu.DOCUMENT.read_text()


def test_the_script_measures_communication_on_the_cpu(tmp_path):
    command = ["bash", str(ROOT / "script" / "gpu_check.sh"), "--gpu_id=-1", "--parts=communication"]
    with_this_python = environment() | {"GRIMACE_VENV": sys.prefix}
    subprocess.run([*command, f"--out={tmp_path}"], check=True, env=with_this_python, capture_output=True, timeout=120)
    assert "gloo: 256 MiB in" in (tmp_path / "communication.txt").read_text()
