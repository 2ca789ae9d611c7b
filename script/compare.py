"""Compare measured runs side by side: a page with their videos in sync, and a table with significant differences
marked.

Each run is a folder with the metrics.json of script/evaluate.py (or of test.py --metrics), or its name in
eval_results/. Files that browsers cannot play (folders of frames, packed clips) are written as mp4 beside the page.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from metrics.evaluation.comparing import comparison, facts, read_runs, unequal_videos
from metrics.evaluation.comparison_page import write_page
from metrics.evaluation.playable import with_playable_files
from metrics.evaluation.results import to_line
from metrics.evaluation.tables import KINDS, format_rows
from util.errors import UserError, run_main
from util.files import refuse_unwritable

EPILOG = """examples:
  python script/compare.py eval_results/fomm eval_results/tps --out compared
  python script/compare.py fomm tps mraa --labels FOMM,TPS,MRAA --table md --json

Differences are those to the first run, with the 95 % interval of the bootstrap over the videos that both have; a star
marks those whose interval leaves out 0."""


def main() -> int:
    args = read_arguments()
    if len(args.runs) < 2:
        raise UserError("name at least two runs or folders to compare")
    runs = read_runs(args.runs, args.labels.split(",") if args.labels else None)
    if not args.no_page:
        refuse_unwritable(args.out, "out")
    head, rows = comparison(runs, args.weighting)
    print(format_rows(head, rows, args.table))
    if warning := unequal_videos(runs):
        print(f"warning: {warning}", file=sys.stderr)
    if not args.no_page:
        page = args.out / "index.html"
        count = write_page(page, with_playable_files(runs, args.out / "videos"), args.weighting)
        print(f"{count} videos, to look at: {page}", file=sys.stderr)
    if args.json:
        print(to_line(facts(runs, args.weighting)))
    return 0


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN_OR_FOLDER", help="what to compare; the first is what others differ from")
    add("--labels", metavar="A,B,...", help="what to call them (default: the names of their folders)")
    add("--weighting", choices=("videos", "frames"), default="videos", help="of the values (default: %(default)s)")
    add(
        "--out",
        type=Path,
        default=Path("compared"),
        metavar="FOLDER",
        help="for the page (default: %(default)s)",
    )
    add("--no_page", action="store_true", help="print the table only")
    add("--table", choices=KINDS, default="text", help="form of the printed table (default: %(default)s)")
    add("--json", action="store_true", help="end with the comparison as one line of JSON")
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
