"""What train.py and test.py do before they import torch, which takes longer than all that is done here."""

import sys
from functools import partial

from options.helping import HELP_OPTIONS
from options.resolve import parse
from util.errors import run_main
from util.waiting import wait_briefly


def before_torch(name: str, training: bool) -> None:
    """Tell OpenMP how to wait; where the module `name` is the command itself, answer --help and --version and stop."""
    wait_briefly()
    if name == "__main__" and HELP_OPTIONS & set(sys.argv[1:]):
        run_main(partial(_print_help, training))


def _print_help(training: bool) -> None:
    parse(sys.argv[1:], training)
