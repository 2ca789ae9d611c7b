"""What the app makes: a pair, an expression, a table of pairs, the same pair by several models, a training run."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from data.video import VideoWriter, open_video, side_by_side
from util.csv_table import read_rows
from util.errors import UserError
from util.expressions import STRONGEST
from util.files import LONGEST_NAME
from util.resizing import resize, to_bytes
from util.tiles import captioned
from util.yaml_file import read_yaml_file
from webapp.commands import ROOT, lines_in, run_command, step_of
from webapp.models import ModelArguments, Models
from webapp.work import Stopped, Work

PANEL = 256
"""Height of the panels of a comparison, in pixels."""
DEMO = ROOT / "configs" / "tiny" / "fomm.yaml"
"""The configuration of the demo's model."""


@dataclass(frozen=True)
class Pair:
    """A picture and a driving video, and how they are animated."""

    arguments: ModelArguments
    sources: tuple[Path, ...]
    driving: Path
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PairResult:
    """The result of a pair, and the result beside its inputs."""

    result: Path
    comparison: Path


def animate(models: Models, pair: Pair, folder: Path, work: Work) -> PairResult:
    """Animate a pair; results are named after their inputs."""
    work.report("loading the model")
    model = models.load(pair.arguments)
    name = name_of(pair)
    outputs = PairResult(folder / f"{name}.mp4", folder / f"{name}_compared.mp4")
    work.report("detecting faces in the picture and the video")
    model.animate(
        list(pair.sources), pair.driving, outputs.result, comparison=outputs.comparison,
        watch=lambda done, of: work.report("frames", done, of), **pair.options,
    )  # fmt: skip
    return outputs


