"""How long commands take before their work begins: --help, and one pair, against `import torch` in the same run.

A pair is one picture and two frames with random weights, for the tiny configuration and for vox-256; the model that
ships with its crops is shown beside them. Commands take turns, and the fastest turn of each counts. The bars: --help
answers within 0.6 s; a pair takes at most 0.7 s (tiny) and 1.3 s (vox-256) more than `python -c "import torch"`.
On a busy machine `--clock cpu` compares the processor's time, with one thread, in place of the clock on the wall.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from script.bars import report_bars
from util.errors import RunError

TORCH = "import torch"
HELP_BAR = 0.6
PAIR_BARS = {"tiny": ("configs/tiny/fomm.yaml", 64, 0.7), "vox-256": ("configs/fomm/vox-256.yaml", 256, 1.3)}
"""What a pair is called: its configuration, the side of its frames, and the seconds that it may add to the import."""
FRAMES = 2
ROOT = Path(__file__).resolve().parents[2]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `benchmark.py startup`."""
    parser.add_argument("--rounds", type=int, default=5, help="turns of each command (default: %(default)s)")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="what is measured (default: wall)")
    parser.add_argument("--profile", metavar="WHAT", help="print where one command's time goes: python -X importtime")


def run(args: argparse.Namespace) -> int:
    """Measure and print; status 1 if a bar is missed."""
    with tempfile.TemporaryDirectory() as folder:
        commands = commands_of(Path(folder))
        if args.profile:
            return profile(commands[args.profile])
        seconds = {name: [] for name in commands}
        for _ in range(args.rounds):
            for name, command in commands.items():
                seconds[name].append(timed(command, args.clock))
    fastest = {name: min(taken) for name, taken in seconds.items()}
    for name, taken in seconds.items():
        print(f"  {name:24s} {fastest[name]:6.2f} s, slowest {max(taken):6.2f} s")
    return report_bars(judged(fastest))


def commands_of(folder: Path) -> dict[str, list[str]]:
    """What is measured, by its name; the inputs of the pairs are written into the folder."""
    helps = ("train.py --help", "test.py --help", "train.py --model fomm --help", "script/benchmark.py --help")
    commands = {TORCH: [sys.executable, "-c", TORCH]}
    commands |= {words: [sys.executable, *words.split()] for words in helps}
    for name, (config, size, _) in PAIR_BARS.items():
        commands[f"pair, {name}"] = pair(folder / name, size, config)
    commands["pair, own, cropped"] = drawn_pair(folder / "own")
    return commands


def pair(folder: Path, size: int, config: str) -> list[str]:
    """A command that animates a picture with random weights."""
    from script.benchmarks.memory import save_random_weights
    from script.benchmarks.pipeline import write_clip

    folder.mkdir()
    write_clip(folder / "driving.mp4", FRAMES, size)
    write_clip(folder / "source", 1, size)
    words = [f"--config={config}", f"--load_size={size}", "--cpu"]
    save_random_weights(words, folder)
    source = next((folder / "source").iterdir())
    return [*animate(source, folder / "driving.mp4", folder / "out.mp4"), f"--checkpoint={folder}", *words]


def drawn_pair(folder: Path) -> list[str]:
    """A command that animates a drawn face with the model that ships, which cuts faces out first."""
    from data.sample_faces import render
    from data.video import VideoWriter, write_image

    folder.mkdir()
    frames = [render(identity=3, rotation=(2 * number, 0, 0), size=256).image for number in range(FRAMES)]
    with VideoWriter(folder / "driving.mp4", 25) as writer:
        for frame in frames:
            writer.write(frame)
    write_image(folder / "source.png", frames[0])
    return [*animate(folder / "source.png", folder / "driving.mp4", folder / "out.mp4"), "--cpu"]


def animate(source: Path, driving: Path, output: Path) -> list[str]:
    """test.py for one pair."""
    words = (f"--source_image={source}", f"--driving_video={driving}", f"--output={output}", "--overwrite")
    return [sys.executable, "test.py", *words]


def timed(command: list[str], clock: str) -> float:
    """The seconds of one command from its start to its end."""
    # One thread's time is the processor's own, whatever else keeps the machine busy.
    environment = os.environ | ({"OMP_NUM_THREADS": "1"} if clock == "cpu" else {})
    before, begin = processor_time(), time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"{' '.join(command[1:3])} ... failed: {done.stderr[-1000:]}")
    return processor_time() - before if clock == "cpu" else time.perf_counter() - begin


def processor_time() -> float:
    """What the processes that this one started have used, and ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def judged(fastest: dict[str, float]) -> list[tuple[str, bool]]:
    """What was promised, and whether it holds."""
    for name, seconds in fastest.items():
        if name.endswith("--help"):
            yield f"{name} in {seconds:.2f} s (bar: {HELP_BAR})", seconds <= HELP_BAR
    for name, (_, _, bar) in PAIR_BARS.items():
        more = fastest[f"pair, {name}"] - fastest[TORCH]
        yield f"pair, {name}: {more:.2f} s more than {TORCH} (bar: {bar})", more <= bar


def profile(command: list[str]) -> int:
    """Print the imports of a command that take longest, with all that they import in turn."""
    done = subprocess.run(
        [command[0], "-X", "importtime", *command[1:]], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines() if "|" in line]
    rows = [(int(total), int(own), name) for own, total, name in lines if total.strip().isdigit()]
    for total, own, name in sorted(rows, reverse=True)[:60]:
        print(f"{total / 1e3:9.1f} ms with its own imports, {own / 1e3:8.1f} ms alone: {name.rstrip()}")
    return 0
