"""The batch runner: nothing is lost, what failed is named, and a second run finishes what the first began."""

import argparse
import csv
import errno
import os
import signal
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import pytest
from paths import ROOT

from data.preparation import jobs
from util.errors import UserError
from util.files import replacing_folder


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    jobs.add_options(parser)
    return parser.parse_args(words)


def make(number: int, out: Path) -> str | None:
    """An item's work; some of the items are bad in one of the ways items are."""
    if number == 3:
        os._exit(1)
    if number == 5:
        raise UserError("five is no number for us")
    if number == 6:
        raise KeyError("six")
    if number in (12, 13):
        try:
            raise OSError(errno.ENOSPC, "No space left on device", str(out))
        except OSError as error:
            if number == 12:
                raise
            raise UserError("cannot be written") from error
    if number == 7:
        return "half of it"
    if number == 8:
        warnings.warn("its end is missing", UserWarning, stacklevel=1)
    with replacing_folder(out / f"item{number}") as folder:
        (folder / "content").write_text(str(number))
        if number == 11:
            os.kill(os.getpid(), signal.SIGKILL)
    return None


def run(out: Path, numbers, *words: str) -> jobs.Summary:
    return jobs.run(
        partial(make, out=out),
        numbers,
        name=lambda number: f"item{number}",
        done=lambda number: (out / f"item{number}").is_dir(),
        output=lambda number: out / f"item{number}",
        title="make",
        args=options(*words),
        failures=out / "failures.csv",
    )


def reasons(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["item"]: row["reason"] for row in csv.DictReader(file)}


def expect_only_the_bad_ones_lost(out: Path, summary: jobs.Summary) -> None:
    assert sorted(summary.failed) == ["item3", "item5", "item6"]
    assert summary.warnings == {"item7": "half of it", "item8": "its end is missing"}
    assert summary.made == 7 and summary.status == 0
    told = reasons(out / "failures.csv")
    assert told["item5"] == "five is no number for us"
    assert told["item6"].startswith("KeyError: 'six' (test_jobs.py, line ")
    assert "out of memory" in told["item3"]
    assert {path.name for path in out.iterdir()} == {f"item{n}" for n in (0, 1, 2, 4, 8, 9)} | {"failures.csv"}


def test_a_killed_worker_and_raising_ones_lose_nothing_else(tmp_path):
    summary = run(tmp_path, range(10), "--workers", "2")
    expect_only_the_bad_ones_lost(tmp_path, summary)


def test_files_of_a_killed_worker_are_removed_within_the_run(tmp_path):
    summary = run(tmp_path, [11, 0], "--workers", "2")
    assert summary.failed == {"item11": jobs.KILLED}
    assert {path.name for path in tmp_path.iterdir()} == {"item0", "failures.csv"}


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_second_run_makes_only_missing_items(tmp_path, workers):
    run(tmp_path, [0, 1, 5], "--workers", "0")
    before = (tmp_path / "item0").stat().st_ino
    summary = run(tmp_path, [0, 1, 2], "--workers", workers)
    assert (summary.made, summary.done_before, summary.failed) == (1, 2, {})
    assert (tmp_path / "item0").stat().st_ino == before
    assert not (tmp_path / "failures.csv").exists(), "failures of an earlier run are not this run's"
    again = run(tmp_path, [0, 1, 2], "--workers", "0", "--overwrite")
    assert again.made == 3 and (tmp_path / "item0").stat().st_ino != before


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("number", [12, 13])
def test_a_full_disk_ends_the_run_instead_of_failing_every_item(tmp_path, workers, number):
    with pytest.raises(OSError, match="No space left") as caught:
        run(tmp_path, [number, *range(20, 90)], "--workers", workers)
    assert caught.value.errno == errno.ENOSPC
    assert len(list(tmp_path.glob("item*"))) < 70


