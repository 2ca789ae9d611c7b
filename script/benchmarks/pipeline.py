"""Overlap of reading, networks and writing: each alone, and all together as test.py runs them.

Reads a drawn clip from an mp4 and writes the result to an mp4. Target: all together at most 10 % slower than the
slowest part alone. Weights are random; the variants alternate.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from util.waiting import wait_briefly

MOST_RATIO = 1.1


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `benchmark.py pipeline`."""
    parser.add_argument("--config", default="configs/fomm/vox-256.yaml", help="configuration (default: %(default)s)")
    parser.add_argument("--gpu_id", type=int, default=-1, help="GPU; -1: the CPU (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads on the CPU (default: %(default)s)")
    parser.add_argument("--size", type=int, default=256, help="side of the frames (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=24, help="length of the clip (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="frames per pass (default: %(default)s)")
    parser.add_argument("--precision", default="fp32", help="of the networks (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts; default %(default)s")


def run(args: argparse.Namespace) -> int:
    """Measure and print; status 1 if the target is missed."""
    wait_briefly()
    import torch

    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        ways = ways_to_run(args, Path(folder))
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(args.rounds + 1):
            for name, way in ways.items():
                begin = time.perf_counter()
                way()
                taken[name].append(time.perf_counter() - begin)
    seconds = {name: statistics.median(values[1:]) for name, values in taken.items()}
    for name, value in seconds.items():
        print(f"  {name:10s} {args.frames / value:9.1f} frames/s")
    whole = seconds.pop("together")
    slowest = max(seconds, key=seconds.get)
    kept = whole <= MOST_RATIO * seconds[slowest]
    ratio = whole / seconds[slowest]
    print(
        f"{'kept  ' if kept else 'MISSED'}  together {ratio:.2f} times as long as {slowest} alone (bar: {MOST_RATIO})"
    )
    return 0 if kept else 1


def ways_to_run(args: argparse.Namespace, folder: Path) -> dict[str, Callable[[], None]]:
    """Each part alone, and all together, by name."""
    from data.video import VideoWriter, open_video
    from data.video.threads import BackgroundWriter
    from engine.animator import to_bytes, to_host
    from util.threads import one_behind, prefetch

    animator, dataset = animator_of(args)
    write_clip(folder / "driving.mp4", args.frames, args.size)

    def items() -> Iterator[dict[str, Any]]:
        with open_video(folder / "driving.mp4") as video:
            yield from map(dataset.item, video)

    held = list(items())
    frames = list(np.stack([255 * item["image"].numpy() for item in held]).astype(np.uint8).transpose(0, 2, 3, 1))

    def animate(driving: Any) -> Iterator[np.ndarray]:
        passes = animator.batches(held[0], driving)
        for wait in one_behind(to_host(to_bytes(made)) for _, made in passes):
            yield from wait()

    def write(pictures: Any, name: str) -> None:
        with BackgroundWriter(VideoWriter(folder / name, 25)) as writer:
            for picture in pictures:
                writer.write(picture)

    return {
        "reading": lambda: exhaust(items()),
        "networks": lambda: exhaust(animate(held)),
        "writing": lambda: write(frames, "alone.mp4"),
        "together": lambda: write(animate(prefetch(items(), 2 * args.batch)), "together.mp4"),
    }


def animator_of(args: argparse.Namespace) -> tuple[Any, Any]:
    """The animator as test.py prepares it, and the dataset that makes its items."""
    import torch

    from data import find_dataset
    from engine.animator import Animator
    from models import find_family
    from options import parse
    from util.memory import keep_freed_memory

    opt = parse([f"--config={args.config}", f"--load_size={args.size}"], training=False)
    torch.manual_seed(0)
    device = torch.device("cuda", args.gpu_id) if args.gpu_id >= 0 else torch.device("cpu")
    if device.type == "cpu":
        keep_freed_memory()
    family = find_family(opt.model)(opt, training=False).eval()
    family.prepare_inference()
    family.to(device, memory_format=torch.channels_last)
    dataset = find_dataset(opt.dataset_mode)(opt, training=False)
    return Animator(family, device, batch_size=args.batch, precision=args.precision), dataset


def write_clip(path: Path, frames: int, size: int) -> None:
    """A video of a smooth moving pattern."""
    from data.video import VideoWriter

    rows, columns = np.mgrid[:size, :size] * (2 * np.pi / size)
    waves = np.stack([np.sin(rows * k + columns * (3 - k)) for k in range(3)], axis=2)
    picture = (127 + 127 * waves).astype(np.uint8)
    with VideoWriter(path, 25) as writer:
        for number in range(frames):
            writer.write(np.roll(picture, (number, 2 * number), axis=(0, 1)))


def exhaust(items: Any) -> None:
    """Consume all items."""
    for _ in itertools.filterfalse(lambda _: True, items):
        pass
