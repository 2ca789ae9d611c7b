"""Options that shape a result: their declarations, and the records of a folder that depend on them."""

import pytest

from data import dataset_modes
from engine.records import fingerprint_of_options
from metrics.parts.weights import weight_options
from models import family_names
from options import parse
from options.parser import OptionParser, Options
from options.results import result_options

SHAPE_NOTHING = {
    "name", "config", "checkpoints_dir", "checkpoint", "which", "debug", "verbose", "print_config", "gpu_id", "cpu",
    "compile", "channels_last", "nThreads", "animate_batch", "results_dir", "output", "overwrite", "max_clips", "shard",
    "pairs", "pairs_list", "num_pairs", "max_dataset_size", "source_image", "driving_video", "best_frame",
    "structure_cache", "allow_outside", "strict_video", "save_template", "max_pixels", "averaged",
    "page_truth", "shares",
    "metrics", "protocol", "table", "json", "controls", "allow_few", "metric_weights", "drawn_truth",
    *weight_options(),
}  # fmt: skip
"""Where one of these leaves, test.py refuses the folders of results that were made before."""


def fingerprint(*words):
    return fingerprint_of_options(result_options(parse(list(words), training=False)))


def test_options_shape_results_by_default():
    parser = OptionParser("")
    group = parser.group("family yours")
    group.add_argument("--width", help="channels")
    group.add_argument("--cache", help="a folder", shapes_result=False)
    group.add_switch("--sharp", help="sharper")
    group.add_switch("--quiet", help="say less", shapes_result=False)
    assert parser.shape_results == {"width", "sharp"}


def test_every_option_of_test_py_is_of_one_kind_in_all_families_and_modes():
    commands = [[f"--model={name}"] for name in family_names()] + [[f"--dataset_mode={m}"] for m in dataset_modes()]
    kinds: dict[str, set[bool]] = {}
    for words in commands:
        opt = parse(words, training=False)
        assert opt.shape_results <= vars(opt).keys()
        for name in vars(opt):
            kinds.setdefault(name, set()).add(name in opt.shape_results)
    assert not [name for name, said in kinds.items() if len(said) == 2], "declared twice, in two ways"
    assert {name for name, said in kinds.items() if said == {False}} == SHAPE_NOTHING


@pytest.mark.parametrize(
    "words",
    [
        "--name=other",
        "--cpu",
        "--nThreads=0",
        "--animate_batch=3",
        "--num_pairs=2",
        "--source_image=me.png",
        "--verbose",
    ],
)
def test_other_options_keep_the_fingerprint_of_results(words):
    assert fingerprint("--model=fomm", words) == fingerprint("--model=fomm")


@pytest.mark.parametrize(
    "words", ["--no_relative", "--precision=bf16", "--load_size=64", "--quality=50", "--smooth=0.5", "--crop_image"]
)
def test_options_that_shape_frames_change_the_fingerprint_of_results(words):
    assert fingerprint("--model=fomm", words) != fingerprint("--model=fomm")


def test_declarations_of_shaping_options_are_not_options():
    assert vars(Options(["width"], width=3)) == {"width": 3}
    assert parse(["--model=fomm"], training=False).shape_results
