"""Animate faces with a trained family, or reconstruct test clips and measure: python test.py --help."""

from util.waiting import wait_briefly

wait_briefly()

import itertools
import logging
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from data import find_dataset
from data.base import Clip, Dataset
from data.faces.crop import paste
from data.pair_list import Request, requests, with_format
from data.pairs import Requested
from data.video import VideoWriter, noting_damage, side_by_side, unsuffixed
from data.video.limits import limit_pixels
from data.video.sheet_writer import WRITTEN_SUFFIXES, SheetWriter
from data.video.strip_writer import StripWriter
from data.video.threads import BackgroundWriter, one_behind, prefetch
from engine.animator import Animator, to_bytes, to_host
from engine.checkpoints.load import load_networks
from engine.console import configure_logging
from engine.distributed import UNHURRIED, Processes, choose_devices, finish, is_launched, launch, machine, start
from engine.memory import keep_freed_memory
from engine.networks import compile_networks, list_networks, place
from engine.records import Failures, Records, fingerprint_of_options, fingerprint_of_weights
from engine.signals import unwind_at_sigterm
from engine.timing import Stopwatch
from models import find_family
from options import Options, original_config, owner_of_weights, parse, run_folder, takes_own_weights
from util.errors import UserError, full_disk, outcome, run_main
from util.files import is_too_long, refuse_unwritable, write_text
from util.page import results_page
from util.printable import printable
from util.resizing import resize
from util.resizing import to_bytes as picture_bytes
from util.visualisation import rows_of

log = logging.getLogger(__name__)


def main() -> int:
    """Resolve the options, start the processes, make the videos."""
    opt = parse(sys.argv[1:], training=False)
    if opt is None:
        return 0
    configure_logging()
    limit_pixels(opt.max_pixels)
    unwind_at_sigterm()
    devices = choose_devices([-1] if opt.cpu else opt.gpu_id)
    if len(devices) > 1 and not is_launched():
        return launch(__file__, sys.argv[1:], len(devices))
    processes = start(devices, patience=UNHURRIED)
    if processes.device.type == "cpu":
        keep_freed_memory()
    if opt.debug:
        return finish(processes, test(opt, processes))
    try:
        status = test(opt, processes)
    except Exception as error:
        line, status = outcome(error)
        if line is None:
            raise
        log.error("%s", line)
    return finish(processes, status)


def test(opt: Options, processes: Processes) -> int:
    """Make all videos that the options ask for; the exit status."""
    mode = find_dataset(opt.dataset_mode)
    folder = _results_folder(opt)
    wanted = [] if mode.makes_alone(opt) else requests(opt, mode.needs_source, folder, mode.is_still)
    single = bool(wanted) and not opt.pairs
    _check_place(opt, folder)
    failures = Failures(folder, opt.shard, processes.rank, processes.world)
    dataset = mode(opt, training=False)
    family, path = _load_family(opt)
    made_with = {"weights": fingerprint_of_weights(family), "options": fingerprint_of_options(_saying_what(opt))}
    family.prepare_inference()
    place(family, processes, opt.channels_last)
    if opt.compile:
        compile_networks(family.networks())
    animator = Animator(
        family, processes.device,
        batch_size=opt.animate_batch, precision=opt.precision, channels_last=opt.channels_last,
    )  # fmt: skip
    # The nested YAML files of the originals stand for their commands, which write other things than a pair's result.
    as_original = original_config(opt) and not wanted
    explained = opt.mode in family.explained_modes
    results = Results(opt, dataset, Records(folder, made_with), failures, as_original, explained)
    log.info("%s with %s on %s, into %s", opt.mode, path, machine(processes), opt.output or folder)
    jobs, count = _share(_jobs(wanted, dataset, opt, results), opt, processes)
    results.refuse_others(jobs)
    if processes.is_main and not single:
        failures.forget()
    processes.wait()
    with failures:
        for job in tqdm(jobs, total=count, unit="video", disable=single or not processes.is_main):
            results.make(job, animator, stop_at_errors=single)
    processes.wait()
    if processes.is_main and not opt.output:
        results.write_page()
    status = results.summarise()
    # The first process that ends with a failure takes the others with it.
    processes.wait()
    return status


def _load_family(opt: Options) -> tuple[Any, Path]:
    """The family with the weights that the options name, and where these are."""
    if takes_own_weights(opt):
        log.info("with the model that ships with Grimace, learned from drawn people (weights/README.md); --name takes "
                 "a run of yours")  # fmt: skip
    family = find_family(opt.model)(opt).eval()
    path = load_networks(family, opt.checkpoint or run_folder(opt), opt.which, owner=owner_of_weights)
    if opt.verbose:
        list_networks(family.networks())
    return family, path


