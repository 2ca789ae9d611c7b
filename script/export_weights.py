"""Export a trained run as a small file: half-precision safetensors with the options of animation."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models import find_family
from options import parse
from options.resolve import family_options
from util.errors import UserError, run_main
from util.files import write_text

if TYPE_CHECKING:
    import torch

EPILOG = """example:
  python script/export_weights.py --run result/own --out weights/own --float32 region_predictor

The folder that it writes is read like a run: python test.py --checkpoint weights/own ..."""


def main() -> int:
    """Export the run of the command line."""
    args = read_arguments()
    from engine.checkpoints.load import load_set  # torch, which --help does not need

    opt = parse([f"--checkpoint={args.run}", "--dataset_mode=frames"], training=False)
    family = find_family(opt.model)(opt, training=False)
    loaded = load_set(family, args.run, args.which)
    if "{entry}" in loaded.layout.pattern:
        raise UserError(
            f"{args.run}: the weights of {opt.model} are several files; this script only exports families with a "
            f"single file"
        )
    path = args.out / Path(family.layout.pattern.format(which="latest").removesuffix(".tar")).with_suffix(
        ".safetensors"
    )
    write(path, family, args.float32)
    write_text(args.out / "options.yaml", options_of(opt, dict(value.split("=", 1) for value in args.set)))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path}: {path.stat().st_size / 2**20:.2f} MB, of {loaded.path}\nsha256 {digest}")
    return 0


def read_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--run", type=Path, required=True, metavar="FOLDER", help="the run, with its weights and options.yaml")
    add("--which", default="latest", help="checkpoint of the run: latest, best or a number (default: %(default)s)")
    add("--out", type=Path, required=True, metavar="FOLDER", help="where the weights and their options go")
    add("--float32", nargs="*", default=[], metavar="NETWORK",
        help="networks to keep in single precision: those that find points, whose errors move every pixel")  # fmt: skip
    add("--set", nargs="*", default=[], metavar="OPTION=VALUE", help="further options to keep with the weights")
    return parser.parse_args()


def write(path: Path, family: torch.nn.Module, single: list[str]) -> None:
    """All networks in one file, in half precision except the `single` ones; names are ENTRY.NAME, as released."""
    import torch

    from engine.checkpoints.load import released_state
    from util.weights_file import write_safetensors

    tensors = {}
    for name, network in family.networks().items():
        for key, value in released_state(name, network.state_dict(), family.layout.rename).items():
            small = value.half() if value.is_floating_point() and name not in single else value
            if not torch.isfinite(small.float()).all():
                raise UserError(
                    f"{name}.{key}: values exceed the range of half precision; this run cannot be exported in it"
                )
            tensors[f"{family.layout.entries[name]}.{key}"] = small
    write_safetensors(path, tensors)


def options_of(opt: argparse.Namespace, more: dict[str, str]) -> str:
    """The family's options, changed by `more`, as YAML."""
    values = {"model": opt.model, "dataset_mode": "frames", "load_size": opt.load_size, **family_options(opt)}
    values |= {name: yaml.safe_load(value) for name, value in more.items()}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)


if __name__ == "__main__":
    run_main(main)
