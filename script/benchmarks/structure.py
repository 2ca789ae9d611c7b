"""Speed of drawing structure maps of faces against a plain version, and of reading cached maps.

The plain version works like the original: frame by frame, it fits every piece of a curve by iterative least squares,
transforms distances over the whole map for every curve, finds edges with scikit-image, and divides everything by 255;
ours returns bytes, which the device divides. Targets: 20 times as many maps per second with an empty cache; a frame of
a training clip with its cached map takes at most as long as reading two pictures.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from script.bars import report_bars


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `benchmark.py structure`."""
    parser.add_argument(
        "--dataroot", type=Path, help="folder with train_data and train_keypoints (default: drawn faces)"
    )
    parser.add_argument("--size", type=int, default=256, help="side of the maps (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=30, help="frames of the clip (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds, of which the median counts (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Measure and print; status 1 if a target is missed."""
    import cv2

    from util.memory import keep_freed_memory

    cv2.setNumThreads(1)
    # As train.py does on the CPU: for both versions, new memory would cost more than the drawing.
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        root = args.dataroot or drawn_clip(args, Path(folder))
        bars = [measure_drawing(args, root), measure_reading(args, root, Path(folder))]
    return report_bars(bars)


def drawn_clip(args: argparse.Namespace, root: Path) -> Path:
    """A clip of a drawn person in the folders of the dataset."""
    from data.sample_faces import tiny_clip
    from data.video.images import write_image

    frames, truth = tiny_clip(identity=1, frames=args.frames, size=args.size)
    points = root / "train_keypoints" / "clip"
    points.mkdir(parents=True)
    for number, (frame, marks) in enumerate(zip(frames, truth.landmarks, strict=True)):
        write_image(root / "train_data" / "clip" / f"{number:05d}.png", frame)
        (points / f"{number:05d}.txt").write_text("".join(f"{x},{y}\n" for x, y in np.rint(marks).astype(int)))
    return root


def measure_drawing(args: argparse.Namespace, root: Path) -> tuple[str, bool]:
    """Maps per second without any cache."""
    from data.structure import original_fit
    from data.structure.maps import background_edges, structure_maps
    from data.structure.sequences import find_sequences
    from data.video.images import read_image

    sequence = find_sequences(root, "train")[0]
    chosen = range(min(args.frames, len(sequence)))
    pictures = [read_image(sequence.frames[index][0]) for index in chosen]
    points = np.stack([sequence.points(index) for index in chosen])
    size = pictures[0].shape[:2]

    def ours(original: bool = False) -> np.ndarray:
        original_fit.forget()  # fitted in earlier rounds
        edges = [background_edges(picture, args.size, original) for picture in pictures]
        return structure_maps(points, size, args.size, edges, original_fit=original)

    def plain() -> np.ndarray:
        return np.stack([plain_map(*frame, args.size) for frame in zip(points, pictures, strict=True)])

    expected = plain()
    for name, original in (("ours", False), ("--original_fit", True)):
        difference = np.abs(ours(original)[:, :15].astype(int) - np.rint(255 * expected[:, :15]))
        edges, distances = difference[:, 0], difference[:, 1:]
        print(
            f"{name}: {(edges > 1).sum() / (expected[:, 0] > 0).sum():.3%} of the edge pixels differ; distances equal "
            f"at {(distances == 0).mean():.2%} of the pixels, within 2 at {(distances <= 2).mean():.2%}"
        )
    ways = {"ours": ours, "--original_fit": lambda: ours(True), "plain": plain}
    seconds = timed(ways, args.rounds)
    rates = {name: len(chosen) / value for name, value in seconds.items()}
    for name, rate in rates.items():
        print(f"  {name:14s} {rate:8.1f} maps/s, {1e3 / rate:5.2f} ms a map")
    ratio = rates["ours"] / rates["plain"]
    return f"structure maps are drawn {ratio:.1f} times as fast as by the plain version (bar: 20)", ratio >= 20


def plain_map(points: np.ndarray, picture: np.ndarray, side: int) -> np.ndarray:
    """One structure map, step by step as in the original."""
    import cv2
    from PIL import Image
    from skimage.feature import canny

    from data.structure.maps import CURVES, PARTS, extended

    points, (height, width) = extended(points[None])[0], picture.shape[:2]
    labels = np.zeros((height, width), np.uint8)
    for number, curves in PARTS:
        cv2.fillPoly(labels, [points[[index for curve in curves for index in curve]].astype(np.int32)], number)
    labels = np.asarray(Image.fromarray(labels).resize((side, side), Image.Resampling.NEAREST))
    edges, distances = np.zeros((side, side), np.uint8), []
    for curve in CURVES:
        own = np.zeros((side, side), np.uint8)
        corners = np.trunc(points[list(curve)].astype(np.float32) / (width, height) * side)
        for start in range(0, max(1, len(corners) - 1), 2):
            columns, rows = plain_piece(*corners[start : start + 3].astype(np.float64).T)
            for target in (own, edges):
                target[rows.clip(0, side - 1), columns.clip(0, side - 1)] = 255
        distance = cv2.distanceTransform(255 - own, cv2.DIST_L1, 3)
        distances.append(np.clip(distance / 3, 0, 255).astype(np.uint8) / 255)
    grey = Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR).convert("L")
    edges = edges + 255 * (canny(np.asarray(grey)) * (labels == 0)).astype(np.uint8)
    return np.stack([edges / 255, *distances, labels]).astype(np.float32)


def plain_piece(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of a piece of two or three points, fitted by iterative least squares."""
    import warnings

    from scipy.optimize import OptimizeWarning, curve_fit

    nothing = np.zeros(0, int), np.zeros(0, int)
    if np.abs(np.diff(x)).max() < np.abs(np.diff(y)).max():
        rows, columns = plain_piece(y, x) if len(set(y)) == len(y) else nothing
        return columns, rows
    curve = (lambda x, a, b: a * x + b) if len(x) == 2 else (lambda x, a, b, c: a * x**2 + b * x + c)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        try:
            fitted, _ = curve_fit(curve, x, y)
        except RuntimeError:  # the fit is exact, which the routine reports as a failure
            return nothing
    if len(x) == 3 and abs(fitted[0]) > 1:
        return nothing
    first, last = min(x[0], x[-1]), max(x[0], x[-1])
    position = np.linspace(first, last, int(last - first))
    return position.astype(int), curve(position, *fitted).astype(int)


def measure_reading(args: argparse.Namespace, root: Path, folder: Path) -> tuple[str, bool]:
    """Time for a frame of a training clip including its map, and for reading and resizing pictures only."""
    from data.face import FaceDataset
    from data.video.images import read_image
    from options import parse

    words = ["--model=face", f"--dataroot={root}", f"--load_size={args.size}", "--batch_size=1"]
    words += [f"--n_frames_total={args.frames}", f"--structure_cache={folder / 'cache'}"]
    dataset = FaceDataset(parse(words, training=True), training=True)
    sequence = dataset.sequences[0]
    chosen = range(min(args.frames, len(sequence)))
    dataset.load(sequence, chosen)
    ways = {
        "cached clip": lambda: dataset.load(sequence, chosen),
        "pictures": lambda: [dataset.picture(read_image(sequence.frames[index][0])) for index in chosen],
    }
    seconds = timed(ways, args.rounds)
    for name, value in seconds.items():
        print(f"  {name:12s} {1e3 * value / len(chosen):6.2f} ms a frame")
    ratio = seconds["cached clip"] / seconds["pictures"]
    return f"a frame with its cached map takes as long as reading {ratio:.2f} pictures (bar: 2)", ratio <= 2


def timed(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each variant, alternating, so that other programs' load does not count."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            taken[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in taken.items()}