HOW = {
    "name", "config", "checkpoints_dir", "checkpoint", "which", "debug", "verbose", "print_config", "gpu_id", "cpu",
    "compile", "channels_last", "nThreads", "animate_batch", "results_dir", "output", "overwrite", "max_clips", "shard",
    "pairs", "pairs_list", "num_pairs", "max_dataset_size", "source_image", "driving_video", "best_frame",
    "structure_cache", "allow_outside", "strict_video", "save_template", "max_pixels",
}  # fmt: skip
"""Options that say where and how to work, or which results to make, but not what one of them looks like."""


def _saying_what(opt: Options) -> dict[str, Any]:
    """The options on which the frames of a result depend."""
    return {name: value for name, value in vars(opt).items() if name not in HOW}


def _check_place(opt: Options, folder: Path) -> None:
    """Better told now than after hours that nothing can be written there."""
    if opt.output:
        _check_name(Path(opt.output))
    option, folder = ("output", Path(opt.output).parent) if opt.output else ("results_dir", folder)
    refuse_unwritable(folder, option)
    folder.mkdir(parents=True, exist_ok=True)


def _check_name(output: Path) -> None:
    if is_too_long(output.name):
        raise UserError(
            f"{output.name}: too long for the name of a file; name the result by --output, or in the column output of "
            "--pairs"
        )


@dataclass
class Job:
    """A video to make: where it goes, what it is made of, and how to get that when its turn comes."""

    name: str
    output: Path
    clip: Callable[[], Clip]
    made_of: dict[str, str] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)
    """What the command or a line of --pairs says of it: for the records."""

    @property
    def entry(self) -> dict[str, Any]:
        """How the records call it."""
        return {"name": printable(self.name), "output": self.output} | self.said


def _jobs(wanted: list[Request], dataset: Dataset, opt: Options, results: "Results") -> Iterable[Job]:
    if wanted:
        requested = Requested(dataset, opt)
        return [Job(each.name, each.output, partial(requested.clip, each), each.made_of, each.said) for each in wanted]
    planned = dataset.planned_clips()
    jobs = (Job(each.name, each.output or results.output(each.name), each.make) for each in planned)
    return jobs if isinstance(planned, Iterator) else list(jobs)


def _share(jobs: Iterable[Job], opt: Options, processes: Processes) -> tuple[Iterable[Job], int | None]:
    """This process's part of the videos, of --shard i/N and of the processes within it, and how many they are.

    A list where they are known beforehand.
    """
    part, parts = opt.shard
    first, step = part - 1 + parts * processes.rank, parts * processes.world
    mine = itertools.islice(jobs, first, opt.max_clips or None, step)
    if not isinstance(jobs, Sized):
        return mine, None
    return (known := list(mine)), len(known)


def _results_folder(opt: Options) -> Path:
    """--results_dir; where the original or its YAML is known to do so, beside the weights; else eval_results/NAME."""
    if opt.results_dir:
        return Path(opt.results_dir)
    if original_config(opt) or find_family(opt.model).results_beside_weights:
        weights = Path(opt.checkpoint or run_folder(opt))
        folder = weights if weights.is_dir() else weights.parent
        return folder / ("reconstruction" if opt.mode == "reconstruction" else "animation")
    return Path("eval_results") / opt.name


