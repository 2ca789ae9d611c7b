"""Rewrite the page of a results folder with the metrics of script/evaluate.py, or with missing posters.

test.py writes the page itself; this adds what was put into the folder since, and makes nothing else.
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.jobs.page_files import write_poster
from data.video import open_video
from engine.records import Records
from engine.results_page import write_page
from util.errors import UserError, run_main

EPILOG = """examples:
  python script/evaluate.py --generated eval_results/mine --real dataset/mine/test --protocol real
  python script/page.py eval_results/mine"""


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args = read_arguments()
    if not args.folder.is_dir():
        raise UserError(f"{args.folder}: no such folder; choose a results folder of test.py")
    add_posters(args.folder)
    if not write_page(args.folder):
        raise UserError(f"{args.folder}: contains no results.jsonl with results")
    return 0


def add_posters(folder: Path) -> None:
    """Make missing posters from the results' first frames."""
    records = Records(folder, {})
    for entry in records.entries():
        path = folder / entry["output"]
        if "poster" in entry or path.suffix.lower() in (".png", ".jpg", ".gif"):
            continue
        try:
            with open_video(path) as video:
                frame = next(iter(video))
        except UserError as error:  # the page shows the others anyway
            logging.warning("%s", error)
            continue
        records.add(entry | write_poster(path, frame))


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="results of test.py, e.g. eval_results/mine")
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
