"""Options: defaults < family < dataset < YAML < command line."""

from options.datasets import build_dataset
from options.owners import owner_of_weights
from options.parser import Options
from options.resolve import options_as_yaml, original_config, parse, run_folder, uses_own_weights

__all__ = [
    "Options", "build_dataset", "options_as_yaml", "original_config", "owner_of_weights", "parse", "run_folder",
    "uses_own_weights",
]  # fmt: skip
