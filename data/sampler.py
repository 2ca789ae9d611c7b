"""The endless stream of training batches: seeded, resumable, shared out over processes, with damage replaced."""

import atexit
import logging
import random
import signal
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler, default_collate

from util.errors import UserError
from util.printable import printable

BAD = "_bad_samples"
"""Key under which a batch carries the messages of damaged samples from the workers; alone where none replaced them."""

log = logging.getLogger(__name__)


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
    ):
        if batch_size % (world * parts):
            raise UserError(
                f"--batch_size {batch_size} can't be shared out over {world} processes x {parts} micro-batches "
                f"(--accumulate); take a multiple of {world * parts}"
            )
        self.size, self.batch_size, self.start, self.seed = size, batch_size, start, seed
        self.rank, self.world, self.parts = rank, world, parts

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        share = self.batch_size // self.world
        part = share // self.parts
        position = self.start + self.rank * share
        stream = _Stream(self.size, self.seed)
        while True:
            for offset in range(0, share, part):
                yield [stream[position + offset + i] for i in range(part)]
            position += self.batch_size


class _Stream:
    """Random access to the endless stream of (epoch, index)."""

    def __init__(self, size: int, seed: int):
        self.size, self.seed = size, seed
        self._epoch, self._order = -1, None

    def __getitem__(self, position: int) -> tuple[int, int]:
        epoch, place = divmod(position, self.size)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, np.random.default_rng((self.seed, epoch)).permutation(self.size)
        return epoch, int(self._order[place])


class SeededSamples(torch.utils.data.Dataset):
    """A dataset whose samples depend on (seed, epoch, index) alone; a damaged one is replaced by the next good one."""

    TRIES = 20

    def __init__(self, dataset: torch.utils.data.Dataset, seed: int):
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[dict[str, Any] | None, list[str]]:
        """A sample, or None where all tried were damaged, and what is wrong with those before it."""
        epoch, index = key
        problems = []
        for attempt in range(min(self.TRIES, len(self.dataset))):
            candidate = (index + attempt) % len(self.dataset)
            try:
                with seeded(self.seed, epoch, candidate):
                    return self.dataset[candidate], problems
            except (UserError, OSError) as error:
                problems.append(f"sample {candidate}: {error}")
        return None, problems


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Run a block with all random generators seeded from some numbers; afterwards they are as before."""
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


class BadSamples:
    """Counts damaged samples, lists them in a file, and stops the run when they are too many."""

    def __init__(self, path: Path, size: int, share: float):
        self.path, self.allowed = path, share * size
        self.seen: set[str] = set()

    def add(self, problems: list[str]) -> None:
        """Take note of new ones."""
        for problem in problems:
            if problem in self.seen:
                continue
            self.seen.add(problem)
            log.warning("damaged, replaced by another: %s", problem)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(printable(problem) + "\n")
        if len(self.seen) > self.allowed:
            listed = "\n  ".join(sorted(self.seen)[:20])
            raise UserError(
                f"{len(self.seen)} samples are damaged, more than --max_bad allows; they are listed in {self.path}. "
                f"Mend or remove them:\n  {listed}"
            )


def endless_batches(
    dataset: torch.utils.data.Dataset,
    sampler: EndlessSampler,
    *,
    workers: int,
    bad_samples: BadSamples,
    pin_memory: bool = False,
    collate: Callable = default_collate,
) -> Iterator[dict[str, Any]]:
    """The batches of a sampler, loaded by worker processes."""
    if sampler.size < sampler.batch_size:
        raise UserError(
            f"--batch_size {sampler.batch_size} is more than the {sampler.size} samples of the dataset; "
            "take a smaller one, or repeat the data (--num_repeats, where the dataset mode has it)"
        )
    loader = DataLoader(
        SeededSamples(dataset, sampler.seed),
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=_Collate(collate),
        pin_memory=pin_memory,
        worker_init_fn=_leave_signals_to_the_parent,
        persistent_workers=workers > 0,
    )
    batches = iter(loader)
    if workers:
        atexit.register(_end_workers, weakref.ref(batches))
    for batch in batches:
        problems = batch.pop(BAD)
        if not batch:
            raise UserError("none of these samples could be read:\n  " + "\n  ".join(problems))
        bad_samples.add(problems)
        yield batch


def _end_workers(batches: weakref.ref) -> None:
    """End the workers of a loader that is still there when the program ends, as that of an error's traceback may be.

    The SIGTERM that they would get then is not for them (_leave_signals_to_the_parent), and would be waited for.
    """
    if (loading := batches()) is not None:
        loading._shutdown_workers()


class _Collate:
    """Batches samples and gathers the messages of the damaged ones that they replace."""

    def __init__(self, collate: Callable):
        self.collate = collate

    def __call__(self, loaded: list[tuple[dict | None, list[str]]]) -> dict[str, Any]:
        for sample, problems in loaded:
            if sample is None:
                return {BAD: problems}
        batch = self.collate([sample for sample, _ in loaded])
        return batch | {BAD: [problem for _, problems in loaded for problem in problems]}


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C reaches the whole process group; only the parent shall act on it, after the step it is in."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
