"""Measure videos of any model: similarity to the truth, identity, motion.

Writes metrics.csv (a row per frame), metrics.json (totals, videos, definitions) and prints a table with the control
rows "first frame repeated", "driving video replayed" and "truth" beside the result.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.preparation.items import rate
from engine.signals import unwind_at_sigterm
from metrics import metric_names, variants
from metrics.evaluation.protocols import Protocol, choose_protocol, protocol_names, without_motion
from metrics.evaluation.results import JSON, columns_of, report, to_line, write
from metrics.evaluation.tables import KINDS, table
from metrics.parts.tables import TABLES
from metrics.parts.weights import FOLDER, Weights, weight_options
from util.errors import UserError, run_main
from util.files import refuse_unwritable
from util.values import count

if TYPE_CHECKING:
    from metrics.evaluation.pairing import Pair
    from metrics.evaluation.running import Plan

EPILOG = """examples:
  python script/evaluate.py --generated eval_results/mine --real dataset/mine/test --protocol real
  python script/evaluate.py --generated out --real test --metrics l1,ssim/gauss,akd/dlib,id/dlib --table md
  python script/evaluate.py --generated out --source faces --driving videos --metrics id/dlib,pose,jitter

Files belong together by name: out/a.mp4, test/a.clip, faces/a.png. Videos, packed clips, folders of frames and strips
of square frames are read. Measure lossless frames where you can (test.py --format png, or --strips and its folder
png/): what an encoder did to a video is measured with it. An interrupted run is continued by the same command."""

MOTION = "dense motion of a model per video (NAME.npz), for motion/truth"


def main() -> int:
    args = read_arguments()
    if args.list:
        print(listing())
        return 0
    unwind_at_sigterm()  # so that the processes of --workers end with this one
    from metrics.evaluation.pairing import listed_pairs, pairs  # torch, which --help does not need

    named = [name.strip() for name in (args.metrics or "").split(",") if name.strip()]
    protocol = choose_protocol(args.protocol, named, args.size, has_truth=args.real is not None)
    if args.motion is None:
        protocol = without_motion(protocol, named)
    folders = {"result": args.generated, "truth": args.real, "driving": args.driving, "source": args.source}
    wanted = listed_pairs(args.pairs, folders) if args.pairs else pairs(folders)
    out = args.out or (args.generated if args.generated.is_dir() else args.generated.parent)
    refuse_unwritable(out, "out")
    plan = plan_of(args, protocol, tuple(role for role, folder in folders.items() if folder and role != "result"))
    measurement = plan.measurement()
    records, failures = measured(wanted, plan, measurement, out, args)
    for name, reason in failures.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    if not records:
        raise UserError("nothing could be measured")
    command = [Path(sys.argv[0]).name, *sys.argv[1:]]
    content = report(measurement, records, protocol.facts(), command) | {"failed": failures}
    content["files"] = {
        pair.name: {role: os.path.relpath(path, out) for role, path in pair.files.items()} for pair in wanted
    }
    write(out, content, records, columns_of(measurement.metrics))
    print(table(content, args.table, protocol.weighting))
    print(f"{out / JSON}: {len(records)} videos, {sum(content['frames'].values())} frames", file=sys.stderr)
    if args.json:
        print(to_line({key: content[key] for key in ("total", "controls", "protocol")}))
    return 1 if failures else 0


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--generated", type=Path, metavar="FOLDER", help="the results: a video each, or one file")
    add("--real", type=Path, metavar="FOLDER", help="the true videos, which the results should equal")
    add("--driving", type=Path, metavar="FOLDER", help="the driving videos, where they are not the truth")
    add("--source", type=Path, metavar="FOLDER", help="the source pictures; of a video its first frame")
    add("--pairs", type=Path, metavar="CSV", help="which belong together: columns generated, real, driving, source")
    add("--metrics", metavar="NAME,...", help="what to measure; --list tells what there is")
    add("--protocol", metavar="NAME", help=f"metrics, size and weighting of: {', '.join(protocol_names())}; or a YAML")
    add("--out", type=Path, metavar="FOLDER", help="where metrics.csv and metrics.json go (default: --generated)")
    add("--table", choices=KINDS, default="text", help="form of the printed table (default: %(default)s)")
    add("--json", action="store_true", help="end with the totals as one line of JSON")
    add("--size", type=count, metavar="PIXELS", help="bring the centre square of all frames to this size first")
    add("--fps", type=rate, help="bring all videos to this rate first")
    add("--force", action="store_true", help="print fid and fvd of fewer frames or clips than they need, too")
    add("--no_controls", action="store_true", help="leave out the control rows")
    add("--overwrite", action="store_true", help="measure again what has been measured")
    add("--list", action="store_true", help="print the metrics, their definitions and who uses them")
    group = parser.add_argument_group("how it is computed")
    group.add_argument("--workers", type=count, default=1, metavar="N", help="processes (default: %(default)s)")
    group.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: %(default)s)")
    group.add_argument("--batch_size", type=count, default=16, help="frames at once (default: %(default)s)")
    files = parser.add_argument_group("files", "weights that are not named are looked for in --weights by their name")
    files.add_argument("--weights", type=Path, default=FOLDER, metavar="FOLDER", help="(default: %(default)s/)")
    for option, names in weight_options().items():
        files.add_argument(f"--{option}", type=Path, metavar="FILE", help=names)
    for option, says in (TABLES | {"motion": MOTION}).items():
        files.add_argument(f"--{option}", type=Path, metavar="PATH", help=says)
    return checked(parser, parser.parse_args())


def checked(parser: argparse.ArgumentParser, args: argparse.Namespace) -> argparse.Namespace:
    """Refuse impossible measurements before anything is loaded."""
    if not args.list and args.generated is None:
        parser.error("--generated FOLDER is missing: set it to the videos to measure")
    if not (args.list or args.metrics or args.protocol):
        parser.error("--metrics NAME,... or --protocol NAME is missing; --list shows all")
    return args


def plan_of(args: argparse.Namespace, protocol: Protocol, roles: tuple[str, ...]) -> Plan:
    """The settings for worker processes."""
    from metrics.evaluation.running import Plan

    given = {name: getattr(args, name) for name in weight_options() if getattr(args, name) is not None}
    return Plan(
        metrics=protocol.metrics,
        roles=roles,
        controls=not args.no_controls,
        size=protocol.size,
        fps=args.fps,
        batch_size=args.batch_size,
        allow_few=args.force,
        device=args.device,
        weights=Weights(args.weights, given),
        tables={name: getattr(args, name) for name in (*TABLES, "motion") if getattr(args, name) is not None},
    )


def measured(wanted: list[Pair], plan: Plan, measurement, out: Path, args) -> tuple[list, dict[str, str]]:
    """The records of all pairs, including those of an earlier run, and the failures by name."""
    from tqdm import tqdm

    from metrics.evaluation import running

    kept = running.FinishedPairs(out, plan, measurement)
    if args.overwrite:
        kept.path.unlink(missing_ok=True)
    known = kept.load(wanted)
    rest = [pair for pair in wanted if pair.name not in known]
    if rest and args.workers == 1:
        measurement.rehearse()  # a missing package is one error, not one per video
    failures, pace = {}, running.Pace()
    outcomes = running.measure_all(rest, plan, measurement, args.workers)
    for pair, record, reason in tqdm(outcomes, total=len(rest), unit="video", disable=None):
        if record is None:
            failures[pair.name] = reason
            continue
        known[pair.name] = record
        kept.add(pair, record)
        pace.add(record["frames"])
    if pace.frames:
        print(pace, file=sys.stderr)
    return list(known.values()), failures


def listing() -> str:
    """Every metric with its definition."""
    lines = []
    for name in metric_names():
        kind = variants(name.split("/")[0])[name]
        lines.append(f"{name}\n    {kind.says} ({kind.better} is better{', ' + kind.unit if kind.unit else ''})")
        lines.append(f"    compares the result with: {', '.join(kind.needs) or 'nothing'}; used by: {kind.used_by}")
    return "\n".join(lines)


if __name__ == "__main__":
    run_main(main)
