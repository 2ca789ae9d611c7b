"""The types of the shared options, as editors see them, against what is declared."""

import typing

import pytest

from options import parse
from options.parser import OptionParser
from options.shared import add_shared_options
from util.run_options import RunOptions


def declared(training):
    parser = OptionParser("")
    add_shared_options(parser, training)
    return parser.declared


def fits(value, kind):
    options = typing.get_args(kind) if typing.get_origin(kind) not in (None, list) else (kind,)
    for one in options:
        if typing.get_origin(one) is list:
            (item,) = typing.get_args(one)
            if isinstance(value, list) and all(fits(each, item) for each in value):
                return True
        elif type(value) is one or (one is float and type(value) is int):
            return True
    return False


def test_every_shared_option_has_a_type_and_no_other():
    assert set(typing.get_type_hints(RunOptions)) == declared(True).keys() | declared(False).keys()


@pytest.mark.parametrize("training", [True, False])
def test_defaults_are_of_their_types(training):
    hints = typing.get_type_hints(RunOptions)
    wrong = {name: value for name, value in declared(training).items() if not fits(value, hints[name])}
    assert not wrong
    assert not fits("2", int) and not fits(True, str) and not fits([1.5], list[int]) and not fits(None, int)


def test_types_add_no_options():
    opt = parse(["--model=fomm"], training=True)
    assert not hasattr(opt, "source_image") and not hasattr(opt, "no_such_option") and opt.batch_size > 0
