"""Animate faces with a trained family, or reconstruct test clips and measure: python test.py --help."""

from options.early import before_torch

before_torch(__name__, training=False)

import logging
import shlex
import sys
from collections.abc import Collection
from contextlib import nullcontext
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from building import build_animator, load_family
from data import find_dataset
from data.base import Clip, Dataset
from data.jobs.outputs import Outputs
from data.jobs.pairs import jobs_of
from data.video import collecting_damage
from data.video.limits import limit_pixels
from engine.checkpoints.released import Loaded
from engine.checkpoints.resume import describe_duration
from engine.command import run_on_devices
from engine.distributed import UNHURRIED, Processes, machine
from engine.evaluation import Reconstruction
from engine.records import Commands, Failures, Records, begin_fingerprints, shard_suffix
from engine.rendering import Renderer, Results, render_all, shard_jobs
from engine.results_page import write_page
from engine.signals import unwind_at_sigterm
from metrics.evaluation.rendered import Rendered
from options import Options, build_dataset, parse
from options.measuring import measuring_plan
from options.pairs import pair_settings, requests
from options.results import as_the_original, check_results_folder, result_options, results_folder
from util.errors import run_main
from util.version import commit, version_line

log = logging.getLogger(__name__)


def main() -> int:
    """Resolve the options, start the processes, make the videos."""
    opt = parse(sys.argv[1:], training=False)
    if opt is None:
        return 0
    limit_pixels(opt.max_pixels)
    unwind_at_sigterm()
    gpu_ids = [-1] if opt.cpu else opt.gpu_id
    return run_on_devices(partial(test, opt), __file__, gpu_ids, patience=UNHURRIED, debug=opt.debug)


def test(opt: Options, processes: Processes) -> int:
    """Make all requested videos; returns the exit status."""
    # 1. What to make, and where: checked before anything slow is loaded.
    mode, folder = find_dataset(opt.dataset_mode), results_folder(opt)
    wanted = [] if mode.makes_alone(opt) else requests(opt, mode.needs_source, folder, mode.is_still, mode.of_pairs)
    alone = bool(wanted) and not opt.pairs
    check_results_folder(opt, folder)
    dataset = build_dataset(opt, training=False)

    # 2. The family and its animator.
    family, loaded = load_family(opt)
    # A single --output has no records, and so no fingerprints.
    common_inputs = dict if opt.output else begin_fingerprints(family, result_options(opt))
    animator = build_animator(opt, family, processes)

    # 3. Existing results, failures, measurements, and the files of each result.
    strips, explain = as_the_original(opt, family, bool(wanted))
    pictures, tells_motion = dataset.pictures_of(bool(wanted)), family.tells_motion and not explain
    results, measuring = _results(opt, processes, Records(folder, common_inputs), pictures, tells_motion)
    renderer = Renderer(
        animator, results, partial(_outputs, opt, dataset, strips, explain),
        partial(collecting_damage, opt.strict_video),
        measure=[Reconstruction] * (opt.mode == "reconstruction") + ([measuring.begin] if measuring else []),
        explain=explain, with_motion=measuring is not None and measuring.wants_motion,
    )  # fmt: skip
    log.info("%s with %s on %s, into %s", opt.mode, loaded.path, machine(processes), opt.output or folder)

    # 4. Make the videos and report.
    if processes.is_main and not opt.output:
        Commands(folder).add(_command(opt, family, loaded) | common_inputs())
    jobs = shard_jobs(jobs_of(wanted, dataset, pair_settings(opt), folder), processes, opt.shard, opt.max_clips)
    with measuring or nullcontext():
        render_all(jobs, renderer, processes, alone=alone)
    processes.wait()  # until every process has stored its measurements
    if processes.is_main and not opt.output:
        _show(opt, results, measuring)
    status = results.summarise()
    processes.wait()  # the first process that ends with a failure ends the others
    return status


def _results(
    opt: Options, processes: Processes, records: Records, pictures: Collection[str], tells_motion: bool
) -> tuple[Results, Rendered | None]:
    """The results of the folder, and the measurement for --metrics and --protocol.

    Loads everything needed for measuring, so that missing files are reported before the first video.
    """
    plan = measuring_plan(opt, pictures, processes.device, tells_motion=tells_motion)
    known = [] if opt.overwrite else records.current_entries()
    part = shard_suffix(opt.shard, processes.rank, processes.world)
    measuring = Rendered(*plan, records.path.parent, part=part, entries=known) if plan else None
    results = Results(
        records, Failures(records.path.parent, opt.shard, processes.rank, processes.world), one=bool(opt.output),
        overwrite=opt.overwrite, strict=opt.strict_video, debug=opt.debug,
        is_measured=measuring.knows if measuring else None,
    )  # fmt: skip
    return results, measuring


def _show(opt: Options, results: Results, measuring: Rendered | None) -> None:
    """Write the page of all results, and the totals of measured ones."""
    made, failed = results.records.current_entries(), Failures.of_folder(results.folder)
    numbers = measuring.write(made, failed, sys.argv) if measuring else None
    write_page(results.folder)
    if numbers:
        print(numbers.table(opt.table), *([numbers.line()] if opt.json else []), sep="\n")


def _outputs(opt: Options, dataset: Dataset, strips: bool, explain: bool, clip: Clip, path: Path) -> Outputs:
    # The videos of --compare and --visualize already show the truth.
    truth = opt.mode == "reconstruction" and opt.page_truth and not (opt.compare or explain or opt.output)
    return Outputs(
        clip, path, dataset, quality=opt.quality, as_folder=opt.format == "png", compare=opt.compare, strip=strips,
        page=not opt.output, truth=truth,
    )  # fmt: skip


def _command(opt: Options, family: Any, loaded: Loaded) -> dict[str, Any]:
    """The page's description of how the results were made."""
    return {
        "name": opt.name,
        "model": opt.model,
        "command": shlex.join(["python", "test.py", *sys.argv[1:]]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "checkpoint": str(loaded.path),
        "trained": describe_duration(family, loaded),
        "version": version_line(),
        "commit": commit(),
        "differing": {name: str(value) for name, value in opt.differing().items()},
    }


if __name__ == "__main__":
    run_main(main)
