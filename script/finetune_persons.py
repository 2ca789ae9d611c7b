"""Finetune a meta-trained talking head to many persons, one after the other, each in its own run.

The feature networks of the losses and the meta-trained weights are loaded once. All further options are those of
train.py and apply to every person.
"""

import argparse
import copy
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.preparation import jobs
from data.preparation.items import existing_folder
from data.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from data.video.images import natural_key
from engine.console import configure_logging
from options import Options, parse, run_folder
from util.errors import UserError, run_main
from util.printable import printable
from util.values import WHOLE, shard

EPILOG = """examples:
  python script/finetune_persons.py --persons dataset/people --init_from result/meta
  python script/finetune_persons.py --persons dataset/people --init_from result/meta --shard 1/4 --shots 16

A person is a video, a picture, or a folder of pictures. The run of each is CHECKPOINTS_DIR/NAME/PERSON, as train.py
writes it; those that are done are passed over, an interrupted one is continued. Who could not be learned is in
CHECKPOINTS_DIR/NAME/finetune_persons_failures.csv, with the reason. On several GPUs run a shard on each."""
DONE = "after.png"
OURS = ("--model=talking_head_finetune",)

log = logging.getLogger(__name__)


def main() -> int:
    args, rest = read_arguments()
    configure_logging()
    persons = find_persons(args.persons)
    part, parts = args.shard
    mine = persons[part - 1 :: parts]
    todo = [person for person in mine if not (run_folder(options_of(person, args, rest)) / DONE).is_file()]
    log.info("%d persons, %d of them in this shard, %d to do", len(persons), len(mine), len(todo))
    failures = jobs.of_shard(runs_folder(args, rest) / "finetune_persons_failures.csv", args.shard)
    failed: dict[str, str] = {}
    try:
        status = finetune(todo, args, rest, failed) if todo else 0
    finally:
        # Also report failures from before an interruption.
        jobs.write_failures(failures, failed)
    if failed:
        log.error("%d of %d persons failed (reasons in %s)", len(failed), len(todo), failures)
    return status or int(bool(failed))


def read_arguments() -> tuple[argparse.Namespace, list[str]]:
    """The options of this command, and those passed to train.py."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--persons", type=Path, required=True, metavar="FOLDER", help="holds an entry per person")
    parser.add_argument("--init_from", required=True, help="meta-trained run or file")
    parser.add_argument("--name", default="persons", help="folder of the runs (default: %(default)s)")
    parser.add_argument(
        "--shard", type=shard, default=WHOLE, metavar="i/N", help="the i-th of N parts of the persons: 1/4 ... 4/4"
    )
    return parser.parse_known_args()


def find_persons(folder: Path) -> list[Path]:
    """The entries of a folder that are persons, sorted; other files are ignored."""
    existing_folder(folder, "--persons", "a video or a folder of pictures for each person")
    kinds = (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES)
    found = [
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and (path.is_dir() or path.suffix.lower() in kinds)
    ]
    if not found:
        raise UserError(f"--persons {folder}: no videos, pictures or folders of pictures in it")
    return sorted(found, key=lambda path: natural_key(path.name))


def options_of(person: Path, args: argparse.Namespace, rest: list[str]) -> Options:
    """The options of one person's run, which resumes if it has a checkpoint."""
    arguments = [*OURS, f"--source={person}", f"--name={args.name}/{printable(person.stem)}", *rest]
    opt = parse([*arguments, f"--init_from={args.init_from}"], training=True)
    resumes = (run_folder(opt) / "latest_training.pth").is_file()
    return parse([*arguments, "--continue_train"], training=True) if resumes else opt


def runs_folder(args: argparse.Namespace, rest: list[str]) -> Path:
    """The folder of all persons' runs."""
    return run_folder(parse([*OURS, f"--init_from={args.init_from}", *rest, f"--name={args.name}"], training=True))


def finetune(persons: list[Path], args: argparse.Namespace, rest: list[str], failed: dict[str, str]) -> int:
    """Train the persons' models; a failure is recorded and does not stop the others. Returns the exit status."""
    from building import build_family  # torch, which --help does not need
    from engine.distributed import choose_devices, start
    from engine.finite import NotFinite
    from train import train

    opt = parse([*OURS, f"--init_from={args.init_from}", *rest], training=True)
    processes = start(choose_devices(opt.gpu_id)[:1])
    meta = build_family(opt)
    content = meta.objective.content
    for number, person in enumerate(persons, 1):
        log.info("person %d of %d: %s", number, len(persons), person.name)
        try:
            own = options_of(person, args, rest)
            # The frozen networks of the losses are shared, all others copied.
            family = copy.deepcopy(meta, {id(content): content}) if own.init_from else None
            status = train(own, processes, family)
        except (UserError, OSError, NotFinite) as error:
            log.error("%s: %s", person.name, error)
            failed[str(person)] = str(error)
            continue
        if status:
            return status
    return 0


if __name__ == "__main__":
    run_main(main)
