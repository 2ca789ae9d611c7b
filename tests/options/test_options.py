"""Options: precedence, typed values, both YAML forms, and errors that help."""

import argparse
import re
from pathlib import Path

import pytest
import yaml
from paths import ROOT

from models import family_names, find_family
from options import options_as_yaml, parse
from options.files import read_yaml
from options.parser import OptionParser
from util.errors import UserError
from util.values import (
    at_least,
    boolean,
    integer,
    keyword_or,
    list_of,
    number,
    one_of,
    pairs_of,
    positive,
    share,
    text,
    within,
)
from util.version import VERSION

OTHER_TABLES = ("protocols", "zoo.yaml")
CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if not {*path.parts} & {*OTHER_TABLES})
TOY = ["--model=tests.toys:Joint"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.chdir(tmp_path)


def resolved(arguments, training=True):
    return parse([*TOY, *arguments], training)


def write(name, content):
    Path(name).write_text(content)
    return f"--config={name}"


@pytest.mark.parametrize(
    ("convert", "value", "expected"),
    [
        (integer, "12", 12),
        (integer, 12.0, 12),
        (integer, "1e6", 1000000),
        (integer, "123456789012345678901", 123456789012345678901),
        (number, "1e-4", 1e-4),
        (number, 2, 2.0),
        (boolean, "Yes", True),
        (boolean, "off", False),
        (boolean, 0, False),
        (text, 12, "12"),
        (one_of("yes", "no", "auto"), True, "yes"),
        (list_of(integer), "2,3", [2, 3]),
        (list_of(integer), [2, 3], [2, 3]),
        (list_of(integer), 2, [2]),
        (at_least(2), "2", 2),
        (within(0, 100, integer), 100, 100),
        (share, "0", 0.0),
        (list_of(integer), "", []),
        (list_of(integer, "height,width,[channels]"), "64,48", [64, 48]),
        (list_of(integer, "height,width,[channels]"), [64, 48, 3], [64, 48, 3]),
        (list_of(integer, "height,width,[channels]"), "", []),
        (list_of(number), "[1, 0.5]", [1.0, 0.5]),
        (pairs_of(integer, integer), "2=5,3=3", {2: 5, 3: 3}),
        (pairs_of(integer, integer), {2: 5, "3": 3}, {2: 5, 3: 3}),
    ],
)
def test_values(convert, value, expected):
    assert convert(value) == expected


@pytest.mark.parametrize(
    ("convert", "value"),
    [
        (integer, "2.5"),
        (integer, True),
        (integer, "many"),
        (integer, None),
        (number, "fast"),
        (number, False),
        (number, "nan"),
        (number, float("inf")),
        (number, "1e999"),
        (at_least(2), 1),
        (at_least(2), "2.5"),
        (positive, 0),
        (within(0, 100, integer), 101),
        (boolean, "maybe"),
        (text, ["a"]),
        (one_of("stop", "skip"), "halt"),
        (list_of(integer), "2,x"),
        (list_of(integer, "a,b"), "1,2,3"),
        (list_of(integer, "height,width,[channels]"), 64),
        (list_of(integer, empty=False), ""),
        (pairs_of(integer, integer), "2:5"),
    ],
)
def test_bad_values(convert, value):
    with pytest.raises(argparse.ArgumentTypeError):
        convert(value)


def test_precedence():
    """defaults < family < dataset < YAML < command line"""
    assert resolved([]).visdom is False, "the toy family's default"
    assert resolved([]).samples == 20, "the toy dataset's default"
    assert resolved([]).keep == 3, "the shared default"
    config = write("a.yaml", "keep: 5\nsamples: 7\nvisdom: yes\n")
    assert (resolved([config]).keep, resolved([config]).samples, resolved([config]).visdom) == (5, 7, True)
    assert resolved([config, "--keep=1", "--no_visdom"]).keep == 1
    assert resolved([config, "--keep=1", "--no_visdom"]).visdom is False


@pytest.mark.parametrize(
    ("content", "arguments", "epochs", "steps"),
    [
        ("epochs: 150", ["--steps=5"], None, 5),
        ("steps: 400", ["--epochs=2"], 2, None),
        ("steps: 400", ["--num_epochs=2"], 2, None),
        ("{epochs: 150, steps: 400}", ["--steps=5"], None, 5),
        ("{epochs: 150, steps: 400}", [], 150, 400),
        ("epochs: 150", ["--epochs=3", "--steps=5"], 3, 5),
        ("train_params: {num_epochs: 100}", ["--steps=5"], None, 5),
        ("batch_size: 2", ["--steps=5"], None, 5),
    ],
)
def test_the_command_line_decides_about_the_length_alone(content, arguments, epochs, steps):
    opt = parse(["--model=fomm", write("length.yaml", content), *arguments], training=True)
    assert (opt.epochs, opt.steps) == (epochs, steps)


def test_steps_replace_the_epochs_that_a_family_takes_by_default():
    opt = parse(["--model=talking_head", "--steps=5"], training=True)
    assert (opt.epochs, opt.steps) == (None, 5)


def test_a_run_that_is_continued_takes_the_new_length():
    saved = Path("result/earlier/options.yaml")
    saved.parent.mkdir(parents=True)
    saved.write_text(options_as_yaml(resolved(["--name=earlier", "--epochs=3"])))
    opt = parse(["--name=earlier", "--continue_train", "--steps=7"], training=True)
    assert (opt.epochs, opt.steps) == (None, 7)


@pytest.mark.parametrize("spelling", ["--batchSize=3", "--batch_size=3", "--train_params.batch_size=3"])
def test_aliases_on_the_command_line(spelling):
    assert resolved([spelling]).batch_size == 3


def test_switches():
    for words, expected in ((["--tensorboard"], True), (["--tensorboard=no"], False), (["--no-tensorboard"], False)):
        assert resolved(words).tensorboard is expected
    assert resolved(["--tensorboard", "no"]).tensorboard is False


@pytest.mark.parametrize(
    ("arguments", "audio"),
    [
        ([], "driving"),
        (["--audio"], "driving"),
        (["--audio", "--cpu"], "driving"),
        (["--audio", "none"], "none"),
        (["--audio=source"], "source"),
    ],
)
def test_the_switch_for_sound_of_the_originals(arguments, audio):
    assert resolved(arguments, training=False).audio == audio


@pytest.mark.parametrize("training", [True, False])
def test_the_switch_that_lists_networks_in_the_originals(training):
    assert resolved(["--verbose"], training).verbose and not resolved([], training).verbose


@pytest.mark.parametrize("arguments", [["--best_frame", "0"], ["--best_frame=3"]])
def test_best_frame_and_find_best_frame_exclude_each_other(arguments):
    with pytest.raises(UserError, match="--best_frame [03]: --find_best_frame chooses another one; remove one"):
        resolved([*arguments, "--find_best_frame"], training=False)
    assert resolved([*arguments, "--find_best_frame=no"], training=False).best_frame is not None


def test_gpu_ids():
    assert resolved(["--gpu_id=0,1"]).gpu_id == [0, 1]
    assert resolved(["--gpu_id", "-1"]).gpu_id == [-1]


def test_nested_yaml_of_the_first_order_projects():
    config = write(
        "vox.yaml",
        "dataset_params:\n  root_dir: data/vox-png\ntrain_params:\n  batch_size: 36\n  num_epochs: 100\n"
        "  checkpoint_freq: 50\n",
    )
    opt = resolved([config])
    assert (opt.dataroot, opt.batch_size, opt.epochs, opt.save_every_epochs) == ("data/vox-png", 36, 100, 50)
    assert opt.name == "vox"
    assert resolved([config, "--train_params.batch_size=2"]).batch_size == 2


def test_both_forms_resolve_alike(capsys):
    nested = write("nested.yaml", "dataset_params: {root_dir: a}\ntrain_params: {batch_size: 4, num_epochs: 2}\n")
    flat = write("flat.yaml", "dataroot: a\nbatch_size: 4\nepochs: 2\n")
    one, other = vars(resolved([nested, "--name=x"])), vars(resolved([flat, "--name=x"]))
    assert {**one, "config": None} == {**other, "config": None}


def test_printed_options_are_a_config(capsys):
    assert resolved(["--print_config", "--gpu_id=0,1", "--steps=5", "--name=x"]) is None
    printed = capsys.readouterr().out
    again = parse([write("printed.yaml", printed)], True)
    assert vars(again) | {"config": None} == vars(resolved(["--gpu_id=0,1", "--steps=5", "--name=x"]))
    assert options_as_yaml(again) == printed


def test_scientific_numbers_in_yaml():
    path = Path("a.yaml")
    path.write_text("a: 1e-4\nb: [1e-4, 2E5]\nc: 1.5e3\nd: e4\n")
    assert read_yaml(path) == {"a": 1e-4, "b": [1e-4, 2e5], "c": 1500.0, "d": "e4"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batchsize=3"], "--batchsize: no such option. Did you mean --batch_size"),
        (["--batch_siz=3"], "Did you mean --batch_size"),
        (["--train_params.batchsize=3"], "Did you mean --train_params.batch_size"),
        (["--no_tensorbord"], "Did you mean --no_tensorboard"),
        (["somewhere"], "'somewhere' is not expected here"),
        (["--batch_size=many"], "--batch_size.*'many' is not a whole number"),
        (["--on_nan=halt"], "'halt' is not one of stop, skip"),
        (["--precision=fp61"], "did you mean fp16"),
        (["--dataset_mode=frame"], "Did you mean frames"),
        (["--dataset_mode=nowhere:Data"], "--dataset_mode nowhere:Data: No module named 'nowhere'"),
        (["--dataset_mode=tests.toys:Data"], "--dataset_mode tests.toys:Data: .* no class 'Data'"),
        (["--config=absent.yaml"], "absent.yaml: no such file"),
    ],
)
def test_errors_on_the_command_line(arguments, words):
    with pytest.raises(UserError, match=words):
        resolved(arguments)


