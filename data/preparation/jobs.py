"""The batch runner of all preparation scripts: many items, many processes, and a report of each failed item.

Work is spread over joblib's process pool (loky) or a Dask cluster. Both are driven through the executor interface they
share and not through `joblib.Parallel`, because with Parallel one killed worker ends the whole run (and with its Dask
backend waits forever), while here only the item that killed it is lost.
"""

import argparse
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from data.video.damage import DamagedVideo
from data.video.limits import OPTION_HELP, limit_pixels
from util.csv_table import write_table
from util.errors import UserError, full_disk, outcome
from util.files import remove_leftovers
from util.printable import printable
from util.values import WHOLE, at_least, count, shard

KILLED = "the process crashed twice on it, the second time alone: out of memory, or a library crashes on this input"


@dataclass
class Summary:
    """What became of a run's items."""

    title: str
    total: int
    done_before: int = 0
    made: int = 0
    warnings: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    failures: Path | None = None

    def add(self, name: str, warning: str | None, reason: str | None) -> str | None:
        """Count one item; return a line to show if it failed or has a warning."""
        if reason is not None:
            self.failed[name] = reason = reason.removeprefix(f"{name}: ")
            return printable(f"failed: {name}: {reason}")
        self.made += 1
        if warning:
            self.warnings[name] = warning = warning.removeprefix(f"{name}: ")
            return printable(f"warning: {name}: {warning}")
        return None

    @property
    def status(self) -> int:
        """Exit status of the script: an error only if there were items and none of them is usable."""
        return 1 if self.total and not (self.made or self.done_before) else 0

    def __str__(self) -> str:
        parts = [f"{self.title}: {self.made} of {self.total} made"]
        if self.done_before:
            parts.append(f"{self.done_before} done before")
        if self.warnings:
            parts.append(f"{len(self.warnings)} with a warning")
        if self.failed:
            parts.append(f"{len(self.failed)} failed (reasons in {self.failures})")
        if not self.total:
            parts.append("this shard has no items")
        return ", ".join(parts)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of parallel processing to a script's parser."""
    group = parser.add_argument_group("how the work is spread")
    group.add_argument(
        "--workers",
        type=at_least(0),
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes on this machine; 0: run in this process, for debugging (default: one per core, %(default)s)",
    )
    group.add_argument(
        "--shard",
        type=shard,
        default=WHOLE,
        metavar="i/N",
        help="do only the i-th of N equal parts of the items, so that N machines can share them: 1/4 ... 4/4",
    )
    group.add_argument(
        "--backend",
        choices=("local", "dask"),
        default="local",
        help="local: processes on this machine; dask: a cluster that sees the same files under the same paths "
        "(pip install -r requirements-cluster.txt) (default: %(default)s)",
    )
    group.add_argument("--address", metavar="URL", help="the Dask scheduler, for example tcp://10.0.0.1:8786")
    group.add_argument("--overwrite", action="store_true", help="process finished items again")
    group.add_argument(
        "--strict_video", action="store_true", help="fail on a video that can be read only in part, instead of warning"
    )
    group.add_argument("--max_pixels", type=count, action=_LimitPixels, metavar="N", help=OPTION_HELP)


