"""Automatic checks of the documents: links, names of options, versions, the list of dependencies."""

import ast
import re
import shlex
import subprocess
from itertools import takewhile

import pytest
import yaml
from paths import ROOT

from data import dataset_modes, find_dataset
from models import family_names, find_family
from options.originals import REMOVED
from options.parser import OptionParser
from options.shared import add_shared_options
from util.version import VERSION

LISTED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
    cwd=ROOT, capture_output=True, text=True, check=False,
).stdout.split()  # fmt: skip
DOCUMENTS = LISTED or [str(path.relative_to(ROOT)) for folder in (".", "docs") for path in (ROOT / folder).glob("*.md")]
DOCUMENTS = [name for name in DOCUMENTS if not name.startswith("script/templates/")]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_have_targets(name):
    for link in LINK.findall(text_of(name)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert target.exists(), f"{name} links to {link}"
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), f"{name} links to {link}"


def test_the_index_knows_every_document():
    linked = set(LINK.findall(text_of("docs/README.md")))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"} <= linked


def test_the_gallery_shows_small_pictures_and_all_of_them():
    text = text_of("docs/gallery.md")
    for picture in (ROOT / "docs" / "gallery").iterdir():
        assert f"gallery/{picture.name})" in text and picture.stat().st_size <= 2 * 2**20, picture.name


def test_the_readme_stays_short():
    assert len(text_of("README.md").split()) <= 900


def test_pictures_stay_small():
    for path in (ROOT / "docs").glob("*.[gp][in][fg]"):
        assert path.stat().st_size <= 3e6, f"{path.name} takes readers without a fast network too long"


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load(text_of("CITATION.cff"))
    newest = re.search(r"^## (\S+) \((\S+)\)$", text_of("CHANGELOG.md"), re.MULTILINE)
    assert (citation["version"], citation["date-released"]) == newest.groups()
    assert citation["version"] == VERSION


def required(*names: str) -> dict[str, str]:
    """Package -> bounds, of requirement files."""
    lines = [line for name in names for line in text_of(f"requirements{name}.txt").splitlines()]
    found = (re.match(r"([A-Za-z][\w-]*)(?:\[\w+\])?\s*([<>=!~].*)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def test_the_document_explains_every_dependency():
    table = text_of("docs/install.md").split("## Dependencies")[1]
    packages = {name.lower() for row in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE) for name in row.split(", ")}
    spoken = {"av (pyav)": "av"}
    known = {spoken.get(name, name) for name in packages}
    assert set(required("", "-dev", "-metrics", "-app")) <= known


def test_hooks_and_tests_run_one_ruff():
    hook = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"][0]
    assert hook["rev"] == "v" + required("-dev")["ruff"].removeprefix("==")


def test_no_top_level_package_of_ours_is_installed():
    tomllib = pytest.importorskip("tomllib")
    settings = tomllib.loads(text_of("pyproject.toml"))["tool"]["setuptools"]
    assert settings["packages"] == [] and settings["py-modules"] == ["grimace"]
    files = [settings["dynamic"]["dependencies"], *settings["dynamic"]["optional-dependencies"].values()]
    for entry in files:
        # setuptools reads no "-r other.txt" in them
        assert not re.search(r"^-", text_of(entry["file"]), re.MULTILINE), entry["file"]


@pytest.fixture(scope="module")
def known_options() -> set[str]:
    """Every spelling that train.py or test.py knows, with any family and dataset mode."""
    known = {"--version", "--help", "--help_all"}
    for training in (True, False):
        parsers = [OptionParser("") for _ in range(1 + len(family_names()) + len(dataset_modes()))]
        add_shared_options(parsers[0], training)
        parts = [*map(find_family, family_names()), *map(find_dataset, dataset_modes())]
        for parser, part in zip(parsers[1:], parts, strict=True):
            part.add_options(parser.group("part"), training)
        for parser in parsers:
            known |= parser.claims.keys() | {f"--{name}" for name in [*parser.aliases, *parser.negations]}
            known |= {f"--{name}" for name in parser.mode_aliases}
    return {name.replace("-", "_") for name in known}


def commands(text: str):
    """The command lines of train.py and test.py in code blocks, continued lines joined."""
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if re.search(r"(^|\s)(train|test)\.py\s", line):
                yield shlex.split(line.split(" #")[0].split("...")[0])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_have_options_that_exist(name, known_options):
    gone = {f"--{option}" for names, _ in REMOVED for option in names}
    for words in commands(text_of(name)):
        after = words[next(i for i, word in enumerate(words) if word.endswith(".py")) + 1 :]
        for word in takewhile(lambda word: word not in "|;&", after):
            option = word.split("=")[0]
            if option.startswith("--") and option not in gone:
                assert option.replace("-", "_") in known_options, f"{name}: {shlex.join(words)}"


FOLDERS = "configs|data|docs|engine|metrics|models|options|script|tests|util|webapp|weights"
PATH = re.compile(rf"(?<![\w./~-])(?:{FOLDERS})/[\w./*-]+")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_that_documents_name_exist(name):
    for path in (found.rstrip(".") for found in PATH.findall(text_of(name))):
        example = "yours" in path or "my_" in path or re.search(r"[A-Z]{4}", path)
        assert example or any(ROOT.glob(path)), f"{name} names {path}"


def defined_in(path: str) -> set[str]:
    return {node.name for node in ast.parse(text_of(path)).body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def test_the_page_of_the_design_names_existing_code():
    rows = re.findall(r"^\|.*\| `(\S+\.py)` \| (.*) \|$", text_of("docs/design.md"), re.MULTILINE)
    assert len(rows) > 30
    for path, names in rows:
        missing = set(re.findall(r"`(\w+)`", names)) - defined_in(path)
        assert not missing, f"{path} defines no {missing}"
