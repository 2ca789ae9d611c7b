"""What averaging gradients over processes costs: bytes per step of every family, and how long a step waits for them.

Two processes train over a network of so many Gbit/s: what they exchange goes over this machine's loopback and arrives
no sooner than the bytes of a ring all-reduce take. Each way does the same steps: without an exchange, with all of it
after the backward pass, and with buckets that travel during it. The bars: no step waits longer than bytes / bandwidth
and a tenth; overlapped steps report the same losses, bit for bit, and wait less than others do.
`--compare bf16` trains a small model with gradients in float32 and in bfloat16, and tells the losses of both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from script.bars import report_bars
from script.benchmarks.train import MODELS, plugin_of
from util.values import list_of, positive

ALONE, AFTER, OVERLAP = "no exchange", "after", "overlap"
SLACK = 1.1
PROCESSES = (2, 8)
"""Of the table: over so many processes a ring sends 2 (n - 1) / n of the bytes from each."""
ROOT = Path(__file__).resolve().parents[2]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `benchmark.py exchange`."""
    parser.add_argument("--model", choices=MODELS, default="fomm", help="family (default: %(default)s)")
    parser.add_argument("--config", default="", help="configuration; default: the family's own")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=1, help="samples of each process (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="steps of each way (default: %(default)s)")
    parser.add_argument("--gbit", type=list_of(positive), default=[1, 10], help="networks, in Gbit/s (default: 1,10)")
    parser.add_argument("--table", action="store_true", help="print the bytes per step of all families and stop")
    parser.add_argument("--compare", choices=("bf16",), help="compare the losses of a small model with compression")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Measure and print; status 1 if a bar is missed."""
    if args.worker:
        return work(args)
    if args.table:
        print_table(args)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        measured = in_two_processes(args, Path(folder))
    if args.compare:
        return print_comparison(measured)
    return print_waits(measured)


def print_table(args: argparse.Namespace) -> None:
    """A line of Markdown per family."""
    heads = [f"{n} processes at {rate:g} Gbit/s" for n in PROCESSES for rate in args.gbit]
    print("| " + " | ".join(("family", "updates of a step", "MB", *heads)) + " |")
    print("| " + " | ".join(["---"] * (3 + len(heads))) + " |")
    for model in MODELS:
        updates = updates_of(model, args)
        total = sum(size for _, size in updates)
        times = [f"{seconds_of(total, n, rate):.2f} s" for n in PROCESSES for rate in args.gbit]
        told = ", ".join(f"{' + '.join(names)} {size / 1e6:.0f}" for names, size in updates)
        print("| " + " | ".join((f"`{model}`", told, f"{total / 1e6:.0f}", *times)) + " |")


def updates_of(model: str, args: argparse.Namespace) -> list[tuple[tuple[str, ...], int]]:
    """The optimizers of each update of a training step, and the bytes of their gradients; nothing is computed."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    plugin = plugin_of(model)
    with FakeTensorMode(allow_non_fake_inputs=True):
        family = plugin.family(argparse.Namespace(**vars(args) | {"config": ""}), repeating=False).train()
        sizes = {name: bytes_of(optimizer) for name, optimizer in family.optimizers().items()}
        clock = SimpleNamespace(step=0, epoch=0, exact_epoch=0.0, planned_steps=1, samples=0)
        found = []
        for names, *_ in family.training_step(plugin.batch(args), clock):
            names = (names,) if isinstance(names, str) else tuple(names)
            found.append((names, sum(sizes[name] for name in names)))
    return found


def bytes_of(optimizer: Any) -> int:
    """The size of the gradients of what an optimizer trains."""
    parameters = (p for group in optimizer.param_groups for p in group["params"] if p.requires_grad)
    return sum(parameter.numel() * parameter.element_size() for parameter in parameters)


def seconds_of(count: float, processes: int, gbit: float) -> float:
    """How long so many bytes take a ring of processes."""
    return count * 2 * (processes - 1) / processes * 8 / (gbit * 1e9)


