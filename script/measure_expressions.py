"""Measure whether a GANimation model moves what it should, on the test pictures of a dataset.

Sweeps every unit over the test pictures while the other units stay. Detects landmarks in the results and measures the
movement of the unit: its correlation with the intended intensity, and its size relative to real pictures, whose
annotations give the intensities. Outside of the mouth nothing should change.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data import find_dataset
from data.aus import ActionUnitsDataset
from data.expressions.clips import condition
from data.faces.crop import cut, resize
from data.faces.detector import Detector
from data.faces.landmarks import build_detector
from data.video.images import read_image, write_image
from models import find_family
from options import parse, run_folder
from util.errors import UserError, run_main
from util.expressions import find_unit
from util.files import replacing
from util.tiles import captioned, tile
from util.values import count

if TYPE_CHECKING:
    from engine.animator import Animator

EPILOG = """examples:
  python script/measure_expressions.py --config configs/tiny/ganimation.yaml
  python script/measure_expressions.py --units AU12,AU26,AU45 --name experiment_1 --data_dir dataset/sample/aus

All options of test.py are understood beside these."""

FACE_SIDE = 256
"""Picture side for landmark detection: small pictures are upsampled."""
MARGIN = 0.25
"""Padding by repetition, relative to the picture, so that faces that fill the picture are found."""


def span(first: int, second: int) -> Callable[[np.ndarray], float]:
    """The distance of two landmarks."""
    return lambda points: float(np.linalg.norm(points[first] - points[second]))


MOVEMENTS: dict[str, tuple[str, Callable[[np.ndarray], float]]] = {
    "AU01": ("inner brows rise over the eyes", lambda p: float((p[[39, 42], 1] - p[[21, 22], 1]).mean())),
    "AU12": ("corners of the mouth near the eyes", lambda p: -(span(48, 36)(p) + span(54, 45)(p)) / 2),
    "AU15": ("corners of the mouth leave the eyes", lambda p: (span(48, 36)(p) + span(54, 45)(p)) / 2),
    "AU20": ("the mouth widens", span(48, 54)),
    "AU25": ("the lips part", span(62, 66)),
    "AU26": ("the lower lip leaves the nose", span(33, 57)),
    "AU45": ("the eyes close", lambda p: -float(np.mean([span(37, 41)(p), span(44, 46)(p)]))),
}
"""Unit -> its movement and measurement, in distances between the eyes."""


class Measure:
    """Detects the landmarks of small pictures of faces, in distances between the eyes."""

    def __init__(self, detector: Detector):
        self.detector = detector

    def points(self, picture: np.ndarray) -> np.ndarray | None:
        """The 68 points, or None where no face is found."""
        height, width = picture.shape[:2]
        reach = MARGIN * max(height, width)
        box = np.array([-reach, -reach, width + reach, height + reach])
        (faces,) = self.detector.detect([cut(picture, box, round(FACE_SIDE * (1 + 2 * MARGIN)))])
        if not faces:
            return None
        points = faces[0].points.astype(np.float64)
        return points / np.linalg.norm(points[36:42].mean(0) - points[42:48].mean(0))


def main() -> int:
    """Sweep, measure, report."""
    args, rest = read_arguments()
    import torch  # after the arguments: --help answers without it
    from tqdm import tqdm

    from engine.animator import Animator
    from engine.checkpoints.load import load_networks

    opt = parse(["--model=ganimation", *rest], training=False)
    if opt is None:
        return 0
    dataset = find_dataset(opt.dataset_mode)(opt, training=False)
    family = find_family(opt.model)(opt, training=False).eval()
    path = load_networks(family, opt.checkpoint or run_folder(opt), opt.which)
    animator = Animator(family, torch.device("cpu"), channels_last=False)
    measure = Measure(build_detector())
    chosen = np.linspace(0, len(dataset) - 1, min(args.pictures, len(dataset))).round().astype(int)
    real = real_movements(dataset, measure, args.units)
    rows, sheets = [], []
    for name in args.units:
        swept = [sweep(animator, dataset, int(index), name, args.levels) for index in tqdm(chosen, desc=name)]
        rows.append({"unit": name, "moves": MOVEMENTS[name][0]} | judge(swept, name, args.levels, measure, real[name]))
        sheets += [(name, frames) for frames, _ in swept[:4]]
    write_results(args.out, rows, sheets, args.levels)
    print(f"{path}: {len(chosen)} test pictures, intensities {args.levels[0]:g} to {args.levels[-1]:g}")
    print_table(rows)
    if args.json:
        print(json.dumps({"weights": str(path), "units": rows}))
    return 0


def sweep(
    animator: Animator, dataset: ActionUnitsDataset, index: int, name: str, levels: Sequence[float]
) -> tuple[list[np.ndarray], np.ndarray]:
    """The results of a test picture at every level of a unit, and the mean attention."""
    source = dataset.source_item([read_image(dataset.pictures[index])])
    expressions = np.repeat(dataset.aus[index][None], len(levels), 0)
    expressions[:, find_unit(name, dataset.units)] = levels
    frames = list(animator.stream(source, ({"aus": condition(one)} for one in expressions)))
    return frames, frames[-1].astype(int) - frames[0]


def judge(swept: list, name: str, levels: Sequence[float], measure: Measure, real: float) -> dict[str, str]:
    """Correlation of the measured movement with the intended one, and other changes."""
    correlations, slopes, inside, outside = [], [], [], []
    for frames, change in swept:
        points = [measure.points(frame) for frame in frames]
        found = [(level, MOVEMENTS[name][1](one)) for level, one in zip(levels, points, strict=True) if one is not None]
        if len(found) > 2:
            intended, measured = np.array(found).T
            slopes.append(np.polyfit(intended, measured, 1)[0])
            correlations.append(np.corrcoef(intended, measured)[0, 1] if measured.std() > 0 else 0.0)
        lower = change.shape[0] * 6 // 10
        inside.append(np.abs(change[lower:]).mean())
        outside.append(np.abs(change[:lower]).mean())
    if not correlations:
        raise UserError(f"{name}: no face found in the results; is the model trained?")
    return {
        "correlation": f"{np.mean(correlations):.2f}",
        "positive": f"{np.mean(np.array(correlations) > 0.5):.2f}",
        "per_unit": f"{np.mean(slopes):.4f}",
        "real_per_unit": f"{real:.4f}",
        "change_below": f"{np.mean(inside):.1f}",
        "change_above": f"{np.mean(outside):.1f}",
    }


def real_movements(dataset: ActionUnitsDataset, measure: Measure, names: Sequence[str]) -> dict[str, float]:
    """The movement per unit of intensity in the real test pictures, for each action unit.

    A joint regression over all units; people differ, and names up to the first _ identify people.
    """
    pictures = [resize(read_image(path), dataset.picture_size()) for path in dataset.pictures]
    found = [(index, points) for index, one in enumerate(pictures) if (points := measure.points(one)) is not None]
    people = [dataset.pictures[index].stem.split("_")[0] for index, _ in found]
    same = np.array([[person == other for other in sorted(set(people))] for person in people], float)
    explained_by = np.concatenate([dataset.aus[[index for index, _ in found]], same], axis=1)
    slopes = {}
    for name in names:
        values = np.array([MOVEMENTS[name][1](points) for _, points in found])
        slopes[name] = float(np.linalg.lstsq(explained_by, values, rcond=None)[0][find_unit(name, dataset.units)])
    return slopes


def write_results(folder: Path, rows: list[dict], sheets: list, levels: Sequence[float]) -> None:
    """Write a table and pictures: four sweeps of each unit."""
    with (
        replacing(folder / "movements.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    tiles = [
        captioned(resize(frame, 128), f"{name}={level:g}")
        for name, frames in sheets
        for level, frame in zip(levels, frames, strict=True)
    ]
    write_image(folder / "movements.png", tile(tiles, len(levels)))


def print_table(rows: list[dict]) -> None:
    """The table as text."""
    widths = {key: max(len(key), *(len(row[key]) for row in rows)) for key in rows[0]}
    for row in [dict(zip(widths, widths, strict=True)), *rows]:
        print("  ".join(str(row[key]).ljust(width) for key, width in widths.items()))


def read_arguments() -> tuple[argparse.Namespace, list[str]]:
    """Our options, and those for the model."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--units", type=lambda text: text.split(","), default=["AU12", "AU26"],
        help=f"of {', '.join(MOVEMENTS)} (default: AU12,AU26)")  # fmt: skip
    add("--levels", type=lambda text: [float(part) for part in text.split(",")], default=[0, 1, 2, 3, 4, 5],
        help="intensities of the sweeps (default: 0,1,2,3,4,5)")  # fmt: skip
    add("--pictures", type=count, default=24, help="test pictures to sweep, evenly chosen (default: %(default)s)")
    add("--out", type=Path, default=Path("output/movements"), help="folder for the results (default: %(default)s)")
    add("--json", action="store_true", help="end with the table as one line of JSON")
    args, rest = parser.parse_known_args()
    unknown = [name for name in args.units if name not in MOVEMENTS]
    if unknown:
        parser.error(f"--units {','.join(unknown)}: choose from {', '.join(MOVEMENTS)}")
    return args, rest


if __name__ == "__main__":
    run_main(main)
