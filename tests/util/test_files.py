"""Files and folders are written atomically; leftovers of dead processes are removed, and nothing else."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from paths import ROOT

from util import files
from util.files import AGE_LIMIT, is_hidden_below, remove_leftovers, replacing, replacing_folder, write_text


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def program(text: str, folder: Path) -> subprocess.Popen:
    """A process that runs a program with replacing and replacing_folder at hand."""
    begin = "import os, signal, sys, time\nfrom util.files import replacing, replacing_folder\n"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", begin + text], cwd=folder, env=environment, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def leave(folder: Path, name: str, days: float = 0) -> str:
    """Put a temporary folder of this name there, with a file that was last changed some days ago."""
    (folder / name).mkdir()
    (folder / name / "clip.mp4").write_text("half")
    moment = time.time() - days * 24 * 3600
    for path in (folder / name / "clip.mp4", folder / name):
        os.utime(path, (moment, moment))
    return name


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "new" / "a.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old" and names(target.parent) == {"a.txt"}
    mode = target.stat().st_mode
    (tmp_path / "plain").touch()
    assert mode == (tmp_path / "plain").stat().st_mode, "readable by whoever reads other files"


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "clip.1"
    with pytest.raises(RuntimeError), replacing_folder(target) as folder:
        (folder / "frame").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    for content in ("old", "new"):
        with replacing_folder(target) as folder:
            (folder / content).touch()
            assert not (target / content).exists()
    assert names(target) == {"new"} and names(tmp_path) == {"clip.1"}


def test_a_folder_replaces_neither_a_file_nor_a_link(tmp_path):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("file", "link"):
        with pytest.raises(NotADirectoryError), replacing_folder(tmp_path / name) as folder:
            (folder / "frame").touch()
    assert names(tmp_path) == {"file", "elsewhere", "link"} and (tmp_path / "file").read_text() == "kept"


def test_temporary_names_tell_host_and_process_and_are_never_shared(tmp_path):
    """Two containers have processes of the same number: those of one number do not disturb each other."""
    with replacing(tmp_path / "a.txt") as one, replacing(tmp_path / "a.txt") as other:
        assert one.parent != other.parent
        for temporary in (one, other):
            assert temporary.name == "a.txt", "some writers put the name into the file"
            assert temporary.parent.name.startswith(f".{socket.gethostname()[:8]}")
            assert f".{os.getpid()}-" in temporary.parent.name
            temporary.write_text(temporary.parent.name)
    assert (tmp_path / "a.txt").read_text() == one.parent.name, "named last"


def test_other_users_cannot_plant_links_for_temporary_files(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "shared"
    folder.mkdir()
    for name in (f".a.{os.getpid()}.part.txt", ".a.txt", "a.txt"):
        (folder / name).symlink_to(victim)
    with replacing(folder / "a.txt") as temporary:
        assert temporary.parent.stat().st_mode & 0o777 == 0o700
        assert not temporary.parent.is_symlink() and not os.path.lexists(temporary)
        temporary.write_text("ours")
    assert victim.read_text() == "precious"
    assert (folder / "a.txt").read_text() == "ours" and not (folder / "a.txt").is_symlink()


def test_errors_of_the_system_name_the_target(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught, replacing(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.txt")
    with pytest.raises(OSError) as caught, replacing(tmp_path / "b.txt"):
        pass  # nothing was written
    assert caught.value.filename == str(tmp_path / "b.txt")
    with pytest.raises(OSError) as caught, replacing_folder("/dev/null/a"):
        pass
    assert caught.value.filename == "/dev/null"


@pytest.mark.parametrize("kind", ["replacing", "replacing_folder"])
def test_leftovers_of_killed_processes_are_removed_before_a_write(tmp_path, kind):
    killed = program(f"with {kind}('a.txt') as path:\n os.kill(os.getpid(), signal.SIGKILL)", tmp_path)
    killed.communicate()
    (left,) = names(tmp_path)
    assert f".{killed.pid}-" in left
    # Not yet waited for by its parent, a process is there and dead all the same.
    zombie = program(f"with {kind}('a.txt') as path:\n os.kill(os.getpid(), signal.SIGKILL)", tmp_path)
    zombie.stdout.read()
    other = program("with replacing('b.txt') as path:\n path.touch()", tmp_path)
    other.communicate()
    assert names(tmp_path) == {"b.txt"}
    zombie.communicate()


def test_files_of_live_processes_are_kept(tmp_path):
    text = "with replacing('a.txt') as path:\n path.write_text('whole')\n print('ready', flush=True)\n input()"
    living = program(text, tmp_path)
    assert living.stdout.readline() == "ready\n"
    with replacing(tmp_path / "own.txt") as own:
        own.write_text("ours")
        remove_leftovers(tmp_path)
        assert len(names(tmp_path)) == 2 and own.exists()
    living.communicate("\n")
    assert names(tmp_path) == {"a.txt", "own.txt"}


def test_a_later_process_with_the_same_pid_is_distinguished(tmp_path):
    """In a container each run has the number of the one before it."""
    mine = f".{files._host()}.{os.getpid()}"
    kept = leave(tmp_path, f"{mine}-{files._start_of(os.getpid())}.abcdefgh.part")
    leave(tmp_path, f"{mine}-1.abcdefgh.part")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == {kept}


def test_files_of_other_hosts_are_kept_until_they_are_old(tmp_path, dead):
    days = AGE_LIMIT / 24 / 3600
    kept = leave(tmp_path, f".other-0123abcd.{dead}-5.abcdefgh.part", days=days - 1)
    # Begun long ago, but still written to.
    lives = leave(tmp_path, f".other-0123abcd.{dead}-6.abcdefgh.part", days=days + 1)
    (tmp_path / lives / "frames").mkdir()
    (tmp_path / lives / "frames" / "000000.png").touch()
    leave(tmp_path, f".other-0123abcd.{dead}-7.abcdefgh.part", days=days + 1)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == {kept, lives}


def test_equal_names_in_another_container_or_after_a_restart_are_another_host(monkeypatch):
    here = files._host.__wrapped__()
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda self, **named: read(self, **named) + "x")
    assert files._host.__wrapped__() != here


def test_leftovers_of_earlier_versions_go_and_files_of_others_stay(tmp_path, dead):
    for name in (f".a.{dead}.part.png", f".b#000#010.{dead}.part.mp4", f".c.{os.getpid()}.part"):
        (tmp_path / name).touch()
    (tmp_path / f".folder.1.{dead}.part" / "frames").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f".link.{dead}.part").symlink_to(tmp_path / "elsewhere")
    kept = [f".a.{os.getppid()}.part.png", ".a", "a.part", f"a.{dead}.part.mp4", f".{dead}.partial", ".x.part.mp4"]
    for name in kept:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == {*kept, "elsewhere"}


def test_leftovers_that_cannot_be_removed_do_not_stop_the_run(tmp_path, dead, monkeypatch):
    monkeypatch.setattr(files.shutil, "rmtree", refuse)
    leave(tmp_path, f".{files._host()}.{dead}-1.abcdefgh.part")
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "absent")


def refuse(path):
    raise PermissionError(13, "Permission denied", str(path))


def test_hidden_files_are_ignored():
    assert is_hidden_below(Path("/x/.tmp.part/a.mp4"), Path("/x")) and is_hidden_below(Path("/x/.a.mp4"), Path("/x"))
    assert not is_hidden_below(Path("/.home/a.mp4"), Path("/.home"))
