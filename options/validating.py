"""The validation that the options of train.py describe."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from data.base import Job
from metrics import find_metrics
from metrics.evaluation.measuring import Measurement
from metrics.evaluation.rendered import ClipSums
from metrics.evaluation.running import Plan
from metrics.metric import SetMetric
from models import find_family
from models.family import Family
from options.datasets import build_dataset
from options.measuring import VALIDATE_EVERY, metric_weights
from options.parser import Options
from util.errors import UserError
from util.values import VALIDATED

log = logging.getLogger(__name__)


def validation_metrics(opt: Any, device: Any) -> Measurement:
    """The metrics of --validate_metrics, loaded; each must have values per frame and need nothing but frames."""
    kinds = find_metrics(opt.validate_metrics)
    for kind in kinds:
        if issubclass(kind, SetMetric) or kind.tables:
            raise UserError(
                f"--validate_metrics {kind.name}: validation needs metrics with a value per frame that use nothing "
                f"but frames; measure this one with test.py"
            )
        if kind.in_time and opt.validate_frames:
            raise UserError(f"--validate_metrics {kind.name}: it compares successive frames; set --validate_frames=0")
    names = tuple(kind.name for kind in kinds)
    plan = Plan(names, ("truth", "source"), controls=False, device=str(device), weights=metric_weights(opt))
    measurement = plan.measurement()
    measurement.rehearse()
    return measurement


@dataclass(frozen=True)
class Validating:
    """The clips, metrics and family of a validation."""

    jobs: Sequence[Job]
    testing: Options
    """The options with which test.py would reconstruct."""
    measurement: Measurement
    every: int
    higher_is_better: bool = False
    """Direction of the value that selects the best checkpoint."""

    def build(self) -> Family:
        """The family as test.py builds it."""
        return find_family(self.testing.model)(self.testing, training=False)

    def measure(self, job: Job, clip: Any) -> ClipSums:
        """Start measuring a clip."""
        return ClipSums(self.measurement, job.name, clip)

    @property
    def names(self) -> list[str]:
        """Names of the metrics."""
        return [column for metric in self.measurement.metrics for column in metric.columns]


def validating(
    opt: Options, parse: Callable[[list[str]], Options | None], trained: Collection[str], step: int, steps: int,
    device: Any,
) -> Validating | None:  # fmt: skip
    """The validation during training; None without a test split, unless it was requested explicitly.

    `parse` resolves the command line of test.py, whose options validation uses; `trained` names the networks.
    """
    default_interval = 1 if opt.dry_run else VALIDATE_EVERY
    every = default_interval if opt.validate_every is None else opt.validate_every
    for_best = opt.best_by.startswith(VALIDATED)
    if not every and for_best:
        raise UserError(f"--best_by {opt.best_by}: --validate_every=0 switches validation off; set it above 0")
    if not every or (steps // every <= step // every and not for_best):
        return None
    try:
        return _validating(opt, parse, trained, every, device)
    except UserError as error:
        if for_best or opt.validate_every is not None:
            raise
        log.info("no validation (--validate_every): %s", error)
        return None


def _validating(
    opt: Options, parse: Callable[[list[str]], Options | None], trained: Collection[str], every: int, device: Any
) -> Validating:
    outside = ["--allow_outside"] if opt.allow_outside else []
    call = [f"--name={opt.name}", f"--checkpoints_dir={opt.checkpoints_dir}", "--mode=reconstruction", *outside]
    testing = parse(call)
    assert testing is not None  # neither help nor version was requested
    dataset = build_dataset(testing, training=False)
    if "driving" not in dataset.pictures_of(outside=False):
        raise UserError(f"--dataset_mode {opt.dataset_mode}: its items have no frames to compare results with")
    measurement = validation_metrics(opt, device)
    found = Validating(
        evenly_spread(dataset.jobs(), opt.validate_clips), testing, measurement, every,
        opt.best_by.startswith(VALIDATED) and is_higher_better(opt.best_by.removeprefix(VALIDATED), measurement),
    )  # fmt: skip
    if missing := set(found.build().networks()) - set(trained):
        raise UserError(f"animation needs networks that this run does not train: {', '.join(sorted(missing))}")
    return found


def is_higher_better(name: str, measurement: Measurement) -> bool:
    """Whether higher values of a metric are better; an error if it has no direction."""
    directions = {one.name: one.better for one in measurement.metrics if one.better != "like truth"}
    if name not in directions:
        known = ", ".join(f"{VALIDATED}{one}" for one in directions)
        raise UserError(f"--best_by {VALIDATED}{name}: choose a validated value that can be better or worse: {known}")
    return directions[name] == "higher"


def evenly_spread(jobs: Any, number: int) -> list[Job]:
    """This many evenly spread jobs of a list; the first ones of another iterable."""
    if not isinstance(jobs, list):
        return list(islice(jobs, number))
    chosen = sorted({round(index * (len(jobs) - 1) / max(number - 1, 1)) for index in range(number)})
    return [jobs[index] for index in chosen]
