"""Measure talking heads on unseen persons: T frames of a test video embed the person, others are held out.

For each T the mean absolute difference to the held-out frames (pictures in [0, 1]) of: the shot with the nearest
landmarks, repeated; the meta-trained model; the model finetuned to the T frames.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.base import Clip
from data.talking_head import TalkingHeadDataset
from data.video.images import write_image
from engine.console import configure_logging
from options import parse
from util.errors import run_main
from util.grid import labelled_grid
from util.values import at_least, count

if TYPE_CHECKING:
    from torch import Tensor

EPILOG = """example:
  python script/measure_talking_head.py --init_from result/meta --dataroot dataset/sample/talking_head \\
    --config configs/tiny/talking_head_finetune.yaml --steps 240 --shots 1 8 --pictures /tmp/measured

Options beside those below are those of train.py for talking_head_finetune."""
COLUMNS = ("nearest", "forward", "finetuned")

log = logging.getLogger(__name__)


def main() -> int:
    args, rest = read_arguments()
    configure_logging()
    measured = measure(args, rest)
    if args.json:
        print(json.dumps({"init_from": args.init_from, "measured": measured}))
    return 0


def measure(args: argparse.Namespace, rest: list[str]) -> list[dict]:
    """Print a line for each number of shots, and return them."""
    import torch  # after the arguments: --help does not need it
    from torch.utils.data import default_collate
    from tqdm import tqdm

    from building import build_family
    from engine.distributed import choose_devices
    from engine.trainer import move

    opt = parse(["--model=talking_head_finetune", f"--init_from={args.init_from}", *rest], training=True)
    device = torch.device("cuda", opt.gpu_id[0]) if choose_devices(opt.gpu_id)[0] >= 0 else torch.device("cpu")
    meta = build_family(opt).to(device)
    print(f"{'T':>3} {'videos':>7} {'frames':>7}" + "".join(f"{name:>12}" for name in COLUMNS))
    measured = []
    for shots in args.shots:
        opt.shots, opt.retarget, opt.random_flip = shots, False, False
        clips = list(TalkingHeadDataset(opt, training=False).clips())
        driving = {clip.name: driving_of(clip, clips, args.held_out).driving for clip in clips}
        videos = clips[: args.videos or None]
        totals, frames = torch.zeros(len(COLUMNS)), 0
        for clip in tqdm(videos, unit="video", leave=False):
            held_out = move(default_collate(list(driving[clip.name])), device, channels_last=False)
            shown = move(clip.source, device, channels_last=False)
            generated = dict(zip(COLUMNS, results(meta, shown, held_out, args.steps, opt), strict=True))
            totals += torch.tensor(
                [float((m - held_out["image"]).abs().mean((1, 2, 3)).sum()) for m in generated.values()]
            )
            frames += len(held_out["image"])
            if args.pictures:
                columns = {"landmarks": held_out["landmarks"], "true": held_out["image"], **generated}
                arrays = {name: batch[::3].cpu().numpy() for name, batch in columns.items()}
                write_image(args.pictures / f"{clip.name}_T{shots}.png", labelled_grid(arrays, rows=4))
        means = dict(zip(COLUMNS, (totals / frames).tolist(), strict=True))
        print(f"{shots:3d} {len(videos):7d} {frames:7d}" + "".join(f"{value:12.4f}" for value in means.values()))
        measured.append({"shots": shots, "videos": len(videos), "frames": frames, "l1": means})
    return measured


def read_arguments() -> tuple[argparse.Namespace, list[str]]:
    """The options of this command, and those passed to train.py."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--init_from", required=True, help="meta-trained run or file")
    parser.add_argument("--shots", type=count, nargs="+", default=[1, 8], metavar="T", help="default: %(default)s")
    parser.add_argument("--steps", type=at_least(0), default=600, help="of finetuning (default: %(default)s)")
    parser.add_argument(
        "--held_out",
        choices=("same", "other"),
        default="same",
        help="held-out frames of the same video, as in the paper, or of the person's next one (default: %(default)s)",
    )
    parser.add_argument(
        "--videos", type=at_least(0), default=0, help="test videos at most; 0: all (default: %(default)s)"
    )
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="write pictures of every video there")
    parser.add_argument("--json", action="store_true", help="end with the table as one line of JSON")
    return parser.parse_known_args()


def driving_of(clip: Clip, clips: list[Clip], held_out: str) -> Clip:
    """The clip with the held-out frames: this one, or the next one of the same person."""
    own = [other for other in clips if other.name.split("_")[0] == clip.name.split("_")[0]]
    return clip if held_out == "same" else own[(own.index(clip) + 1) % len(own)]


def results(meta, shown: dict[str, Tensor], held_out: dict[str, Tensor], steps: int, opt) -> Iterator[Tensor]:
    """The held-out frames in the three variants."""
    import torch

    from engine.clock import Clock
    from engine.distributed import Processes
    from engine.trainer import Trainer, seed_everything

    distances = (held_out["landmarks"][:, None] - shown["landmarks"][None]).abs().mean((2, 3, 4))
    yield shown["pictures"][distances.argmin(1)]
    family = copy.deepcopy(meta, {id(meta.objective.content): meta.objective.content})
    family.personalise(shown)
    yield drawn(family, held_out)
    seed_everything(opt.seed)
    trainer = Trainer(family.train(), Processes(next(family.parameters()).device), Clock(len(shown["pictures"])))
    for _ in range(steps):
        chosen = torch.randperm(len(shown["pictures"]))[: opt.batch_size]
        trainer.step([{"picture": shown["pictures"][chosen], "landmarks": shown["landmarks"][chosen]}])
        trainer.clock.advance(len(chosen))
    yield drawn(family, held_out)


def drawn(family, held_out: dict[str, Tensor]) -> Tensor:
    """The person with the landmarks of the held-out frames."""
    import torch

    with torch.inference_mode():
        generated, _ = family.eval().animate(family.encode_source({}), {"landmarks": held_out["landmarks"]})
    return generated


if __name__ == "__main__":
    run_main(main)
