"""Run everything that needs a GPU, part by part, and write the tables of docs/benchmarks.md.

Parts: the tests marked gpu; the error of each precision against float32 on the CPU; NCCL with one process; frames/s of
the networks (eager and compiled, by batch), and from decoding to encoding; training steps. The output of each part is
kept in --out, and finished parts are not run again: repeat the command to resume, or use another --out to start over. A
part that takes too long is stopped and reported; the others continue. --gpu_id -1 runs a smaller version on the CPU,
which writes no document.
"""

import argparse
import datetime
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from script.benchmarks.animate import CONFIGS
from script.benchmarks.train import MODELS
from util.files import write_text
from util.values import list_of

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- gpu_check: begin -->", "<!-- gpu_check: end -->"
WITHIN = ("precision", "communication")
"""Parts that this module measures itself, in a separate process."""
SMALL = ["--frames=2", "--batch=2", "--rounds=1"]
"""Sizes of the trial on the CPU."""
SLOWER = 10
"""Factor on the time limits of its parts."""


@dataclass(frozen=True)
class Part:
    """A part of the check: a command and its time limit in seconds."""

    name: str
    title: str
    command: tuple[str, ...]
    seconds: int


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `benchmark.py gpu`."""
    parser.add_argument("--gpu_id", type=int, default=0, help="GPU; -1: a rehearsal on the CPU (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("result/gpu_check"), help="folder of what the parts printed "
                        "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--parts", type=list_of(str), help="only these, by name or the beginning of it (default: all)")
    parser.add_argument("--measure", choices=WITHIN, help="measure one of these here and print it")


def run(args: argparse.Namespace) -> int:
    """Run the missing parts and write the tables; status 1 if a part failed."""
    if args.measure:
        return {"precision": _precision, "communication": _communication}[args.measure](args.gpu_id)
    args.out.mkdir(parents=True, exist_ok=True)
    failed = []
    for part in parts(args.gpu_id):
        if args.parts and not part.name.startswith(tuple(args.parts)):
            continue
        kept = args.out / f"{part.name}.txt"
        if kept.is_file():
            print(f"{part.name}: there already, {kept}")
            continue
        begin = time.perf_counter()
        text, status = _printed_by(part, patience=1 if args.gpu_id >= 0 else SLOWER)
        print(f"{part.name}: {time.perf_counter() - begin:.0f} s, {'failed' if status else 'done'}", flush=True)
        write_text(kept if _measured(text, status) else kept.with_suffix(".failed"), text)
        failed += [part.name] if status else []
        if args.gpu_id >= 0:
            write_section(DOCUMENT, section(args.out, args.gpu_id))
    print(f"failed, or missed a bar: {', '.join(failed)}; see {args.out}" if failed else f"all done: {args.out}")
    return 1 if failed else 0


def parts(gpu_id: int) -> Iterator[Part]:
    """All parts, the fast ones first."""
    benchmark, device = (sys.executable, str(ROOT / "script" / "benchmark.py")), f"--gpu_id={gpu_id}"
    on_gpu = gpu_id >= 0
    pytest = (sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", "gpu", "tests")
    yield Part("tests", "Tests", pytest, 90)
    yield Part("precision", "Largest difference from float32 on the CPU, random weights",
               (*benchmark, "gpu", device, "--measure=precision"), 90)  # fmt: skip
    yield Part("communication", "Averages of gradients, one process",
               (*benchmark, "gpu", device, "--measure=communication"), 30)  # fmt: skip
    for model in CONFIGS:
        # All batch sizes for the first family, three for the others, so that everything fits into the time.
        sizes = ["--batches=1,2,4,8,16,32,64" if model == "fomm" else "--batches=1,8,32"] if on_gpu else SMALL
        yield Part(f"animate-{model}", f"Networks alone: `{model}`",
                   (*benchmark, "animate", f"--model={model}", device, *sizes), 100)  # fmt: skip
    yield Part("shares-live_portrait", "`live_portrait`: each network, beside the authors' figures",
               (*benchmark, "animate", "--model=live_portrait", device, "--networks"), 60)  # fmt: skip
    for precision in ("fp32", "tf32", "bf16") if on_gpu else ("fp32",):
        sizes = ["--frames=300", "--batch=16"] if on_gpu else SMALL
        yield Part(f"pipeline-{precision}", f"From decoding to encoding: `fomm`, {precision}",
                   (*benchmark, "pipeline", device, f"--precision={precision}", *sizes), 60)  # fmt: skip
    for model in MODELS:
        sizes = ["--size=256", "--batch_size=8", "--steps=10"] if on_gpu else ["--size=128", "--steps=1"]
        yield Part(f"train-{model}", f"Training steps: `{model}`",
                   (*benchmark, "train", f"--model={model}", device, *sizes), 60)  # fmt: skip


def _printed_by(part: Part, patience: int) -> tuple[str, int]:
    """The output and exit status of a part; 124 if it was stopped."""
    seconds = patience * part.seconds
    try:
        done = subprocess.run(
            part.command, cwd=ROOT, timeout=seconds, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except subprocess.TimeoutExpired as error:
        printed = error.stdout or b""
        return f"{printed.decode(errors='replace')}\nstopped after {seconds} s\n", 124
    return done.stdout, done.returncode


def _measured(text: str, status: int) -> bool:
    """Whether a part is finished: a missed target has status 1, but was measured."""
    return status == 0 or (status == 1 and "Traceback (most recent call last)" not in text)


def section(folder: Path, gpu_id: int) -> str:
    """The text of all finished parts."""
    texts = [f"{machine(gpu_id)}, {datetime.date.today()}. Made by `bash script/gpu_check.sh`.\n"]
    for part in parts(gpu_id):
        file = folder / f"{part.name}.txt"
        if file.is_file():
            printed = file.read_text().strip()
            body = printed if "\n| " in printed else f"```\n{printed}\n```"
            texts.append(f"### {part.title}\n\n{body}\n")
    return "\n".join(texts)


def write_section(document: Path, text: str) -> None:
    """Replace the text between the markers in a document."""
    before, _, rest = document.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    write_text(document, f"{before}{BEGIN}\n{text}{END}{after}")


def machine(gpu_id: int) -> str:
    """Description of the device and software."""
    import torch

    name = torch.cuda.get_device_name(gpu_id) if gpu_id >= 0 else "CPU"
    return f"{name}, torch {torch.__version__}"


def _device(gpu_id: int) -> Any:
    import torch

    return torch.device("cuda", gpu_id) if gpu_id >= 0 else torch.device("cpu")


def _precision(gpu_id: int, count: int = 4) -> int:
    """Print the error of each family and precision against float32 on the CPU."""
    import torch

    from script.benchmarks import animate

    print("| family | precision | largest difference | mean difference |\n| --- | --- | --- | --- |")
    for model, config in CONFIGS.items():
        args = argparse.Namespace(size=256, frames=count)
        source, driving = animate.pictures_of(args)
        family = animate.random_family(config)
        exact = _frames(family, torch.device("cpu"), "fp32", source, driving)
        family = family.to(_device(gpu_id))
        for precision in ("fp32", "tf32", "bf16"):
            gap = (_frames(family, _device(gpu_id), precision, source, driving) - exact).abs()
            print(f"| `{model}` | {precision} | {gap.max():.2g} | {gap.mean():.2g} |", flush=True)
    return 0


def _frames(family: Any, device: Any, precision: str, source: Any, driving: Any) -> Any:
    from engine.animator import Animator
    from script.benchmarks import animate

    return animate.animated(Animator(family, device, batch_size=len(driving), precision=precision), source, driving)\
        .float().cpu()  # fmt: skip


def _communication(gpu_id: int, megabytes: int = 256) -> int:
    """Print the time to average this many gradients in a group of one; status 1 if their values change."""
    import tempfile

    import torch
    import torch.distributed as dist

    device, backend = _device(gpu_id), "nccl" if gpu_id >= 0 else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group(backend, init_method=f"file://{folder}/store", rank=0, world_size=1)
        values = torch.randn(megabytes * 2**18, device=device)
        kept = values.clone()
        dist.all_reduce(values)
        begin = time.perf_counter()
        for _ in range(10):
            dist.all_reduce(values)
        same = torch.equal(values, kept)  # synchronises with the device
        seconds = (time.perf_counter() - begin) / 10
        dist.destroy_process_group()
    print(f"{backend}: {megabytes} MiB in {1e3 * seconds:.1f} ms, {'equal' if same else 'NOT EQUAL'}")
    return 0 if same else 1
