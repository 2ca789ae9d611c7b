"""The options that forms show: every kind, with its values and limits."""

import pytest
from paths import ROOT

from models import family_names
from options import parse
from options.declared import declared_options


def declared(*words):
    found = declared_options(list(words), parse(list(words), training=False))
    return {option.name: option for option in found}


def test_kinds_values_and_limits_are_those_of_the_declarations():
    options = declared("--model=live_portrait", "--quality=55")
    assert (options["relative"].kind, options["relative"].value) == ("switch", True)
    quality = options["quality"]
    assert (quality.kind, quality.limits, quality.value) == ("whole number", (0, 100), 55)
    assert options["audio"].choices == ("driving", "source", "none")
    assert options["animation_region"].kind == "choice" and "lip" in options["animation_region"].choices
    assert options["driving_multiplier"].kind == "number" and options["smooth"].limits == (0, 1)
    assert options["face"].kind == "text" and options["crop_image"].value is None
    assert set(options["mode"].choices) >= {"animate", "relative", "standard"}
    assert options["relative"].part == "family live_portrait: animation" and "first frame" in options["relative"].help
    assert options["look_ahead"].advanced and not options["relative"].advanced
    assert options["relative"].word(False) == "--relative=no"


@pytest.mark.parametrize("family", family_names())
def test_every_option_of_a_command_is_declared_once(family):
    words = [f"--config={ROOT / 'configs' / 'tiny' / f'{family}.yaml'}"]
    assert declared(*words).keys() == vars(parse(words, training=False)).keys()