RANGES = {
    "fomm": {
        True: """
            gpu_id= batch_size=0 accumulate=0 epochs=0 steps=-1 num_repeats=0 seed=-1 seed=4294967296 nThreads=-1
            keep=-1 save_every=0 save_every_epochs=-1 print_every=0 pictures_every=-1 display_port=0 max_bad=2
            max_bad=nan freeze_norms=-1 num_kp=0 num_channels=1 temperature=0 kp_variance=0 kp_detector_scale_factor=0
            dense_motion_scale_factor=-0.25 kp_detector_num_blocks=0 dense_motion_num_blocks=-1 num_down_blocks=-1
            generator_block_expansion=0 discriminator_scales=half discriminator_scales=0 scales=0 scales=
            lr_generator=-1 lr_generator=nan weight_perceptual=-1 weight_equivariance_value=inf sigma_tps=-1
            points_tps=1 epoch_milestones=-1 frame_shape=64 load_size=0 load_size=1,2,3 resize_ratio=0,1
            jitter_hue=0.6 split_seed=-1 crop_size=64 rotation_degrees=1,2,3
        """,
        False: """
            max_clips=-1 animate_batch=0 animate_batch=-1 num_pairs=-1 num_pairs=0 best_frame=-1 best_frame=-100
            source_frame=-1 fps=0 fps=-25 fps=nan quality=101 smooth=2 search_every=0 upsample=-1
        """,
    },
    "face": {True: "lr_decay_iters=0 niter=-1 layers=0 width=0 image_nc=1 lambda_rec=-1 lr=nan ratio_g2d=-1"},
    "ganimation": {
        True: "train_G_every_n_iterations=0 G_adam_b1=1 nepochs_decay=-1 lambda_cyc=-1 cond_nc=0 aus_noise=-1",
        False: "interpolate=-1 min_confidence=2 au_levels=6",
    },
    "mraa": {True: "num_regions=0 region_var=0 region_bg_color=1,1 lr=-1 id_bottle_size=0"},
    "talking_head": {True: "shots=0 image_size=0 adam_betas=0 adam_betas= adam_betas=0,1 lr_steps=1 lr=-1"},
    "tps": {True: "num_tps=0 dropout_maxp=1.5 clip_gradients=-1 flow_limit=-1 bg_start=-1 spline_regulariser=-1,0"},
    "tps_avd": {True: "random_scale=2 lambda_shift=-1 lr=-1"},
}
OUT_OF_RANGE = [
    (family, training, word)
    for family, commands in RANGES.items()
    for training, words in commands.items()
    for word in words.split()
]


