"""The commands of the README as subprocesses: training, stopping, killing, continuing, several processes."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from paths import ROOT
from running import environment, killed_when_naming, run, start

pytestmark = pytest.mark.slow
TOY = ["--model=tests.toys:Joint", "--gpu_id=-1", "--batch_size=4", "--nThreads=1", "--print_every=5"]


def weights(folder, name="latest-checkpoint.pth.tar"):
    content = torch.load(folder / name)
    del content["epoch"]
    return {f"{network}.{key}": value for network, state in content.items() for key, value in state.items()}


def assert_same(one, other, tolerance=0.0):
    assert one.keys() == other.keys()
    for key in one:
        assert torch.allclose(one[key], other[key], rtol=0, atol=tolerance), key


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 40 steps that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    output = run(folder, *TOY, "--steps=40", "--name=a", "--save_every=7", "--pictures_every=20", "--verbose")
    return folder / "result" / "a", output


def test_a_run_leaves_weights_options_log_and_pictures(whole):
    folder, output = whole
    names = {path.name for path in folder.iterdir()}
    assert {"latest-checkpoint.pth.tar", "latest_training.pth", "options.yaml", "log.jsonl", "pictures"} <= names
    assert [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()][-1] == 40
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == ["00000020.png", "00000040.png"]
    assert "40/40" in output and "samples/s" in output and "waiting for data" in output
    assert re.search(r"^\w+, \d+ parameters:\nSequential\(", output, re.MULTILINE), "--verbose lists the networks"


def test_the_same_seed_gives_the_same_weights(whole, tmp_path):
    run(tmp_path, *TOY, "--steps=40", "--name=b", "--nThreads=0")
    assert_same(weights(whole[0]), weights(tmp_path / "result" / "b"))


def test_two_processes_give_the_same_weights(whole, tmp_path):
    output = run(tmp_path, *TOY, "--gpu_id=-1,-1", "--steps=40", "--name=b", "--accumulate=2")
    assert "on 2 x CPU" in output
    assert_same(weights(whole[0]), weights(tmp_path / "result" / "b"), 1e-5)


def test_a_process_killed_under_torchrun_and_continued_with_another_number(whole, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    arguments = [*TOY, "--steps=40", "--name=b", "--save_every=1", "--print_every=1"]
    launcher = subprocess.Popen(
        [*torchrun, str(ROOT / "train.py"), *arguments], cwd=tmp_path, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    log = tmp_path / "result" / "b" / "log.jsonl"
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) >= 10, launcher, patience=120)
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    launcher.communicate(timeout=120)
    assert launcher.returncode != 0 and len(log.read_text().splitlines()) < 40
    run(tmp_path, *arguments, "--continue_train")
    assert_same(weights(whole[0]), weights(tmp_path / "result" / "b"), 1e-5)


def test_killed_at_random_moments_and_continued_bit_for_bit(whole, tmp_path):
    """kill -9 after random numbers of logged steps, four times; the end is as if nothing had happened."""
    moments = random.Random(0)
    arguments = [*TOY, "--steps=40", "--name=b", "--save_every=1", "--print_every=1", "--continue_train"]
    log = tmp_path / "result" / "b" / "log.jsonl"
    (tmp_path / "result" / "b").mkdir(parents=True)
    for _ in range(4):
        process = start(tmp_path, *arguments)
        begin = len(log.read_text().splitlines()) if log.exists() else 0
        more = moments.randrange(1, 8)
        wait_until(lambda b=begin, m=more: log.exists() and len(log.read_text().splitlines()) >= b + m, process)
        time.sleep(moments.random() * 0.02)
        process.kill()
        process.communicate()
    (log.parent / f".00000007-checkpoint.pth.{process.pid}.part.tar").touch()
    output = run(tmp_path, *arguments)
    assert "resuming" in output
    assert_same(weights(whole[0]), weights(tmp_path / "result" / "b"))
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == list(range(1, 41))
    assert not list((tmp_path / "result" / "b").glob(".*.part*"))


def test_files_of_a_killed_test_run_are_removed_by_the_next(whole, tmp_path):
    arguments = ["--model=tests.toys:Joint", "--gpu_id=-1", f"--checkpoint={whole[0]}", "--results_dir=."]
    killed_when_naming(tmp_path, 1, "test.py", *arguments)
    assert list(tmp_path.glob(".*.part")), "killed while it wrote"
    run(tmp_path, *arguments, script="test.py")
    assert {path.name for path in tmp_path.iterdir()} == {
        "toy.mp4",
        "index.html",
        "results.jsonl",
        "commands.jsonl",
        ".page",
    }


def wait_until(condition, process, patience=60):
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("processes", ["-1", "-1,-1"])
def test_a_signal_finishes_the_step_and_saves(tmp_path, number, processes):
    arguments = [*TOY, "--steps=1000000", "--name=b", "--save_every=1000000", f"--gpu_id={processes}"]
    process = start(tmp_path, *arguments)
    log = tmp_path / "result" / "b" / "log.jsonl"
    wait_until(lambda: log.exists() and log.read_text(), process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    saved = torch.load(tmp_path / "result" / "b" / "latest_training.pth", weights_only=False)["clock"]["step"]
    assert saved >= 5 and f"stopped at step {saved}" in output
    assert "Traceback" not in output


def test_a_failing_process_ends_all_with_its_message(tmp_path):
    output = run(tmp_path, *TOY, "--gpu_id=-1,-1", "--steps=9", "--name=b", "--spoil_at=3", status=1)
    assert "loss not finite at step 3: l1 = nan" in output
    assert "Traceback" not in output


def test_a_refusal_of_the_main_process_is_the_only_message(tmp_path):
    output = run(tmp_path, *TOY, "--gpu_id=-1,-1", "--steps=9", "--checkpoints_dir=/dev/null", status=2)
    assert output.count("cannot write into /dev/null/") == 1 and "Traceback" not in output


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(tmp_path):
    output = run(tmp_path, *TOY, "--steps=9", "--name=b", "--spoil_at=7", "--save_every=2", status=1)
    assert "loss not finite at step 7: l1 = nan" in output
    state = torch.load(tmp_path / "result" / "b" / "latest_training.pth", weights_only=False)
    assert state["clock"]["step"] == 6
    run(tmp_path, *TOY, "--steps=9", "--name=c", "--spoil_at=7", "--on_nan=skip")


@pytest.mark.parametrize(
    ("spoilt", "raised"),
    [
        ("--spoil_at=2", "NotFinite: loss not finite at step 2"),
        ("--bad_sample=1", "UserError: 1 bad samples exceed --max_bad"),
    ],
)
def test_debug_leaves_errors_to_a_debugger(tmp_path, spoilt, raised):
    command = [sys.executable, "-m", "pdb", str(ROOT / "train.py"), *TOY, "--steps=9", "--max_bad=0", spoilt, "--debug"]
    typed = "continue\np __import__('torch').is_anomaly_enabled()\nquit\nquit\n"
    output = subprocess.run(
        command, cwd=tmp_path, env=environment(), input=typed, text=True, timeout=120, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ).stdout  # fmt: skip
    assert re.search(raised, output) and "Entering post mortem debugging" in output, output
    assert "(Pdb) True" in output, "anomaly detection is off"
    options = yaml.safe_load((tmp_path / "result" / "toys" / "options.yaml").read_text())
    assert options["nThreads"] == 0, "a debugger does not see loader processes"


STOPPING = """
from tests.toys import Joint, ToyData


