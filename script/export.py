"""Export a checkpoint of a run in the form with which the original's programs animate and resume training.

Our weights load there unchanged. To resume training, those programs need the optimizers in the same file, under their
own names; talking heads need the list of a save_N.pkl with the video embeddings. The file has PyTorch's old format,
which every version since 0.4 reads.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models import find_family
from util.errors import UserError, run_main
from util.files import replacing

EPILOG = """examples:
  python script/export.py --run result/vox-256 --output 00000099-checkpoint.pth.tar
  python script/export.py --run result/meta --which 5000 --output save_5000.pkl

The other way needs no script: --init_from and --checkpoint read the files of the originals as they are."""


def main() -> int:
    args = read_arguments()
    import torch  # after the arguments: --help does not need it

    from engine.checkpoints.save import Checkpoints

    found = Checkpoints(args.run).complete_set(args.which) if args.run.is_dir() else None
    if not found:
        raise UserError(f"--run {args.run}: no checkpoint of a training run")
    which, training = found
    content = exported(args.run, which, training)
    with replacing(args.output) as temporary:
        torch.save(content, temporary, _use_new_zipfile_serialization=False)
    print(f"{args.output}: the checkpoint {which} of {args.run}, trained {training['clock']['step']} steps")
    return 0


def read_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="folder of a run")
    parser.add_argument("--which", default="latest", help="its checkpoint: latest, best or a number (default: latest)")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="file to write")
    return parser.parse_args()


def exported(run: Path, which: str, training: Mapping[str, Any]) -> Any:
    """The content of the original's file, from our file and the training state beside it."""
    from engine.clock import Clock
    from util.weights_file import read_weights

    options = training["options"]
    family = find_family(options["model"])
    layout = family.layout
    if "{entry}" in layout.pattern:
        files = layout.pattern.format(which=which, entry="*")
        raise UserError(
            f"--run {run}: the files of {options['model']} have the original's format already; copy {files}"
        )
    # Files of earlier versions lack the epoch.
    epoch = {layout.epoch: Clock(**training["clock"]).last_epoch(options["batch_size"])}
    content = family.exported(epoch | read_weights(run / layout.pattern.format(which=which)), training)
    for state in content.values() if isinstance(content, Mapping) else ():
        if isinstance(state, Mapping) and "param_groups" in state:
            use_integer_steps(state, run)
    return content


def use_integer_steps(optimizer: Mapping[str, Any], run: Path) -> None:
    """Make an optimizer's state readable for versions of PyTorch that count its steps as integers."""
    if any("initial_lr" not in group for group in optimizer["param_groups"]):
        raise UserError(
            f"--run {run}: saved by an earlier version, without the starting rates that the original's schedules need; "
            "continue the run for a step (--continue_train)"
        )
    for moments in optimizer["state"].values():
        moments |= {name: int(value) for name, value in moments.items() if name == "step"}


if __name__ == "__main__":
    run_main(main)