@pytest.mark.parametrize(("family", "training", "word"), OUT_OF_RANGE)
def test_values_out_of_range_are_refused_with_the_range(family, training, word):
    with pytest.raises(UserError, match=rf"^--{word.split('=')[0]}: .* is not (a|of the form|3:) "):
        parse([f"--model={family}", f"--{word}"], training)


def test_special_values_stay_valid():
    words = (
        "keep=0 pictures_every=0 save_every_epochs=0 nThreads=0 gpu_id=-1 lr_kp_detector=0 dense_motion_num_blocks=0"
    )
    opt = parse(["--model=fomm", *(f"--{word}" for word in words.split())], True)
    assert (opt.keep, opt.pictures_every, opt.nThreads, opt.gpu_id, opt.lr_kp_detector) == (0, 0, 0, [-1], 0)
    assert parse(["--model=fomm", "--max_clips=0", "--best_frame=0"], False).best_frame == 0


@pytest.mark.parametrize("training", [True, False])
def test_version_is_printed_before_errors(capsys, training):
    assert parse(["--version", "--name=absent", "--no_such_option"], training) is None
    assert re.match(rf"Grimace {re.escape(VERSION)} \(Python 3\.\d+\.\d+, torch \d+\.\d+", capsys.readouterr().out)


def test_help_shows_the_range(capsys):
    parse(["--model=fomm", "--help_all"], False)
    output = capsys.readouterr().out
    for words in ("--animate_batch INTEGER>=1", "--fps NUMBER>0", "--quality 0..100", "--format mp4|gif|webm|png"):
        assert words in output
    assert "--frame_shape HEIGHT,WIDTH,[CHANNELS]" in output


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("batchsize: 3", r"bad.yaml: batchsize: no such option. Did you mean batch_?[sS]ize"),
        ("batch_size: [1, 2]", r"bad.yaml: batch_size: \[1, 2\] is not a whole number"),
        ("train_params:\n  batch_siez: 3", "train_params.batch_siez.*Did you mean train_params.batch_size"),
        ("batch_size: 3\nbatch_size: 4", "there twice"),
        ("- a\n- b", "found a list"),
        ("a: [", "not readable as YAML"),
        ("keep: yes", "True is not a whole number"),
        (
            "train_params: {batch_size: 0, num_epochs: 2}",
            "bad.yaml: train_params.batch_size: 0 is not a whole number of",
        ),
        ("model_params: 5\ntrain_params: {batch_size: 3}", "bad.yaml: model_params is a section.*found 5"),
        ("model_params: {common_params: [5]}", r"bad.yaml: model_params.common_params is a section.*found \[5\]"),
        ("keep: null", "bad.yaml: keep: has no value; set one, or remove the line for the default 3"),
        ("dataset_mode: null", "dataset_mode: has no value"),
        ("model: null", "model: has no value"),
        ("nowhere_params: null\ntrain_params: {batch_size: 3}", "nowhere_params: no such option"),
    ],
)
def test_errors_in_a_file(content, words):
    with pytest.raises(UserError, match=words):
        resolved([write("bad.yaml", content)])


