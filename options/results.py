"""Where results go, and which options shape them."""

from pathlib import Path
from typing import Any

from models import find_family
from options.parser import Options
from options.resolve import original_config, run_folder
from util.files import refuse_long_name, refuse_unwritable

HOW = {
    "name", "config", "checkpoints_dir", "checkpoint", "which", "debug", "verbose", "print_config", "gpu_id", "cpu",
    "compile", "channels_last", "nThreads", "animate_batch", "results_dir", "output", "overwrite", "max_clips", "shard",
    "pairs", "pairs_list", "num_pairs", "max_dataset_size", "source_image", "driving_video", "best_frame",
    "structure_cache", "allow_outside", "strict_video", "save_template", "max_pixels",
}  # fmt: skip
"""Options that say where and how to work, or which results to make, but not what one of them looks like."""


def result_options(opt: Options) -> dict[str, Any]:
    """The options on which the frames of a result depend."""
    return {name: value for name, value in vars(opt).items() if name not in HOW}


def results_folder(opt: Options) -> Path:
    """--results_dir; where the original or its YAML is known to do so, beside the weights; else eval_results/NAME."""
    if opt.results_dir:
        return Path(opt.results_dir)
    if original_config(opt) or find_family(opt.model).results_beside_weights:
        weights = Path(opt.checkpoint or run_folder(opt))
        folder = weights if weights.is_dir() else weights.parent
        return folder / ("reconstruction" if opt.mode == "reconstruction" else "animation")
    return Path("eval_results") / opt.name


def check_results_folder(opt: Options, folder: Path) -> None:
    """Better told now than after hours that nothing can be written there."""
    if opt.output:
        refuse_long_name(Path(opt.output))
    option, folder = ("output", Path(opt.output).parent) if opt.output else ("results_dir", folder)
    refuse_unwritable(folder, option)
    folder.mkdir(parents=True, exist_ok=True)
