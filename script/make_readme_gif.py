"""Animate drawn people with several models and write one gif: source, driving video, and a column per model.

It draws nothing and trains nothing. The picture of README.md is made by

  python script/make_sample_dataset.py --out dataset/sample --layouts
  python script/pack_frames.py --in dataset/sample/train --out dataset/sample_64/train --size 64
  python train.py --config configs/tiny/fomm.yaml --dataroot dataset/sample_64 --name fomm
  python train.py --config configs/tiny/tps.yaml --dataroot dataset/sample_64 --name tps
  python script/make_readme_gif.py --models fomm=result/fomm tps=result/tps mraa=weights/own"""

import argparse
import csv
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from data.video import VideoWriter, open_video
from util.errors import RunError, UserError, run_main
from util.resizing import resize, to_bytes
from util.tiles import captioned

ROOT = Path(__file__).resolve().parents[1]
PAIRS = ("id003#00:id011#00", "id007#01:id003#03", "id011#00:id007#01")
"""Clips of the default sample dataset."""


def main() -> int:
    """Animate the pairs with every model, and arrange the results side by side."""
    args = read_arguments()
    pairs = [(video_of(args.people, source), video_of(args.people, driving)) for source, driving in args.pairs]
    with tempfile.TemporaryDirectory() as folder:
        columns = {
            "source": [repeat(next(tiles(source, args.size))) for source, _ in pairs],
            "driving": [tiles(driving, args.size, args.every) for _, driving in pairs],
        }
        for label, weights in args.models:
            results = animate(weights, pairs, Path(folder) / label, args.cpu)
            columns[label] = [tiles(result, args.size, args.every) for result in results]
        with open_video(pairs[0][1]) as first, VideoWriter(args.out, first.fps / args.every) as writer:
            for shown in islice(side_by_side(columns), args.frames):
                writer.write(shown)
    print(f"{args.out}: {args.out.stat().st_size / 2**20:.1f} MB")
    return 0


def video_of(folder: Path, name: str) -> Path:
    """The video of a clip."""
    path = folder / f"{name}.mp4"
    if not path.is_file():
        raise UserError(f"--pairs {name}: no file {path}; set --people to the folder of the drawn people's videos")
    return path


def animate(weights: Path, pairs: Sequence[tuple[Path, Path]], folder: Path, cpu: bool) -> list[Path]:
    """The results of test.py as folders of frames, in the order of the pairs."""
    folder.mkdir()
    table = folder / "pairs.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("source", "driving", "output"))
        rows.writerows((source.resolve(), driving.resolve(), row) for row, (source, driving) in enumerate(pairs))
    command = [sys.executable, str(ROOT / "test.py"), f"--checkpoint={weights}", f"--name={folder.name}"]
    command += [f"--pairs={table}", f"--results_dir={folder}", "--format=png", *(["--cpu"] if cpu else [])]
    if subprocess.run(command).returncode:
        raise RunError(f"{weights}: test.py failed, see above")
    return [folder / str(row) for row in range(len(pairs))]


def tiles(path: Path, size: int, every: int = 1) -> Iterator[np.ndarray]:
    """Every n-th frame of a video, as squares."""
    with open_video(path) as frames:
        for frame in islice(frames, 0, None, every):
            yield to_bytes(resize(frame, (size, size)))


def side_by_side(columns: dict[str, list[Iterable[np.ndarray]]]) -> Iterator[np.ndarray]:
    """Pictures of all columns with their names below, until the first video ends."""
    for moment in zip(*(zip(*rows, strict=False) for rows in columns.values()), strict=False):
        parts = [captioned(np.concatenate(rows), name) for name, rows in zip(columns, moment, strict=True)]
        yield np.concatenate(parts, axis=1)


def models(value: str) -> tuple[str, Path]:
    """LABEL=WEIGHTS."""
    label, equals, weights = value.partition("=")
    if not (label and equals and weights):
        raise argparse.ArgumentTypeError(f"{value}: expected LABEL=WEIGHTS, e.g. tps=result/tps")
    return label, Path(weights)


def pair(value: str) -> tuple[str, str]:
    """SOURCE:DRIVING."""
    source, colon, driving = value.partition(":")
    if not (source and colon and driving):
        raise argparse.ArgumentTypeError(f"{value}: expected SOURCE:DRIVING, e.g. {PAIRS[0]}")
    return source, driving


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--models", nargs="+", type=models, required=True, metavar="LABEL=WEIGHTS",
        help="a run's folder or a file of weights for each column")  # fmt: skip
    add("--people", type=Path, default=Path("dataset/sample/test"), metavar="FOLDER",
        help="videos of drawn people (default: %(default)s)")  # fmt: skip
    add("--pairs", nargs="+", type=pair, default=[pair(value) for value in PAIRS], metavar="SOURCE:DRIVING",
        help=f"clips for each row (default: {' '.join(PAIRS)})")  # fmt: skip
    add("--out", type=Path, default=Path("docs/families.gif"), help="the gif (default: %(default)s)")
    add("--size", type=int, default=112, metavar="PIXELS", help="side of a tile (default: %(default)s)")
    add("--frames", type=int, default=30, metavar="N", help="at most (default: %(default)s)")
    add("--every", type=int, default=2, metavar="N", help="take every Nth frame (default: %(default)s)")
    add("--cpu", action="store_true", help="for test.py")
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
