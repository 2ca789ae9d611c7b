"""Released weights: list, locate, verify, import, convert, and download those with a direct link.

Only `get` downloads anything.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from script.zoo.table import ROOT, TABLE, Model, named, read_table, record, sha256_of
from util.errors import UserError, run_main

EPILOG = """examples:
  python script/weights.py list
  python script/weights.py where fomm-vox
  python script/weights.py import ~/Downloads/vox-cpk.pth.tar
  python test.py --name fomm-vox --source_image me.jpg --driving_video talk.mp4 --crop_image --crop_video
  python script/weights.py convert vox-cpk.pth.tar --out vox.safetensors
  python script/weights.py get live-portrait"""


def main() -> int:
    args = read_arguments()
    return args.run(args)


def show_list(args: argparse.Namespace) -> int:
    """Print a line per model."""
    for model in read_table(args.table).values():
        state = "imported" if (args.checkpoints_dir / model.name).is_dir() else ""
        print(f"{model.name:20}{model.family:15}{state:10}{model.trained_on}")
    return 0


def show_where(args: argparse.Namespace) -> int:
    """Print all facts about a model."""
    from models import find_family

    model = named(read_table(args.table), args.name)
    entries = ", ".join(find_family(model.family).layout.entries.values())
    facts = {
        "family": model.family, "paper": model.paper, "repository": model.repository, "where": ", ".join(model.where),
        "licence": model.licence, "trained on": model.trained_on, "crop": model.crop,
        "options": " ".join(model.arguments).replace(f"{ROOT}/", ""), "entries": entries, "note": model.note,
        "published": ", ".join(f"{name} {value}" for name, value in model.published.items()),
    }  # fmt: skip
    for name, value in facts.items():
        if value:
            print(f"{name:12}{value}")
    for name, file in model.files.items():
        link = f", get: {file.direct}" if file.direct else ""
        print(f"{'file':12}{name}: {file.bytes or '?'} bytes, SHA-256 {file.sha256 or 'not recorded'}{link}")
    print(f"\npython script/weights.py import {'FOLDER' if model.is_folder else next(iter(model.files))}")
    return 0


def verify(args: argparse.Namespace) -> int:
    """Print which model a file is, and whether it is the recorded one."""
    from script.zoo.recognise import recognised

    table = read_table(args.table)
    model = recognised(table, args.file, args.name)
    print(f"{args.file}: the networks of {model.name} ({model.family}); every entry and shape fits")
    status = 0
    for name, path in _files(model, args.file).items():
        digest, known = sha256_of(path), model.files[name].sha256
        if args.record:
            record(args.table, model, name, path.stat().st_size, digest)
        if known and known != digest and not args.record:
            status = 1
        print(f"{name}: {path.stat().st_size} bytes, SHA-256 {digest}: {_state(digest, known, args.record)}")
    return status


def _state(digest: str, known: str | None, recording: bool) -> str:
    if recording:
        return "recorded now"
    if known is None:
        return "not recorded yet; --record writes it into the table"
    return "as recorded" if known == digest else f"not the recorded one, {known}"


def _files(model: Model, path: Path) -> dict[str, Path]:
    """The released files by name; a single file may have another name here."""
    if path.is_file():
        return {next((name for name in model.files if name == path.name), next(iter(model.files))): path}
    return {name: path / name for name in model.files if (path / name).is_file()}


def import_file(args: argparse.Namespace) -> int:
    """Turn a file into a run, and animate a drawn person with it."""
    from script.zoo.bring_in import animate_drawn, bring_in
    from script.zoo.recognise import recognised

    model = recognised(read_table(args.table), args.file, args.name)
    target = args.checkpoints_dir / model.name
    digests = bring_in(model, args.file, target, args.overwrite)
    print(f"{args.file}: {model.name}, of the family {model.family}; licence: {model.licence}")
    for name, digest in digests.items():
        print(f"{name}: SHA-256 {digest}")
    if not args.no_check:
        print(animate_drawn(model, target))
    print(f"python test.py --name {model.name} --source_image me.jpg --driving_video talk.mp4")
    return 0


def convert_file(args: argparse.Namespace) -> int:
    """Write weights as safetensors with metadata."""
    from script.zoo.convert import convert
    from script.zoo.recognise import recognised

    model = recognised(read_table(args.table), args.file, args.name)
    for path in convert(model, args.file, args.out):
        print(f"{path}: {model.name}, {path.stat().st_size} bytes, SHA-256 {sha256_of(path)}")
    print(f"python test.py --checkpoint {args.out} --source_image me.jpg --driving_video talk.mp4")
    return 0


def get(args: argparse.Namespace) -> int:
    """Download the files of a model that have direct links."""
    from script.zoo.fetch import fetch

    model = named(read_table(args.table), args.name)
    if lacking := [name for name, file in model.files.items() if not file.direct]:
        raise UserError(
            f"{model.name}: no direct link to {', '.join(lacking)}; download it in a browser from "
            f"{', '.join(model.where)}, then: python script/weights.py import FILE"
        )
    target = args.out / model.name
    print(f"licence: {model.licence}")
    for name, file in model.files.items():
        digest = fetch(file, target / name)
        state = "as recorded" if file.sha256 else "not recorded: nothing to compare it with"
        print(f"{target / name}: SHA-256 {digest} ({state})", flush=True)
    print(f"python script/weights.py import {target if model.is_folder else target / next(iter(model.files))}")
    return 0


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    commands = parser.add_subparsers(metavar="WHAT", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
        one.set_defaults(run=run)
        one.add_argument("--table", type=Path, default=TABLE, help="the table (default: configs/zoo.yaml)")
        return one

    def add_runs(one: argparse.ArgumentParser) -> None:
        one.add_argument(
            "--checkpoints_dir", type=Path, default=Path("result"), help="folder of runs (default: result)"
        )

    def add_file(one: argparse.ArgumentParser) -> None:
        one.add_argument("file", type=Path, metavar="FILE", help="a released file, or a folder of them")
        one.add_argument("--as", dest="name", metavar="NAME", help="which model it is, where several have its networks")

    add_runs(command("list", show_list, "the models that are known"))
    command("where", show_where, "all that is known of a model").add_argument("name", metavar="NAME")
    one = command("verify", verify, "what a file is, and whether it is the recorded one")
    add_file(one)
    one.add_argument("--record", action="store_true", help="write its size and hash into the table")
    one = command("import", import_file, "make a run of a released file, which test.py --name NAME finds")
    add_file(one)
    add_runs(one)
    one.add_argument("--overwrite", action="store_true", help="replace a run of this name")
    one.add_argument("--no_check", action="store_true", help="do not animate a drawn person with it")
    one = command("convert", convert_file, "write weights as safetensors that say what they are")
    add_file(one)
    one.add_argument("--out", type=Path, required=True, metavar="FILE", help="where; a folder for several files")
    one = command("get", get, "fetch a model's files where direct links are known")
    one.add_argument("name", metavar="NAME")
    one.add_argument("--out", type=Path, default=Path("weights/released"), help="folder (default: weights/released)")
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
