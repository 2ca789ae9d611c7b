"""Write a new family of models, dataset mode or metric that runs at once, as a starting point.

The family trains, resumes, animates and reconstructs, and the tests find it. docs/extending.md describes the next
steps.
"""

import argparse
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from data import dataset_modes
from metrics import metric_names
from models import family_names
from util.errors import UserError, run_main
from util.files import write_text

TEMPLATES = Path(__file__).resolve().parent / "templates"
LIKE_FOMM = {
    "class FirstOrderMotion(": "class MyPaper(",
    "models.fomm": "models.my_paper",
    # Its own file names: a checkpoint of one family is then never mistaken for the other's.
    '"{which}-checkpoint.pth.tar"': '"{which}-my_paper.pth.tar"',
    'entries={"generator": "generator", "kp_detector": "kp_detector", "discriminator": "discriminator"}': "entries={\n"
    '            "generator": "my_paper_generator",\n            "kp_detector": "my_paper_kp_detector",\n'
    '            "discriminator": "my_paper_discriminator",\n        }',
    "import check_size, input_channels, multiple_of": "import check_size, multiple_of",
    ' and input_channels(content, "kp_detector") == 3': "",
}
"""Substitutions that turn fomm's files into those of the new family."""
EPILOG = """examples:
  python script/new_family.py my_paper                       # a small family of two networks
  python script/new_family.py my_paper --like fomm           # all of the first order motion model, to change
  python script/new_family.py my_paper --out ../my_project   # a package outside this checkout
  python script/new_family.py my_mode --dataset_mode         # data/my_mode.py
  python script/new_family.py my_metric --metric             # metrics/my_metric.py"""


def main() -> int:
    """Write what the command line asks for, and print how to try it."""
    args = read_arguments()
    if not re.fullmatch(r"[a-z][a-z0-9_]*", args.name):
        raise UserError(f"{args.name}: use lower-case letters, digits and _, e.g. my_paper")
    if args.dataset_mode or args.metric:
        return write_module(args)
    return write_outside(args) if args.out else write_inside(args)


def read_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("name", help="what it is called: --model NAME, --dataset_mode NAME, --metrics NAME")
    add("--like", choices=("blank", "fomm"), default="blank", help="what the family begins as (default: %(default)s)")
    add("--dataset_mode", action="store_true", help="write a dataset mode")
    add("--metric", action="store_true", help="write a metric")
    add("--out", type=Path, metavar="FOLDER", help="write a package into this folder, outside the checkout")
    return parser.parse_args()


def write_inside(args: argparse.Namespace) -> int:
    """A family in models/, a configuration in configs/tiny, a page in docs."""
    name, config = args.name, ROOT / "configs" / "tiny" / f"{args.name}.yaml"
    if name in family_names():
        raise UserError(f"{name}: this family exists already; families: {', '.join(family_names())}")
    page = ROOT / "docs" / f"{name}.md"
    files = {ROOT / "models" / name / file: text for file, text in family_files(args.like).items()}
    write_all(files | {config: configuration(args.like), page: template("page.md")}, name)
    add_to_index(name)
    print(f"try it:\n  python train.py --config configs/tiny/{name}.yaml --name {name}\n  python test.py --name {name}")
    return 0


def write_outside(args: argparse.Namespace) -> int:
    """A separate package, with its configuration beside it."""
    name = args.name
    files = {args.out / name / file: text for file, text in family_files(args.like).items()}
    moved = {path: text.replace("models.my_paper", "my_paper") for path, text in files.items()}
    config = configuration(args.like).replace("model: my_paper", "model: my_paper.family:MyPaper")
    write_all(moved | {args.out / f"{name}.yaml": config}, name)
    print(f"try it, in {args.out}:\n  python {ROOT / 'train.py'} --config {name}.yaml --dataroot FOLDER")
    return 0


def write_module(args: argparse.Namespace) -> int:
    """A dataset mode or a metric, one module each."""
    kind, known = ("mode", dataset_modes()) if args.dataset_mode else ("metric", metric_names())
    if args.name in known:
        raise UserError(f"{args.name}: this name exists already; existing: {', '.join(known)}")
    folder = args.out or ROOT / ("data" if args.dataset_mode else "metrics")
    path = folder / f"{args.name}.py"
    write_all({path: template(f"{kind}.py")}, args.name, word=f"my_{kind}")
    how = f"train.py --dataset_mode {args.name}" if args.dataset_mode else f"script/evaluate.py --metrics {args.name}"
    print(f"try it: python {how} ...")
    return 0


def family_files(like: str) -> dict[str, str]:
    """The modules of a family under the name my_paper."""
    if like == "blank":
        return {path.name: read(path) for path in sorted((TEMPLATES / "family").glob("*.py"))}
    return {path.name: renamed_text(read(path)) for path in sorted((ROOT / "models" / "fomm").glob("*.py"))}


def renamed_text(text: str) -> str:
    """A file of fomm as one of the new family, without recognition of the original's files."""
    for old, new in LIKE_FOMM.items():
        text = text.replace(old, new)
    return re.sub(r"    @staticmethod\n    def recognises\(.*?\n\n", "", text, flags=re.DOTALL)


def configuration(like: str) -> str:
    """The small configuration of the new family, under the name my_paper."""
    if like == "blank":
        return template("tiny.yaml")
    text = read(ROOT / "configs" / "tiny" / "fomm.yaml")
    head = "# my_paper, which begins as fomm; small enough for two CPU cores: for a first try, and for the tests.\n"
    # All of its parts are in use, so that the tests try all of them.
    changes = {"model: fomm": "model: my_paper", "weight_generator_gan: 0": "weight_generator_gan: 1"}
    for old, new in changes.items():
        text = text.replace(old, new)
    return head + text[text.index("model: ") :]


def template(name: str) -> str:
    """The text of a template."""
    return read(TEMPLATES / name)


def read(path: Path) -> str:
    """The text of a file."""
    return path.read_text(encoding="utf-8")


def write_all(files: dict[Path, str], name: str, word: str = "my_paper") -> None:
    """Write files with `word` replaced by the new name; refuse if one of them exists."""
    there = [str(path) for path in files if path.exists()]
    if there:
        raise UserError(f"{', '.join(there)}: exists already; choose another name, or move it away")
    for path, text in files.items():
        write_text(path, text.replace(word, name).replace(camel(word), camel(name)))
        print(f"wrote {path}")
    tidy([path for path in files if path.suffix == ".py"])


def tidy(paths: list[Path]) -> None:
    """Sort imports and wrap lines for the new name, if ruff is installed."""
    if importlib.util.find_spec("ruff"):
        for command in (["check", "--select=I", "--fix"], ["format"]):
            subprocess.run([sys.executable, "-m", "ruff", *command, "--quiet", *map(str, paths)], check=True)


def camel(name: str) -> str:
    """The name of a class: my_paper -> MyPaper."""
    return "".join(part.capitalize() for part in name.split("_"))


def add_to_index(name: str) -> None:
    """A line for the family's page in docs/README.md, after those of the others."""
    path = ROOT / "docs" / "README.md"
    text, last = read(path), "| [originals.md](originals.md)"
    write_text(path, text.replace(last, f"| [{name}.md]({name}.md) | {name} |\n{last}", 1))


if __name__ == "__main__":
    run_main(main)