class Results:
    """The videos of a run of test.py."""

    def __init__(
        self, opt: Options, dataset: Dataset, records: Records, failures: Failures, as_original: bool, explained: bool
    ):
        """`as_original`: with strips, and with pictures of how each frame came about where those are `explained`."""
        self.opt, self.dataset, self.records, self.failures = opt, dataset, records, failures
        self.folder = records.path.parent
        self.strips = as_original if opt.strips is None else opt.strips
        self.visualize = as_original and explained if opt.visualize is None else opt.visualize
        if self.visualize and (opt.compare or opt.paste_back):
            raise UserError("--visualize: the videos show source and driving frame already; leave out --compare and "
                            "--paste_back, or set --visualize=no")  # fmt: skip
        self.speed = Stopwatch()
        self.skipped = 0

    def output(self, name: str) -> Path:
        """Where the result of this name goes."""
        if self.opt.output:
            raise UserError("--output names the result of one pair (--source_image, --driving_video); where there are "
                            "several, --results_dir names their folder")  # fmt: skip
        return self.folder / with_format(printable(name), self.opt.format)

    def refuse_others(self, jobs: Iterable[Job]) -> None:
        """An error where results that were made otherwise have the names of these, before anything is mixed."""
        if isinstance(jobs, Sized) and not self.opt.overwrite and not self.opt.output:
            for job in jobs:
                self.records.has(job.output, job.made_of)

    def make(self, job: Job, animator: Animator, stop_at_errors: bool) -> None:
        """Make one video, unless it is there; a failure is noted and does not stop the others."""
        if not self.opt.overwrite and self._is_there(job):
            self.skipped += 1
            return
        try:
            with noting_damage(self.opt.strict_video) as damage:
                self._make(job, job.clip(), animator, damage, show_progress=stop_at_errors)
        except Exception as error:
            if stop_at_errors or self.opt.debug or full_disk(error):
                raise
            line, _ = outcome(error)
            if line is None:
                log.error("%s", traceback.format_exc())
            self.failures.add(job.entry, line or str(error) or type(error).__name__)
            return
        if stop_at_errors:
            log.info("wrote %s", job.output)

    def _is_there(self, job: Job) -> bool:
        if not self.opt.output:
            return self.records.has(job.output, job.made_of, self.opt.strict_video)
        if job.output.exists():
            log.info("%s is there already; --overwrite makes it again", job.output)
        return job.output.exists()

    def _make(self, job: Job, clip: Clip, animator: Animator, damage: list[str], show_progress: bool) -> None:
        _check_name(job.output)
        opt, frames = self.opt, 0
        measured = Reconstruction() if opt.mode == "reconstruction" else None
        items = tqdm(prefetch(clip.driving, 2 * opt.animate_batch), total=clip.length, unit="frame",
                     disable=not show_progress)  # fmt: skip
        companion = self.dataset.companion(clip, job.output)
        with BackgroundWriter(self._writer(job, clip)) as output, self._strip(job) as strip, companion as beside:
            for batch, made, shown in one_behind(self._passes(clip, animator, items)):
                if measured:
                    measured.add(made, batch)
                if strip:
                    strip.write_all(to_bytes(made, cut_off=255).cpu().numpy())
                for item, picture in zip(batch, shown(), strict=True):
                    frame = self._composed(clip, item, picture)
                    if frame is not None:
                        output.write(frame)
                    if beside:
                        beside.write(item, picture)
                frames += len(batch)
                self.speed.add(len(batch))
            # Before the video gets its name: one without a record would not be known again.
            if not opt.output:
                facts = {"frames": frames, "fps": str(clip.fps)} | (measured.facts() if measured else {})
                facts |= {"beside": beside.path} if beside else {}
                facts |= {"damaged": printable("; ".join(damage))} if damage else {}
                self.records.add(job.entry | facts | job.made_of)
        if "keep" in clip.extra:
            clip.extra["keep"](animator.measured(clip.extra["kept_of"]()))

    def _passes(self, clip: Clip, animator: Animator, items: Iterable[dict]) -> Iterator[tuple]:
        """For each pass the driving items, the results, and what waits for the pictures to write."""
        given = clip.source, items, clip.extra.get("first")
        if self.visualize:
            for batch, made, columns in animator.explained(*given):
                arrays = [column.movedim(1, -1).float().cpu().numpy() for column in columns.values()]
                yield batch, made, partial(rows_of, arrays)
        else:
            for batch, made in animator.batches(*given):
                yield batch, made, to_host(to_bytes(made, clip.cut_off))

    def _strip(self, job: Job) -> AbstractContextManager:
        """What writes png/NAME.png, if that is wanted."""
        return (
            nullcontext()
            if not self.strips
            else StripWriter(job.output.parent / "png" / f"{unsuffixed(job.output)}.png")
        )

    def _writer(self, job: Job, clip: Clip) -> VideoWriter | SheetWriter:
        """A video, or one picture of all frames where the output is called so."""
        if job.output.suffix.lower() in WRITTEN_SUFFIXES:
            return SheetWriter(job.output, **clip.extra.get("sheet", {}))
        return VideoWriter(
            job.output, clip.fps, audio=clip.audio, quality=self.opt.quality, as_folder=self.opt.format == "png"
        )

    def _composed(self, clip: Clip, item: dict[str, Any], made: np.ndarray) -> np.ndarray | None:
        """The frame to write: as it was made, pasted into the whole picture, or beside what it was made from.

        A clip can bring its own way to finish frames, which may need several for one.
        """
        if clip.extra.get("finish"):
            made = clip.extra["finish"](made)
            if made is None:
                return None
        elif self.opt.paste_back and "crop" in clip.extra:
            made = paste(clip.extra["picture"], made, clip.extra["crop"])
        if not self.opt.compare:
            return made
        others = [_picture(image) for part in (clip.source, item) if (image := _shown(part)) is not None]
        return side_by_side([_to_height(picture, made.shape[0]) for picture in others] + [made])

    def summarise(self) -> int:
        """Say what was there, how fast it went and what failed; the exit status."""
        if self.skipped and not self.opt.output:
            log.info("%d were there already; --overwrite makes them again", self.skipped)
        if self.speed.frames:
            log.info("%d frames, %.1f frames/s from reading to writing", self.speed.frames, self.speed.rate)
        return 1 if self.failures.found else 0

    def write_page(self) -> None:
        """The page to look at, with what earlier runs into the same folder have made."""
        known, failed = self.records.entries(), Failures.of_folder(self.folder)
        if not (known or failed):
            return
        facts = {"videos": str(len(known)), "model": self.opt.model}
        if damaged := sum("damaged" in entry for entry in known):
            facts["made of damaged videos"] = str(damaged)
        if self.opt.mode == "reconstruction" and (own := self.records.of_this_command()):
            facts |= _summary_of_losses(own)
        shown = []
        for entry in known:
            files = [entry[key] for key in ("output", "beside") if key in entry]
            shown.append(([file for file in files if (self.folder / file).exists()], _readable(entry)))
        write_text(self.folder / "index.html", results_page(self.opt.name, facts, shown, failed))
        log.info("%d video(s), to look at: %s", len(shown), self.folder / "index.html")


