"""Measure this machine, or check a claim of the documentation: one subcommand per question."""

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from util.errors import run_main

EPILOG = """example:
  python script/benchmark.py data        # packed frames against JPEG files and mp4
  python script/benchmark.py data --help # its options

Bars are ratios of times taken in one run, so that they hold on slow machines and busy ones; a missed bar makes the
exit status 1."""


def main() -> int:
    args = read_arguments()
    return args.run(args)


def read_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    commands = parser.add_subparsers(metavar="WHAT", required=True)
    for path in sorted((Path(__file__).parent / "benchmarks").glob("*.py")):
        # A benchmark is a module with add_options and run; the heavy imports are inside run.
        module = importlib.import_module(f"script.benchmarks.{path.stem}")
        first_line, _, rest = module.__doc__.partition("\n")
        command = commands.add_parser(
            path.stem,
            help=first_line,
            description=first_line,
            epilog=rest.strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_options(command)
        command.set_defaults(run=module.run)
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
