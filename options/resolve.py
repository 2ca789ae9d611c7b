"""Resolve a command line to options: the family, the dataset mode, the values."""

from pathlib import Path
from typing import Any

import yaml

from data import find_dataset
from models import add_family_options, family_names, find_family, recognise_family, run_name
from options.files import is_nested, leaves, read_yaml
from options.helping import HELP_OPTIONS, add_help_options, help_text
from options.parser import OptionParser, Options
from options.shared import add_shared_options
from util.errors import UserError
from util.files import folders_in
from util.paths import leads_outside
from util.version import version_line
from util.weights_options import options_in

NOT_INHERITED = {
    "gpu_id",
    "cpu",
    "nThreads",
    "config",
    "name",
    "allow_outside",
    "checkpoints_dir",
    "continue_train",
    "init_from",
    "checkpoint",
    "debug",
    "detect_anomaly",
    "dry_run",
    "profile",
    "verbose",
}
"""Options of a training run that are not part of the model; later commands on the run do not inherit them."""

LENGTHS = ("epochs", "steps")
"""The options for the length of training."""

ZOO = Path(__file__).resolve().parents[1] / "configs" / "zoo.yaml"
"""The table of released models, which script/weights.py imports as runs."""
OWN_WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "own"
"""The model that ships with Grimace, described in weights/README.md."""


def run_folder(opt: Options) -> Path:
    """The folder of a run: weights, options, log and pictures."""
    return Path(opt.checkpoints_dir) / opt.name


def options_as_yaml(opt: Options) -> str:
    """The options as YAML that is itself a valid --config."""
    values = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(opt).items()
        if name not in ("config", "print_config")
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)


def original_config(opt: Options) -> bool:
    """Whether --config is a nested YAML file of one of the original projects."""
    return is_nested(read_yaml(opt.config)) if opt.config else False


def parse(arguments: list[str], training: bool) -> Options | None:
    """Resolve a command line; None if --help, --version or --print_config has printed its text."""
    if "--version" in arguments:
        print(version_line())
        return None
    arguments, first, files = _layers(arguments, training)
    parser = _build_parser(first, files, training)
    if HELP_OPTIONS & set(arguments):
        print(help_text(parser, training, everything="--help_all" in arguments))
        return None
    if not training:
        _refuse_missing_run(first)
    other = _build_parser(first, files, not training)
    parser.use_mode(_setting("mode", first, files) or parser.declared.get("mode"))
    other.use_mode(None)
    values = defaults = parser.defaults(other)
    for path, content in files:
        values = _with_layer(values, parser.expand(_values_of(path, content, parser, other)))
    values = _with_layer(values, parser.expand(parser.parse(arguments, other=other)))
    values["model"] = _family_name(first, files)
    values["name"] = values["name"] or _default_name(values)
    opt = Options(parser.shape_results, **values)
    opt.note_defaults(defaults)
    _check_name(opt)
    if not training:
        _check_inputs(opt)
    if opt.debug:
        _stay_in_one_process(opt)
    if opt.print_config:
        print(options_as_yaml(opt), end="")
        return None
    return opt


def parser_of(arguments: list[str], training: bool) -> OptionParser:
    """The parser with all options that a command line has: those of its family and dataset mode, too."""
    _, first, files = _layers(arguments, training)
    return _build_parser(first, files, training)


def _layers(arguments: list[str], training: bool) -> tuple[list[str], dict[str, Any], list[tuple[Path, dict]]]:
    """The command line, with the options of Grimace's own model; its first parse; the files below it."""
    first = _preparse(arguments, training)
    if not training and _needs_own_weights(first):
        # It was trained on cropped faces.
        arguments = [f"--checkpoint={OWN_WEIGHTS}", "--name=own", "--crop_image", "--crop_video", *arguments]
        first = _preparse(arguments, training)
    files = _option_files(first, training)
    return arguments, first, _network_options(first, files) + files if training else files


def _needs_own_weights(first: dict[str, Any]) -> bool:
    """Whether to use Grimace's own model: there are pictures, and no model is chosen."""
    explicit = first["explicit"].keys()
    inputs = {"source_image", "pairs"} & explicit and not {
        "help",
        "help_all",
        "model",
        "config",
        "checkpoint",
        "name",
    } & explicit
    folder = Path(first["explicit"].get("checkpoints_dir", first["checkpoints_dir"]))
    default = folder / _default_name({"model": first["model"]})
    return bool(inputs) and not default.exists() and OWN_WEIGHTS.is_dir()


def uses_own_weights(opt: Options) -> bool:
    """Whether a command uses Grimace's own model."""
    return Path(opt.checkpoint).resolve() == OWN_WEIGHTS if opt.checkpoint else False


def _with_layer(below: dict[str, Any], layer: dict[str, Any]) -> dict[str, Any]:
    """Merge a layer over values. A layer that sets the length of training replaces all lower settings of it.

    Otherwise the `epochs` of a file would end the run before the --steps of the command line.
    """
    if any(layer.get(name) for name in LENGTHS):
        below = {name: None if name in LENGTHS else value for name, value in below.items()}
    return below | layer