class Reconstruction:
    """Mean absolute differences to the real frames: of the results, and of repeating the first frame."""

    def __init__(self):
        self.first: torch.Tensor | None = None
        self.frames, self.result, self.repeated = 0, 0.0, 0.0

    def add(self, made: torch.Tensor, batch: list[dict[str, Any]]) -> None:
        """Measure a batch of results."""
        if "image" not in batch[0]:
            raise UserError("--mode reconstruction: this dataset mode's items hold no real frames to compare with")
        real = torch.stack([item["image"] for item in batch]).to(made.device)
        self.first = real[:1] if self.first is None else self.first
        self.frames += len(batch)
        self.result += float((made.float() - real).abs().mean((1, 2, 3)).sum())
        self.repeated += float((self.first - real).abs().mean((1, 2, 3)).sum())

    def facts(self) -> dict[str, float]:
        """The means over all frames."""
        frames = max(self.frames, 1)
        return {"l1": self.result / frames, "l1_of_repeating": self.repeated / frames}


def _shown(part: dict[str, Any]) -> torch.Tensor | None:
    """The picture of a source (the first, of several) or of a driving frame; landmarks where they are all there is."""
    image = next((part[key] for key in ("image", "pictures", "landmarks") if key in part), None)
    return image if image is None or image.ndim == 3 else image[0]


def _picture(image: torch.Tensor) -> np.ndarray:
    return picture_bytes(image.float().cpu().numpy().transpose(1, 2, 0))


def _to_height(picture: np.ndarray, height: int) -> np.ndarray:
    if picture.shape[0] == height:
        return picture
    return picture_bytes(resize(picture, (height, round(picture.shape[1] * height / picture.shape[0]))))


def _summary_of_losses(known: list[dict[str, Any]]) -> dict[str, str]:
    """The means over all frames of all videos, said and returned."""
    frames = max(1, sum(entry["frames"] for entry in known))
    loss, repeated = (sum(e[name] * e["frames"] for e in known) / frames for name in ("l1", "l1_of_repeating"))
    below = 100 * (1 - loss / max(repeated, 1e-12))
    log.info("Reconstruction loss: %s", loss)
    log.info("%.1f %% %s repeating the first frame (%s)", abs(below), "above" if below < 0 else "below", repeated)
    return {"L1": f"{loss:.5f}", "L1 of repeating the first frame": f"{repeated:.5f}", "below": f"{below:.1f} %"}


def _readable(entry: dict[str, Any]) -> dict[str, str]:
    """What the page says of one result."""
    shown = ("line", "source", "driving", "frames", "fps", "l1", "l1_of_repeating", "damaged")
    own = {key.replace("_", " "): entry[key] for key in shown if key in entry}
    return {key: f"{value:.5f}" if isinstance(value, float) else str(value) for key, value in own.items()}


if __name__ == "__main__":
    run_main(main)
