"""Collect action units for GANimation: from OpenFace's tables of pictures and videos, or from pictures with py-feat.

`python data/prepare_au_annotations.py` and `python script/prepare_au_annotations.py` are the same command.
"""

import argparse
import csv
import io
import sys
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.expressions.annotations import write_annotations
from data.expressions.pyfeat import UnitReader
from data.expressions.unit_tables import Collected, collect, collect_pictures, means_table
from data.video.images import list_images, natural_key
from util.errors import UserError, run_main
from util.expressions import UNITS, find_unit
from util.files import write_text
from util.values import share

EPILOG = """examples:
  python data/prepare_au_annotations.py
  python script/prepare_au_annotations.py -ia processed -op dataset/mine
  python script/prepare_au_annotations.py -ia processed -op dataset/mine --face confident --min_confidence 0.9
  python script/prepare_au_annotations.py --pictures dataset/mine/imgs -op dataset/mine

OpenFace writes the tables: FaceLandmarkImg -aus -fdir imgs -out_dir processed (a table a picture), or
FeatureExtraction -aus -f video.mp4 (a table a video; its frames are to be called as --frame_name says). Columns are
found by name, whatever else a table holds. Beside the annotations are written aus_means.csv, to look at, and
left_out.csv: what was not taken, and why."""


def main() -> int:
    """Read, select, write, report."""
    args = read_arguments()
    units = [UNITS[find_unit(name)] for name in args.units.split(",")] if args.units else UNITS
    if args.pictures:
        pictures = tqdm(list_images(existing(args.pictures, "--pictures")), unit="picture")
        collected = collect_pictures(pictures, UnitReader(units))
    else:
        folder = existing(args.input_aus_filesdir, "--input_aus_filesdir")
        tables = sorted(folder.glob("*.csv"), key=natural_key)
        if not tables:
            raise UserError(f"--input_aus_filesdir {folder}: no tables (*.csv) in this folder")
        collected = collect(
            tqdm(tables, unit="table"), units,
            face=args.face, min_confidence=args.min_confidence, frame_name=args.frame_name,
        )  # fmt: skip
    if not collected.annotations:
        raise UserError(f"skipped all {len(collected.left_out)} pictures; the first: {collected.left_out[0][1]}")
    path = args.output_path / args.output_name
    write_annotations(path, collected.annotations, units)
    report(collected, path, means_table(collected.annotations, units))
    return 0


def existing(folder: Path, option: str) -> Path:
    """Require an existing folder."""
    if not folder.is_dir():
        raise UserError(f"{option} {folder}: no such folder")
    return folder


def report(collected: Collected, path: Path, means: list[list[str]]) -> None:
    """Write and print the annotations and the skipped items."""
    write_text(path.parent / "aus_means.csv", "".join(",".join(row) + "\n" for row in means))
    left_out = io.StringIO()
    csv.writer(left_out, lineterminator="\n").writerows([("name", "reason"), *collected.left_out])
    write_text(path.parent / "left_out.csv", left_out.getvalue())
    widths = [max(len(row[column]) for row in means) for column in range(len(means[0]))]
    for row in means:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    print(f"{len(collected.annotations)} pictures in {path}, {len(collected.left_out)} skipped (left_out.csv)")
    for name, why in collected.chosen[:5]:
        print(f"several faces: {name}: {why}")
    if len(collected.chosen) > 5:
        print(f"several faces: {len(collected.chosen)} pictures or videos in all")


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add, folder = parser.add_argument, {"type": Path, "metavar": "FOLDER"}
    add("-ia", "--input_aus_filesdir", default=Path("dataset/sample/aus/openface"), **folder,
        help="tables of OpenFace (default: %(default)s)")  # fmt: skip
    add("-op", "--output_path", default=Path("dataset/sample/aus"), **folder,
        help="where the annotations go (default: %(default)s)")  # fmt: skip
    add("--output_name", default="aus_openface.pkl", metavar="NAME",
        help="their name, as train.py --aus_file reads it; .pkl, .npz or .csv (default: %(default)s)")  # fmt: skip
    add("--pictures", **folder, help="pictures to read by py-feat, instead of tables")
    add("--face", choices=("largest", "confident"), default="largest",
        help="which of several faces: tables without landmarks tell no sizes (default: %(default)s)")  # fmt: skip
    add("--min_confidence", type=share, default=0.75, help="leave out faces below (default: %(default)s)")
    add("--frame_name", default="{name}_{frame:05d}", metavar="FORM",
        help="what the frames of videos are called, without suffix (default: %(default)s)")  # fmt: skip
    add("--units", default="", metavar="AU01,...", help="units to take, in this order (default: the 17 of OpenFace)")
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
