"""Speed of animation in families of the first-order kind: against a plain loop on the CPU, as a table on a GPU.

The plain loop processes one frame at a time, encodes the source for every frame, upsamples by repetition as the papers
do, and runs eagerly in float32 with contiguous tensors. Targets on the CPU, for the configuration of 256 x 256 faces:
float32, the default, reaches 1.6 times its frames per second with frames equal to 1e-4; float32 or bf16 reaches 3 times
with frames equal to 1/255. LivePortrait's loop encodes the source once, as its original does; its targets are 2 times
in float32 with frames equal to 1/255, and 3 times in either. Weights are random. Each variant runs in its own process,
ours with the settings of test.py; they alternate.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from script.benchmarks.plain import bf16
from script.turns import answer_turns, take_turns
from util.errors import UserError
from util.values import integer, list_of
from util.waiting import wait_briefly

PEAK_TFLOPS = {"H200": {"fp32": 67, "tf32": 494, "bf16": 989}, "H100": {"fp32": 67, "tf32": 494, "bf16": 989},
               "A100": {"fp32": 19.5, "tf32": 156, "bf16": 312}}  # fmt: skip
"""Peak dense arithmetic throughput by a part of the device's name, from the vendor's data sheets."""

PLAIN, PRECISIONS = "plain", ("fp32", "bf16")
"""The variants on the CPU: the plain loop, and the animator in these precisions."""
EXACT, FAST = (1.6, 1e-4), (3, 1 / 255)
"""Targets: minimum speed-up over the plain loop, and maximum difference of the frames."""
ROUNDING = {"tps": 2e-4}
"""Larger differences allowed in float32: splines amplify the rounding of their points, so the plain loop itself makes
frames that differ by 0.8e-4 if it processes the same pictures in a batch."""
CONFIGS = {
    "fomm": "configs/fomm/vox-256.yaml",
    "fomm_prior": "configs/fomm_prior/mixed.yaml",
    "mraa": "configs/mraa/vox256.yaml",
    "tps": "configs/tps/vox-256.yaml",
    "live_portrait": "configs/live_portrait/released.yaml",
}
"""The families that animate a picture by a video, each with its configuration of faces."""
BARS = {"live_portrait": ((2, 1 / 255), (3, 1.0))}
"""Other targets than EXACT and FAST: those of float32, and of bf16, whose difference is only reported."""
AUTHORS_MS = {"appearance_feature_extractor": 0.82, "motion_extractor": 0.84, "warping_module": 5.21,
              "spade_generator": 7.59}  # fmt: skip
"""LivePortrait's networks by the authors' figures: milliseconds a frame, RTX 4090, half precision, compiled."""
ENCODED_ONCE = {"live_portrait"}
"""Families whose original encodes the source once for all frames."""
SPREAD = {"live_portrait": 1.0}
"""Other scales of random weights than 1.2: eight consecutive residual blocks amplify more."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `benchmark.py animate`."""
    parser.add_argument("--model", choices=CONFIGS, default="fomm", help="family (default: %(default)s)")
    parser.add_argument("--config", help="configuration (default: the family's of 256 x 256 faces)")
    parser.add_argument("--gpu_id", type=int, default=-1, help="GPU; -1: the CPU (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads on the CPU (default: %(default)s)")
    parser.add_argument("--size", type=int, default=256, help="side of the frames (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=24, help="driving frames per round (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="frames per pass on the CPU (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds, of which the median counts (default: %(default)s)"
    )
    parser.add_argument(
        "--batches",
        type=list_of(integer),
        default=[1, 2, 4, 8, 16, 32, 64],
        help="batches of the table on a GPU (default: 1,2,4,8,16,32,64)",
    )
    parser.add_argument(
        "--openvino",
        action="store_true",
        help="compare with OpenVINO instead (pip install openvino)",
    )
    parser.add_argument(
        "--parts", action="store_true", help="compute one part of the networks at a time in bf16 instead"
    )
    parser.add_argument(
        "--way",
        choices=(PLAIN, *PRECISIONS, *bf16.OPENVINO, *bf16.PARTS),
        help="make the frames in one way for every line of input",
    )
    parser.add_argument("--frames_to", type=Path, help="file for them")
    parser.add_argument(
        "--networks", action="store_true", help="live_portrait: the share of each network instead, on any device"
    )


def run(args: argparse.Namespace) -> int:
    """Measure and print; status 1 if a target is missed."""
    args.config = args.config or CONFIGS[args.model]
    if args.way and args.way != PLAIN:
        wait_briefly()
    import torch

    device = torch.device("cuda", args.gpu_id) if args.gpu_id >= 0 else torch.device("cpu")
    torch.set_num_threads(args.threads)
    if args.networks:
        return _network_shares(args, device)
    if args.gpu_id >= 0:
        return _gpu_table(args, device)
    if args.way:
        answer_turns(_turn(args))
        return 0
    return _precisions(args) if args.openvino or args.parts else _cpu_bars(args)


def _cpu_bars(args: argparse.Namespace) -> int:
    """Compare the plain loop with the animator in float32 and bf16."""
    answers, frames = _in_turns(args, (PLAIN, *PRECISIONS))
    seconds = {way: statistics.median(answer["seconds"] for answer in turns[1:]) for way, turns in answers.items()}
    measured = {}
    for way in PRECISIONS:
        ratio = seconds[PLAIN] / seconds[way]
        difference = float(np.abs(frames[way] - frames[PLAIN]).max())
        measured[way] = ratio, difference
        print(
            f"{args.config}, {way}: {args.frames / seconds[way]:.2f} frames/s, {ratio:.2f} times the plain loop, "
            f"largest difference {difference:.2g}"
        )
    exact, fast = BARS.get(args.model, ((EXACT[0], ROUNDING.get(args.model, EXACT[1])), FAST))
    return max(_holds("fp32", exact, [measured["fp32"]]), _holds("fp32 or bf16", fast, list(measured.values())))


def _precisions(args: argparse.Namespace) -> int:
    """Compare precisions, with OpenVINO's or part by part."""
    if args.model not in bf16.MODELS:
        raise UserError(f"--openvino and --parts: take one of {', '.join(bf16.MODELS)}, not {args.model}")
    if args.openvino:
        bf16.refuse_without_openvino()
    answers, frames = _in_turns(args, (*PRECISIONS, *(bf16.OPENVINO if args.openvino else bf16.PARTS)))
    return bf16.report(answers, frames, args.config)


def _in_turns(
    args: argparse.Namespace, ways: tuple[str, ...]
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, np.ndarray]]:
    """The answers and the frames of variants, each in its own process."""
    _options(args.config)  # report a mistake in it only once
    options = [f"--{name}={getattr(args, name)}" for name in ("model", "config", "threads", "size", "frames", "batch")]
    program = [sys.executable, str(Path(__file__).parents[1] / "benchmark.py"), "animate", *options]
    with tempfile.TemporaryDirectory() as folder:
        files = {way: Path(folder) / f"{way}.npy" for way in ways}
        commands = {way: [*program, f"--way={way}", f"--frames_to={file}"] for way, file in files.items()}
        answers = take_turns(commands, args.rounds + 1)
        return answers, {way: np.load(file) for way, file in files.items()}