@pytest.mark.parametrize("key", ["model_params.common_params.num_kp", "train_params.epoch_milestones"])
def test_a_key_without_value_is_refused_with_its_position(key):
    content = {"train_params": {}, "model_params": {"kp_detector_params": {}, "generator_params": {}}}
    *sections, last = key.split(".")
    place = content
    for section in sections:
        place = place.setdefault(section, {})
    place[last] = None
    with pytest.raises(UserError, match=f"{key}: has no value; set one, or remove the line"):
        parse([write("null.yaml", yaml.safe_dump(content))], True)


def test_null_is_none_for_optional_values():
    nothing = "dataset_params: {frame_shape: null, pairs_list: null, id_sampling: null}\n"
    transform = "train_params: {transform_params: {sigma_tps: null, points_tps: null}}\n"
    config = write("null.yaml", nothing + transform + "model_params: {common_params: {num_tps: 5}}\n")
    opt = parse([config], True)
    assert (opt.model, opt.frame_shape, opt.id_sampling, opt.sigma_tps, opt.points_tps) == (
        "tps",
        [],
        False,
        None,
        None,
    )
    assert parse([config], False).pairs_list is None


@pytest.mark.parametrize("training", [True, False])
def test_a_section_may_be_empty(training):
    content = """
        dataset_params: {root_dir: mine, augmentation_params: }
        model_params:
          common_params:
          kp_detector_params: {num_blocks: 3}
          generator_params: {num_down_blocks: 1, dense_motion_params: }
          discriminator_params:
        train_params: {loss_weights: , transform_params: }
        reconstruction_params:
        animate_params: {normalization_params: }
        visualizer_params:
    """
    opt = parse([write("empty.yaml", content)], training)
    assert (opt.model, opt.dataroot, opt.kp_detector_num_blocks, opt.num_down_blocks) == ("fomm", "mine", 3, 1)
    assert (opt.num_kp, opt.dense_motion_num_blocks) == (10, 0), "nothing is warped without dense motion"


