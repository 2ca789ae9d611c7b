"""The stream of training batches: every sample once per epoch, shared out, resumable, tolerant of damage."""

import errno
import gc
import itertools
import os
import socket
import subprocess
import sys
from collections import Counter
from functools import partial
from multiprocessing import resource_sharer
from types import SimpleNamespace

import pytest
import torch
from paths import ROOT
from toys import ToyData

from data.loading.bad_samples import BadSamples
from data.loading.sampler import (
    EndlessSampler,
    SeededSamples,
    endless_batches,
    explain_lost_workers,
    print_unless_disconnected,
    training_batches,
)
from util.errors import RunError, UserError


def taken(sampler, batches):
    return list(itertools.chain.from_iterable(itertools.islice(iter(sampler), batches)))


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("parts", [1, 2])
def test_every_sample_once_per_epoch(world, parts):
    size, batch = 20, 12
    steps = 3 * size // batch  # three epochs exactly
    keys = [taken(EndlessSampler(size, batch, rank=r, world=world, parts=parts), steps * parts) for r in range(world)]
    counts = Counter(itertools.chain.from_iterable(keys))
    assert counts == {(epoch, index): 1 for epoch in range(3) for index in range(size)}


def test_processes_share_the_same_steps():
    alone = taken(EndlessSampler(20, 6), 4)
    shared = [taken(EndlessSampler(20, 6, rank=rank, world=3), 4) for rank in range(3)]
    for step in range(4):
        together = [key for part in shared for key in part[2 * step : 2 * step + 2]]
        assert together == alone[6 * step : 6 * step + 6]


def test_epochs_differ_and_seeds_too():
    first, second = (taken(EndlessSampler(50, 50), 2)[part] for part in (slice(50), slice(50, 100)))
    assert [index for _, index in first] != [index for _, index in second]
    assert taken(EndlessSampler(50, 50, seed=1), 1) != taken(EndlessSampler(50, 50, seed=2), 1)


@pytest.mark.parametrize("start", [0, 8, 20, 44])
def test_resuming_continues_the_stream(start):
    assert taken(EndlessSampler(20, 4, start=start), 5) == taken(EndlessSampler(20, 4), 16)[start : start + 20]


def test_an_indivisible_batch_is_reported():
    with pytest.raises(UserError, match="--batch_size 10.*3 processes x 1 micro-batches.*multiple of 3"):
        EndlessSampler(20, 10, world=3)


def data(samples=20, bad=-1):
    return ToyData(SimpleNamespace(samples=samples, bad_sample=bad), True)


def batches(dataset, tmp_path, count, workers=0, share=0.5, **options):
    bad = BadSamples(tmp_path / "bad_samples.txt", len(dataset), share)
    sampler = EndlessSampler(len(dataset), 4, **options)
    return list(itertools.islice(endless_batches(dataset, sampler, workers=workers, bad_samples=bad), count))


def test_samples_do_not_depend_on_workers(tmp_path):
    alone = batches(data(), tmp_path, 6)
    torch.rand(9)
    shared = batches(data(), tmp_path, 6, workers=2)
    for one, other in zip(alone, shared, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in "xyz")


def test_random_choices_change_with_the_epoch_and_leave_the_generators_alone():
    samples = SeededSamples(data(), seed=0)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one, other, again = samples[0, 5][0], samples[1, 5][0], samples[0, 5][0]
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(one["y"], again["y"]) and not torch.equal(one["y"], other["y"])


def test_a_damaged_sample_is_logged_once_and_replaced(tmp_path):
    got = batches(data(bad=3), tmp_path, 15, workers=1)
    assert all(batch["x"].shape == (4, 1, 2, 3) for batch in got)
    assert (tmp_path / "bad_samples.txt").read_text() == "sample 3: faces/3.png: damaged\n"


