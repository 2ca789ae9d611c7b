"""The options for metrics and their weights."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from metrics.evaluation.protocols import Protocol, choose_protocol, without_motion
from metrics.evaluation.running import Plan
from metrics.evaluation.tables import KINDS
from metrics.parts.tables import TABLES
from metrics.parts.weights import FOLDER, Weights, weight_options
from options.parser import OptionGroup, OptionParser
from util.errors import UserError
from util.values import list_of, one_of, text

TRUTH = "drawn_truth"


def add_measuring_options(parser: OptionParser) -> None:
    """Declare the metric options of test.py."""
    group = parser.group(
        "measuring", "Frames are measured before they are encoded; docs/evaluation.md has all definitions.",
        example="--metrics l1,psnr,jitter --mode reconstruction",
    )  # fmt: skip
    group.add_argument(
        "--metrics", type=list_of(text), default=[],
        help="metrics, e.g. l1,ssim/gauss,id/dlib,jitter; script/evaluate.py --list lists all",
        shapes_result=False,
    )  # fmt: skip
    group.add_argument(
        "--protocol", type=text, help="metrics, size and averaging of configs/protocols/NAME.yaml", shapes_result=False
    )
    group.add_argument(
        "--table", type=one_of(*KINDS), default="text", metavar="|".join(KINDS), help="format of the printed table",
        shapes_result=False, advanced=True,
    )  # fmt: skip
    group.add_switch("--json", help="finally print the totals as one line of JSON", shapes_result=False, advanced=True)
    group.add_switch(
        "--controls", default=True,
        help="also measure control rows: first frame repeated, driving video replayed, truth",
        shapes_result=False, advanced=True,
    )  # fmt: skip
    group.add_switch(
        "--allow_few",
        "--force",
        help="print fid and fvd even for too few frames or clips",
        shapes_result=False,
        advanced=True,
    )
    add_weight_options(group)
    # Tables of results cannot exist before the results; script/evaluate.py measures those metrics.
    group.add_argument(f"--{TRUTH}", type=text, help=TABLES[TRUTH], shapes_result=False, advanced=True)


def add_weight_options(group: OptionGroup) -> None:
    """Declare the paths of the metrics' weights."""
    group.add_argument(
        "--metric_weights",
        type=text,
        default=str(FOLDER),
        help="folder of weights files with their published names",
        shapes_result=False,
        advanced=True,
    )
    for option, files in weight_options().items():
        group.add_argument(f"--{option}", type=text, help=files, shapes_result=False, advanced=True)


def measuring_plan(
    opt: Any, pictures: Collection[str], device: Any, *, tells_motion: bool = False
) -> tuple[Plan, Protocol] | None:
    """The metrics of --metrics and --protocol, for results whose items hold these pictures: "source", "driving".

    `tells_motion`: the dense motion behind the frames is known, too.
    """
    if not (opt.metrics or opt.protocol):
        return None
    if opt.output:
        raise UserError("--metrics: it writes into a folder of results; give --results_dir FOLDER in place of --output")
    has_truth = opt.mode == "reconstruction"
    protocol = choose_protocol(opt.protocol, opt.metrics, has_truth=has_truth)
    if not (tells_motion and has_truth):
        protocol = without_motion(protocol, opt.metrics)
    roles = tuple({"driving": "truth"}.get(one, one) if has_truth else one for one in sorted(pictures))
    plan = Plan(
        metrics=protocol.metrics, roles=roles, controls=opt.controls, size=protocol.size, device=str(device),
        allow_few=opt.allow_few, weights=metric_weights(opt),
        tables={TRUTH: Path(opt.drawn_truth)} if opt.drawn_truth else {},
    )  # fmt: skip
    return plan, protocol


def metric_weights(opt: Any) -> Weights:
    """The paths of the metrics' weights."""
    given = {name: Path(getattr(opt, name)) for name in weight_options() if getattr(opt, name)}
    return Weights(Path(opt.metric_weights), given)