COMMON = {"fomm": "num_kp: 10", "mraa": "", "tps": "num_tps: 10"}
SECTIONS = {"fomm": "kp_detector_params: {}, generator_params: {}", "mraa": "region_predictor_params: {}", "tps": ""}


@pytest.mark.parametrize("family", COMMON)
@pytest.mark.parametrize(
    ("mode", "clips", "kind"), [("reconstruction", 7, "gif"), ("animate", None, "mp4"), ("relative", None, "mp4")]
)
def test_sections_of_a_nested_file_apply_to_their_mode(family, mode, clips, kind):
    config = write(
        "nested.yaml",
        f"model_params: {{common_params: {{{COMMON[family]}}}, {SECTIONS[family]}}}\n"
        "reconstruction_params: {num_videos: 7, format: '.gif'}\nanimate_params: {num_pairs: 3, format: .mp4}\n",
    )
    opt = parse([config, f"--mode={mode}"], False)
    assert (opt.model, opt.max_clips, opt.format, opt.num_pairs) == (family, clips, kind, 3)
    opt = parse([config, f"--mode={mode}", "--format=webm", "--max_clips=2"], False)
    assert (opt.max_clips, opt.format) == (2, "webm"), "the command line goes first"
    assert not hasattr(parse([config], True), "max_clips")


def test_reconstruction_without_a_limit():
    nested = "train_params: {batch_size: 2}\nreconstruction_params: {num_videos: null, format: .avi}\n"
    config = write("nested.yaml", nested)
    assert parse(["--model=fomm", config], False).max_clips is None, "all"
    with pytest.raises(UserError, match="reconstruction_params.format: 'avi' is not one of mp4, gif"):
        parse(["--model=fomm", config, "--mode=reconstruction"], False)
    with pytest.raises(UserError, match="reconstruction_params.num_video: no such option. Did you mean"):
        parse(["--model=fomm", write("a.yaml", "reconstruction_params: {num_video: 1}")], False)


@pytest.mark.parametrize("family", ["face", "fomm", "fomm_prior", "ganimation", "mraa", "talking_head_finetune", "tps"])
def test_an_unused_second_source_is_refused(family):
    with pytest.raises(UserError, match=f"--source_image a.png b.png: {family} .* animates one picture; .*--pairs"):
        parse([f"--model={family}", "--source_image", "a.png", "b.png", "--driving_video=c.mp4"], False)
    assert parse([f"--model={family}", "--source_image", "a.png"], False).source_image == ["a.png"]


def test_talking_heads_take_several_sources():
    opt = parse(["--model=talking_head", "--source_image", "a.png", "b.png"], False)
    assert opt.source_image == ["a.png", "b.png"]


def test_unknown_family_and_nested_file_of_nobody():
    with pytest.raises(UserError, match=f"no such family.*Available: {', '.join(family_names())}"):
        parse(["--model=fom"], True)
    with pytest.raises(UserError, match="match none of the families"):
        parse([write("other.yaml", "model_params: {foo_params: {}}\n")], True)


def test_family_from_yaml_and_command_line():
    config = write("a.yaml", "model: tests.toys:Chunks\n")
    assert parse([config], True).model == "tests.toys:Chunks"
    assert parse([config, *TOY], True).model == "tests.toys:Joint"


