"""The rules of the design that a program can check."""

import ast
import re
import subprocess
from difflib import SequenceMatcher
from itertools import combinations, product
from pathlib import Path

import pytest
from paths import ROOT

from data import dataset_modes
from models import family_names, find_family

COMMANDS = {"train", "test", "app", "grimace", "building"}
OURS = COMMANDS | {"webapp", "options", "engine", "models", "metrics", "data", "util", "script", "tests"}
MAY_IMPORT = {
    "building.py": {"options", "models", "engine"},
    "train.py": {"building", "options", "data", "models", "engine", "metrics", "util"},
    "grimace.py": {"train", "building", "options", "data", "models", "engine", "metrics", "util"},
    "app.py": {"webapp", "engine", "util"},
    "webapp": {"webapp", "grimace", "options", "data", "util"},
    "test.py": {"building", "options", "data", "models", "engine", "metrics", "util"},
    "options": {"options", "data", "models", "metrics", "util"},
    "engine": {"engine", "util"},
    "models": {"models", "util"},
    "metrics": {"metrics", "data", "util"},
    "data": {"data", "util"},
    "util": {"util"},
}
FORBIDDEN_IN_MODELS = {"backward", "zero_grad", "cuda", "open", "print"}
LONGEST_FUNCTION = 40
LONGEST_COMMAND = 150


