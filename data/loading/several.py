"""Several datasets as one: training samples in fixed shares, test clips one dataset after the other."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

from data.base import Clip, Job, Mixture
from data.loading.wrapped import Wrapped


class Several(Wrapped):
    """The datasets of one mode in several folders; everything but samples and clips comes from the first one.

    An epoch is as many samples as there are in all of them. Without shares each comes once in it; with shares each
    dataset goes through epochs of its own.
    """

    def __init__(
        self, datasets: Sequence[Any], roots: Sequence[Path], *, training: bool, block: Sequence[int] = ()
    ):  # fmt: skip
        """`block`: samples of each dataset among so many in a row; (): every sample once in an epoch."""
        super().__init__(datasets[0])
        self.datasets, self.block = list(datasets), tuple(block)
        self.labels = _labels(roots)
        sizes = [len(dataset) for dataset in datasets] if training else []
        self._starts = [0, *accumulate(sizes)]
        for dataset, start in zip(datasets, self._starts, strict=False):
            dataset.first_item = start

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        dataset, own = self._find(index)
        return dataset[own]

    def sample_name(self, index: int) -> str:
        """What a sample is made from."""
        dataset, own = self._find(index)
        return dataset.sample_name(own)

    def _find(self, index: int) -> tuple[Any, int]:
        """The dataset of a sample, and the sample's number there."""
        number = bisect_right(self._starts, index) - 1
        return self.datasets[number], index - self._starts[number]

    def item_names(self) -> Sequence[str] | None:
        """The names of all samples; duplicates of earlier datasets get their folder as a prefix."""
        names: dict[str, None] = {}
        for dataset, label in zip(self.datasets, self.labels, strict=True):
            own = dataset.item_names()
            if own is None:
                return None
            names |= dict.fromkeys(f"{label}/{name}" if name in names else name for name in own)
        return list(names)

    def weights(self) -> Sequence[float] | None:
        """Without shares: those of all datasets that have some; the samples of others weigh 1."""
        own = [dataset.weights() for dataset in self.datasets]
        if self.block or all(weights is None for weights in own):
            return None
        filled = (
            [1.0] * len(dataset) if weights is None else weights
            for dataset, weights in zip(self.datasets, own, strict=True)
        )
        return list(chain.from_iterable(filled))

    def mixture(self) -> Mixture | None:
        """How the datasets share the stream of samples."""
        if not self.block:
            return None
        sizes = [len(dataset) for dataset in self.datasets]
        return Mixture(sizes, self.block, [dataset.weights() for dataset in self.datasets])

    def jobs(self) -> Iterable[Job]:
        """The test clips of all datasets; duplicate names get their folder as a prefix."""
        found = [dataset.jobs() for dataset in self.datasets]
        if any(isinstance(jobs, Iterator) for jobs in found):
            return chain.from_iterable(found)
        counted = Counter(job.name for jobs in found for job in jobs)
        return [
            job if counted[job.name] == 1 else _named(f"{label}_{job.name}", job)
            for label, jobs in zip(self.labels, found, strict=True)
            for job in jobs
        ]

    def clips(self) -> Iterator[Clip]:
        """The clips of all jobs, in order."""
        return (job.make() for job in self.jobs())


def _labels(roots: Sequence[Path]) -> list[str]:
    """Unique labels of the folders: their names, numbered if equal."""
    counted = Counter(root.name for root in roots)
    return [root.name if counted[root.name] == 1 else f"{root.name}{number}" for number, root in enumerate(roots, 1)]


def _named(name: str, job: Job) -> Job:
    return replace(job, name=name, make=partial(_make, name, job))


def _make(name: str, job: Job) -> Clip:
    clip = job.make()
    clip.name = name
    return clip