def test_help(capsys):
    assert parse(["--help"], True) is None
    shared = capsys.readouterr().out
    assert "--batch_size" in shared and "families (--model)" in shared and "--spoil_at" not in shared
    assert resolved(["--help"]) is None
    family = capsys.readouterr().out
    assert "--spoil_at" in family and "--bad_sample" in family and "[20]" in family


def test_training_options_travel_to_testing():
    Path("result/run").mkdir(parents=True)
    opt = resolved(["--name=run", "--width=9", "--steps=5", "--gpu_id=0,1"])
    Path("result/run/options.yaml").write_text(options_as_yaml(opt))
    assert yaml.safe_load(options_as_yaml(opt))["model"] == "tests.toys:Joint"
    test = parse(["--name=run"], training=False)
    assert (test.model, test.width, test.gpu_id) == ("tests.toys:Joint", 9, [0])
    assert not hasattr(test, "steps")
    assert parse(["--name=run", "--width=2"], training=False).width == 2
    assert parse(["--checkpoint=result/run/latest-checkpoint.pth.tar"], training=False).width == 9
    again = parse(["--name=run", "--continue_train", "--steps=9"], training=True)
    assert (again.width, again.steps, again.continue_train) == (9, 9, True)
    assert parse([*TOY, "--name=run"], training=True).width == 6


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("training", [True, False])
def test_every_config_of_ours_resolves(path, training):
    opt = parse([f"--config={path}"], training)
    assert opt.name == path.name.split(".")[0]


@pytest.mark.parametrize(
    ("words", "mode", "relative"),
    [
        ([], "animate", True),
        (["--mode=standard"], "animate", False),
        (["--mode=relative"], "animate", True),
        (["--mode=reconstruction"], "reconstruction", True),
    ],
)
def test_a_family_adds_words_to_the_mode(words, mode, relative):
    opt = parse(["--model=fomm", *words], False)
    assert (opt.mode, opt.relative) == (mode, relative)


def test_a_word_on_the_command_line_overrides_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opt = parse([write("a.yaml", "model: fomm\nmode: relative\nadapt_scale: no\n"), "--mode=standard"], False)
    assert opt.mode == "animate" and not opt.relative and not opt.adapt_scale


def test_a_mode_of_another_family_is_refused_with_the_valid_ones():
    with pytest.raises(UserError, match="--mode avd: .*choose from animate, reconstruction, standard, relative"):
        parse(["--model=fomm", "--mode=avd"], False)


def saved_run(folder, model):
    """A folder with the options of a run, as train.py leaves them."""
    opt = parse([f"--model={model}", "--dataset_mode=frames"], True)
    folder.mkdir()
    (folder / "options.yaml").write_text(options_as_yaml(opt))
    return folder


def test_the_options_of_a_run_of_frames_are_read_again(tmp_path):
    folder = saved_run(tmp_path / "run", "fomm")
    again = parse(["--name=run", f"--checkpoints_dir={tmp_path}", "--continue_train"], True)
    assert folder.is_dir() and again.model == "fomm" and again.resize_ratio == []


def test_a_run_of_another_family_is_refused_by_its_name(tmp_path):
    folder = saved_run(tmp_path / "run", "mraa")
    with pytest.raises(UserError, match="a run of the family mraa, not fomm: set --model mraa"):
        parse(["--model=fomm", f"--checkpoint={folder}"], False)
    with pytest.raises(UserError, match="a run of the family mraa, not tps: set --model mraa"):
        parse([f"--config={ROOT / 'configs/tiny/tps.yaml'}", f"--checkpoint={folder}"], False)


def test_a_run_of_a_relative_lends_the_options_that_both_have(tmp_path):
    folder = saved_run(tmp_path / "run", "mraa_avd")
    opt = parse(["--model=mraa", f"--checkpoint={folder}", "--mode=avd"], False)
    assert (opt.model, opt.way) == ("mraa", "avd") and not hasattr(opt, "random_scale")


