"""Being asked to stop: once means soon and orderly, twice means now."""

import os
import signal
import subprocess
import sys

import pytest
from paths import ROOT

from engine.signals import StopRequest


def test_the_first_signal_is_noted_and_the_second_ends_at_once(monkeypatch):
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with StopRequest() as stop:
        assert stop.signal is None and stop.status == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM and stop.status == 143 and not ended
        os.kill(os.getpid(), signal.SIGINT)
        assert ended == [130]


def test_a_launcher_that_passes_the_signal_on_does_not_count_as_a_second_one(monkeypatch):
    """Ctrl-C reaches torchrun and its processes; torchrun then sends SIGTERM to them as well."""
    monkeypatch.setattr(os, "_exit", lambda status: pytest.fail("ended at once"))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGINT


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_sigterm_leaves_no_half_written_file(tmp_path):
    program = (
        "import sys, time; from engine.signals import unwind_at_sigterm; from util.files import replacing\n"
        "unwind_at_sigterm()\n"
        "with replacing(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half'); print('ready', flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "video.mp4")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())
