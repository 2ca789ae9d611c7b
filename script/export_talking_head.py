"""Write a meta-trained talking head in the form of the original implementation: the list in a save_N.pkl.

The rows of the videos, which runs keep in their training state, go into the discriminator as the original has them."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from util.errors import UserError, run_main
from util.files import replacing
from util.weights_file import read_weights

EPILOG = """example:
  python script/export_talking_head.py --run result/meta --output save_5000.pkl

The other way needs no script: --init_from and --checkpoint read a save_N.pkl as it is."""
NETWORKS = ("generator", "embedder", "discriminator")
"""In the order of the original's list."""


def main() -> int:
    args = read_arguments()
    weights = read_weights(args.run / f"{args.which}-talking-head.pth")
    training = read_weights(args.run / f"{args.which}_training.pth")
    content = released_list(weights, training)
    with replacing(args.output) as temporary:
        torch.save(content, temporary)
    print(f"{args.output}: step {content[2]}, {len(content[5]['embedding.weight'])} videos")
    return 0


def read_arguments() -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="run of the family talking_head")
    parser.add_argument("--which", default="latest", help="checkpoint of the run (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="save_N.pkl to write")
    return parser.parse_args()


def released_list(weights: Mapping[str, Any], training: Mapping[str, Any]) -> list:
    """Epoch, step in it, step, and the state dicts; counters name the step just finished, from 0."""
    missing = [name for name in NETWORKS if name not in weights]
    if missing:
        raise UserError(f"--run: not a meta-trained model, it has no {' and no '.join(missing)}")
    clock = training["clock"]
    step = max(clock["step"] - 1, 0)
    batch = clock["samples"] // max(clock["step"], 1)
    steps_per_epoch = max(1, -(-clock["epoch_size"] // max(batch, 1)))
    states = [dict(weights[name]) for name in NETWORKS]
    states[2]["embedding.weight"] = every_row(training["rows"]["videos"], clock["epoch_size"])
    return [step // steps_per_epoch, step % steps_per_epoch, step, *states]


def every_row(table: Mapping[str, Tensor], count: int) -> Tensor:
    """The rows of all videos; those that no step has met are random, as the original begins."""
    rows = torch.rand(count, table["value"].shape[1])
    rows[table["rows"]] = table["value"]
    return rows


if __name__ == "__main__":
    run_main(main)