@pytest.mark.parametrize(("own", "asked"), [("fomm_prior", "fomm"), ("fomm", "fomm_prior")])
def test_a_relative_with_other_networks_is_refused_by_its_name(tmp_path, own, asked):
    folder = saved_run(tmp_path / "run", own)
    (folder / "options.yaml").write_text((folder / "options.yaml").read_text() + "keypoint_folder: there\n")
    config = ROOT / f"configs/tiny/{asked}.yaml"
    with pytest.raises(UserError, match=f"a run of the family {own}, not {asked}: set --model {own}"):
        parse([f"--config={config}", f"--checkpoint={folder}"], False)


STAGES = [(first, second) for second in family_names() for first in find_family(second).begins_with]


@pytest.mark.parametrize("own", family_names())
def test_starting_from_a_run_of_other_networks_is_refused_by_name(tmp_path, own):
    folder = saved_run(tmp_path / "run", own)
    others = [name for name in family_names() if name != own and not {(own, name), (name, own)} & set(STAGES)]
    for asked in others:
        with pytest.raises(UserError, match=f"this is a run of the family {own}, and {asked} has other networks: set"):
            parse([f"--model={asked}", f"--init_from={folder}"], True)


@pytest.mark.parametrize(("own", "asked"), STAGES)
def test_second_stages_start_from_runs_of_the_first_but_do_not_resume_them(tmp_path, own, asked):
    folder = saved_run(tmp_path / "run", own)
    assert parse([f"--model={asked}", f"--init_from={folder}"], True).model == asked
    arguments = [f"--model={asked}", "--name=run", f"--checkpoints_dir={tmp_path}", "--continue_train"]
    with pytest.raises(UserError, match=f"{folder}: this is a run of the family {own}"):
        parse(arguments, True)


def test_a_missing_run_is_reported_before_unknown_options(tmp_path):
    saved_run(tmp_path / "there", "tps")
    folder = f"--checkpoints_dir={tmp_path}"
    assert parse(["--name=there", folder, "--mode=avd"], False).model == "tps"
    with pytest.raises(UserError, match="--name their: no run .*their; runs: there"):
        parse(["--name=their", folder, "--mode=avd"], False)


def declare(parser, *declarations):
    for title, name, aliases, settings in declarations:
        parser.group(title).add_argument(name, *aliases, help="a number", **settings)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (("--width", [], {}), "dataset mode mine declares --width, already declared by family yours"),
        (("--breadth", ["--width"], {}), "dataset mode mine declares --width, .* by family yours"),
        (("--breadth", ["--wide"], {}), "dataset mode mine declares --wide, .* by family yours"),
        (("--breadth", ["-w"], {}), "dataset mode mine declares -w, .* by family yours"),
        (("--wid-th", [], {}), "dataset mode mine declares --wid-th, .* by family yours.*set_defaults"),
        (
            ("--breadth", [], {"action": "store_true"}),
            "--breadth with action=.store_true.: .*add_switch",
        ),
        (("--breadth", [], {"action": "append"}), "declares --breadth with action=.append.: .*nargs"),
        (("breadth", [], {}), "declares 'breadth': option names start with two dashes, --breadth"),
    ],
)
def test_mistakes_in_declaring_options_are_reported_with_the_remedy(second, message):
    parser = OptionParser("")
    declare(parser, ("family yours", "--width", ["-w", "--wide"], {}), ("family yours", "--wid_th", [], {}))
    with pytest.raises(UserError, match=message):
        declare(parser, ("dataset mode mine", *second))


def test_a_family_cannot_declare_an_option_of_every_command(tmp_path, monkeypatch):
    (tmp_path / "clashing.py").write_text(
        "from models import Family\n"
        "class Clashing(Family):\n"
        "    @staticmethod\n"
        "    def add_options(parser, training):\n"
        "        parser.add_argument('--batch_size', type=int, default=3, help='samples per step')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="family clashing:Clashing declares --batch_size, .* by training"):
        parse(["--model=clashing:Clashing"], training=True)


def test_a_word_or_a_number_takes_every_spelling_of_yes_and_no():
    convert = keyword_or(share, driving="as driven", yes="as driven", no=None)
    assert [convert(value) for value in ("driving", "yes", "True", "on", True)] == ["as driven"] * 5
    assert [convert(value) for value in ("no", "false", "OFF", False)] == [None] * 4
    assert convert("0.25") == 0.25
    with pytest.raises(argparse.ArgumentTypeError):
        convert("wide")
