"""Runs scripts as their users do, in forks of one process (started once, so that imports are paid once), and can kill
a script at any of the moments at which it gives a file or folder its name.

Started as a program, it reads requests, a line of JSON each, and answers with exit statuses."""

import errno
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
from pathlib import Path

from paths import ROOT

SCRIPTS = ROOT / "script"


class ScriptRunner:
    """The process that runs scripts; a context manager."""

    def __enter__(self) -> "ScriptRunner":
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *error) -> None:
        self._process.stdin.close()
        self._process.wait()

    def run(self, script: str, *arguments, folder: Path, kill_at: int = 0, full_disk: bool = False) -> tuple[int, str]:
        """Run a script in a folder; its exit status (-9 if it was killed) and what it wrote on both outputs.

        kill_at: 2n - 1 kills it just before, 2n just after it names its n-th file or folder. full_disk: whatever it
        begins to write fails."""
        log = folder.with_name(f"{folder.name}.log")
        request = {"script": script, "arguments": [*map(str, arguments)], "folder": str(folder), "log": str(log)}
        self._process.stdin.write(json.dumps({**request, "kill_at": kill_at, "full_disk": full_disk}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline()), log.read_text(encoding="utf-8")


def serve() -> None:
    """Answer requests until there are no more."""
    sys.path.insert(0, str(SCRIPTS.parent))
    import_what_scripts_need()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run_in_fork(json.loads(line))
        status = os.waitpid(child, 0)[1]
        print(os.waitstatus_to_exitcode(status), flush=True)


def import_what_scripts_need() -> None:
    """Import, and run nothing: threads do not survive a fork."""
    import av  # noqa: F401
    import cv2  # noqa: F401
    import tqdm  # noqa: F401


def run_in_fork(request: dict) -> None:
    """Become the script."""
    os.chdir(request["folder"])
    output = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stderr.reconfigure(encoding="utf-8")
    if request["kill_at"]:
        kill_when_naming(request["kill_at"])
    if request["full_disk"]:
        fill_the_disk()
    script = SCRIPTS / f"{request['script']}.py"
    sys.argv = [str(script), *request["arguments"]]
    status = 0
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
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