def _refuse_missing_run(first: dict[str, Any]) -> None:
    """Refuse a missing run: its family would be unknown, and all options would be checked against another one's."""
    explicit = first["explicit"]
    if "name" not in explicit or {"model", "config", "checkpoint"} & explicit.keys():
        return
    folder = Path(explicit.get("checkpoints_dir", first["checkpoints_dir"])) / explicit["name"]
    if not folder.exists():
        released = (read_yaml(ZOO) if ZOO.is_file() else {}).get("models", {})
        hint = f"; it is a released model: python script/weights.py where {folder.name}" * (folder.name in released)
        raise UserError(f"--name {explicit['name']}: no run {folder}; runs: {folders_in(folder.parent)}{hint}")


def _preparse(arguments: list[str], training: bool) -> dict[str, Any]:
    parser = OptionParser("")
    add_shared_options(parser, training)
    add_help_options(parser)
    return parser.defaults(parser) | {"explicit": parser.parse(arguments, strict=False)}


def _option_files(first: dict[str, Any], training: bool) -> list[tuple[Path, dict]]:
    """The saved options of the run that a command uses, then the file of --config."""
    explicit = first["explicit"]
    files = [(Path(explicit["config"]), read_yaml(explicit["config"]))] if explicit.get("config") else []
    if explicit.get("continue_train") or not training:
        saved = _saved_options(explicit, first)
        if saved:
            content = {key: value for key, value in read_yaml(saved).items() if key not in NOT_INHERITED}
            files.insert(0, (saved, _for_family(_named_family(first, files), content, saved, training)))
    return files


def _for_family(name: str | None, content: dict[str, Any], path: Path, continued: bool) -> dict[str, Any]:
    """The options of a run for the requested family: the run's own, or a relative that reads its weights.

    A relative ignores options that only the run's family knows. Only the run's own family can resume it.
    """
    own = content.get("model") or name
    if name is None or own is None or name == own:
        return content
    one, other = find_family(name), find_family(own)
    if not (issubclass(one, other) or issubclass(other, one)) or not _is_second_stage(name, own):
        raise UserError(
            f"{path.parent}: this is a run of the family {own}, not {name}: set --model {own}, or remove --model and "
            f"--config"
        )
    if continued:
        raise UserError(
            f"{path.parent}: this is a run of the family {own}, which {name} can't continue; start from its "
            f"networks: --init_from {path.parent}, with another --name"
        )
    foreign = _declared(own) - _declared(name)
    return {key: value for key, value in content.items() if key not in foreign}


def _declared(name: str) -> set[str]:
    """The names of the options that a family declares for any command."""
    parsers = OptionParser(""), OptionParser("")
    for parser, training in zip(parsers, (True, False), strict=True):
        add_family_options(name, parser.group(""), training)
    return {action for parser in parsers for action in parser.actions}


def family_options(opt: Options) -> dict[str, Any]:
    """The names of the options from which the family's networks are built."""
    declared = _declared(opt.model)
    return {name: value for name, value in vars(opt).items() if name in declared}


def _network_options(first: dict[str, Any], files: list[tuple[Path, dict]]) -> list[tuple[Path, dict]]:
    """The network options of the run that training starts from, as declared by this family."""
    explicit = [*(content for _, content in files), first["explicit"]]
    starts = [content[name] for content in explicit for name in ("init_from", "continue_from") if content.get(name)]
    start = str(starts[-1]) if starts else None
    if not start:
        return []
    path = Path(start)
    saved = (path if path.is_dir() else path.parent) / "options.yaml"
    if not saved.is_file():
        return []
    name, content = _family_name(first, files), read_yaml(saved)
    _refuse_foreign_start(name, content.get("model", name), saved.parent)
    networks = OptionParser("")
    add_family_options(name, networks.group(""), training=False)
    return [(saved, {key: value for key, value in content.items() if key in networks.actions})]


def _is_second_stage(one: str, other: str) -> bool:
    """Whether one of two families is a second stage of the other, whose networks its files contain."""
    return one in find_family(other).begins_with or other in find_family(one).begins_with


def _refuse_foreign_start(name: str, own: str, folder: Path) -> None:
    """Refuse to start from a run of a family that this one does not accept."""
    if name != own and not _is_second_stage(name, own):
        raise UserError(
            f"{folder}: this is a run of the family {own}, and {name} has other networks: set --model {own}, or use "
            f"weights of {name}. A second stage declares the families that it starts from: begins_with = ({own!r},)"
        )


def _saved_options(explicit: dict[str, Any], first: dict[str, Any]) -> Path | None:
    """The file with the options of the weights: options.yaml beside them, or the weights themselves."""
    name = explicit.get("name") or _default_name({"model": first["model"]} | explicit)
    folders = [Path(explicit.get("checkpoints_dir", first["checkpoints_dir"])) / name]
    if explicit.get("checkpoint"):
        checkpoint = Path(explicit["checkpoint"])
        files = sorted(checkpoint.glob("*.safetensors")) if checkpoint.is_dir() else [checkpoint]
        described = next((file for file in files if options_in(file) is not None), None)
        if described is not None:
            return described
        folders.insert(0, checkpoint if checkpoint.is_dir() else checkpoint.parent)
    return next((folder / "options.yaml" for folder in folders if (folder / "options.yaml").is_file()), None)


