"""Options: defaults < family < dataset < YAML < command line."""

from options.resolve import Options, options_as_yaml, original_config, parse, run_folder, runs_in

__all__ = ["Options", "options_as_yaml", "original_config", "parse", "run_folder", "runs_in"]