def _turn(args: argparse.Namespace) -> Callable[[], dict[str, float]]:
    """Make the frames in one variant, save them, and return the time."""
    import torch

    from engine.animator import Animator
    from engine.networks import use_channels_last
    from util.memory import keep_freed_memory

    source, driving = pictures_of(args)
    family = random_family(args.config)
    if args.way == PLAIN:
        _as_published(family)
        make = partial(_plain_loop, family, source, driving, once=args.model in ENCODED_ONCE)
    elif args.way in bf16.OPENVINO:
        make = _openvino_loop(_as_published(family), source, driving, args)
    else:
        keep_freed_memory()
        family.prepare_inference()
        use_channels_last(family)
        precision = bf16.change_part(family, args.way) if args.way in bf16.PARTS else args.way
        animator = Animator(family, torch.device("cpu"), batch_size=args.batch, precision=precision)
        make = partial(animated, animator, source, driving)

    def turn() -> dict[str, float]:
        begin, cpu = time.perf_counter(), time.process_time()
        frames = make()
        taken = {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu}
        np.save(args.frames_to, frames.float().numpy())
        return taken

    return turn


def _openvino_loop(family: Any, source: Any, driving: Any, args: argparse.Namespace) -> Callable[[], Any]:
    """The frames by OpenVINO, in batches, the source encoded once."""
    import torch

    batches = driving.split(args.batch)
    if len(batches[-1]) != args.batch:
        raise UserError(f"--frames {args.frames}: OpenVINO's graph takes full batches of {args.batch}")
    with torch.no_grad():
        state = family.encode_source(_item(source))
    make = bf16.build_openvino(family, state, _item(batches[0]), args)
    return lambda: torch.cat([make(batch) for batch in batches])


