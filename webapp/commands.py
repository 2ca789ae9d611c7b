"""Commands that the app runs: it reads their progress from their output, and can stop them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from util.errors import RunError
from webapp.work import Stopped, Work

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 60
"""Seconds that a stopped command has to finish its step and save."""
POLL = 0.3
Probe = Callable[[], tuple[int, int | None]]
"""Finished and total units of work."""


def run_command(
    arguments: Sequence[str], work: Work, text: str, probe: Probe, log: Path, accepted: Sequence[int] = (0,)
) -> None:
    """Run a command, whose messages go to `log`, until it is over or the work is stopped; it must end with an
    `accepted` status."""
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as messages:
        # Its own process group, so that its children stop with it.
        process = subprocess.Popen(
            arguments, stdout=messages, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        while process.poll() is None:
            work.report(text, *probe())
            time.sleep(POLL)
    finally:
        _end(process)
    if process.returncode not in accepted:
        raise RunError(f"{arguments[1] if len(arguments) > 1 else arguments[0]} failed: {last_lines(log)}")


def _end(process: subprocess.Popen) -> None:
    """Let a running command finish its step; kill it if it does not."""
    if process.poll() is not None:
        return
    for number, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, None)):
        os.killpg(process.pid, number)
        try:
            process.wait(patience)
            return
        except subprocess.TimeoutExpired:
            continue


def last_lines(log: Path) -> str:
    """The errors of a command, or else its last lines."""
    lines = deque(log.read_text(encoding="utf-8", errors="replace").splitlines(), 200)
    errors = [line for line in lines if "error" in line.lower()]
    return "\n".join(errors[-2:] or list(lines)[-3:])


def step_of(run: Path, steps: int | None) -> tuple[int, int | None]:
    """The last reported step of a training run."""
    log = run / "log.jsonl"
    if not log.is_file():
        return 0, steps
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = [line for line in file.read().split(b"\n") if line.startswith(b"{") and line.endswith(b"}")]
    return (int(json.loads(lines[-1]).get("step", 0)) if lines else 0), steps


def lines_in(*files: Path) -> int:
    """The lines of those files that exist."""
    return sum(file.read_bytes().count(b"\n") for file in files if file.is_file())


__all__ = ["ROOT", "Stopped", "last_lines", "lines_in", "run_command", "step_of"]
