"""The endless stream of training batches: seeded, resumable, split over processes; bad samples are replaced."""

import atexit
import gc
import random
import re
import signal
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler, default_collate

from data.base import Mixture
from data.loading.bad_samples import BadSamples, Problem, problem_of
from util.debugging import guard_breakpoints
from util.errors import RunError, UserError
from util.memory import keep_freed_memory

BAD = "_bad_samples"
"""Key of a batch's problems with bad samples; the only key if no good sample replaced them."""


class EndlessSampler(Sampler):
    """Batches of (epoch, index) without end: every epoch is a new permutation, and epochs follow without a gap.

    A step's samples are consecutive in this stream; process r takes the r-th part of them and cuts it into
    micro-batches. What is trained on therefore depends neither on processes nor on where a run was interrupted.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        start: int = 0,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        parts: int = 1,
        weights: Sequence[float] | None = None,
        mixture: Mixture | None = None,
    ):
        """`weights`: how often each sample is drawn, in proportion, with replacement; None: each once per epoch.

        `mixture`: the samples are those of several datasets, in shares; each goes through its own epochs.
        """
        if batch_size % (world * parts):
            raise UserError(
                f"--batch_size {batch_size} is not divisible by {world} processes x {parts} micro-batches "
                f"(--accumulate); use a multiple of {world * parts}"
            )
        self.size, self.batch_size, self.start, self.seed = size, batch_size, start, seed
        self.rank, self.world, self.parts = rank, world, parts
        self.shares, self.mixture = _shares(weights, size), mixture

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        share = self.batch_size // self.world
        part = share // self.parts
        position = self.start + self.rank * share
        stream = _MixedStream(self.mixture, self.seed) if self.mixture else _Stream(self.size, self.seed, self.shares)
        while True:
            for offset in range(0, share, part):
                yield [stream[position + offset + i] for i in range(part)]
            position += self.batch_size


class _Stream:
    """Random access to the endless stream of (epoch, index)."""

    def __init__(self, size: int, seed: int | tuple[int, ...], shares: np.ndarray | None = None):
        self.size, self.seed, self.shares = size, seed if isinstance(seed, tuple) else (seed,), shares
        self._epoch, self._order = -1, None

    def __getitem__(self, position: int) -> tuple[int, int]:
        epoch, index = divmod(position, self.size)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._draw(np.random.default_rng((*self.seed, epoch)))
        return epoch, int(self._order[index])

    def _draw(self, random: np.random.Generator) -> np.ndarray:
        """The samples of an epoch in order."""
        if self.shares is None:
            return random.permutation(self.size)
        return random.choice(self.size, self.size, p=self.shares)


class _MixedStream:
    """Random access to the endless stream of several datasets.

    Every block has the same number of samples of each dataset, in an order of its own, so that shares are exact and
    the sample at any position is known without those before it.
    """

    def __init__(self, mixture: Mixture, seed: int):
        self.block, self.seed = mixture.block, seed
        self._starts = np.cumsum([0, *mixture.sizes[:-1]])
        self._streams = [
            _Stream(size, (seed, 1, number), _shares(weights, size))
            for number, (size, weights) in enumerate(zip(mixture.sizes, mixture.weights, strict=True))
        ]
        self._number = -1
        self._datasets = np.repeat(np.arange(len(self.block)), self.block)
        self._earlier = np.zeros_like(self._datasets)

    def __getitem__(self, position: int) -> tuple[int, int]:
        number, place = divmod(position, len(self._datasets))
        if number != self._number:
            self._begin(number)
        dataset = int(self._datasets[place])
        epoch, index = self._streams[dataset][number * self.block[dataset] + int(self._earlier[place])]
        return epoch, int(self._starts[dataset]) + index

    def _begin(self, number: int) -> None:
        """The order of a block: the dataset of each sample, and how many of that dataset come before it."""
        in_turn = np.repeat(np.arange(len(self.block)), self.block)
        self._number, self._datasets = number, np.random.default_rng((self.seed, 2, number)).permutation(in_turn)
        for dataset in range(len(self.block)):
            chosen = self._datasets == dataset
            self._earlier[chosen] = np.arange(chosen.sum())


def _shares(weights: Sequence[float] | None, size: int) -> np.ndarray | None:
    """Weights as probabilities; None: there are none."""
    if weights is None:
        return None
    given = np.asarray(weights, np.float64)
    if given.shape != (size,) or not np.isfinite(given).all() or (given < 0).any() or not given.any():
        raise UserError(f"weights(): expected {size} numbers >= 0, at least one above 0; found {given.size} numbers")
    return given / given.sum()


class SeededSamples:
    """A dataset whose samples depend on (seed, epoch, index) alone; a bad one is replaced by the next good one.

    With `debug`, unexpected errors are raised at once.
    """

    TRIES = 20

    def __init__(self, dataset: Any, seed: int, debug: bool = False):
        self.dataset, self.seed, self.debug = dataset, seed, debug

    def __getitem__(self, key: tuple[int, int]) -> tuple[dict[str, Any] | None, list[Problem]]:
        """A sample (None if all tries were bad), and the problems of the bad samples before it."""
        epoch, index = key
        problems = []
        for attempt in range(min(self.TRIES, len(self.dataset))):
            candidate = (index + attempt) % len(self.dataset)
            try:
                with seeded(self.seed, epoch, candidate):
                    return self.dataset[candidate], problems
            except Exception as error:
                problem = problem_of(candidate, self._name(epoch, candidate), error)
                if self.debug and problem.raised_at:
                    raise
                problems.append(problem)
                if problem.ends_run:
                    break
        return None, problems

    def _name(self, epoch: int, index: int) -> str:
        """The files of a sample, found with the same random choices."""
        with seeded(self.seed, epoch, index):
            return self.dataset.sample_name(index)


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Seed all random generators within a block, and restore their states afterwards."""
    saved = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    words = np.random.SeedSequence([number & 0xFFFFFFFF for number in numbers]).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    torch.random.default_generator.manual_seed(int(words[2]))
    try:
        yield
    finally:
        random.setstate(saved[0])
        np.random.set_state(saved[1])
        torch.random.set_rng_state(saved[2])