def _holds(name: str, bar: tuple[float, float], measured: list[tuple[float, float]]) -> int:
    """Print whether one of the measured pairs meets a target; 0 if so."""
    kept = any(ratio >= bar[0] and difference <= bar[1] for ratio, difference in measured)
    print(f"{name}: {bar[0]} times with frames equal to {bar[1]:.2g}: {'kept' if kept else 'not kept'}")
    return 0 if kept else 1


def _as_published(family: Any) -> Any:
    """Use plain up blocks, which repeat pixels and convolve, instead of the combined kernel."""
    import torch

    from models.parts.blocks import UpBlock

    for block in family.modules():
        if isinstance(block, UpBlock):
            block._doubled = lambda x, block=block: block.conv(torch.nn.functional.interpolate(x, scale_factor=2))
    return family


def _gpu_table(args: argparse.Namespace, device: Any) -> int:
    """Print frames per second of the networks alone, per precision and batch size, eager and compiled."""
    import torch

    from engine.networks import compile_networks, use_channels_last

    name = torch.cuda.get_device_name(device)
    peaks = next((peak for part, peak in PEAK_TFLOPS.items() if part in name), {})
    source, driving = (pictures.to(device) for pictures in pictures_of(args))
    print(f"{name}, {args.size} x {args.size}\n\n| mode | precision | batch | frames/s | GiB | share of peak |")
    print("| --- | --- | --- | --- | --- | --- |")
    for mode in ("eager", "compiled"):
        family = random_family(args.config).to(device)
        family.prepare_inference()
        use_channels_last(family)
        if mode == "compiled":
            compile_networks(family.networks())
        for precision, batch in itertools.product(("fp32", "tf32", "bf16"), args.batches):
            item = _item(driving[:1].repeat(batch, 1, 1, 1).contiguous(memory_format=torch.channels_last))
            rate, memory, flops = _gpu_measure(family, source, item, precision)
            share = f"{100 * rate * flops / batch / (peaks[precision] * 1e12):.0f} %" if peaks else "?"
            print(f"| {mode} | {precision} | {batch} | {rate:.0f} | {memory:.1f} | {share} |", flush=True)
    return 0


def _gpu_measure(family: Any, source: Any, item: dict[str, Any], precision: str) -> tuple[float, float, float]:
    """Frames per second, GiB, and floating-point operations of one forward pass over a batch."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from engine.precision import Precision

    device, batch = source.device, len(item["image"])
    torch.cuda.reset_peak_memory_stats(device)
    with torch.inference_mode(), Precision(precision, device).autocast():
        _, state = family.animate(family.encode_source(_item(source)), item)
        seconds = _gpu_seconds(lambda: family.animate(state, item))
        memory = torch.cuda.max_memory_allocated(device) / 2**30
        with FlopCounterMode(display=False) as counter, torch.compiler.set_stance("force_eager"):
            family.animate(state, item)
    return batch / seconds, memory, counter.get_total_flops()


def _network_shares(args: argparse.Namespace, device: Any) -> int:
    """Print how long each network of LivePortrait takes for one frame, in shares, beside the authors' figures."""
    import torch

    from engine.networks import compile_networks, use_channels_last
    from engine.precision import Precision

    if args.model != "live_portrait":
        raise UserError(f"--networks: {args.model} has no figures to stand beside; take --model live_portrait")
    family = random_family(args.config).to(device)
    family.prepare_inference()
    use_channels_last(family)
    precision = "bf16" if device.type == "cuda" else "fp32"
    if device.type == "cuda":
        compile_networks(family.networks())
    source, _ = pictures_of(args)
    with torch.inference_mode(), Precision(precision, device).autocast():
        works = _network_works(family, source.to(device))
        seconds = _gpu_seconds if device.type == "cuda" else _cpu_seconds
        taken = {name: seconds(work, rounds=args.rounds) for name, work in works.items()}
    print(f"{device}, {precision}, one frame\n\n| network | ms | share | authors, RTX 4090: ms | share |")
    print("| --- | --- | --- | --- | --- |")
    for name, time_taken in taken.items():
        share, theirs = time_taken / sum(taken.values()), AUTHORS_MS[name] / sum(AUTHORS_MS.values())
        print(f"| {name} | {1e3 * time_taken:.2f} | {share:.0%} | {AUTHORS_MS[name]} | {theirs:.0%} |")
    return 0


