"""--help teaches: a first line, examples that work, at most 60 options in groups; --help_all has everything."""

import re
import shlex
from textwrap import dedent

import pytest
from paths import ROOT

from models import add_family_options, family_names, find_family, first_stages, run_name
from options import parse
from options.parser import OptionParser

MOST = 60
COMMANDS = [(name, training) for name in family_names() for training in (True, False)]
OPTION = re.compile(r"^  (?:-\w+[^,\n]*, )?--(\w+)", re.MULTILINE)


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)


def told(capsys, training, *words):
    assert parse(list(words), training) is None
    return capsys.readouterr().out


def groups(text):
    """Title -> what is printed of a group of options."""
    parts = re.split(r"^(\w.*):\n(?=  )", text.split("\noptions:\n", 1)[1], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def example(part):
    lines = re.findall(r"^  e\.g\. (--.*)$", part, re.MULTILINE)
    assert len(lines) == 1, f"one example line in each group: {part}"
    return shlex.split(lines[0])


@pytest.mark.parametrize(("family", "training"), COMMANDS)
def test_help_shows_at_most_60_options_in_groups_with_an_example_each(capsys, family, training):
    text = told(capsys, training, f"--model={family}", "--help")
    shown = OPTION.findall(text)
    assert len(shown) == len(set(shown)) <= MOST
    assert len(shown) >= 40, "so few would not be what people set"
    for title, part in groups(text).items():
        words = [word[2:] for word in example(part) if word.startswith("--")]
        words = [word if word in shown else word.removeprefix("no_") for word in words]
        assert words[0] in OPTION.findall(part), f"the example of {title} is of its own options"
        assert set(words) <= set(shown), f"the example of {title} has options that --help hides"


@pytest.mark.parametrize(("family", "training"), COMMANDS)
def test_help_all_shows_every_option_and_how_many_more_is_reported(capsys, family, training):
    everything = OPTION.findall(told(capsys, training, f"--model={family}", "--help_all"))
    known = vars(parse([f"--model={family}"], training)).keys()
    assert set(everything) == known | {"help", "help_all", "version"} and len(everything) == len(set(everything))
    text = told(capsys, training, f"--model={family}", "--help")
    more = int(re.search(r"--help_all shows (\d+) more options", text)[1])
    assert more == len(everything) - len(OPTION.findall(text)) > 0


@pytest.mark.parametrize(("family", "training"), COMMANDS)
@pytest.mark.slow
def test_the_examples_of_the_groups_are_understood(capsys, family, training):
    for part in groups(told(capsys, training, f"--model={family}", "--help_all")).values():
        assert parse([f"--model={family}", *example(part)], training) is not None


@pytest.mark.parametrize(("family", "training"), COMMANDS)
def test_help_starts_with_a_short_line_and_commands_and_ends_with_pages_that_exist(capsys, family, training):
    text = told(capsys, training, f"--model={family}", "--help")
    assert len(text.splitlines()[0]) < 80
    script = "train.py" if training else "test.py"
    commands = re.findall(rf"^  python {script} (.*?)  # \w", text, re.MULTILINE)
    assert len(commands) >= 3
    options = {word for line in commands for word in line.split() if word.startswith("--")}
    assert options <= {f"--{name}" for name in OPTION.findall(text)}
    files = set(re.findall(r"docs/\w+\.md|configs/tiny/\w+\.yaml", text))
    assert len(files) >= 3 and all((ROOT / name).is_file() for name in files)
    assert f"docs/{family.removesuffix('_avd').removesuffix('_finetune').removesuffix('_retarget')}.md" in files


@pytest.mark.parametrize("training", [True, False])
def test_without_a_family_help_shows_the_shared_options_and_how_to_see_more(capsys, training):
    text = told(capsys, training, "--help")
    assert "--model fomm --help" in text and "--precision" in text
    assert "--debug" not in text and "--debug" in told(capsys, training, "--help_all")


def test_a_group_with_hidden_options_alone_is_not_shown():
    parser = OptionParser("program")
    part = parser.group("yours").add_argument_group("rare", "What it is.", example="--x 1", advanced=True)
    part.add_argument("--x", help="an x")
    part.add_switch("--y", help="a y")
    assert parser.hidden_options() == {"yours: rare": 2}
    assert "rare" not in parser.format_help("", "", "fomm", everything=False)


def test_an_option_and_a_later_part_decide_for_themselves_what_is_advanced():
    parser = OptionParser("program")
    part = parser.group("yours").add_argument_group("rare", example="--x 1 --config {family}.yaml", advanced=True)
    part.add_argument("--x", help="an x", advanced=False)
    part.add_argument("--z", help="a z")
    parser.group("mine").add_argument("--w", help="a w")
    parser.group("others").set_advanced("w")
    assert parser.group("yours").add_argument_group("rare") is part, "a title is one group"
    text = parser.format_help("", "", "fomm", everything=False)
    assert OPTION.findall(text) == ["x"]
    assert (
        dedent("""\
        yours: rare:
          e.g. --x 1 --config fomm.yaml
        """)
        in text
    )


@pytest.mark.parametrize("name", family_names())
def test_a_family_declares_what_its_module_of_options_does(name):
    """--help reads models/<name>/options.py, without the class and so without torch."""
    family = find_family(name)
    assert first_stages(name) == family.begins_with and run_name(name) == family.run_name
    for training in (True, False):
        parsers = OptionParser("program"), OptionParser("program")
        add_family_options(name, parsers[0].group("family"), training)
        family.add_options(parsers[1].group("family"), training)
        assert parsers[0].declared == parsers[1].declared and parsers[0].overrides == parsers[1].overrides
