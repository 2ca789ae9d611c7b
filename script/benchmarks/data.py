"""Speed of reading two random frames of a clip: packed, from JPEG files, and from an mp4.

Times are medians over draws from many clips, interleaved. Targets: packed at most twice the time of two JPEG files in a
folder; at least 50 times faster than reading the whole mp4; an index of a million clips opens in 2 seconds. All files
are made in a temporary folder and are in the page cache, as in every epoch after the first.

--modes measures the training samples of every dataset mode on drawn people instead, in processor time of one core.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from script.bars import report_bars

PACKED = "packed, opened and two frames"
JPEG = "two JPEG files, read_image"
JPEG_OPENCV = "two JPEG files, cv2.imread"
MP4_RANDOM = "mp4, opened and two frames by index"
MP4_WHOLE = "mp4, read whole"
BATCH = 4


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `benchmark.py data`."""
    parser.add_argument("--video", type=Path, help="take the frames of this video instead of drawn ones")
    parser.add_argument("--frames", type=int, default=250, help="length of the clip (default: %(default)s)")
    parser.add_argument("--size", type=int, default=256, help="side of the frames (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=200, help="draws of two frames (default: %(default)s)")
    parser.add_argument("--modes", action="store_true", help="measure training samples of every dataset mode instead")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="of the processor for each mode (default: %(default)s)"
    )
    parser.add_argument("--clips", type=int, default=1_000_000, help="rows of the index (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measure and print; status 1 if a target is missed."""
    if args.modes:
        return measure_modes(args)
    with tempfile.TemporaryDirectory() as folder:
        bars = [*measure_frames(args, Path(folder)), measure_index(args, Path(folder))]
    return report_bars(bars)


def measure_modes(args: argparse.Namespace) -> int:
    """Samples per second of one core in every dataset mode; status 1 if a bar is missed."""
    import cv2
    import torch

    from script.benchmarks.plain.modes import MODES, draw_people
    from util.memory import keep_freed_memory

    keep_freed_memory()  # as workers do
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    missed = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "people"
        draw_people(folder, args.size)
        print("| mode | per second | ms | bar |\n| --- | --- | --- | --- |")
        for title, mode in MODES.items():
            seconds = seconds_of_sample(mode, folder, args)
            rate = mode.frames / seconds
            kept = mode.bar is None or rate >= mode.bar
            bar = "" if mode.bar is None else f"≥ {mode.bar:g}{'' if kept else ', MISSED'}"
            print(f"| {title} | {rate:.0f} | {1e3 / rate:.2f} | {bar} |", flush=True)
            missed += [] if kept else [title]
    return 1 if missed else 0


def seconds_of_sample(mode: Any, folder: Path, args: argparse.Namespace) -> float:
    """Processor seconds of a sample as a worker of the training loader makes it, batched, with warm caches."""
    from data import find_dataset
    from data.loading.sampler import SeededSamples
    from options import parse

    words = [word.format(size=args.size) for word in mode.words]
    opt = parse([*words, f"--dataroot={folder / mode.folder}", "--steps=1"], training=True)
    dataset = find_dataset(opt.dataset_mode)(opt, training=True)
    samples, number = SeededSamples(dataset, seed=0, debug=True), 0
    for begin_again in (True, False):
        # Seconds of the processor: other programs on the machine do not count.
        begin, count = time.process_time(), 0
        while time.process_time() - begin < args.seconds * (0.3 if begin_again else 1):
            keys = [(key, key % len(dataset)) for key in range(number, number + BATCH)]
            dataset.collate([samples[key][0] for key in keys])
            number, count = number + BATCH, count + BATCH
    return (time.process_time() - begin) / count


def measure_frames(args: argparse.Namespace, folder: Path) -> list[tuple[str, bool]]:
    """Compare the ways to read two random frames of a clip."""
    frames = video_frames(args) if args.video else drawn_frames(args)
    write_clips(frames, folder)
    ways = ways_to_read(folder, random.Random(0))
    times = timed({way: args.rounds if "mp4" not in way else max(3, args.rounds // 20) for way in ways}, ways)
    sizes = [(folder / name).stat().st_size for name in ("clip.clip", "clip.mp4")]
    print(f"{len(frames)} frames of {args.size}x{args.size}: packed {sizes[0]:,} bytes, mp4 {sizes[1]:,} bytes")
    for way, seconds in times.items():
        print(f"  {way:36s} {seconds * 1e3:8.2f} ms")
    # Compare with the faster of the two ways to read JPEG files, so that our own reader cannot lower the target.
    to_jpeg = times[PACKED] / min(times[JPEG], times[JPEG_OPENCV])
    to_mp4 = times[MP4_WHOLE] / times[PACKED]
    return [
        (f"two packed frames take {to_jpeg:.2f} times as long as two JPEG files (bar: 2)", to_jpeg <= 2),
        (f"and are read {to_mp4:.0f} times faster than the mp4 whole (bar: 50)", to_mp4 >= 50),
    ]


def write_clips(frames: list[np.ndarray], folder: Path) -> None:
    """The same frames in all forms."""
    from data.video import VideoWriter, write_image
    from data.video.packed import pack

    pack(folder / "clip.clip", frames, fps=25, quality=95)
    with VideoWriter(folder / "clip.mp4", Fraction(25)) as writer:
        for index, frame in enumerate(frames):
            writer.write(frame)
            write_image(folder / "frames" / f"{index:05d}.jpg", frame, quality=95)


def ways_to_read(folder: Path, draw: random.Random) -> dict[str, Callable[[], None]]:
    """Functions that read two random frames, by description."""
    import cv2

    from data.video import list_images, open_video, read_image
    from data.video.packed import PackedClip

    files = list_images(folder / "frames")

    def packed() -> None:
        clip = PackedClip(folder / "clip.clip")
        for _ in range(2):
            clip[draw.randrange(len(clip))]

    def jpeg() -> None:
        for _ in range(2):
            read_image(draw.choice(files))

    def jpeg_opencv() -> None:
        for _ in range(2):
            cv2.imread(str(draw.choice(files)), cv2.IMREAD_COLOR_RGB)

    def mp4_random() -> None:
        with open_video(folder / "clip.mp4") as video:
            for _ in range(2):
                video[draw.randrange(len(video))]

    def mp4_whole() -> None:
        for _ in open_video(folder / "clip.mp4"):
            pass

    return {PACKED: packed, JPEG: jpeg, JPEG_OPENCV: jpeg_opencv, MP4_RANDOM: mp4_random, MP4_WHOLE: mp4_whole}


def measure_index(args: argparse.Namespace, folder: Path) -> tuple[str, bool]:
    """Time to open the names and lengths of a large dataset."""
    from data.video.clip_index import INDEX_NAME, ClipIndex, write_index

    names = (f"id{number // 100:05d}/{number:08d}" for number in range(args.clips))
    write_index(folder / INDEX_NAME, names, np.full(args.clips, 100))
    start = time.perf_counter()
    index = ClipIndex(folder)
    frames = int(index.lengths.sum())
    index.name(len(index) - 1)
    people = len(index.clips_of)
    seconds = time.perf_counter() - start
    text = f"an index of {len(index):,} clips with {frames:,} frames of {people:,} people opens in {seconds:.3f} s"
    return f"{text} (bar: 2 s)", seconds < 2


def timed(rounds: dict[str, int], functions: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Median seconds of each function, interleaved so that machine load affects all alike."""
    taken: dict[str, list[float]] = {name: [] for name in rounds}
    for turn in range(max(rounds.values())):
        for name in (name for name, count in rounds.items() if turn < count):
            start = time.perf_counter()
            functions[name]()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def video_frames(args: argparse.Namespace) -> list[np.ndarray]:
    """Frames of a video, cropped to squares."""
    import cv2

    from data.video import open_video

    with open_video(args.video) as video:
        return [
            cv2.resize(frame, (args.size, args.size), interpolation=cv2.INTER_AREA)
            for frame, _ in zip(video, range(args.frames), strict=False)
        ]


def drawn_frames(args: argparse.Namespace) -> list[np.ndarray]:
    """Frames with the statistics of photographs: detail at all scales, smooth motion, camera noise."""
    import cv2

    draw = np.random.default_rng(0)
    picture = np.zeros((args.size * 2, args.size * 2, 3), np.float32)
    for level in range(2, 9):
        detail = draw.standard_normal((2**level, 2**level, 3)).astype(np.float32)
        picture += cv2.resize(detail, picture.shape[:2], interpolation=cv2.INTER_CUBIC) * 90 / 2**level
    picture = np.clip(picture * 2 + 128, 0, 255)
    frames = []
    for index in range(args.frames):
        x, y = (int(args.size / 2 * (1 + 0.4 * wave(index / 40))) for wave in (np.sin, np.cos))
        noise = draw.standard_normal((args.size, args.size, 3)) * 2
        frames.append(np.clip(picture[y : y + args.size, x : x + args.size] + noise, 0, 255).astype(np.uint8))
    return frames
