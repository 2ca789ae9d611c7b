"""Time and memory of a training step's rows by their number: stored on the host, and as one table with Adam.

A step loads the rows of a batch, updates them twice and stores them. Targets: a step with the most rows takes at most
1.5 times as long as with the fewest, and no more memory on the device.
"""

import argparse
import tempfile
import time
from pathlib import Path

from util.values import integer, list_of

WIDTH = 512
BAR = 1.5


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `benchmark.py rows`."""
    parser.add_argument("--counts", type=list_of(integer), default=[1_000, 100_000, 1_000_000], help="numbers of rows")
    parser.add_argument(
        "--dense", type=int, default=100_000, help="the dense table up to so many rows (default: 100000)"
    )
    parser.add_argument("--batch_size", type=int, default=3, help="rows a step (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=300, help="steps to measure (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measure and print; status 1 if a target is missed."""
    print(f"{'rows':>10}  {'kept':8} {'ms/step':>8} {'device MB':>10} {'disk MB':>8}")
    measured = []
    for count in args.counts:
        for kind in ("host", *(["dense"] if count <= args.dense else [])):
            milliseconds, device, disk = measure(kind, count, args)
            print(f"{count:10,}  {kind:8} {milliseconds:8.3f} {device / 1e6:10.3f} {disk / 1e6:8.2f}")
            if kind == "host":
                measured.append((milliseconds, device))
    ratio = measured[-1][0] / measured[0][0]
    same = measured[-1][1] == measured[0][1]
    kept = ratio <= BAR and same
    print(f"{'kept  ' if kept else 'MISSED'}  a step takes {ratio:.2f} times as long (bar: {BAR}); device memory "
          f"{'is the same' if same else 'grows'}")  # fmt: skip
    return 0 if kept else 1


def measure(kind: str, count: int, args: argparse.Namespace) -> tuple[float, int, int]:
    """The median of a step's milliseconds, and bytes on the device and on disk."""
    import numpy as np
    import torch

    numbers = np.random.default_rng(0)
    steps = args.steps if kind == "host" else min(args.steps, 8)
    batches = [torch.from_numpy(numbers.integers(0, count, args.batch_size)) for _ in range(steps)]
    with tempfile.TemporaryDirectory() as folder:
        step, optimizer = stepper(kind, count, args, Path(folder))
        times = []
        for batch in batches:
            begin = time.perf_counter()
            step(batch)
            times.append(time.perf_counter() - begin)
        tensors = [p for group in optimizer.param_groups for p in group["params"]]
        tensors += [value for state in optimizer.state.values() for value in state.values()]
        tensors += [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        device = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        disk = sum(path.stat().st_blocks * 512 for path in Path(folder).rglob("*") if path.is_file())
    return 1e3 * float(np.median(times)), device, disk


def stepper(kind: str, count: int, args: argparse.Namespace, folder: Path):
    """A function that runs one step on a batch of row numbers, and its optimizer."""
    import torch

    from engine.distributed import Processes
    from engine.rows import StepRows
    from models.family import RowTable

    device = torch.device(args.device)
    slots = args.batch_size if kind == "host" else count
    table = torch.nn.Parameter(torch.zeros(slots, WIDTH, device=device))
    optimizer = torch.optim.Adam([table], 2e-4, betas=(0.0, 0.999))
    rows = StepRows(
        RowTable("rows", "rows", "row"), table, optimizer, Processes(device), count=count, folder=folder, seed=0
    )

    def step(batch: torch.Tensor) -> None:
        if kind == "host":
            (brought,) = rows.load([{"row": batch}])
            batch = brought["row"]
        for _ in range(2):
            table[batch.to(device)].square().mean().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
        if kind == "host":
            rows.store()
        elif device.type == "cuda":
            torch.cuda.synchronize()

    return step, optimizer