def _family_name(first: dict[str, Any], files: list[tuple[Path, dict]]) -> str:
    """The given family, or the default."""
    return _named_family(first, files) or first["model"]


def _named_family(first: dict[str, Any], files: list[tuple[Path, dict]]) -> str | None:
    """The --model of the command line, or of the last file that sets it."""
    if "model" in first["explicit"]:
        return first["explicit"]["model"]
    for path, content in reversed(files):
        if content.get("model"):
            return str(content["model"])
        if is_nested(content):
            name = recognise_family(content)
            if name is None:
                raise UserError(
                    f"--config {path}: its sections ({', '.join(map(str, content))}) match none of the families "
                    f"{', '.join(family_names())}; choose one with --model"
                )
            return name
    return None


def _build_parser(first: dict[str, Any], files: list[tuple[Path, dict]], training: bool) -> OptionParser:
    parser = OptionParser(f"python {'train.py' if training else 'test.py'}")
    add_shared_options(parser, training)
    add_help_options(parser)
    model_is_set = "model" in first["explicit"] or any("model" in content or is_nested(content) for _, content in files)
    if not model_is_set and {"help", "help_all"} & first["explicit"].keys():
        return parser
    parser.family = _family_name(first, files)
    add_family_options(parser.family, parser.group(f"family {parser.family}"), training)
    mode = _setting("dataset_mode", first, files) or parser.default("dataset_mode")
    find_dataset(mode).add_options(parser.group(f"dataset mode {mode}"), training)
    return parser


def _setting(name: str, first: dict[str, Any], files: list[tuple[Path, dict]]) -> str | None:
    """An option's value on the command line, or in the last file that sets it."""
    explicit = [str(content[name]) for _, content in files if content.get(name)]
    return first["explicit"].get(name) or (explicit[-1] if explicit else None)


def _values_of(path: Path, content: dict, parser: OptionParser, other: OptionParser) -> dict[str, Any]:
    """The values of a YAML file under their option names; options of the other command are ignored."""
    values = {}
    for key, value in leaves(content, lambda name: bool(parser.canonical(name) or other.canonical(name))):
        name = parser.canonical(key)
        if parser.is_unused(key) or other.is_unused(key) or (name is None and other.canonical(key)):
            continue
        if value is None and (parser.is_section(key) or other.is_section(key)):
            continue  # an empty file
        if name is None:
            hint = parser.suggest(key) or other.suggest(key)
            raise UserError(f"--config {path}: {key}: no such option.{hint}")
        values[name] = parser.convert(name, value, f"--config {path}: {key}")
    return values


def _stay_in_one_process(opt: Options) -> None:
    """A debugger only sees its own process."""
    if len(opt.gpu_id) > 1 and not opt.cpu:
        raise UserError(f"--debug works in one process: choose one device, e.g. --gpu_id={opt.gpu_id[0]}")
    opt.nThreads = 0


def _check_name(opt: Options) -> None:
    """Refuse a name that would put the run's folder, or its results, outside the expected folders."""
    if not opt.allow_outside and leads_outside(Path(opt.name), Path(opt.checkpoints_dir)):
        raise UserError(
            f"--name {opt.name}: is outside the folder of runs, --checkpoints_dir {opt.checkpoints_dir}; set "
            f"--allow_outside to permit that"
        )


def _check_inputs(opt: Options) -> None:
    """Refuse pictures and numbers of frames that would be ignored."""
    if opt.best_frame is not None and opt.find_best_frame:
        raise UserError(f"--best_frame {opt.best_frame}: --find_best_frame chooses another one; remove one of them")
    sources = opt.source_image or []
    if len(sources) > 1 and not find_dataset(opt.dataset_mode).several_sources:
        raise UserError(
            f"--source_image {' '.join(sources)}: {opt.model} with --dataset_mode {opt.dataset_mode} animates one "
            f"picture; use one, or --pairs with a line for each"
        )


def _default_name(values: dict[str, Any]) -> str:
    if values.get("config"):
        return Path(values["config"]).name.split(".")[0]
    module = values["model"].partition(":")[0]  # of a family outside the checkout: my_paper.family:MyPaper
    return run_name(values["model"]) or module.removesuffix(".family").rpartition(".")[2]


def dry_options(opt: Options, folder: str) -> Options:
    """The options of a dry run: everything once, in a temporary folder, without sinks."""
    if opt.continue_train:
        raise UserError("--dry_run uses its own folder: remove --continue_train")
    once = dict.fromkeys(("save_every", "print_every", "pictures_every"), 1) | {"save_every_epochs": 0}
    quiet = {"visdom": False, "tensorboard": False, "sink": [], "checkpoints_dir": folder}
    return Options(**vars(opt) | once | quiet)
