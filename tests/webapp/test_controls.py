"""Options as controls: those of the family, none that the page would ignore, and the command line they stand for."""

import shlex
from pathlib import Path

import pytest
from paths import ROOT

from models import family_names
from options import parse
from options.declared import declared_options
from options.results import result_options
from util.expressions import units_for

gr = pytest.importorskip("gradio")

from webapp import controls  # noqa: E402
from webapp.controls import Panel, changed, command, shown_options  # noqa: E402
from webapp.kinds import Kind  # noqa: E402


def options_of(*arguments):
    return declared_options(list(arguments), parse(list(arguments), training=False))


def kind_named(family):
    if family == "ganimation":
        return Kind(units=units_for(3, ["AU12", "AU25", "AU26"]))
    return Kind(source=family != "talking_head_finetune")


def names_of(family):
    options = options_of(f"--config={ROOT}/configs/tiny/{family}.yaml")
    return {option.name for option in shown_options(options, kind_named(family))}


EXPECTED = {
    "fomm": {"relative", "adapt_scale", "relative_jacobian", "find_best_frame", "best_frame", "paste_back", "face"},
    "fomm_prior": {"magnify", "relative"},
    "mraa": {"way", "adapt_scale", "relative_covar"},
    "tps_avd": {"way"},
    "live_portrait": {
        "animation_region", "driving_multiplier", "stitching", "eye_retargeting", "lip_retargeting", "smooth_motion",
        "normalize_lip", "relative", "crop_scale",
    },
    "talking_head": {"retarget", "fit"},
    "talking_head_finetune": {"fit"},
    "face": {"retarget", "background_edges"},
    "ganimation": {"intensity", "interpolate", "easing", "sweep", "all_faces", "face_crop"},
}  # fmt: skip


@pytest.mark.parametrize("family", family_names())
def test_a_family_has_its_own_options_and_those_of_all(family):
    names = names_of(family)
    common = {"paste_back", "face", "audio", "quality", "several", "crop_image", "find_best_frame"}
    without = {"ganimation": controls.OF_DRIVING, "talking_head_finetune": controls.OF_PICTURES}.get(family, set())
    assert names >= EXPECTED.get(family, set()) | common - without and not names & without
    foreign = set().union(*EXPECTED.values()) - EXPECTED["fomm"] - EXPECTED.get(family, set())
    declared = {option.name for option in options_of(f"--config={ROOT}/configs/tiny/{family}.yaml")}
    assert not names & (foreign - declared)


@pytest.mark.parametrize("family", family_names())
def test_every_option_that_shapes_results_is_shown_or_excluded_for_a_reason(family):
    arguments = [f"--config={ROOT}/configs/tiny/{family}.yaml"]
    declared = options_of(*arguments)
    without = controls.EXCLUDED | controls.OF_DRIVING if family == "ganimation" else controls.EXCLUDED
    without = without | controls.OF_PICTURES if family == "talking_head_finetune" else without
    shaping = set(result_options(parse(arguments, training=False))) - without
    other = {
        option.name for option in declared
        if controls.group_of(option) in OF_LOADING or option.part in ("run", "devices", "data", "weights")
        or option.part.startswith("measuring")
    }  # fmt: skip
    assert shaping - other <= names_of(family)


OF_LOADING = {"networks", "pictures", "second stage", "landmarks", "structures", "sequences", "edits"}
"""Parts that say how a run's networks are, how training's pictures are drawn, or what the app does not do."""


@pytest.fixture(scope="module")
def portrait():
    """The panel of live_portrait."""
    with gr.Blocks():
        return Panel(options_of(f"--config={ROOT}/configs/tiny/live_portrait.yaml"), Kind())


def test_unchanged_controls_have_the_values_of_the_run(portrait):
    values = {one: one.value for one in portrait.controls}
    assert portrait.chosen(values) == {}
    assert isinstance(portrait["relative"], gr.Checkbox) and isinstance(portrait["quality"], gr.Slider)
    assert isinstance(portrait["animation_region"], gr.Dropdown) and isinstance(portrait["face"], gr.Textbox)
    assert portrait["relative"].info and "magnify" not in portrait


def test_changed_options_are_valid_arguments_of_test_py(portrait):
    values = {one: one.value for one in portrait.controls}
    new = {
        "relative": False, "driving_multiplier": 1.5, "animation_region": "lip", "face": "2", "best_frame": 3,
        "crop_video": "yes", "eye_retargeting": "0.3", "quality": 90.0,
    }  # fmt: skip
    chosen = portrait.chosen(values | {portrait[name]: value for name, value in new.items()})
    assert chosen == new | {"crop_video": True}
    line = command(
        ("--name=lp",), {"source_image": [Path("/tmp/x/me.jpg")], "driving_video": Path("/a/b c.mp4")}, chosen
    )
    arguments = shlex.split(line)
    assert arguments[:5] == ["python", "test.py", "--name=lp", "--source_image=me.jpg", "--driving_video=b c.mp4"]
    config = f"--config={ROOT}/configs/tiny/live_portrait.yaml"
    resolved = parse(
        [config, *[word for word in arguments[5:] if "--quality" not in word], "--quality=90"], training=False
    )
    assert (resolved.relative, resolved.face, resolved.eye_retargeting, resolved.best_frame) == (False, 2, 0.3, 3)
    assert "--quality=90" in arguments, "whole numbers stay whole"
    crops = portrait.chosen(values | {portrait[name]: value for name, value in new.items()}, controls.PREVIEWED)
    assert crops == {"face": "2", "crop_video": True}


def test_several_pictures_are_several_arguments():
    line = command((), {"source_image": [Path("a.png"), Path("b.png")], "output": ""}, {})
    assert shlex.split(line) == ["python", "test.py", "--source_image", "a.png", "b.png"]


def test_units_are_sliders():
    with gr.Blocks():
        panel = Panel(options_of(f"--config={ROOT}/configs/ganimation/ganimation.yaml"), Kind(units=units_for(17)))
    assert len(panel.sliders) == 17 and panel.sliders["AU12"].label == "AU12 lip corner puller"
    values = {one: one.value for one in panel.controls} | {panel.sliders["AU12"]: 3.5}
    assert panel.units(values)["AU12"] == 3.5 and panel.chosen(values) == {}


def test_switches_without_a_default_are_left_to_the_family():
    (crop,) = [one for one in options_of("--model=live_portrait") if one.name == "crop_image"]
    assert changed([crop], ["auto"]) == {} and changed([crop], ["no"]) == {"crop_image": False}