def _network_works(family: Any, source: Any) -> dict[str, Callable[[], Any]]:
    """Each network at work on what it gets of a picture."""
    image = family.seen(source)
    volume, points = family.appearance_feature_extractor(image), family.motion_extractor(image).points()
    encoded = family.warping_module.encode(volume)
    features = family.warping_module.warp(encoded, points, points)
    return {
        "appearance_feature_extractor": lambda: family.appearance_feature_extractor(image),
        "motion_extractor": lambda: family.motion_extractor(image),
        "warping_module": lambda: family.warping_module.warp(encoded, points, points),
        "spade_generator": lambda: family.spade_generator(features),
    }


def _cpu_seconds(work: Callable[[], Any], rounds: int) -> float:
    """Median seconds of processor time of some work, after a warm-up."""
    taken = []
    for _ in range(rounds + 1):
        begin = time.process_time()
        work()
        taken.append(time.process_time() - begin)
    return statistics.median(taken[1:])


def _gpu_seconds(work: Callable[[], Any], rounds: int = 20) -> float:
    """Median seconds of some work on the GPU, after a warm-up."""
    import torch

    taken = []
    for turn in range(rounds + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        if turn >= 3:
            taken.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(taken)


def random_family(config: str) -> Any:
    """The configuration's family with random weights whose activations neither vanish nor explode."""
    import torch

    from models import find_family

    opt = _options(config)
    torch.manual_seed(0)
    family, spread = find_family(opt.model)(opt, training=False), SPREAD.get(opt.model, 1.2)
    for name, parameter in family.named_parameters():
        if parameter.ndim >= 4 and "jacobian" not in name:
            torch.nn.init.normal_(parameter, std=spread / parameter[0].numel() ** 0.5)
    if opt.model == "live_portrait":
        family.motion_extractor.start_at_rest()  # otherwise all points coincide
    _settle_spectral_norms(family)
    return family.eval()


def _settle_spectral_norms(family: Any) -> None:
    """Let spectral norms' estimates converge; random estimates make weights explode."""
    from torch.nn.utils.spectral_norm import SpectralNorm

    for module in family.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                for _ in range(20):
                    hook.compute_weight(module, do_power_iteration=True)


def _options(config: str) -> Any:
    from options import parse

    return parse([f"--config={config}", "--mode=standard"], training=False)


def pictures_of(args: argparse.Namespace) -> tuple[Any, Any]:
    """A smooth source picture and driving frames."""
    import torch

    torch.manual_seed(1)
    coarse = torch.rand(1 + args.frames, 3, 8, 8)
    pictures = torch.nn.functional.interpolate(coarse, size=(args.size, args.size), mode="bicubic").clamp(0, 1)
    return pictures[:1], pictures[1:]


def _item(pictures: Any) -> dict[str, Any]:
    """The families' entries for pictures: `keypoint` is for the family whose points are given."""
    from data.micro.prior_points import default_points

    points = pictures.new_tensor(default_points(tuple(pictures.shape[-2:])))
    return {"image": pictures, "keypoint": points.repeat(len(pictures), 1, 1)}


def _plain_loop(family: Any, source: Any, driving: Any, once: bool) -> Any:
    import torch

    frames, state = [], None
    with torch.no_grad():
        for frame in driving.split(1):
            if state is None or not once:
                state = family.encode_source(_item(source))
            frames.append(family.animate(state, _item(frame))[0])
    return torch.cat(frames)


def animated(animator: Any, source: Any, driving: Any) -> Any:
    """The frames (N, 3, H, W) that an animator makes from pictures."""
    import torch

    def items(pictures: Any) -> Iterator[dict[str, Any]]:
        whole = _item(pictures)
        return ({name: values[index] for name, values in whole.items()} for index in range(len(pictures)))

    (first,) = items(source)
    return torch.cat([frames for _, frames in animator.batches(first, items(driving))])