def sources(*places: str) -> list[Path]:
    """The project's own Python files; scratch and untracked folders of an environment do not count."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.split("\n")  # fmt: skip
    found = [ROOT / name for name in listed if name] or sorted(ROOT.rglob("*.py"))
    inside = [path for path in found if path.relative_to(ROOT).parts[0] in places and path.is_file()]
    assert inside
    return inside


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(module: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their package"
            names.add(node.module)
    return names


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("command", ["train.py", "test.py", "app.py"])
def test_commands_can_be_read_at_once(command):
    assert len((ROOT / command).read_text(encoding="utf-8").splitlines()) <= LONGEST_COMMAND


@pytest.mark.parametrize("place", MAY_IMPORT)
def test_imports_point_one_way(place):
    for path in sources(place):
        ours = {name.split(".")[0] for name in imported(tree(path))} & OURS
        assert ours <= MAY_IMPORT[place], f"{named(path)} imports {ours - MAY_IMPORT[place]}"


def test_tests_mirror_the_folders_of_the_code():
    mirrored = [path for path in sources("tests") if path.relative_to(ROOT).parts[1] in OURS]
    assert mirrored
    for folder in {path.parent.relative_to(ROOT / "tests") for path in mirrored}:
        assert (ROOT / folder).is_dir(), f"tests/{folder} tests no folder of the project"


WINGS = {
    "video": set(),
    "faces": {"video"},
    "talking": {"video", "faces"},
    "structure": {"video", "faces"},
    "expressions": {"video", "faces"},
    "micro": {"video", "faces"},
    "jobs": {"video", "faces"},
    "loading": {"video"},
    "preparation": {"video", "faces", "structure", "talking", "expressions", "micro"},
    "sample_faces": {"video"},
}
"""Wing of data/ -> the wings that it may import."""
CORE = {"base", "augment"}
"""Modules of data/ itself that a wing may import."""


@pytest.mark.parametrize("wing", WINGS)
def test_wings_of_data_keep_their_order(wing):
    for path in sources("data"):
        if path.relative_to(ROOT).parts[1] != wing:
            continue
        used = {name.split(".")[1] for name in imported(tree(path)) if name.startswith("data.")} - {wing} - CORE
        assert used <= WINGS[wing], f"{named(path)} imports {used - WINGS[wing]} of data/"


def test_no_dataset_mode_imports_preparation():
    for path in (ROOT / "data").glob("*.py"):
        assert not {name for name in imported(tree(path)) if name.startswith("data.preparation")}, named(path)


def test_data_stays_small_at_its_top():
    folder = ROOT / "data"
    modes = {f"{mode}.py" for mode in dataset_modes()}
    entries = {path.relative_to(folder).parts[0] for path in sources("data")} - modes
    assert len(entries) <= 14, sorted(entries)


def test_families_share_through_parts_alone():
    for path in sources("models"):
        parts = path.relative_to(ROOT).parts
        if len(parts) < 3:
            continue
        for name in imported(tree(path)):
            package = name.split(".")
            if package[0] == "models" and len(package) > 1 and package[1] not in (parts[1], "parts", "family"):
                assert parts[1] != "parts", f"{named(path)} imports {name}"
                assert package[1] in BUILDS_ON.get(parts[1], ()), f"{named(path)} imports {name}"


KNOWS_OPTIONS = (
    "train.py",
    "test.py",
    "grimace.py",
    "building.py",
    "script/",
    "options/",
    "models/*/family.py",  # a family reads what it declares
    "models/family.py",
    "models/parts/keypoint_family.py",  # the base class of fomm, mraa and tps
    "models/parts/second_stage.py",  # and of their second stages
    "data/*.py",  # a dataset mode reads what it declares
    "data/talking/driven.py",  # the base class of talking_head and person
)
"""Modules that may know resolved options; everything below takes named arguments, or settings (util.settings)."""
READS_OPTIONS = {"detector_settings", "track_settings", "settings_of"}
"""Functions that turn options into named settings; families and datasets pass all of theirs to nothing else below."""


def knows_options(path: Path) -> bool:
    name = named(path)
    return any(name.startswith(place) if place.endswith("/") else fits(name, place) for place in KNOWS_OPTIONS)


def fits(name: str, pattern: str) -> bool:
    return len(Path(name).parts) == len(Path(pattern).parts) and Path(name).match(pattern)


def mentions(node: ast.AST) -> bool:
    """Whether it is a variable, an argument or an attribute that is called opt."""
    called = getattr(node, "id", None) or getattr(node, "arg", None) or getattr(node, "attr", None)
    return called == "opt" and isinstance(node, (ast.Name, ast.arg, ast.Attribute, ast.keyword))


def lines_with_options(module: ast.Module) -> list[int]:
    return sorted({node.lineno for node in ast.walk(module) if mentions(node)})


def given_all_options(module: ast.Module) -> set[str]:
    """The functions and classes to which a module gives all options in one argument."""
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
    given = [node for node in calls if any(mentions(each) for each in [*node.args, *(k.value for k in node.keywords)])]
    return {node.func.id for node in given if isinstance(node.func, ast.Name)}


@pytest.mark.parametrize("path", [path for path in sources(*MAY_IMPORT) if not knows_options(path)], ids=named)
def test_options_stop_at_families_and_datasets(path):
    found = lines_with_options(tree(path))
    assert not found, f"{named(path)}:{found[0]} reads options; give it named arguments"


@pytest.mark.parametrize("path", [path for path in sources("models", "data") if knows_options(path)], ids=named)
def test_families_and_datasets_give_no_part_all_options(path):
    module = tree(path)
    imports = [node for node in ast.walk(module) if isinstance(node, ast.ImportFrom)]
    below = {alias.asname or alias.name for node in imports for alias in node.names if not from_families(node.module)}
    given = given_all_options(module) & below - READS_OPTIONS
    assert not given, f"{named(path)} gives {given} all options; name the arguments"


def from_families(module: str) -> bool:
    """Whether a module may know options itself."""
    return knows_options(ROOT / f"{module.replace('.', '/')}.py")


def test_a_part_that_reads_options_is_found():
    module = ast.parse("from data.faces.crop import cut\ndef f(opt):\n    self.opt = opt\n    return cut(self.opt)\n")
    assert lines_with_options(module) == [2, 3, 4] and given_all_options(module) == {"cut"}
    assert knows_options(ROOT / "data/frames.py") and knows_options(ROOT / "models/fomm/family.py")
    assert not knows_options(ROOT / "data/faces/crop.py") and not knows_options(ROOT / "models/fomm/networks.py")


BUILDS_ON = {name: find_family(name).begins_with for name in family_names()} | {"fomm_prior": ("fomm",)}
"""Second stages and relatives that hold only what differs from another family."""


KEY_POINT_FAMILIES = ("fomm", "mraa", "tps")
LONGEST_COPY = 6
"""Lines in a row that two of these families may have alike."""


def distinct_lines(text: str) -> list[str]:
    """The lines of a module but for imports, without what a copy would change: texts, numbers, names of options."""
    without = re.sub(r"^(from .* )?import (\([^)]*\)|.*)$", "", text, flags=re.MULTILINE)
    kept = [line.strip() for line in without.split("\n") if line.strip()]
    return [re.sub(r'f?"[^"]*"|\d+|(?<=opt\.)\w+', "", line) for line in kept]


def longest_copy(first: str, second: str) -> list[str]:
    """The longest run of lines that two modules have in common."""
    lines, others = distinct_lines(first), distinct_lines(second)
    match = SequenceMatcher(None, lines, others, autojunk=False).find_longest_match()
    return lines[match.a : match.a + match.size]


@pytest.mark.parametrize("pair", list(combinations(KEY_POINT_FAMILIES, 2)), ids="-".join)
def test_key_point_families_share_code_instead_of_copies(pair):
    modules = [[path for path in sources("models") if path.parent.name == family] for family in pair]
    for first, second in product(*modules):
        copied = longest_copy(first.read_text(encoding="utf-8"), second.read_text(encoding="utf-8"))
        assert len(copied) <= LONGEST_COPY, f"{named(first)} and {named(second)} have in common: {copied}"


def test_a_copy_with_other_names_and_numbers_is_a_copy():
    one = 'import a\nfrom b import (\n    c,\n)\nx = f(opt.width, 3)\n\n    add("--this", help=f"{x}")\nreturn x\n'
    other = 'y = 1\nfrom b import (\n    c,\n)\nx = f(opt.height, 64)\nadd("--that", help="y")\nreturn x\n'
    assert longest_copy(one, other) == ["x = f(opt., )", "add(, help=)", "return x"]


@pytest.mark.parametrize("path", sources("models"), ids=named)
def test_models_neither_optimise_nor_know_devices(path):
    module = tree(path)
    assert not {name for name in imported(module) if name.startswith(("torch.distributed", "logging", "argparse"))}
    for node in ast.walk(module):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        assert name not in FORBIDDEN_IN_MODELS, f"{named(path)}:{node.lineno} calls {name}"


@pytest.mark.parametrize("path", sources(*MAY_IMPORT, "script"), ids=named)
def test_functions_fit_a_screen(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= LONGEST_FUNCTION, f"{named(path)}:{node.lineno} {node.name} has {lines} lines"


@pytest.mark.parametrize("path", sources(*MAY_IMPORT, "script"), ids=named)
def test_modules_and_public_objects_have_docstrings(path):
    module = tree(path)
    assert ast.get_docstring(module), f"{named(path)} has no docstring"
    for node in module.body:
        public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
        if public and node.name != "main":
            assert ast.get_docstring(node), f"{named(path)}: {node.name} has no docstring"


@pytest.mark.parametrize("place", ["engine", "metrics", "models", "options"])
def test_optional_libraries_are_imported_where_they_are_used(place):
    optional = {"dlib", "face_alignment", "visdom", "av", "tensorboard", "skimage", "openpyxl", "joblib"}
    for path in sources(place):
        outermost = ast.Module([node for node in tree(path).body if isinstance(node, (ast.Import, ast.ImportFrom))], [])
        found = {name.split(".")[0] for name in imported(outermost)} & optional
        assert not found, f"{named(path)} imports {found} when it is itself imported"


def test_print_is_used_in_scripts_and_options_only():
    for path in sources("engine", "metrics", "models", "data", "util", "train.py"):
        calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
        names = [node for node in calls if getattr(node.func, "id", "") == "print"]
        allowed = path.name == "errors.py"
        assert allowed or not names, f"{named(path)}:{names[0].lineno} prints"


def test_no_file_names_a_machine():
    words = [f"/{folder}/" for folder in ("root", "work", "home")]
    for path in sources(*MAY_IMPORT, "script", "tests"):
        text = path.read_text(encoding="utf-8")
        assert not [word for word in words if word in text], named(path)