def in_two_processes(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """What the main one of two workers measured."""
    words = [f"--{name}={getattr(args, name)}" for name in ("model", "config", "size", "batch_size", "steps")]
    words += [f"--gbit={','.join(map(str, args.gbit))}", *([f"--compare={args.compare}"] if args.compare else [])]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
        str(ROOT / "script" / "benchmark.py"), "exchange", *words, f"--worker={folder}",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    return json.loads((folder / "measured.json").read_text(encoding="utf-8"))


def work(args: argparse.Namespace) -> int:
    """One of two processes: do all that is measured."""
    import torch

    from engine.distributed import finish, start

    torch.set_num_threads(1)
    group = start([-1, -1])
    measured = compare(args, group) if args.compare else waits(args, group)
    if group.is_main:
        (args.worker / "measured.json").write_text(json.dumps(measured), encoding="utf-8")
    group.wait()
    return finish(group, 0)


def waits(args: argparse.Namespace, group: Any) -> list[dict[str, Any]]:
    """The seconds of a step, and those of them that it waited, in each way over each network."""
    pairs = [(way, rate) for rate in args.gbit for way in (AFTER, OVERLAP)]
    ways = [(ALONE, None, {}), *((way, rate, {"overlap": way == OVERLAP}) for way, rate in pairs)]
    measured = []
    for way, gbit, how in ways:
        network = Network(group, gbit)
        trainer, batch = trainer_of(args, network, **how)
        network.sent = 0
        losses, seconds, waited = [], [], []
        for step in range(args.steps + 1):
            group.wait()
            network.sent, network.waited, begin = 0, 0.0, time.perf_counter()
            found = trainer.step([batch])[0]
            if step:  # the first one plans the buckets
                seconds.append(time.perf_counter() - begin)
                waited.append(network.waited)
            losses.append({name: value.item() for name, value in found.items()})
            trainer.clock.advance(2 * args.batch_size)
        measured.append({
            "way": way, "gbit": gbit, "bytes": network.sent, "losses": losses,
            "seconds": statistics.median(seconds), "waited": statistics.median(waited),
        })  # fmt: skip
    return measured


def trainer_of(args: argparse.Namespace, processes: Any, **how: Any) -> tuple[Any, dict]:
    """A trainer as train.py has it, and a batch of this process's own."""
    import torch

    from engine.clock import Clock
    from engine.networks import use_channels_last
    from engine.trainer import Trainer

    torch.manual_seed(0)
    plugin = plugin_of(args.model)
    family = plugin.family(args, repeating=False).train()
    use_channels_last(family)
    batch = plugin.batch(args)
    own = {name: value.flip(0, -1) if processes.rank and value.ndim == 4 else value for name, value in batch.items()}
    return Trainer(family, processes, Clock(2 * args.batch_size), channels_last=True, **how), own


class Network:
    """The processes of a group over a network of a given speed; None: they exchange nothing.

    A tensor goes through the loopback, and its sum is there when a ring of this bandwidth, which carries one tensor
    after the other, would have it.
    """

    def __init__(self, group: Any, gbit: float | None):
        self._group, self._gbit = group, gbit
        self._thread = ThreadPoolExecutor(1)
        self._free_at = 0.0
        self.sent, self.waited = 0, 0.0
        """Bytes that were given to it, and seconds that this process stood still for them."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._group, name)

    def begin_sum(self, tensor: Any) -> "Travelling":
        """Let a tensor travel; the result can be waited for."""
        size = tensor.numel() * tensor.element_size()
        self.sent += size
        if self._gbit is None:
            return Travelling(self, None)
        self._free_at = max(self._free_at, time.perf_counter()) + seconds_of(size, self._group.world, self._gbit)
        return Travelling(self, self._thread.submit(self._travel, tensor, self._free_at))

    def _travel(self, tensor: Any, until: float) -> None:
        self._group.begin_sum(tensor).wait()
        time.sleep(max(0.0, until - time.perf_counter()))


class Travelling:
    """A tensor on its way."""

    def __init__(self, network: Network, arrival: Future | None):
        self._network, self._arrival = network, arrival

    def wait(self) -> None:
        """Stand still until it is there."""
        begin = time.perf_counter()
        if self._arrival is not None:
            self._arrival.result()
        self._network.waited += time.perf_counter() - begin


def print_waits(measured: list[dict[str, Any]]) -> int:
    """A line per way, and whether the bars hold."""
    alone = measured[0]
    print(f"{alone['bytes'] / 1e6:.0f} MB of gradients a step, {alone['seconds']:.2f} s without an exchange")
    kept = []
    for after, overlap in zip(measured[1::2], measured[2::2], strict=True):
        wire = seconds_of(after["bytes"], 2, after["gbit"])
        for one in (after, overlap):
            told = f"{one['seconds']:6.2f} s a step, waits {one['waited']:6.2f} s of {wire:.2f}"
            print(f"  {one['gbit']:g} Gbit/s, {one['way']:8s} {told}")
        waited = f"at {after['gbit']:g} Gbit/s a step waits {overlap['waited']:.2f} s (bar: {SLACK * wire:.2f})"
        kept += [
            (waited, overlap["waited"] <= SLACK * wire),
            (f"and {after['waited']:.2f} s where nothing overlaps", overlap["waited"] < after["waited"]),
            ("losses are the same, bit for bit", overlap["losses"] == after["losses"]),
        ]
    return report_bars(kept)


def compare(args: argparse.Namespace, group: Any) -> list[dict[str, Any]]:
    """The losses of every step with gradients in float32 and in bfloat16."""
    measured = []
    for compression in ("none", "bf16"):
        trainer, batch = trainer_of(args, group, gradient_compression=compression)
        losses = []
        for _ in range(args.steps):
            losses.append({name: value.item() for name, value in trainer.step([batch])[0].items()})
            trainer.clock.advance(2 * args.batch_size)
        measured.append({"way": compression, "losses": losses})
    return measured


def print_comparison(measured: list[dict[str, Any]]) -> int:
    """The losses of both in some of the steps."""
    full, small = (one["losses"] for one in measured)
    totals = [[sum(step.values()) for step in losses] for losses in (full, small)]
    for step in sorted({0, 1, len(full) // 4, len(full) // 2, len(full) - 1}):
        one, other = totals[0][step], totals[1][step]
        print(f"  step {step + 1:4d}: float32 {one:9.4f}, bf16 {other:9.4f}, {(other - one) / one:+.2%}")
    return 0