def name_of(pair: Pair) -> str:
    """The name of a result: those of its inputs, each cut to what fits two and a suffix into a file name."""
    stems = (os.fsencode(path.stem) for path in (pair.driving, *pair.sources[:1]))
    return "-".join(stem[: LONGEST_NAME // 2 - 20].decode(errors="ignore") for stem in stems)


def express(
    models: Models, arguments: ModelArguments, picture: Path, units: Mapping[str, float],
    options: Mapping[str, Any], folder: Path,
    work: Work,
) -> Path:  # fmt: skip
    """Change the action units of a face: makes a picture, or with --interpolate or --sweep a video."""
    work.report("loading the model")
    model = models.load(arguments)
    return model.make(
        folder, input_path=picture, au=au_argument(units) or None,
        watch=lambda done, of: work.report("frames", done, of),
        **options,
    )  # fmt: skip


def au_argument(units: Mapping[str, float]) -> str:
    """Action units in the form of --au, without zeros."""
    return ",".join(f"{name}={min(value, STRONGEST):g}" for name, value in units.items() if value)


def compare(
    models: Models, choices: Mapping[str, ModelArguments], pair: Pair, folder: Path, work: Work
) -> tuple[dict[str, Path], Path]:
    """Animate a pair with several models, one by one; returns their results, and all side by side."""
    if len(choices) < 2:
        raise UserError("choose at least two models")
    results = {}
    for number, (label, arguments) in enumerate(choices.items(), 1):
        results[label] = folder / f"{number}_{name_of(pair)}.mp4"
        work.report(f"loading {label}")
        model = models.load(arguments)
        model.animate(
            list(pair.sources), pair.driving, results[label],
            watch=lambda done, of, label=label: work.report(label, done, of), **pair.options,
        )  # fmt: skip
    together = folder / "compared.mp4"
    work.report("side by side")
    _write_together(pair, results, together)
    return results, together


def _write_together(pair: Pair, results: Mapping[str, Path], output: Path) -> None:
    """Source, driving video and results in one video."""
    with ExitStack() as stack:
        source = next(_panels(stack, pair.sources[0]))
        columns = {"source": repeat(source), "driving": _panels(stack, pair.driving)}
        columns |= {label: _panels(stack, path) for label, path in results.items()}
        with open_video(pair.driving) as video:
            fps, sound = video.fps, pair.driving if video.has_audio else None
        writer = stack.enter_context(VideoWriter(output, fps, audio=sound))
        for frames in zip(*columns.values(), strict=False):
            shown = [captioned(frame, label) for frame, label in zip(frames, columns, strict=True)]
            writer.write(side_by_side(shown))


def _panels(stack: ExitStack, path: Path) -> Iterator[np.ndarray]:
    """The frames of a video, resized to the height of a panel."""
    for frame in stack.enter_context(open_video(path)):
        height, width = frame.shape[:2]
        yield to_bytes(resize(frame, (PANEL, round(width * PANEL / height))))


def batch(
    arguments: ModelArguments, table: Path, files: Sequence[Path], options: Sequence[str], folder: Path, work: Work
) -> Path:  # fmt: skip
    """Animate the pairs of a table with test.py; returns its page. Uploaded files are put beside the table."""
    inputs = folder / "inputs"
    inputs.mkdir(parents=True)
    for path in (table, *files):
        if (inputs / path.name).exists():
            raise UserError(f"{path.name}: two files have this name; rename one, also in the table")
        shutil.copy(path, inputs)
    total = max(0, lines_in(inputs / table.name) - 1)
    command = [
        sys.executable, str(ROOT / "test.py"), *arguments, f"--pairs={inputs / table.name}", f"--results_dir={folder}",
        *options,
    ]  # fmt: skip

    def probe() -> tuple[int, int | None]:
        done = min(lines_in(folder / "results.jsonl", folder / "failures.csv"), total)
        return done, total or None

    run_command(command, work, "pairs", probe, folder / "messages.txt", accepted=(0, 1))
    page = folder / "index.html"
    if not page.is_file():
        raise UserError(f"no results: {(folder / 'messages.txt').read_text(encoding='utf-8', errors='replace')[-500:]}")
    return page


def refuse_paths(table: Path, files: Sequence[Path]) -> None:
    """Refuse a table with other files than the uploaded ones: remote users have none on this machine."""
    given = {path.name for path in files}
    for line, row in read_rows(table, "--pairs", ("source", "driving")):
        for name in (row["source"], row["driving"]):
            if name not in given:
                raise UserError(f"line {line}: {name} is not among the uploaded files")


def person_of(given: Sequence[Path], folder: Path) -> Path:
    """A person's video or picture, or a folder of pictures."""
    if len(given) == 1:
        return given[0]
    together = Path(tempfile.mkdtemp(prefix="person_", dir=folder))
    for number, path in enumerate(given):
        shutil.copy(path, together / f"{number:04d}{path.suffix}")
    return together


def _run_training(run: Path, arguments: Sequence[str], work: Work, text: str, steps: int, log: Path) -> str:
    """Train a run; a stopped run counts if it has saved."""
    try:
        run_command(arguments, work, text, lambda: step_of(run, steps), log)
    except Stopped:
        if not any(run.glob("latest*")):
            raise
    return run.name


def train_demo(runs: Path, folder: Path, work: Work) -> str:
    """Draw the sample dataset and train the demo's model on it; returns the name of the run."""
    arguments = ["bash", str(ROOT / "script" / "train_demo.sh"), str(runs)]
    steps = int(read_yaml_file(DEMO)["steps"])
    return _run_training(runs / "demo", arguments, work, "drawing people, then training", steps, folder / "demo.txt")


@dataclass(frozen=True)
class Personal:
    """Settings of finetuning: the first-stage run, the person's files, and the number of steps."""

    name: str
    start: Path
    """The run of the family talking_head."""
    person: Path
    steps: int
    options: tuple[str, ...] = ()

    def arguments(self, runs: Path) -> list[str]:
        """The options of train.py."""
        here = [f"--checkpoints_dir={runs}"]
        return [
            "--model=talking_head_finetune", f"--init_from={self.start}", f"--source={self.person}",
            f"--name={self.name}", f"--steps={self.steps}", "--visdom=no", "--print_every=5", *here, *self.options,
        ]  # fmt: skip


def finetune(personal: Personal, runs: Path, folder: Path, work: Work) -> str:
    """Finetune a talking head to a person; returns the name of the run."""
    if not personal.name.strip() or Path(personal.name).name != personal.name:
        raise UserError(f"{personal.name or 'the name'}: choose a name for the new run, without /")
    if (runs / personal.name).exists():
        raise UserError(f"{personal.name}: this run exists already; choose another name")
    arguments = [sys.executable, str(ROOT / "train.py"), *personal.arguments(runs)]
    return _run_training(runs / personal.name, arguments, work, "steps", personal.steps, folder / "finetuning.txt")
