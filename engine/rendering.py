"""Makes videos one after the other: skips existing ones and records failures, independent of what they show."""

import logging
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor
from tqdm import tqdm

from engine.animator import Animator, to_bytes, to_host
from engine.distributed import Processes
from engine.records import Failures, Records
from engine.timing import Stopwatch
from util.errors import full_disk, outcome
from util.files import refuse_long_name
from util.printable import printable
from util.threads import one_behind, prefetch
from util.visualisation import rows_of

log = logging.getLogger(__name__)


class Measurer(Protocol):
    """Measures the frames of one result before they are encoded."""

    def add(self, generated: Tensor, items: list[dict[str, Any]], motion: Tensor | None = None) -> None:
        """Measure the next results (N, 3, H, W) with their driving items, and their dense motion if requested."""

    def facts(self) -> dict[str, Any]:
        """Entries for the result's record, when it is complete."""


class Results:
    """The results of a command: existing, made and failed ones.

    `one`: a single result named by --output; it has no records, and its errors end the command. `is_measured`: whether
    a result's record has all measurements that this command asks for.
    """

    def __init__(
        self, records: Records, failures: Failures, *, one: bool, overwrite: bool, strict: bool, debug: bool = False,
        is_measured: Callable[[dict[str, Any]], bool] | None = None,
    ):  # fmt: skip
        self.records, self.failures = records, failures
        self.one, self.overwrite, self.strict, self.debug = one, overwrite, strict, debug
        self.is_measured = is_measured
        self.folder = records.path.parent
        self.speed, self.skipped, self.unmeasured = Stopwatch(), 0, 0

    def refuse_foreign_results(self, jobs: Iterable[Any]) -> None:
        """Raise an error before work starts if results of other weights or options have these names."""
        if isinstance(jobs, Sized) and not self.overwrite and not self.one:
            for job in jobs:
                self.records.has(job.output, job.inputs)

    def has(self, job: Any) -> bool:
        """Whether the result of a job exists already."""
        if self.overwrite:
            return False
        if not self.one:
            there = self.records.has(job.output, job.inputs, self.strict)
            if there and self.is_measured and not self.is_measured(self.records.known(job.output)):
                self.unmeasured += 1
                return False
        elif there := job.output.exists():
            log.info("%s exists already; --overwrite replaces it", job.output)
        self.skipped += there
        return there

    @contextmanager
    def recording_failure(self, job: Any, stop: bool) -> Iterator[None]:
        """Record the error of a video and continue with the others, unless `stop` is set."""
        try:
            yield
        except Exception as error:
            if stop or self.debug or full_disk(error):
                raise
            line, _ = outcome(error)
            if line is None:
                log.error("%s", traceback.format_exc())
            self.failures.add(job.entry, line or str(error) or type(error).__name__)

    def add(self, job: Any, facts: dict[str, Any]) -> None:
        """Record a finished result."""
        if not self.one:
            self.records.add(job.entry | facts | job.inputs)

    def summarise(self) -> int:
        """Log existing results, speed and failures; returns the exit status."""
        if self.skipped and not self.one:
            log.info("skipped %d existing results; --overwrite replaces them", self.skipped)
        if self.unmeasured:
            log.info(
                "made %d existing results again to measure them, because compression changes the frames of a written "
                "video",
                self.unmeasured,
            )
        if self.speed.frames:
            log.info("%d frames, %.1f frames/s from reading to writing", self.speed.frames, self.speed.rate)
        return 1 if self.failures.found else 0


class Renderer:
    """Makes the video of a job.

    `open_outputs(clip, path)` opens the files to write. `noting_damage()` yields the list of damage found in videos
    read in the block. `measure` starts the measurement of a result, given its job and clip. `explain`: frames are
    visualisations of intermediate results. `with_motion`: the measurements need the dense motion behind the frames.
    """

    def __init__(
        self, animator: Animator, results: Results, open_outputs: Callable[[Any, Path], AbstractContextManager],
        collecting_damage: Callable[[], AbstractContextManager[list[str]]], *,
        measure: Sequence[Callable[[Any, Any], Measurer]], explain: bool, with_motion: bool = False,
    ):  # fmt: skip
        self.animator, self.results = animator, results
        self.open_outputs, self.collecting_damage = open_outputs, collecting_damage
        self.measure, self.explain, self.with_motion = measure, explain, with_motion

    def make(self, job: Any, alone: bool) -> None:
        """Make one video unless it exists; `alone`: the only one, with a progress bar and errors that end the
        command."""
        exists = self.results.has(job)
        if exists and not job.saves_motion:
            return
        with self.results.recording_failure(job, stop=alone):
            if exists:
                self.animator.save_motion(job.make())
                return
            with self.collecting_damage() as damage:
                self._make(job, damage, alone)
            if alone:
                log.info("wrote %s", job.output)

    def _make(self, job: Any, damage: list[str], show_progress: bool) -> None:
        clip = job.make()
        refuse_long_name(job.output)
        measurers = [begin(job, clip) for begin in self.measure]
        ahead = prefetch(clip.driving, 2 * self.animator.batch_size)
        items, frames = tqdm(ahead, total=clip.length, unit="frame", disable=not show_progress), 0
        with self.open_outputs(clip, job.output) as outputs:
            for batch, generated, motion, pictures in one_behind(self._passes(clip, items)):
                for measurer in measurers:
                    measurer.add(generated, batch, motion)
                truncated = to_bytes(generated, cut_off=255).cpu().numpy() if outputs.wants_truncated else None
                outputs.write(batch, pictures(), truncated)
                frames += len(batch)
                self.results.speed.add(len(batch))
            # Before the video gets its name: a video without a record would not be recognised later.
            facts = {"frames": frames, "fps": str(clip.fps)} | outputs.facts
            for measurer in measurers:
                facts |= measurer.facts()
            self.results.add(job, facts | ({"damaged": printable("; ".join(damage))} if damage else {}))
        self.animator.save_motion(clip)

    def _passes(self, clip: Any, items: Iterable[dict]) -> Iterator[tuple]:
        """For each pass: the driving items, the results, their dense motion, and the pictures to write."""
        if self.explain:
            for batch, generated, columns in self.animator.explained(clip.source, items, clip.first):
                arrays = [column.movedim(1, -1).float().cpu().numpy() for column in columns.values()]
                yield batch, generated, None, partial(rows_of, arrays)
            return
        animate = self.animator.with_motion if self.with_motion else self.animator.batches
        for batch, generated, *motion in animate(clip.source, items, clip.first):
            yield batch, generated, motion[0] if motion else None, to_host(to_bytes(generated, clip.cut_off))


def render_all(jobs: Iterable[Any], renderer: Renderer, processes: Processes, *, alone: bool) -> None:
    """Make the videos of all jobs. `alone`: a single job with its own progress bar."""
    results = renderer.results
    results.refuse_foreign_results(jobs)
    if processes.is_main and not alone:
        results.failures.clear()
    processes.wait()
    count = len(jobs) if isinstance(jobs, Sized) else None
    with results.failures:
        for job in tqdm(jobs, total=count, unit="video", disable=alone or not processes.is_main):
            renderer.make(job, alone)
    processes.wait()


def shard_jobs(
    jobs: Iterable[Any], processes: Processes, shard: tuple[int, int], max_clips: int | None
) -> Iterable[Any]:
    """This process's share of the jobs, by --shard i/N and the processes within it; a list if their number is known."""
    part, parts = shard
    first, step = part - 1 + parts * processes.rank, parts * processes.world
    mine = islice(jobs, first, max_clips or None, step)
    return list(mine) if isinstance(jobs, Sized) else mine
