"""Measure what LivePortrait has learned from drawn people, on people that it has not seen.

identity, pose: a person's first frame, moved by another one's clip (relative). shoulders: how far the picture below the
chin differs from the unmoved source, with stitching and without, for driving clips whose crop moves. openness: how far
eyes and lips of a retargeted first frame are open, against what was asked for."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from util.errors import run_main
from util.values import count

EPILOG = """example:
  python script/measure_portraits.py --checkpoint result/small_lp_retarget --dataroot dataset/people_128 \\
      --pictures result/measured

Options beside those below are those of test.py."""


def main() -> int:
    args, arguments = read_arguments()
    from script.measuring.portraits import measure  # imports torch, which --help does not need

    measure(arguments, args.frames, args.stride, args.threads, args.pictures)
    return 0


def read_arguments() -> tuple[argparse.Namespace, list[str]]:
    """The options of the command, and those of test.py."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--frames", type=count, default=12, help="frames of each driving clip (default: %(default)s)")
    add("--stride", type=count, default=5, help="every so many frames of a clip (default: %(default)s)")
    add("--threads", type=count, default=1, help="threads of the processor (default: %(default)s)")
    add("--pictures", type=Path, metavar="FOLDER", help="write pictures to look at there")
    return parser.parse_known_args()


if __name__ == "__main__":
    run_main(main)
