"""Speed and memory of a family's training step, compared with a plain step that repeats avoidable work.

The family's module in script/benchmarks/training/ describes its plain step. Each variant runs in its own process, ours
with kept memory as in train.py; their steps alternate. Both must report the same losses to 1e-5. Memory is the maximum
that a step needs beyond what was allocated before it: the process's on the CPU, the allocator's on a GPU. --bf16 adds
our step under bf16 autocast, without a bar.

--hooks measures what the engine with an average, a schedule and a log adds to the small first order model's step,
compared with a loop written by hand, in one process on one thread; steps alternate, and the ratio is the pairs' median.
"""

import argparse
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from script.bars import report_bars
from script.turns import answer_turns, take_turns

FOLDER = Path(__file__).parent / "training"
MODELS = sorted(path.stem for path in FOLDER.glob("*.py"))
PLAIN, OURS, BF16 = "repeating", "ours", "ours, bf16"
LOSS_TOLERANCE = 1e-5
NOISE = 0.02
"""Noise of the memory between runs of the same step."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `benchmark.py train`."""
    parser.add_argument("--model", choices=MODELS, default=MODELS[0], help="family (default: %(default)s)")
    parser.add_argument("--config", default="", help="configuration; default: the family's own")
    parser.add_argument("--gpu_id", type=int, default=-1, help="GPU; -1: the CPU (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads on the CPU (default: %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=1, help="samples per step (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="steps of each way (default: %(default)s)")
    parser.add_argument("--hooks", action="store_true", help="what the engine adds to a step (take --steps 200)")
    parser.add_argument("--bf16", action="store_true", help="measure our step in bf16, too")
    parser.add_argument("--memory_of", choices=(PLAIN, OURS, BF16), help="print the bytes that a step of one way takes")
    parser.add_argument(
        "--steps_of", choices=(PLAIN, OURS, BF16), help="do a step of one way for every line of the input"
    )


def run(args: argparse.Namespace) -> int:
    """Measure and print; status 1 if a target is missed."""
    import torch

    torch.set_num_threads(args.threads)
    if args.hooks:
        from script.benchmarks.plain import by_hand

        return by_hand.run(args)
    plugin = plugin_of(args.model)
    if way := args.memory_of or args.steps_of:
        with tempfile.TemporaryDirectory() as folder:
            trainer, batch = trainer_of(plugin, args, way, Path(folder))
            if args.memory_of:
                print(memory_of(trainer, batch))
            else:
                answer_with_steps(trainer, batch, args)
        return 0
    losses, seconds = measure(args)
    memory = {way: memory_in_a_process(args, way) for way in seconds}
    for way, taken in seconds.items():
        print(
            f"  {way:10s} {taken:8.3f} s a step, {memory[way] / 2**20:8.0f} MiB, "
            f"losses differ by {apart(losses[way], losses[PLAIN]):.1e}"
        )
    return report_bars(bars(plugin, seconds, memory, losses))


def plugin_of(model: str) -> Any:
    """The module with both variants of a family's step."""
    return importlib.import_module(f"script.benchmarks.training.{model}")


def bars(plugin: Any, seconds: dict, memory: dict, losses: dict[str, dict]) -> list[tuple[str, bool]]:
    """Print the target and whether it is met."""
    faster, leaner = seconds[PLAIN] / seconds[OURS], 1 - memory[OURS] / memory[PLAIN]
    difference = apart(losses[OURS], losses[PLAIN])
    return [
        (f"the step is {faster:.2f} times as fast (bar: {plugin.FASTER})", faster >= plugin.FASTER),
        (f"and takes {leaner:.0%} less memory (bar: {plugin.LEANER:.0%})", leaner >= plugin.LEANER - NOISE),
        (f"losses differ by {difference:.1e} relatively (bar: {LOSS_TOLERANCE})", difference <= LOSS_TOLERANCE),
    ]


def apart(losses: dict[str, float], plain: dict[str, float]) -> float:
    """The largest relative difference of two steps' losses."""
    return max(abs(losses[name] - value) / max(abs(value), 1e-3) for name, value in plain.items())


def command(args: argparse.Namespace, purpose: str) -> list[str]:
    """Run this benchmark again, for one variant and one purpose."""
    names = ("model", "config", "gpu_id", "threads", "size", "batch_size")
    words = [f"--{name}={getattr(args, name)}" for name in names]
    return [sys.executable, str(Path(__file__).parents[1] / "benchmark.py"), "train", *words, purpose]


def memory_in_a_process(args: argparse.Namespace, way: str) -> int:
    """The memory in bytes of a step of one variant, in a separate process."""
    # Freed memory is returned at once, so that the process's size is the memory in use.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(
        command(args, f"--memory_of={way}"), env=environment, check=True, capture_output=True, text=True
    )
    return int(done.stdout.splitlines()[-1])


def trainer_of(plugin: Any, args: argparse.Namespace, way: str, folder: Path) -> tuple[Any, dict]:
    """A trainer of one variant, and its batch; both variants get the same numbers.

    `folder` stores the rows of a family that has a row per video.
    """
    import torch

    from engine.clock import Clock
    from engine.distributed import Processes
    from engine.networks import use_channels_last
    from engine.trainer import Trainer

    device = torch.device("cuda", args.gpu_id) if args.gpu_id >= 0 else torch.device("cpu")
    torch.manual_seed(0)
    family = plugin.family(args, repeating=way == PLAIN).to(device).train()
    if way != PLAIN:
        use_channels_last(family)
    build = getattr(plugin, "PlainTrainer", Trainer) if way == PLAIN else Trainer
    settings = {"channels_last": way != PLAIN, "precision": "bf16" if way == BF16 else "fp32", "folder": folder}
    trainer = build(family, Processes(device), Clock(args.batch_size), **settings)
    return trainer, plugin.batch(args)


def measure(args: argparse.Namespace) -> tuple[dict[str, dict], dict[str, float]]:
    """The losses of each variant's first step, and the median seconds of the following ones."""
    ways = (PLAIN, OURS, BF16) if args.bf16 else (PLAIN, OURS)
    commands = {way: command(args, f"--steps_of={way}") for way in ways}
    answers = take_turns(commands, args.steps + 1)
    seconds = {way: statistics.median(step["seconds"] for step in steps[1:]) for way, steps in answers.items()}
    return {way: steps[0]["losses"] for way, steps in answers.items()}, seconds


def answer_with_steps(trainer: Any, batch: dict, args: argparse.Namespace) -> None:
    """Run a step for every line of the input, and print its losses and duration."""
    from util.memory import keep_freed_memory

    if args.steps_of != PLAIN and args.gpu_id < 0:
        keep_freed_memory()
    # CPU time of a single thread does not depend on other processes.
    clock = time.process_time if args.gpu_id < 0 and args.threads == 1 else time.perf_counter

    def step() -> dict[str, Any]:
        start = clock()
        losses = {name: value.item() for name, value in trainer.step([batch])[0].items()}
        return {"losses": losses, "seconds": clock() - start}

    answer_turns(step)


def memory_of(trainer: Any, batch: dict) -> int:
    """The memory in bytes of a step."""
    before = resident(trainer.processes.device)
    trainer.step([batch])
    return largest(trainer.processes.device) - before


def resident(device: Any) -> int:
    """Memory in use now; resets the peak."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    Path("/proc/self/clear_refs").write_text("5")
    return process_memory("VmRSS")


def largest(device: Any) -> int:
    """The peak memory."""
    import torch

    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else process_memory("VmHWM")


def process_memory(field: str) -> int:
    """A memory figure of this process from Linux, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
