"""How fast a family's training step is, and how much memory it takes, against a step that repeats what need not be.

What the plain step repeats is told by the family's module in script/benchmarks/training/. Every way runs in a process
of its own; ways take turns. Both must report the same losses to 1e-5. Memory is the largest that a step needed beyond
what was there before it: the process's on the CPU, the allocator's on a GPU.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "training"
MODELS = sorted(path.stem for path in FOLDER.glob("*.py"))
PLAIN, OURS = "repeating", "ours"
LOSS_TOLERANCE = 1e-5


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `benchmark.py train`."""
    parser.add_argument("--model", choices=MODELS, default=MODELS[0], help="family (default: %(default)s)")
    parser.add_argument("--gpu_id", type=int, default=-1, help="GPU; -1: the CPU (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads on the CPU (default: %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=1, help="samples per step (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="measured steps of a process (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="processes per way, in turns (default: %(default)s)")
    parser.add_argument("--way", choices=(PLAIN, OURS), help="measure one way in this process and print it as JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and print; status 1 if a bar is missed."""
    plugin = importlib.import_module(f"script.benchmarks.training.{args.model}")
    if args.way:
        print(json.dumps(measure(plugin, args)))
        return 0
    measured: dict[str, list[dict[str, Any]]] = {PLAIN: [], OURS: []}
    for _ in range(args.rounds):
        for way, results in measured.items():
            results.append(in_a_process(args, way))
    seconds = {
        way: statistics.median(t for one in results for t in one["seconds"]) for way, results in measured.items()
    }
    memory = {way: min(one["bytes"] for one in results) for way, results in measured.items()}
    for way in measured:
        print(f"  {way:10s} {seconds[way]:8.3f} s a step, {memory[way] / 2**20:8.0f} MiB")
    kept = []
    for text, bar_kept in bars(plugin, seconds, memory, *(results[0]["losses"] for results in measured.values())):
        print(f"{'kept  ' if bar_kept else 'MISSED'}  {text}")
        kept.append(bar_kept)
    return 0 if all(kept) else 1


def bars(plugin: Any, seconds: dict, memory: dict, plain: dict, ours: dict) -> list[tuple[str, bool]]:
    """What was promised, and whether it holds."""
    faster, leaner = seconds[PLAIN] / seconds[OURS], 1 - memory[OURS] / memory[PLAIN]
    apart = max(abs(ours[name] - plain[name]) / max(abs(plain[name]), 1e-3) for name in plain)
    return [
        (f"the step is {faster:.2f} times as fast (bar: {plugin.FASTER})", faster >= plugin.FASTER),
        (f"and takes {leaner:.0%} less memory (bar: {plugin.LEANER:.0%})", leaner >= plugin.LEANER),
        (f"losses differ by {apart:.1e} relatively (bar: {LOSS_TOLERANCE})", apart <= LOSS_TOLERANCE),
    ]


def in_a_process(args: argparse.Namespace, way: str) -> dict[str, Any]:
    """Measure one way in a process of its own, whose memory is nobody else's."""
    words = [f"--{name}={value}" for name, value in vars(args).items() if name not in ("run", "way")]
    # Freed memory goes back at once, so that the process's size is what is used.
    environment = os.environ | {
        "OMP_WAIT_POLICY": "PASSIVE",
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "65536",
    }
    command = [sys.executable, str(Path(__file__).parents[1] / "benchmark.py"), "train", *words, f"--way={way}"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(plugin: Any, args: argparse.Namespace) -> dict[str, Any]:
    """The losses of the first step, the seconds of the next ones, and the memory of one."""
    import time

    import torch

    from engine.clock import Clock
    from engine.distributed import Processes
    from engine.trainer import Trainer

    torch.set_num_threads(args.threads)
    device = torch.device("cuda", args.gpu_id) if args.gpu_id >= 0 else torch.device("cpu")
    torch.manual_seed(0)
    family, batch = plugin.family(args, repeating=args.way == PLAIN), plugin.batch(args)
    trainer = Trainer(family.to(device).train(), Processes(device), Clock(args.batch_size))
    before = resident(device)
    losses, _ = trainer.step([batch])
    peak, seconds = largest(device) - before, []
    for _ in range(args.steps):
        start = time.perf_counter()
        trainer.step([batch])
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return {"losses": {name: value.item() for name, value in losses.items()}, "seconds": seconds, "bytes": peak}


def resident(device: Any) -> int:
    """Memory in use now."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def largest(device: Any) -> int:
    """The most memory that was in use."""
    import resource

    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
