"""Store the losses of the first steps of every small configuration, so that a change that alters training is seen.

tests/models/test_stored_losses.py compares them. Where training is meant to change, store them again, and say in the
commit why they change."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from models import find_family
from util.errors import UserError, run_main
from util.files import write_text
from util.values import count

EPILOG = """examples:
  python script/store_losses.py                     # all of configs/tiny, into tests/losses
  python script/store_losses.py --families fomm tps
  python script/compare_losses.py tests/losses/fomm.jsonl OTHER/fomm.jsonl"""
FOLDER = ROOT / "tests" / "losses"
TINY = ROOT / "configs" / "tiny"
STEPS = 50
BATCH = 4
PEOPLE = ("--identities=3", "--clips=2", "--frames=8", "--size=64", "--workers=1")
"""The drawn people, two to train on: small enough to be drawn in seconds."""
FOLDERS = {"face": "", "ganimation": "aus", "talking_head": "talking_head"}
"""The folder of a family's data in the sample dataset; default: `FRAMES`."""
FRAMES = "as_frames"
"""Clips as pictures, which no encoder of videos changes."""
PERSONAL = "talking_head_finetune"
ANNOTATED = "live_portrait_retarget"
"""This family learns from landmarks; the truth of the drawn people holds them."""


def main() -> int:
    """Draw the people, train, store."""
    args = read_arguments()
    known = sorted(path.stem for path in TINY.glob("*.yaml"))
    if unknown := set(args.families) - set(known):
        raise UserError(f"--families {' '.join(sorted(unknown))}: choose from {', '.join(known)}")
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / "people"
        drawing = [sys.executable, str(ROOT / "script" / "make_sample_dataset.py"), f"--out={sample}", *PEOPLE]
        subprocess.run(drawing, check=True, capture_output=True)
        for name in args.families or known:
            steps = [rounded(losses) for losses in islice(losses_of(name, sample, Path(folder) / name), args.steps)]
            write(args.out / f"{name}.jsonl", steps)
            print(f"{args.out / name}.jsonl: {args.steps} steps")
    return 0


def read_arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--out", type=Path, default=FOLDER, metavar="FOLDER", help="where they go (default: tests/losses)")
    add("--families", nargs="*", default=[], metavar="NAME", help="configurations (default: all of configs/tiny)")
    add("--steps", type=count, default=STEPS, help="steps of each (default: %(default)s)")
    return parser.parse_args()


def losses_of(name: str, sample: Path, folder: Path) -> Iterator[dict[str, float]]:
    """The losses of every step of a small configuration on the drawn people of `sample`, without end.

    A second stage begins with a first one that has not learned. `folder` is for files that training needs.
    """
    import torch

    from building import build_family
    from data.loading.bad_samples import BadSamples
    from data.loading.sampler import training_batches
    from engine.clock import Clock
    from engine.distributed import Processes
    from engine.trainer import Trainer, seed_everything
    from options import build_dataset, parse

    torch.set_num_threads(1)
    first_stage = train_first_stage(name, sample, folder)
    opt = parse([*arguments_of(name, sample), *first_stage, f"--checkpoints_dir={folder}"], training=True)
    seed_everything(opt.seed)
    dataset = build_dataset(opt, training=True)
    family = build_family(opt)
    if opt.init_from:
        family.milestone("loaded", dataset)
    clock = Clock(len(dataset), planned_steps=family.number_of_steps(opt.epochs, opt.steps, len(dataset), BATCH))
    trainer = Trainer(
        family, Processes(torch.device("cpu")), clock, seed=opt.seed, freeze_norms=opt.freeze_norms, folder=folder,
        item_names=dataset.item_names(),
    )  # fmt: skip
    batches = training_batches(
        dataset, batch_size=BATCH, start=0, seed=opt.seed, rank=0, world=1, accumulate=1, workers=0,
        pin_memory=False, bad_samples=BadSamples(folder / "bad_samples.txt", len(dataset), 0),
    )  # fmt: skip
    for batch in batches:
        losses, _ = trainer.step([batch])
        clock.advance(BATCH)
        yield {key: value.item() for key, value in losses.items()}


def arguments_of(name: str, sample: Path) -> list[str]:
    """The command line that trains a small configuration on the drawn people."""
    arguments = [f"--config={TINY / name}.yaml", f"--dataroot={data_of(name, sample)}", f"--batch_size={BATCH}"]
    if name == PERSONAL:
        arguments += [f"--source={sample / 'test_data' / 'id002#00'}", "--shots=4"]
    if name == ANNOTATED:
        arguments += [f"--annotations={sample / 'truth'}"]
    return arguments


def train_first_stage(name: str, sample: Path, folder: Path) -> list[str]:
    """Save untrained networks of a second stage's first stage; returns the arguments to start from them."""
    import torch

    from engine.checkpoints.save import Checkpoints
    from engine.clock import Clock
    from engine.distributed import Processes
    from engine.trainer import Trainer, seed_everything
    from options import options_as_yaml, parse

    if not (first := find_family(name).begins_with):
        return []
    run, opt = folder / first[0], parse(arguments_of(first[0], sample), training=True)
    run.mkdir(parents=True)
    seed_everything(opt.seed)
    trainer = Trainer(find_family(opt.model).for_training(opt), Processes(torch.device("cpu")), Clock(1), folder=run)
    Checkpoints(run).save(trainer)
    write_text(run / "options.yaml", options_as_yaml(opt))
    return [f"--init_from={run}"]


def data_of(name: str, sample: Path) -> Path:
    """The folder of a family's data; clips as folders of pictures are linked there."""
    if name in FOLDERS:
        return sample / FOLDERS[name]
    folder = sample / FRAMES
    folder.mkdir(exist_ok=True)
    for part in ("train", "test"):
        if not (folder / part).exists():
            (folder / part).symlink_to(sample / f"{part}_data")
    return folder


def made_by() -> dict[str, Any]:
    """What the losses depend on beside the code."""
    import torch

    return {"torch": torch.__version__.partition("+")[0], "processor": torch.backends.cpu.get_cpu_capability()}


def rounded(losses: dict[str, float]) -> dict[str, float]:
    """Losses with as many digits as single precision has."""
    return {name: float(f"{value:.9g}") for name, value in losses.items()}


def write(path: Path, steps: list[dict[str, float]]) -> None:
    """A line for what made them, and one for each step."""
    lines = [{"made_by": made_by()}, *({"step": step} | losses for step, losses in enumerate(steps, 1))]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(f"{json.dumps(line)}\n" for line in lines))


if __name__ == "__main__":
    run_main(main)