def test_shards_share_the_items_and_keep_their_failures_apart(tmp_path):
    made = [run(tmp_path, [0, 1, 2, 4, 5, 9, 10], "--workers", "0", "--shard", f"{i}/3") for i in (1, 2, 3)]
    assert [summary.total for summary in made] == [3, 2, 2]
    assert {path.name for path in tmp_path.glob("item*")} == {f"item{n}" for n in (0, 1, 2, 4, 9, 10)}
    assert reasons(tmp_path / "failures.2-of-3.csv").keys() == {"item5"}
    assert run(tmp_path, [0], "--shard", "2/2").status == 0, "a shard without items is no error"


def test_the_status_is_an_error_only_if_nothing_is_usable(tmp_path):
    nothing = run(tmp_path, [5, 6], "--workers", "0")
    assert nothing.status == 1 and "2 failed" in str(nothing) and "failures.csv" in str(nothing)
    assert run(tmp_path, [0, 5], "--workers", "0").status == 0
    assert run(tmp_path, [0, 5], "--workers", "0").status == 0, "what an earlier run made is usable"


@pytest.mark.parametrize("words", [("--shard", "0/3"), ("--shard", "4/3"), ("--shard", "1"), ("--workers", "-1")])
def test_wrong_options_are_refused_with_an_example(words, capsys):
    with pytest.raises(SystemExit):
        options(*words)
    assert words[1] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--address", "tcp://127.0.0.1:1"), "--backend dask"),
        (("--backend", "dask"), "--address"),
    ],
)
def test_a_cluster_needs_both_its_options(tmp_path, words, hint):
    with pytest.raises(UserError, match=hint):
        run(tmp_path, [0], *words)


def test_slow_objects_are_built_once(tmp_path):
    built = []

    def build(name, size=1):
        built.append((name, size))
        return object()

    assert jobs.once(build, "dlib", size=2) is jobs.once(build, "dlib", size=2)
    assert jobs.once(build, "dlib", size=3) is not jobs.once(build, "dlib", size=2)
    assert built == [("dlib", 2), ("dlib", 3)]


def test_a_dask_cluster_of_two_workers_does_the_same(tmp_path):
    distributed = pytest.importorskip("distributed", reason="pip install -r requirements-cluster.txt")
    import cloudpickle
    import dask

    # The workers of a cluster know the project's modules, but not this one.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        with (
            dask.config.set({"distributed.scheduler.allowed-failures": 1}),
            distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        ):
            summary = run(tmp_path, range(10), "--backend", "dask", "--address", cluster.scheduler_address)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    expect_only_the_bad_ones_lost(tmp_path, summary)


SLOW_SCRIPT = """
import sys, time
from functools import partial
from pathlib import Path
sys.path.insert(0, {root!r})
from data.preparation import jobs
from util.errors import run_main
from util.files import replacing_folder
import argparse

def work(number):
    with replacing_folder(Path("out") / str(number)) as folder:
        for part in range(4):
            (folder / str(part)).write_text(str(number))
            time.sleep({pause})

def main():
    parser = argparse.ArgumentParser()
    jobs.add_options(parser)
    target = lambda number: Path("out") / str(number)
    return jobs.run(work, range(6), done=lambda n: target(n).is_dir(), output=target, title="slow",
        args=parser.parse_args(), failures=Path("failures.csv")).status

run_main(main)
"""


def test_a_run_killed_outright_is_finished_by_starting_it_again(tmp_path):
    root = str(ROOT)
    (tmp_path / "slow.py").write_text(SLOW_SCRIPT.format(root=root, pause=0.05))
    command = [sys.executable, "slow.py", "--workers", "2"]
    first = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_until(lambda: any(tmp_path.glob("out/[0-9]*")) or first.poll() is not None)
    first.kill()
    first.wait()
    made = len(list(tmp_path.glob("out/[0-9]*")))
    assert 0 < made < 6, "killed in the middle"
    assert subprocess.run(command, cwd=tmp_path, stderr=subprocess.DEVNULL).returncode == 0
    # Workers of the killed run may live on until their item is done.
    wait_until(lambda: not any(tmp_path.glob("out/.*")))
    found = {path.relative_to(tmp_path / "out").as_posix(): path.read_text() for path in tmp_path.glob("out/*/*")}
    assert found == {f"{number}/{part}": str(number) for number in range(6) for part in range(4)}


def wait_until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.02)
