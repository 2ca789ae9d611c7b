"""Damage files of a kind in many ways and check their reader: it must read them or refuse them with one line.

Anything else is a fault: a traceback, a crash, more than 20 s or 4 GB for one file, a refusal without the file's name,
content that differs although checksums would reveal it. Faults set the exit status to 1; their files are kept, each
with a text of the traceback. The same seed damages in the same ways.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from script.fuzzing.target import Target
from script.fuzzing.watch import FAULT, READ, REFUSED, Limits, Report, fuzz, mutations
from util.errors import UserError, run_main

EPILOG = """examples:
  python script/fuzz.py --list                        # the kinds of files
  python script/fuzz.py png mp4 --count 500           # two of them
  python script/fuzz.py all --count 500 --seed 1      # all
  python script/fuzz.py png --first 17 --count 1      # one mutation again
  python script/fuzz.py png --file damaged.png        # one file"""
WINGS = ("pictures", "videos", "arrays", "tables", "weights")


def main() -> int:
    args = read_arguments()
    targets = all_targets()
    if args.list:
        print("\n".join(targets))
        return 0
    chosen = list(targets) if args.targets == ["all"] else args.targets
    if unknown := [name for name in chosen if name not in targets]:
        raise UserError(f"{', '.join(unknown)}: unknown kind of file; available: {', '.join(targets)}")
    return run_all([targets[name] for name in chosen], args)


def all_targets() -> dict[str, Target]:
    """The kinds of files by name; importing their readers takes seconds."""
    modules = [importlib.import_module(f"script.fuzzing.{wing}") for wing in WINGS]
    return {target.name: target for module in modules for target in module.TARGETS}


def read_arguments() -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="kinds of files, or all")
    parser.add_argument("--list", action="store_true", help="print the kinds of files")
    parser.add_argument("--count", type=int, default=100, help="mutations of each kind [100]")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation [0]")
    parser.add_argument("--seed", type=int, default=0, help="chooses how files are damaged [0]")
    parser.add_argument("--file", type=Path, help="read this file instead of damaged ones")
    parser.add_argument("--seconds", type=float, default=Limits.seconds, help="most for one file [20]")
    parser.add_argument("--gigabytes", type=float, default=Limits.gigabytes, help="most memory for one file [4]")
    parser.add_argument("--out", type=Path, default=Path("fuzz_faults"), help="folder of faults [fuzz_faults]")
    args = parser.parse_args()
    if not args.targets and not args.list:
        parser.error("name kinds of files, or all; --list shows them")
    if args.file and (len(args.targets) != 1 or not args.file.is_file()):
        raise UserError(f"--file {args.file}: set it to an existing file, and name its kind")
    return args


def run_all(targets: Iterable[Target], args: argparse.Namespace) -> int:
    """Run the targets in turn and print a line for each."""
    limits, faults = Limits(args.seconds, args.gigabytes), 0
    print(f"{'kind':18}{'read':>7}{'refused':>9}{'faults':>8}{'slowest':>10}{'all':>8}")
    for target in targets:
        start = time.perf_counter()
        report = fuzz_target(target, args, limits)
        counts = report.counts
        slowest, number = report.slowest
        seconds = f"{slowest:8.2f} s ({number}){time.perf_counter() - start:6.0f} s"
        print(f"{target.name:18}{counts[READ]:7}{counts[REFUSED]:9}{counts[FAULT]:8}{seconds}", flush=True)
        for number, reason in report.faults.items():
            print(f"  {number}: {reason}")
        faults += counts[FAULT]
    if faults:
        print(f"{faults} faults; see the files and tracebacks in {args.out}", file=sys.stderr)
    return 1 if faults else 0


def fuzz_target(target: Target, args: argparse.Namespace, limits: Limits) -> Report:
    """The summary of one target."""
    if args.file:
        content = args.file.read_bytes()
        return fuzz(target, lambda wholes, number: (content, False), range(1), args.out, limits)
    numbers = range(args.first, args.first + args.count)
    return fuzz(target, mutations(target, args.seed), numbers, args.out, limits)


if __name__ == "__main__":
    run_main(main)
