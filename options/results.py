"""Where results are written, and the options that shape them."""

from pathlib import Path
from typing import Any

from models import find_family
from options.parser import Options
from options.resolve import original_config, run_folder
from util.errors import UserError
from util.files import refuse_long_name, refuse_unwritable


def result_options(opt: Options) -> dict[str, Any]:
    """The options that affect the frames of a result, by `shapes_result` of their declarations."""
    return {name: value for name, value in vars(opt).items() if name in opt.shape_results}


def results_folder(opt: Options) -> Path:
    """--results_dir; beside the weights if the original (or its YAML) does so; otherwise eval_results/NAME."""
    if opt.results_dir:
        return Path(opt.results_dir)
    if original_config(opt) or find_family(opt.model).results_beside_weights:
        weights = Path(opt.checkpoint or run_folder(opt))
        folder = weights if weights.is_dir() else weights.parent
        return folder / ("reconstruction" if opt.mode == "reconstruction" else "animation")
    return Path("eval_results") / opt.name


def check_results_folder(opt: Options, folder: Path) -> None:
    """Report a missing write permission now, not after hours of work."""
    if opt.output:
        refuse_long_name(Path(opt.output))
    option, folder = ("output", Path(opt.output).parent) if opt.output else ("results_dir", folder)
    refuse_unwritable(folder, option)
    folder.mkdir(parents=True, exist_ok=True)


def as_the_original(opt: Options, family: Any, pairs: bool) -> tuple[bool, bool]:
    """Whether to write strips and visualisations (--strips, --visualize).

    The originals' nested YAML files stand for their commands, which write both by default.
    """
    as_original = original_config(opt) and not pairs
    strips = as_original if opt.strips is None else opt.strips
    explain = as_original and opt.mode in family.explained_modes if opt.visualize is None else opt.visualize
    if explain and (opt.compare or opt.paste_back):
        raise UserError(
            "--visualize already shows source and driving frame; remove --compare and --paste_back, or set "
            "--visualize=no"
        )
    return strips, explain
