"""Runs scripts and commands as users do, in forks of one process, so that imports are paid once.

It can kill a script at any of the moments at which it names a file or folder. Started as a program, it reads requests,
a line of JSON each, and answers each with two lines: process number and exit status.
"""

import atexit
import errno
import json
import os
import pathlib
import runpy
import select
import signal
import subprocess
import sys
from pathlib import Path

from paths import ROOT

SCRIPTS = ROOT / "script"
PATIENCE = 300
"""Seconds after which a script is killed."""


class ScriptRunner:
    """The process that runs scripts; a context manager."""

    def __init__(self, *imports: str, environment: dict[str, str] | None = None):
        """`imports`: modules to import once, besides those that all scripts need. They must not start threads."""
        self.imports, self.environment = imports, environment

    def __enter__(self) -> "ScriptRunner":
        # Without buffers, `select` sees every line that is not read.
        self._process = subprocess.Popen(
            [sys.executable, __file__, *self.imports], env=self.environment, bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        return self

    def __exit__(self, *error) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(self, script: str, *arguments, folder: Path, kill_at: int = 0, full_disk: bool = False) -> tuple[int, str]:
        """Run a script (a name in script/, or a path) in a folder; returns the exit status (-9: killed) and the output.

        kill_at: 2n - 1 kills it just before, 2n just after it names its n-th file or folder. full_disk: whatever it
        starts to write fails."""
        path = SCRIPTS / f"{script}.py" if not script.endswith(".py") else ROOT / script
        log = folder.with_name(f"{folder.name}.log")
        request = {"script": str(path), "arguments": [*map(str, arguments)], "folder": str(folder), "log": str(log)}
        self._process.stdin.write(json.dumps({**request, "kill_at": kill_at, "full_disk": full_disk}).encode() + b"\n")
        number = int(self._process.stdout.readline())
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            os.kill(number, signal.SIGKILL)
        status = int(self._process.stdout.readline())
        return status, log.read_text(encoding="utf-8")


def serve() -> None:
    """Answer requests until there are no more."""
    sys.path.insert(0, str(ROOT))
    import_what_scripts_need(sys.argv[1:])
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run_in_fork(json.loads(line))
        print(child, flush=True)
        status = os.waitpid(child, 0)[1]
        print(os.waitstatus_to_exitcode(status), flush=True)


def import_what_scripts_need(others: list[str]) -> None:
    """Import, and run nothing: threads do not survive a fork."""
    import av  # noqa: F401
    import cv2  # noqa: F401
    import tqdm  # noqa: F401

    for name in others:
        __import__(name)


def run_in_fork(request: dict) -> None:
    """Become the script."""
    os.chdir(request["folder"])
    output = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stderr.reconfigure(encoding="utf-8")
    if request["kill_at"]:
        kill_when_naming(request["kill_at"])
    if request["full_disk"]:
        fill_the_disk()
    sys.argv = [request["script"], *request["arguments"]]
    sys.path[:2] = [str(Path(request["script"]).parent)]
    status = 0
    try:
        runpy.run_path(request["script"], run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def kill_when_naming(moment: int) -> None:
    """Arrange for this process to be killed at one of the moments at which work becomes visible."""
    passed = 0

    def counted(function):
        def rename(*arguments, **named):
            nonlocal passed
            passed += 1
            if passed == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            function(*arguments, **named)
            passed += 1
            if passed == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        return rename

    os.replace, os.rename = counted(os.replace), counted(os.rename)
    if hasattr(pathlib, "_NormalAccessor"):  # Python 3.10 keeps these functions from when pathlib was imported
        pathlib._NormalAccessor.replace = staticmethod(os.replace)
        pathlib._NormalAccessor.rename = staticmethod(os.rename)


def fill_the_disk() -> None:
    """Let no folder of util.files be made any more in which something is to be written."""

    def refused(path, *arguments, make=os.mkdir, **named):
        if str(path).endswith(".part"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        make(path, *arguments, **named)

    os.mkdir = refused


if __name__ == "__main__":
    serve()
