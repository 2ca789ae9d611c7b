"""Memory of test.py for a long clip, and its growth with the length.

Draws a clip of ten minutes, saves a model with random weights, animates a picture by the clip with test.py in a
separate process, and samples its resident memory. Targets: always below 2 GB, and constant: the second half of the run
adds at most 5 % of the peak. The default is a very small model at 256 x 256, because only frames could accumulate.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from script.bars import report_bars
from script.benchmarks.pipeline import write_clip

MOST_BYTES, MOST_GROWTH = 2e9, 0.05
NARROW = [
    "kp_detector_block_expansion=4",
    "kp_detector_max_features=16",
    "generator_block_expansion=4",
    "generator_max_features=8",
    "dense_motion_block_expansion=4",
    "dense_motion_max_features=16",
    "dense_motion_scale_factor=0.25",
]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `benchmark.py memory`."""
    parser.add_argument("--config", default="", help="configuration; default: configs/tiny/fomm.yaml, narrowed")
    parser.add_argument("--frames", type=int, default=15000, help="length of the clip (default: %(default)s)")
    parser.add_argument("--size", type=int, default=256, help="side of the frames (default: %(default)s)")
    parser.add_argument(
        "words", nargs="*", metavar="NAME=VALUE", help="further options of test.py, e.g. strips=yes format=png"
    )


def run(args: argparse.Namespace) -> int:
    """Measure and print; status 1 if a target is missed."""
    words = [f"--config={args.config or 'configs/tiny/fomm.yaml'}", f"--load_size={args.size}", "--cpu"]
    words += [f"--{word}" for word in [*([] if args.config else NARROW), *args.words]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clip(folder / "driving.mp4", args.frames, args.size)
        write_clip(folder / "source", 1, args.size)
        save_random_weights(words, folder)
        begin = time.monotonic()
        samples = sampled_memory([
            *words, f"--checkpoint={folder}", f"--source_image={folder / 'source' / '000000.png'}",
            f"--driving_video={folder / 'driving.mp4'}", f"--output={folder / 'out.mp4'}",
        ])  # fmt: skip
        seconds = time.monotonic() - begin
    print(
        f"  {args.frames} frames in {seconds:.0f} s; resident: "
        + ", ".join(f"{s / 2**20:.0f}" for s in tenths(samples))
    )
    middle, last = (np.median(part) for part in np.array_split(samples[len(samples) // 2 :], 2))
    peak, growth = samples.max(), 2 * (last - middle) / samples.max()
    bars = [
        (f"at most {peak / 2**20:.0f} MiB (bar: {MOST_BYTES / 2**20:.0f})", peak < MOST_BYTES),
        (f"the second half adds {growth:.1%} of that (bar: {MOST_GROWTH:.0%})", growth <= MOST_GROWTH),
    ]
    return report_bars(bars)


def save_random_weights(words: list[str], folder: Path) -> None:
    """Save weights of the family in the released layout."""
    import torch

    from models import find_family
    from options import parse

    opt = parse(words, training=False)
    family = find_family(opt.model)(opt, training=False)
    content = {family.layout.entries[name]: network.state_dict() for name, network in family.networks().items()}
    torch.save(content, folder / family.layout.pattern.format(which="latest"))


def sampled_memory(words: list[str], every: float = 0.25) -> np.ndarray:
    """The resident bytes of test.py with these options, sampled from its start to its end."""
    command = [sys.executable, str(Path(__file__).parents[2] / "test.py"), *words]
    samples = []
    # A pipe would fill up with its progress output and block it.
    with tempfile.TemporaryFile("w+") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        while process.poll() is None:
            samples.append(resident(process.pid))
            time.sleep(every)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"test.py failed: {output.read()[-1000:]}")
    return np.array(samples)


def resident(process: int) -> int:
    """A memory figure of a process from Linux, in bytes; 0 after its end."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def tenths(samples: np.ndarray) -> list[float]:
    """The medians of ten equal parts of the run."""
    return [float(np.median(part)) for part in np.array_split(samples, 10) if len(part)]
