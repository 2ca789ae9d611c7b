"""Cost of measuring relative to reconstruction, gain from shared face detection, and growth of memory.

A small model with random weights reconstructs a clip of drawn people at 256 x 256 on one CPU thread. Targets: metrics
without landmarks take at most 25 % of the time of reconstruction; those with landmarks have at least 3 times the frames
per second of separate detection in every frame for each metric; 20 times as many frames add at most 5 % to the peak
memory.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from script.bars import report_bars

PIXELS = ("l1", "psnr", "ssim/gauss", "ms_ssim")
FACES = ("akd/dlib", "akd/euclidean", "face_missed", "id/dlib", "pose", "jitter")
SIDE, BATCH = 256, 8
MOST_SHARE, LEAST_TIMES, MOST_GROWTH = 0.25, 3.0, 0.05


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `benchmark.py metrics`."""
    parser.add_argument("--frames", type=int, default=48, help="of the clip (default: %(default)s)")
    parser.add_argument("--few", type=int, default=1000, help="frames of the short clip for memory (%(default)s)")
    parser.add_argument("--config", default="configs/fomm/vox-256.yaml", help="of the model (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (default: %(default)s)")
    parser.add_argument("--peak_of", type=int, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Measure and print; status 1 if a target is missed."""
    import torch

    torch.set_num_threads(args.threads)
    if args.peak_of:
        print(peak_of(args.peak_of))
        return 0
    frames = drawn_clip(args.frames)
    reconstruction = time_of_reconstruction(args.config, frames)
    pixels, faces = (time_of(names, frames) for names in (PIXELS, FACES))
    anew = sum(time_of((name,), frames, searched=True) for name in FACES)
    small, large = (peak_in_a_process(count) for count in (args.few, 20 * args.few))
    rates = {"reconstruction": reconstruction, ", ".join(PIXELS): pixels, ", ".join(FACES): faces}
    for what, seconds in rates.items():
        print(f"{args.frames / seconds:8.1f} frames/s  {what}")
    return judge(pixels / reconstruction, anew / faces, large / small - 1, args.few)


def judge(share: float, times: float, growth: float, few: int) -> int:
    """Print the targets; status 1 if one is missed."""
    bars = [
        (f"metrics of pixels take {100 * share:.1f} % of reconstruction's time (bar: {100 * MOST_SHARE:.0f} %)",
         share <= MOST_SHARE),
        (f"metrics of faces are {times:.1f} times as fast as finding each frame anew (bar: {LEAST_TIMES:.0f})",
         times >= LEAST_TIMES),
        (f"{20 * few} frames take {100 * growth:+.1f} % more memory than {few} (bar: {100 * MOST_GROWTH:.0f} %)",
         growth <= MOST_GROWTH),
    ]  # fmt: skip
    return report_bars(bars)


def drawn_clip(count: int):
    """Frames (N, 3, H, W) of a drawn person."""
    import torch

    from data.sample_faces import tiny_clip

    frames, _ = tiny_clip(identity=1, frames=count, size=SIDE)
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


def time_of_reconstruction(config: str, frames) -> float:
    """Seconds for reconstructing the frames with random weights, without reading or writing videos."""
    from engine.animator import Animator
    from engine.networks import use_channels_last
    from models import find_family
    from options import parse

    opt = parse([f"--config={config}", "--mode=reconstruction", "--cpu"], training=False)
    family = find_family(opt.model)(opt, training=False).eval()
    family.prepare_inference()
    use_channels_last(family)
    animator = Animator(family, frames.device, batch_size=BATCH)
    items = [{"image": frame} for frame in frames]
    for _ in animator.batches(items[0], items[:BATCH]):
        pass  # the first pass initialises what later ones use
    start = time.perf_counter()
    for _ in animator.batches(items[0], items):
        pass
    return time.perf_counter() - start


def time_of(names: tuple[str, ...], frames, searched: bool = False) -> float:
    """Seconds of measuring; `searched`: detect the face in every frame."""
    from unittest import mock

    from metrics.parts import landmarks

    every = 1 if searched else landmarks.SEARCH_EVERY
    with mock.patch.object(landmarks, "SEARCH_EVERY", every):
        measure(names, frames[:2])
        start = time.perf_counter()
        measure(names, frames)
        return time.perf_counter() - start


def measure(names: tuple[str, ...], frames) -> None:
    """Measure a shifted copy of frames against the frames."""
    from metrics.evaluation.measuring import Measurement
    from metrics.metric import Video

    with Measurement(names, ["truth"]).video(Video("clip")) as measured:
        for real in frames.split(BATCH):
            measured.add(real.roll(1, 3), truth=real)


def peak_in_a_process(count: int) -> int:
    """Peak memory in bytes while this many frames are measured."""
    command = [sys.executable, "script/benchmark.py", "metrics", "--peak_of", str(count)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, cwd=root()).stdout.split()[-1])


def root() -> Path:
    """The project's folder."""
    return Path(__file__).resolve().parents[2]


def peak_of(count: int) -> int:
    """The peak memory of this process after measuring this many small frames."""
    import torch

    measure_stream(("l1", "psnr", "ssim/gauss"), noise(count, torch.Generator().manual_seed(0)))
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def noise(count: int, generator) -> Iterator:
    """Batches of noise, generated on the fly."""
    import torch

    for _ in range(count // BATCH):
        yield torch.rand(BATCH, 3, 64, 64, generator=generator)


def measure_stream(names: tuple[str, ...], batches: Iterator) -> None:
    """Measure the batches."""
    from metrics.evaluation.measuring import Measurement
    from metrics.metric import Video

    with Measurement(names, ["truth"]).video(Video("clip")) as measured:
        for real in batches:
            measured.add(real.flip(3), truth=real)