def training_batches(
    dataset: Any,
    *,
    batch_size: int,
    start: int,
    seed: int,
    rank: int,
    world: int,
    accumulate: int,
    workers: int,
    pin_memory: bool,
    bad_samples: BadSamples,
    debug: bool = False,
) -> Iterator[dict[str, Any]]:
    """The batches of a run from sample number `start` on; a step takes `accumulate` of them."""
    sampler = EndlessSampler(
        len(dataset), batch_size, start=start, seed=seed, rank=rank, world=world, parts=accumulate,
        weights=dataset.weights(), mixture=dataset.mixture(),
    )  # fmt: skip
    return endless_batches(
        dataset, sampler, workers=workers, bad_samples=bad_samples, pin_memory=pin_memory, debug=debug,
        collate=dataset.collate,
    )  # fmt: skip


def endless_batches(
    dataset: Any,
    sampler: EndlessSampler,
    *,
    workers: int,
    bad_samples: BadSamples,
    pin_memory: bool = False,
    collate: Callable = default_collate,
    debug: bool = False,
) -> Iterator[dict[str, Any]]:
    """The batches of a sampler, loaded by worker processes."""
    if sampler.size < sampler.batch_size:
        raise UserError(
            f"--batch_size {sampler.batch_size} exceeds the {sampler.size} samples of the dataset; use a smaller "
            f"one, or repeat the data (--num_repeats, if the dataset mode has it)"
        )
    loader = DataLoader(
        SeededSamples(dataset, sampler.seed, debug),
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=_Collate(collate),
        pin_memory=pin_memory,
        worker_init_fn=_init_worker,
        persistent_workers=workers > 0,
    )
    gc.collect()  # for the workers: see _init_worker
    batches = iter(loader)
    if workers:
        atexit.register(_end_workers_of, weakref.ref(batches))
    try:
        for batch in batches:
            problems = batch.pop(BAD)
            if not batch:
                raise bad_samples.all_bad_error(problems)
            bad_samples.add(problems)
            yield batch
    finally:
        if workers:
            _end_workers(batches)


@contextmanager
def explain_lost_workers(workers: int) -> Iterator[None]:
    """Turn PyTorch's error about a killed worker, which can surface anywhere in the main thread, into one line."""
    try:
        yield
    except RuntimeError as error:
        if not re.match(r"DataLoader worker \(pid", str(error)):
            raise
        raise RunError(_lost_worker_message(str(error), workers)) from error


def _lost_worker_message(message: str, workers: int) -> str:
    resume_hint = "--continue_train resumes from the last checkpoint"
    if "Bus error" in message:
        return (
            f"a data loading process ran out of shared memory: use fewer (--nThreads, now {workers}), or enlarge it "
            f"(/dev/shm; in Docker --shm-size). {resume_hint}"
        )
    crash = re.search(r"killed by signal: (?!Killed)(.+?)\.? *$|(exit code \d+)", message)
    if crash:
        return (
            f"a data loading process crashed ({crash[1] or crash[2]}): --debug loads data in the main process and "
            f"shows where. {resume_hint}"
        )
    return (
        f"the system killed a data loading process, probably out of memory: use fewer (--nThreads, now {workers}), "
        f"smaller samples or batches, or a machine with more memory. {resume_hint}"
    )


def _end_workers_of(batches: weakref.ref) -> None:
    """End the workers of a loader that is still alive at exit, for example kept by a traceback."""
    if (loading := batches()) is not None:
        _end_workers(loading)


def _end_workers(loading: Any) -> None:
    """End a loader's workers, even those that no longer get its messages.

    That happens if the loader is garbage collected together with its queues, and to workers that wait for a lock of a
    killed one. Workers ignore SIGTERM (_init_worker), so the program would wait for them forever.
    """
    loading._shutdown_workers()
    for worker in loading._workers:
        if worker.is_alive():
            worker.kill()


class _Collate:
    """Batches samples and collects the problems of the bad samples that they replace."""

    def __init__(self, collate: Callable):
        self.collate = collate

    def __call__(self, loaded: list[tuple[dict | None, list[Problem]]]) -> dict[str, Any]:
        for sample, problems in loaded:
            if sample is None:
                return {BAD: problems}
        batch = self.collate([sample for sample, _ in loaded])
        return batch | {BAD: [problem for _, problems in loaded for problem in problems]}


def _init_worker(worker: int) -> None:
    """Keep freed memory, ignore signals meant for the parent and the connections that it drops, and never collect
    objects inherited from it.

    Every sample needs as much memory as the one before: new pages took half of the time of collating one.

    Ctrl-C reaches the whole process group; only the parent acts on it, after the current step. A decoder of the parent,
    garbage collected here, would wait forever for its threads, which do not exist in this process.
    """
    gc.freeze()
    keep_freed_memory()
    guard_breakpoints(alone=False)
    sys.excepthook = print_unless_disconnected
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def print_unless_disconnected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An excepthook that is silent about lost connections.

    Python's thread that hands tensors to the parent prints what it cannot handle. When a killed worker interrupts the
    parent, that may be a connection of another worker; the parent reports the killed one.
    """
    if not issubclass(kind, (EOFError, ConnectionError)):
        sys.__excepthook__(kind, error, trace)