class _LimitPixels(argparse.Action):
    """Set the limit at once, in the environment: many modules and worker processes read pictures."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, value: Any, option: str | None = None) -> None:
        limit_pixels(value)


def run(
    work: Callable[[Any], str | None],
    items: Sequence[Any],
    *,
    name: Callable[[Any], str] = str,
    done: Callable[[Any], bool],
    title: str,
    args: argparse.Namespace,
    failures: Path,
    output: Callable[[Any], Path | Iterable[Path]] = lambda item: (),
) -> Summary:
    """Call `work(item)` in processes for every item that is not `done(item)`; a failed item does not stop the others.

    `work` makes its output whole or not at all (util.files.replacing, replacing_folder), so a killed run is resumed by
    starting it again. It returns None, or a warning to show, and raises UserError with the reason if nothing usable
    came of the item; other exceptions count as failures too and are reported with file and line. `failures` becomes a
    csv of item and reason (removed if none failed). Temporary files that killed processes of this or earlier runs left
    beside each item's `output` (one path, or several) are removed. `args` holds the options of `add_options`.
    """
    part, parts = args.shard
    mine = list(items)[part - 1 :: parts]
    failures = of_shard(failures, args.shard)
    _remove_leftovers(map(output, mine))
    pending = mine if args.overwrite else [item for item in mine if not done(item)]
    summary = Summary(title, len(mine), done_before=len(mine) - len(pending), failures=failures)
    if pending:
        lost = _run_pending(work, pending, name, args, summary)
        _remove_leftovers(map(output, lost))
    write_failures(failures, summary.failed)
    return summary


def _run_pending(work, pending: list, name: Callable, args, summary: Summary) -> list:
    """Process the items; return those during which a process crashed."""
    from tqdm import tqdm

    with (
        _open_pool(args, len(pending)) as pool,
        tqdm(total=summary.total, initial=summary.done_before, desc=summary.title, unit="item", smoothing=0.1) as bar,
    ):

        def record(item, warning: str | None, reason: str | None) -> None:
            if message := summary.add(name(item), warning, reason):
                bar.write(message, file=sys.stderr)
            bar.set_postfix(failed=len(summary.failed), refresh=False)
            bar.update()

        lost = _distribute(pool, work, pending, record, args.strict_video)
        for item in lost:
            # A process crashed during this item, perhaps because of another one: retry it alone.
            if _distribute(pool, work, [item], record, args.strict_video):
                record(item, None, KILLED)
    return lost


def _distribute(pool: "_Pool", work: Callable, items: Sequence, record: Callable, strict: bool) -> list:
    """Run the items, as many at once as the pool takes; return those in progress when a process crashed."""
    waiting, running, lost = iter(items), {}, []
    while True:
        for item in islice(waiting, max(0, pool.size() - len(running))):
            running[pool.submit(attempt, work, item, strict)] = item
        if not running:
            return lost
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            item = running.pop(future)
            try:
                outcome = future.result()
            except pool.deaths:
                lost.append(item)
            else:
                record(item, *outcome)


def attempt(work: Callable[[Any], str | None], item: Any, strict: bool = False) -> tuple[str | None, str | None]:
    """Run `work(item)` in a worker; return its warnings (its result, and UserWarnings) and the reason of a failure.

    With `strict` a video that can be read only in part fails instead of warning.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        if strict:
            warnings.simplefilter("error", DamagedVideo)
        try:
            note = work(item)
        except DamagedVideo as damage:
            return None, f"{damage} (--strict_video)"
        except (Exception, SystemExit) as error:
            if full := full_disk(error):  # other items would fail, too
                raise full from None
            line, _ = outcome(error)
            if line is not None:
                return None, line
            frame = traceback.extract_tb(error.__traceback__)[-1]
            return None, f"{type(error).__name__}: {error} ({Path(frame.filename).name}, line {frame.lineno})"
    messages = [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
    return "; ".join(dict.fromkeys(filter(None, [note, *messages]))) or None, None


@dataclass
class _Pool:
    """An executor that is replaced when it breaks, its capacity, and the exceptions of a crashed worker."""

    executor: Callable[[], Executor]
    size: Callable[[], int]
    deaths: tuple[type[BaseException], ...]

    def submit(self, function: Callable, *arguments) -> Future:
        try:
            return self.executor().submit(function, *arguments)
        except self.deaths as error:
            future = Future()
            future.set_exception(error)
            return future


@contextmanager
def _open_pool(args: argparse.Namespace, items: int) -> Iterator[_Pool]:
    if args.address and args.backend == "local":
        raise UserError("--address is the scheduler of a cluster: add --backend dask")
    if args.backend == "dask":
        with _open_dask(args.address) as pool:
            yield pool
    elif args.workers == 0:
        yield _Pool(_InProcess, lambda: 1, ())
    else:
        with _open_local(min(args.workers, items)) as pool:
            yield pool


class _InProcess(Executor):
    """Runs submitted work in this process."""

    def submit(self, function: Callable, /, *arguments, **named) -> Future:
        future = Future()
        future.set_result(function(*arguments, **named))
        return future


@contextmanager
def _open_local(workers: int) -> Iterator[_Pool]:
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.process_executor import BrokenProcessPool

    threads = str(max(1, (os.cpu_count() or 1) // workers))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {name: os.environ.get(name, threads) for name in names}

    def executor() -> Executor:
        return get_reusable_executor(max_workers=workers, timeout=300, env=environment)

    finished = False
    try:
        yield _Pool(executor, lambda: workers, (BrokenProcessPool,))
        finished = True
    finally:
        executor().shutdown(wait=True, kill_workers=not finished)


@contextmanager
def _open_dask(address: str | None) -> Iterator[_Pool]:
    if not address:
        raise UserError("--backend dask needs --address, the scheduler's URL, for example tcp://10.0.0.1:8786")
    try:
        from distributed import Client, KilledWorker
    except ImportError as error:
        raise UserError("--backend dask needs Dask: pip install -r requirements-cluster.txt") from error
    try:
        client = Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(f"no Dask scheduler answers at --address {address}: {error}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=30)
        except TimeoutError as error:
            raise UserError(f"the Dask scheduler at {address} has no workers: start some with `dask worker`") from error
        client.register_plugin(_project_path(), name="grimace-path")
        executor = _sealed(client.get_executor(pure=False))  # a pure task would not run again when retried
        yield _Pool(lambda: executor, lambda: max(1, sum(client.nthreads().values())), (KilledWorker,))


def _project_path():
    """Return a plugin that lets workers, also those that join later, import the project from its path."""
    from distributed import WorkerPlugin

    root = str(Path(__file__).resolve().parents[2])

    # A class at module level would be pickled by reference to this module, which the workers cannot import yet.
    class ProjectPath(WorkerPlugin):
        def setup(self, worker) -> None:
            if root not in sys.path:
                sys.path.insert(0, root)

    return ProjectPath()


def _sealed(executor: Executor) -> Executor:
    """Return an executor that sends tasks as bytes: Dask's scheduler unpickles them, and lacks the project's path."""
    import cloudpickle

    def unseal(content: bytes) -> Any:
        import pickle

        function, arguments = pickle.loads(content)
        return function(*arguments)

    class Sealed(Executor):
        def submit(self, function: Callable, /, *arguments) -> Future:
            return executor.submit(unseal, cloudpickle.dumps((function, arguments)))

    return Sealed()


_shared = threading.local()


def once(build: Callable, *arguments, **named) -> Any:
    """Return `build(...)`, built at its first use in this worker: for detectors, which take long to load."""
    built = _shared.__dict__.setdefault("built", {})
    key = (build, arguments, tuple(sorted(named.items())))
    if key not in built:
        built[key] = build(*arguments, **named)
    return built[key]


def worker_index() -> int:
    """Return a number that counts up over the processes of a local pool: to distribute GPUs among them."""
    import multiprocessing

    digits = re.search(r"\d+$", multiprocessing.current_process().name)
    return int(digits[0]) - 1 if digits else 0


def _remove_leftovers(outputs: Iterable[Path | Iterable[Path]]) -> None:
    """Remove temporary files of killed processes beside these paths."""
    paths = chain.from_iterable((output,) if isinstance(output, Path) else output for output in outputs)
    for folder in {path.parent for path in paths}:
        remove_leftovers(folder)


def of_shard(failures: Path, shard: Sequence[int]) -> Path:
    """The csv of failures of one shard: each has its own, so that none overwrites another's."""
    part, parts = shard
    return failures if parts == 1 else failures.with_name(f"{failures.stem}.{part}-of-{parts}{failures.suffix}")


def write_failures(path: Path, failed: Mapping[str, str]) -> None:
    """Write the csv of item and reason; remove it if nothing failed."""
    if failed:
        write_table(path, ("item", "reason"), [{"item": item, "reason": failed[item]} for item in sorted(failed)])
    else:
        path.unlink(missing_ok=True)
