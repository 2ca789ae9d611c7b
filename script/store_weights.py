"""Store a tiny checkpoint of every family with frames that it makes: tests/weights/VERSION, a few KB each.

Every later version must load them and make the same frames (tests/models/test_stored_weights.py). Run it once for a
version, before its release; what earlier versions stored is never made again."""

import argparse
import io
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from util.errors import UserError, run_main
from util.files import replacing
from util.version import VERSION

EPILOG = """example:
  python script/store_weights.py             # into tests/weights/VERSION"""
FOLDER = ROOT / "tests" / "weights"
FRAMES, EVERY = 3, 7
"""Frames that are stored, and of their rows and columns every n-th."""
STEP = 1 / 64
"""Weights are rounded to it, so that files are small."""
HOURGLASS = ("block_expansion=2", "max_features=4", "num_blocks=2")


def hourglass(*names: str) -> list[str]:
    """Options of narrow networks."""
    return [f"--{name}_{setting}" for name in names for setting in HOURGLASS]


def generator() -> list[str]:
    """Options of a narrow generator."""
    return ["--generator_block_expansion=6", "--generator_max_features=6"]


SMALL = {
    "face": ["--width=2", "--max_width=4", "--flow_width=2", "--flow_max_width=4", "--discriminator_width=2",
             "--discriminator_max_width=2"],
    "fomm": [*hourglass("kp_detector", "dense_motion", "discriminator"), *generator(), "--num_kp=3"],
    "fomm_prior": [*hourglass("kp_detector", "dense_motion", "discriminator"), *generator()],
    "ganimation": ["--ngf=2", "--num_blocks=1", "--ndf=2"],
    "mraa": [*hourglass("region_predictor", "bg_predictor", "flow_predictor"), *generator(), "--num_regions=3",
             "--id_bottle_size=4", "--pose_bottle_size=4"],
    "talking_head": ["--embedding_dim=4", "--generator_layers=D 4 3 2, I, D 4 3 2, I, BA 4 3, U 4 3 2, U 3 3 2",
                     "--embedder_layers=D 4 3 2, D 4 3 2", "--discriminator_layers=D 4 3 2, D 4 3 2, B 4 3"],
    "tps": [*hourglass("dense_motion"), *generator(), "--encoder_width=2"],
}  # fmt: skip
"""Options beside the small configuration that make the networks of a family tiny. Second stages and personal models are
loaded as their first stages are; networks of LivePortrait have sizes that no option makes small, and their entries are
in its reference cases."""


def main() -> int:
    """Store what the command line names."""
    args = read_arguments()
    folder = args.out / VERSION
    if folder.is_dir() and not args.families:
        raise UserError(f"{folder}: exists already; stored weights of a version are not replaced")
    for name in args.families or SMALL:
        path = folder / f"{name}.zip"
        store(name, path)
        print(f"{path}: {path.stat().st_size / 1024:.1f} KB")
    return 0


def read_arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER", help="default: tests/weights")
    parser.add_argument("--families", nargs="*", choices=SMALL, default=[], help="default: all")
    return parser.parse_args()


def store(name: str, path: Path) -> None:
    """Save a run of a tiny family as train.py does, with frames that test.py makes of it, as one archive."""
    import numpy as np

    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary) / name
        save(name, run)
        frames = io.BytesIO()
        np.savez_compressed(frames, frames=frames_of(name, run))
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as whole, zipfile.ZipFile(whole, "w", zipfile.ZIP_LZMA) as archive:
            for file in sorted(run.iterdir()):
                if file.name == "options.yaml" or "latest" in file.name:
                    archive.write(file, file.name)
            archive.writestr("frames.npz", frames.getvalue())


def save(name: str, run: Path) -> None:
    """The first checkpoint of a tiny family with rounded random weights."""
    import torch

    from engine.checkpoints.save import Checkpoints
    from engine.clock import Clock
    from engine.distributed import Processes
    from engine.trainer import Trainer, seed_everything
    from models import find_family
    from options import options_as_yaml, parse

    run.mkdir()
    stage = ["--init_from=first_stage"] if find_family(name).begins_with else []
    arguments = [f"--config={ROOT / 'configs' / 'tiny' / name}.yaml", *SMALL[name], *stage, f"--name={name}"]
    opt = parse(arguments, training=True)
    seed_everything(1)
    family = find_family(name).for_training(opt)
    with torch.no_grad():
        for value in family.state_dict().values():
            if value.is_floating_point():
                value.copy_((value / STEP).round() * STEP)
        move_something(family)
    Checkpoints(run).save(Trainer(family, Processes(torch.device("cpu")), Clock(100), folder=run))
    (run / "options.yaml").write_text(options_as_yaml(opt), encoding="utf-8")


def move_something(family: Any) -> None:
    """Random numbers in the place of zeros, with which untrained families repeat their source."""
    import torch

    for value in family.state_dict().values():
        if value.is_floating_point() and value.numel() > 1 and not value.any():
            value.copy_((torch.randn_like(value) / STEP / 8).round() * STEP)


def frames_of(name: str, run: Path) -> Any:
    """Some pixels of the frames that the weights in a folder make, (FRAMES, 3, h, w)."""
    import torch

    from building import load_family
    from engine.animator import Animator
    from options import parse

    torch.set_num_threads(1)
    opt = parse([f"--checkpoint={run}", f"--name={name}"], training=False)
    family, _ = load_family(opt)
    animator = Animator(family, torch.device("cpu"), batch_size=2, channels_last=False)
    source, *driving = items_of(name, opt)
    frames = torch.cat([frames for _, frames in animator.batches(source, driving, None)])
    return frames[:, :, ::EVERY, ::EVERY].float().cpu().numpy()


def items_of(name: str, opt: Any) -> Iterator[dict[str, Any]]:
    """A source item, and driving items, by formula."""
    import torch

    side = (opt.picture_size or (64, 64))[0]
    for frame in range(FRAMES + 1):
        image = picture(side, frame)
        if name == "face":
            channels = 2 if opt.no_dist_map else 16
            wave = (
                picture(side, frame + 9)[:1].expand(channels, -1, -1) * torch.linspace(0.2, 1, channels)[:, None, None]
            )
            yield {"image": image, "structure": (255 * wave).to(torch.uint8)}
        elif name == "ganimation":
            yield {"image": image, "aus": torch.linspace(0, 1, opt.cond_nc) * frame / FRAMES}
        elif name == "talking_head":
            yield {"pictures": image[None], "landmarks": image[None]} if not frame else {"landmarks": image}
        elif name == "fomm_prior":
            across = torch.linspace(0.2, 0.8, 18) * side
            yield {"image": image, "keypoint": torch.stack([across, across.flip(0)], dim=1)}
        else:
            yield {"image": image}


def picture(side: int, number: int) -> Any:
    """A smooth picture (3, S, S) in [0, 1], another one for each number."""
    import torch

    at = torch.linspace(0, 3, side)
    waves = [
        torch.sin(at * (1 + k) + 0.3 * number)[:, None] * torch.cos(at * (2 - k / 2) - 0.2 * number) for k in range(3)
    ]
    return torch.stack(waves) / 2 + 0.5


if __name__ == "__main__":
    run_main(main)