class Stopping(Joint):
    def training_step(self, batch, clock):
        breakpoint()
        yield from super().training_step(batch, clock)


class StoppingData(ToyData):
    def __getitem__(self, index):
        breakpoint()
        return super().__getitem__(index)
"""


def stopping(folder, *arguments, typed):
    (folder / "stopping.py").write_text(STOPPING)
    command = [sys.executable, str(ROOT / "train.py"), *TOY, "--steps=2", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment(), input=typed, text=True, timeout=120, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_a_breakpoint_in_a_training_step_stops_there_and_explains_debug(tmp_path):
    done = stopping(tmp_path, "--model=stopping:Stopping", "--nThreads=1", typed="p clock.step\nc\np clock.step\nc\n")
    assert done.returncode == 0, done.stdout
    assert "(Pdb) 0" in done.stdout and "(Pdb) 1" in done.stdout
    assert re.search(r"breakpoint\(\) in .*stopping.py, line 7: --debug loads the data in this process", done.stdout)


def test_a_breakpoint_in_a_loading_process_explains_how_to_get_a_debugger(tmp_path):
    data = "--dataset_mode=stopping:StoppingData"
    done = stopping(tmp_path, data, "--nThreads=1", typed="")
    assert done.returncode == 1 and "Traceback" not in done.stdout, done.stdout
    assert re.search(r"error: .*breakpoint\(\) in .*stopping.py, line 13: a debugger cannot run", done.stdout)
    assert "--debug" in done.stdout
    stopped = stopping(tmp_path, data, "--debug", "--batch_size=1", typed="p index\nq\n")
    assert re.search(r"\(Pdb\) \d+", stopped.stdout), stopped.stdout


def test_debug_is_for_one_process(tmp_path):
    output = run(tmp_path, *TOY, "--steps=9", "--gpu_id=-1,-1", "--debug=yes", status=2)
    assert "--debug works in one process: choose one device, e.g. --gpu_id=-1" in output


def test_samples_that_cannot_be_read_end_the_run_and_its_workers(tmp_path):
    """Status 2 within the time of `run`, which also waits for workers, as they hold the other end of its pipe."""
    (tmp_path / "DATA").mkdir()
    for name in ("one.mp4", "two.mp4"):
        (tmp_path / "DATA" / name).write_bytes(b"no video")
    arguments = ["--dataset_mode=frames", "--dataroot=DATA", "--steps=1", "--num_repeats=20"]
    output = run(tmp_path, *TOY, *arguments, status=2)
    assert "none of these samples could be read" in output and "Traceback" not in output


def test_a_killed_loading_process_is_reported_in_one_line(tmp_path):
    output = run(tmp_path, *TOY, "--steps=9", "--nThreads=2", "--killing_sample=3", status=1)
    told = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and "memory" in told[0] and "--nThreads, now 2" in told[0] and "--continue_train" in told[0]
    assert "Traceback" not in output


def test_starting_over_is_refused_and_init_from_starts_a_new_run(whole, tmp_path):
    run(tmp_path, *TOY, "--steps=2", "--name=b")
    output = run(tmp_path, *TOY, "--steps=2", "--name=b", status=2)
    assert "contains a run already" in output and "--continue_train" in output
    before = weights(tmp_path / "result" / "b")
    run(tmp_path, *TOY, "--steps=1", "--name=b", f"--init_from={whole[0] / 'latest-checkpoint.pth.tar'}")
    state = torch.load(tmp_path / "result" / "b" / "latest_training.pth", weights_only=False)
    assert state["clock"]["step"] == 1
    assert_same(before, weights(tmp_path / "result" / "b" / "previous_1"))
    gap = (weights(tmp_path / "result" / "b")["generator.0.weight"] - weights(whole[0])["generator.0.weight"]).abs()
    assert 0 < gap.max() < 0.02, "one step away from where it was started"


def test_the_best_checkpoint(tmp_path):
    run(tmp_path, *TOY, "--steps=20", "--name=b", "--save_every=5", "--keep=1", "--best_by=l1")
    folder = tmp_path / "result" / "b"
    assert (folder / "best-checkpoint.pth.tar").is_file()
    values = [json.loads(line)["l1"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert json.loads((folder / "best.json").read_text())["value"] == pytest.approx(min(values))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stepz=3"], "Did you mean --steps"),
        (["--steps=many"], "not a whole number"),
        (["--batch_size=50", "--steps=1"], "exceeds the 20 samples"),
        (["--batch_size=5", "--accumulate=2", "--steps=1"], "multiple of 2"),
        ([], "the length of training is unknown"),
        (["--steps=1", "--init_from=absent.pth"], "no such file"),
        (["--steps=1", "--continue_train", "--name=never"], "no run"),
        (["--steps=1", "--best_by=l7"], "choose from the losses l1, gan, hinge"),
        (["--steps=1", "--checkpoints_dir=/dev/null"], "--checkpoints_dir: cannot write into /dev/null/"),
    ],
)
def test_bad_input_ends_with_status_2_and_no_traceback(tmp_path, arguments, words):
    output = run(tmp_path, *TOY, *arguments, status=2)
    assert words in output and "Traceback" not in output
