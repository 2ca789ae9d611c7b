"""The texts of --help and --help_all: first steps, common options, further reading."""

from argparse import SUPPRESS
from pathlib import Path
from textwrap import fill

from data import dataset_modes
from models import family_names, first_stages
from options.parser import OptionParser

DOCS = Path(__file__).resolve().parents[1] / "docs"

PURPOSE = {
    True: "Train a family of face animation models on your videos.",
    False: "Animate faces with a trained model, or reconstruct test clips and measure.",
}
EXAMPLES = {
    True: (
        ("--config configs/tiny/{family}.yaml --name first_try", "a small model, on a CPU, too"),
        ("--name first_try --continue_train", "go on where it stopped"),
        ("--model {family} --dataroot dataset/mine --gpu_id 0,1", "your data, two GPUs"),
    ),
    False: (
        ("--source_image me.jpg --driving_video talk.mp4", "with the model that ships"),
        ("--name first_try --source_image me.jpg --driving_video talk.mp4", "with one of yours"),
        ("--name first_try --mode reconstruction", "measure it on the test clips"),
    ),
}
"""Of train.py (True) and test.py (False): option groups and their purpose."""
SUBJECTS = {True: "docs/training.md", False: "docs/animating.md, docs/evaluation.md"}
HELP_OPTIONS = frozenset({"-h", "--help", "--help_all", "--version"})
"""Options that are answered by a text."""
DEFAULT = "fomm"
"""The family in examples if none is given."""


def add_help_options(parser: OptionParser) -> None:
    """Declare options that print a text and exit, whatever the other options are."""
    rows = {
        ("-h", "--help"): "show what people set and stop; with --model X the options of a family, too",
        ("--help_all",): "show all options and stop",
        ("--version",): "show the version and stop",
    }
    for spellings, help in rows.items():
        for spelling in spellings:
            parser.claim(spelling, "every command")
        parser.parser.add_argument(*spellings, action="store_true", default=SUPPRESS, help=help)


def help_text(parser: OptionParser, training: bool, everything: bool) -> str:
    """The text of --help, or with `everything` of --help_all."""
    # A family outside the checkout ("module:Class") has no file in configs/tiny.
    family = parser.family if parser.family in family_names() else DEFAULT
    introduction, epilog = _introduction(parser, family, training), _epilog(parser, training, everything)
    return parser.format_help(introduction, epilog, family, everything)


def _introduction(parser: OptionParser, family: str, training: bool) -> str:
    examples = [(words.format(family=family), what) for words, what in EXAMPLES[training]]
    first_stage = first_stages(family)
    if training and first_stage:
        examples[0] = f"{examples[0][0]} --init_from result/{first_stage[0]}", f"on top of a trained {first_stage[0]}"
    if parser.family is None:
        examples.append((f"--model {DEFAULT} --help", "the options of a family"))
    width = max(len(words) for words, _ in examples)
    return "\n".join([
        PURPOSE[training],
        f"\nusage: {parser.parser.prog} [--option=value ...]",
        "\nBegin with one of these:",
        *(f"  {parser.parser.prog} {words:{width}}  # {what}" for words, what in examples),
        "\nWhat counts: command line > YAML (--config) > dataset mode > family > default, which is in [brackets].",
    ])  # fmt: skip


def _epilog(parser: OptionParser, training: bool, everything: bool) -> str:
    hidden = {} if everything else parser.hidden_options()
    groups = ", ".join(f"{title} ({number})" for title, number in hidden.items())
    parts = [
        f"--help_all shows {sum(hidden.values())} more options: {groups}" if hidden else "",
        f"families (--model): {', '.join(family_names())}",
        f"dataset modes (--dataset_mode): {', '.join(dataset_modes())}",
        f"read on: {SUBJECTS[training]}, {_page_of(parser.family)}; docs/README.md lists all pages",
    ]
    return "\n".join(fill(part, 100, subsequent_indent="  ", break_on_hyphens=False) for part in parts if part)


def _page_of(family: str | None) -> str:
    """The page of a family, or of the family that it is the second stage of."""
    names = [family, *first_stages(family)] if family else []
    pages = [f"docs/{name}.md" for name in names if (DOCS / f"{name}.md").is_file()]
    return pages[0] if pages else "docs/families.md"