class Raising(ToyData):
    """Some samples raise errors of a kind, each with a text of its own every time."""

    def __init__(self, error, bad, samples=20):
        super().__init__(SimpleNamespace(samples=samples, bad_sample=-1), True)
        self.error, self.bad, self.count = error, bad, itertools.count()

    def __getitem__(self, index):
        if index in self.bad:
            raise self.error(f"it {next(self.count)}")
        return super().__getitem__(index)

    def sample_name(self, index):
        return f"faces/{index}.png"


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("error", [IndexError, ZeroDivisionError, RuntimeError, StopIteration])
@pytest.mark.slow
def test_any_error_of_a_sample_makes_it_a_bad_sample(tmp_path, error, workers):
    """Named and counted once though its message changes; its origin follows the first of its kind."""
    got = batches(Raising(error, {3, 7}), tmp_path, 15, workers=workers, share=0.1)
    assert all(batch["x"].shape == (4, 1, 2, 3) for batch in got)
    text = (tmp_path / "bad_samples.txt").read_text()
    lines = text.splitlines()
    listed = [line for line in lines if not line.startswith(" ")]
    assert sorted(line.split(": ")[:3] for line in listed) == [
        ["sample 3", "faces/3.png", error.__name__], ["sample 7", "faces/7.png", error.__name__]
    ]  # fmt: skip
    assert all("(test_sampler.py, line " in line for line in listed)
    assert text.count("Traceback (most recent call last)") == 1 and "    Traceback" in lines[1]
    with pytest.raises(UserError, match=r"(?s)2 bad samples exceed --max_bad.*bad_samples.txt has the file and line"):
        batches(Raising(error, {3, 7}), tmp_path, 15, workers=workers, share=0.05)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_every_sample_stops_the_run_and_is_shown(tmp_path, workers):
    dataset = Raising(KeyError, range(1000), samples=1000)
    with pytest.raises(RunError, match=r"bug in the dataset mode") as caught:
        batches(dataset, tmp_path, 1, workers=workers, share=1)
    assert "KeyError: 'it 0' (test_sampler.py, line " in str(caught.value)
    assert 'raise self.error(f"it {next(self.count)}")' in str(caught.value), "the line of the program"


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (partial(MemoryError), "there is not enough memory.*--nThreads"),
        (partial(OSError, errno.ENOSPC, "No space left on device"), "No space left on device"),
        (partial(OSError, errno.EMFILE, "Too many open files"), "Too many open files"),
        (partial(RuntimeError, "[enforce fail] DefaultCPUAllocator: can't allocate memory:"), "not enough memory"),
    ],
)
@pytest.mark.slow
def test_missing_resources_are_not_bad_samples(tmp_path, error, words, workers):
    with pytest.raises(RunError, match=words) as caught:
        batches(Raising(error, {3}), tmp_path, 15, workers=workers, share=1)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "bad_samples.txt").exists()


def test_too_many_open_files_are_not_a_bad_sample(tmp_path):
    class Reader(ToyData):
        def __getitem__(self, index):
            try:
                raise OSError(errno.EMFILE, "Too many open files")
            except OSError as error:
                raise UserError(f"{index}.npz: cannot be read") from error

    with pytest.raises(RunError):
        batches(Reader(SimpleNamespace(samples=30, bad_sample=-1), True), tmp_path, 1, share=1)


def test_workers_do_not_collect_objects_of_the_parent(tmp_path):
    """A decoder of videos that is closed in another process than its own waits for ever."""

    class Used:
        def __del__(self):
            with (tmp_path / "closed_by").open("a") as file:
                file.write(f"{os.getpid()}\n")

    class Collecting(ToyData):
        def __getitem__(self, index):
            gc.collect()
            return super().__getitem__(index)

    one, other = Used(), Used()
    one.other, other.other = other, one
    gc.disable()
    try:
        del one, other
        batches(Collecting(SimpleNamespace(samples=20, bad_sample=-1), True), tmp_path, 2, workers=1)
    finally:
        gc.enable()
    assert (tmp_path / "closed_by").read_text() == f"{os.getpid()}\n" * 2


def test_debug_raises_unexpected_errors(tmp_path):
    with pytest.raises(ZeroDivisionError):
        SeededSamples(Raising(ZeroDivisionError, {3}), seed=0, debug=True)[0, 3]
    sample, problems = SeededSamples(data(bad=3), seed=0, debug=True)[0, 3]
    assert sample and problems


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("DataLoader worker (pid 7) is killed by signal: Killed. ", "out of memory: .*--nThreads, now 4"),
        ("DataLoader worker (pid(s) 7, 8) exited unexpectedly", "out of memory: .*--nThreads, now 4"),
        ("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible", "shared memory.*--nThreads.*shm"),
        ("DataLoader worker (pid 7) is killed by signal: Segmentation fault. ", r"crashed \(Segmentation fault\)"),
        ("DataLoader worker (pid 7) exited unexpectedly with exit code 3. Details", r"crashed \(exit code 3\)"),
    ],
)
def test_a_lost_worker_is_reported_in_one_line(said, words):
    with pytest.raises(RunError, match=words) as caught, explain_lost_workers(4):
        raise RuntimeError(said)
    assert "\n" not in str(caught.value) and "--continue_train" in str(caught.value)
    with pytest.raises(RuntimeError, match="another"), explain_lost_workers(4):
        raise RuntimeError("another")


