"""The options for metrics, their weights, and validation."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metrics.evaluation.protocols import Protocol, choose_protocol, without_motion
from metrics.evaluation.tables import KINDS
from metrics.parts.tables import TABLES
from metrics.parts.weights import FOLDER, Weights, weight_options
from options.parser import OptionGroup, OptionParser
from util.errors import UserError
from util.values import at_least, count, list_of, one_of, text, within

if TYPE_CHECKING:
    from metrics.evaluation.running import Plan

TRUTH = "drawn_truth"
VALIDATE_EVERY = 500
"""Default number of steps between validations."""


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


def add_validation_options(parser: OptionParser) -> None:
    """Declare the validation options of train.py."""
    group = parser.group(
        "validation while training", "Test clips, reconstructed from their first frames every so many steps.",
        example="--validate_every 200",
    )  # fmt: skip
    group.add_argument(
        "--validate_every", type=at_least(0),
        help=f"steps between validations; 0: none; default: {VALIDATE_EVERY} if there is a test split",
    )  # fmt: skip
    group.add_argument(
        "--validate_clips", type=count, default=4, help="number of test clips, always the same ones", advanced=True
    )
    group.add_argument(
        "--validate_frames",
        type=at_least(0),
        default=16,
        advanced=True,
        help="frames per clip, evenly spread; 0: all",
    )
    group.add_argument(
        "--validate_metrics", type=list_of(text), default=["l1", "ssim/gauss"], advanced=True,
        help="metrics; script/evaluate.py --list lists all",
    )  # fmt: skip
    group.add_argument(
        "--validate_share", type=within(0, 100), default=5.0,
        help="skip validations that would exceed this percentage of the time", advanced=True,
    )  # fmt: skip
    add_weight_options(group)


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
) -> "tuple[Plan, Protocol] | None":
    """The metrics of --metrics and --protocol, for results whose items hold these pictures: "source", "driving".

    `tells_motion`: the dense motion behind the frames is known, too.
    """
    if not (opt.metrics or opt.protocol):
        return None
    from metrics.evaluation.running import Plan  # torch, which declaring options does not need

    if opt.output:
        raise UserError("--metrics writes into a folder of results; use --results_dir FOLDER instead of --output")
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
