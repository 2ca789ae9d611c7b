"""How commands end: with a line and a status for errors of users and machines, with a traceback for bugs."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from util.errors import RunError, UserError, full_disk, outcome, run_main


def from_full_disk() -> UserError:
    error = UserError("cannot write a.pth; --continue_train resumes")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    return error


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("--x 3: give less"), 2, "--x 3: give less"),
        (RunError("a process was killed"), 1, "a process was killed"),
        (PermissionError(13, "Permission denied", "/ro/a.csv"), 1, "/ro/a.csv: Permission denied"),
        (OSError(errno.EROFS, "Read-only file system", "out"), 1, "out: Read-only file system"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a.mp4"), 1,
            "a.mp4: No space left on device; make room and start the command again: what is complete is kept",
        ),
        (OSError("two\nlines"), 1, "two lines"),
        (OSError(), 1, "OSError"),
        (MemoryError("Unable to allocate 9 GiB"), 1, "there is not enough memory (Unable to allocate 9 GiB)"),
        (from_full_disk(), 1, "cannot write a.pth; --continue_train resumes"),
        (KeyError("x"), 1, None),
    ],
)  # fmt: skip
def test_errors_become_a_line_and_a_status(error, status, line, capsys):
    assert outcome(error) == (line, status)

    def main():
        raise error

    if line is None:
        with pytest.raises(KeyError):
            run_main(main)
        return
    with pytest.raises(SystemExit) as end:
        run_main(main)
    assert end.value.code == status and capsys.readouterr().err == f"error: {line}\n"


def test_debug_leaves_every_error_to_the_debugger(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script.py", "--debug"])

    def main():
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError):
        run_main(main)


def test_only_a_full_disk_is_one():
    assert full_disk(from_full_disk()) and full_disk(OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert not full_disk(PermissionError(13, "Permission denied")) and not full_disk(KeyError("x"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_output_that_cannot_be_written_and_readers_that_leave():
    program = "from util.errors import run_main\nrun_main(lambda: print('x' * {}))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program.format(10)], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1 and done.stderr.startswith("error: No space left on device"), done.stderr
    shell = f'{sys.executable} -c "{program.format(10**6)}" | head -c 1'
    done = subprocess.run(["bash", "-c", shell], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "x" and done.stderr == ""


def test_errors_escape_control_characters_of_files():
    """Lists of errors go on with lines that are set in; all else stays one line."""
    quoted = UserError("a\x1b[2J.png: chunk \0\r\nX\u202e \udcff\n  line 2: é")
    assert str(quoted) == "a\\x1b[2J.png: chunk \\x00\\r\\nX\\u202e \\xff\n  line 2: é"