def test_too_many_damaged_samples_stop_with_the_list(tmp_path):
    with pytest.raises(UserError, match=r"exceed --max_bad.*\n  sample 3: faces/3.png"):
        batches(data(bad=3), tmp_path, 15, share=0.01)


class Broken(ToyData):
    """Every sample is damaged."""

    def __getitem__(self, index):
        raise UserError(f"{index}.png: damaged")


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_but_damage_is_an_error_at_once(tmp_path, workers):
    with pytest.raises(UserError, match="none of these samples") as caught:
        batches(Broken(SimpleNamespace(samples=30, bad_sample=-1), True), tmp_path, 1, workers=workers)
    assert "Traceback" not in str(caught.value)


def test_a_program_exits_although_an_error_references_its_workers(tmp_path):
    """Workers are deaf to the signal by which Python ends them; they held up the end of the program for ever."""
    program = f"""
import sys
from pathlib import Path
sys.path[:0] = ["tests", "tests/data/loading"]
from test_sampler import data
from data.loading.bad_samples import BadSamples
from data.loading.sampler import EndlessSampler, endless_batches
bad_samples = BadSamples(Path({str(tmp_path)!r}), 20, 1)
stream = endless_batches(data(), EndlessSampler(20, 4), workers=2, bad_samples=bad_samples)
next(stream)
print("ready")
sys.exit(2)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stdout == "ready\n", done.stderr
    assert not done.stderr


def test_a_dataset_smaller_than_the_batch_is_an_error(tmp_path):
    with pytest.raises(UserError, match="--batch_size 4 exceeds the 3 samples"):
        batches(data(samples=3), tmp_path, 1)


def test_weights_set_how_often_samples_are_drawn():
    weights = [0.0, *[1.0] * 9, 9.0]
    keys = taken(EndlessSampler(11, 11, weights=weights), 400)
    counts = Counter(index for _, index in keys)
    assert counts[0] == 0 and counts[10] / len(keys) == pytest.approx(0.5, abs=0.03)
    resumed = taken(EndlessSampler(11, 11, weights=weights, start=22), 2)
    shared = [taken(EndlessSampler(11, 22, weights=weights, rank=rank, world=2), 2) for rank in (0, 1)]
    assert resumed == keys[22:44] and [*shared[0][:11], *shared[1][:11]] == keys[:22]


@pytest.mark.parametrize("weights", [[1.0], [0.0] * 3, [1.0, -1.0, 1.0], [1.0, float("nan"), 1.0]])
def test_invalid_weights_are_reported(weights):
    with pytest.raises(UserError, match=r"weights\(\): expected 3 numbers"):
        EndlessSampler(3, 3, weights=weights)


class Ragged(ToyData):
    """Samples of several lengths, which its own `collate` fills up; the later half is never drawn."""

    def __getitem__(self, index):
        return {"x": torch.full((index % 3 + 1,), float(index))}

    def collate(self, samples):
        return {"x": torch.nn.utils.rnn.pad_sequence([sample["x"] for sample in samples], batch_first=True)}

    def weights(self):
        return [1.0] * 10 + [0.0] * 10


@pytest.mark.parametrize("workers", [0, 1])
def test_a_dataset_brings_its_own_batches_and_weights(tmp_path, workers):
    stream = training_batches(
        Ragged(SimpleNamespace(samples=20, bad_sample=-1), True), batch_size=4, start=0, seed=0, rank=0, world=1,
        accumulate=1, workers=workers, pin_memory=False, bad_samples=BadSamples(tmp_path / "bad.txt", 20, 0),
    )  # fmt: skip
    seen = [next(stream)["x"] for _ in range(8)]
    stream.close()
    assert all(len(batch) == 4 and batch.max() < 10 for batch in seen)
    assert {2, 3} <= {batch.shape[1] for batch in seen}, "padded to the longest of a batch"


def test_a_worker_whose_parent_drops_a_connection_prints_nothing(monkeypatch, capsys):
    """A worker serves its tensors from a thread; the parent may end in the middle of a handshake with it."""
    monkeypatch.setattr(sys, "excepthook", print_unless_disconnected)
    served = resource_sharer.DupFd(sys.__stdin__.fileno())
    with socket.socket(socket.AF_UNIX) as parent:
        parent.connect(served._id[0])
    resource_sharer.stop(timeout=60)  # waits for the thread
    assert capsys.readouterr().err == ""


def test_a_worker_prints_other_errors(monkeypatch, capsys):
    print_unless_disconnected(ValueError, ValueError("a mistake"), None)
    assert "ValueError: a mistake" in capsys.readouterr().err
