"""The example of a project outside the checkout, docs/examples/x2face: the generic tests, its sound, its commands."""

import json
import random
import shutil
import sys

import numpy as np
import pytest
import torch
from paths import ROOT
from running import run
from test_families import clip as clip  # a fixture
from test_families import (
    test_every_optimizer_moves_its_weights,
    test_frames_do_not_depend_on_the_batching,
    test_losses_are_finite_and_fall_on_one_batch,
    test_lower_precision_stays_close,
    test_saved_and_loaded_weights_make_the_same_frames,
    test_the_source_is_encoded_once,
    trained_on_one_batch,
)

from data import find_dataset
from data.jobs.pair_list import Request
from data.jobs.pairs import RequestedClips
from data.video.sound import read_sound
from options import parse
from options.pairs import pair_settings
from util.errors import UserError

__all__ = [
    "test_every_optimizer_moves_its_weights", "test_frames_do_not_depend_on_the_batching",
    "test_losses_are_finite_and_fall_on_one_batch", "test_lower_precision_stays_close",
    "test_saved_and_loaded_weights_make_the_same_frames", "test_the_source_is_encoded_once",
]  # fmt: skip
EXAMPLE = ROOT / "docs" / "examples" / "x2face"
STAGES = ("x2face", "x2face_voice")
LONGEST = 200


@pytest.fixture(scope="module", autouse=True)
def in_the_folder():
    """The example's modules, as they are found by commands that run in its folder."""
    sys.path.insert(0, str(EXAMPLE))
    yield
    sys.path.remove(str(EXAMPLE))


def options_of(stage, sample, *words, training):
    words = (f"--config={EXAMPLE / stage}.yaml", f"--dataroot={sample}", f"--checkpoints_dir={sample}", *words)
    return parse([*words], training)


@pytest.fixture(scope="module", params=STAGES)
def trained(request, in_the_folder, sample, tmp_path_factory):
    opt = options_of(request.param, sample, "--batch_size=2", training=True)
    return trained_on_one_batch(opt, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def testing(trained, sample):
    stage = trained[0].model.partition(".")[0]
    return options_of(stage, sample, "--mode=reconstruction", training=False)


def test_the_first_stage_fits_into_its_folder():
    files = [*(EXAMPLE / "x2face").glob("*.py"), EXAMPLE / "x2face.yaml"]
    assert sum(len(path.read_text().splitlines()) for path in files) <= LONGEST


def test_its_typed_options_are_those_that_it_declares(sample):
    from x2face.family import X2FaceOptions

    opt = options_of("x2face", sample, training=True)
    assert {name: type(getattr(opt, name)) for name in X2FaceOptions.__annotations__} == {
        "width": int, "code": int, "lr": float, "weight_l1": float
    }  # fmt: skip


def test_resting_networks_are_unchanged(trained):
    opt, trainer, before, _ = trained
    family = trainer.family
    resting = {name for name in family.state_dict() if name.startswith(tuple(f"{one}." for one in family.resting))}
    assert bool(resting) == (opt.model == "x2face_voice.family:X2FaceVoice")
    assert all(torch.equal(family.state_dict()[name], before[name]) for name in resting)


@pytest.mark.parametrize("size", ["--load_size=48", "--load_size=64,32", "--load_size="])
def test_a_family_refuses_sizes_that_it_cannot_be_built_for(size, sample):
    from x2face.family import X2Face

    with pytest.raises(UserError, match="a power of 2"):
        X2Face(options_of("x2face", sample, size, training=True), training=True)


def spectrogram(path, frame, window=0.2):
    from voice import RATE, log_mel

    return log_mel(read_sound(path, RATE, frame / 25 - window / 2, window))


def test_the_sound_of_a_training_sample_is_that_around_its_driving_frame(sample):
    opt = options_of("x2face_voice", sample, "--time_flip", training=True)
    dataset = find_dataset(opt.dataset_mode)(opt, training=True)
    orders = set()
    for index in range(8):
        random.seed(index)
        item = dataset[index]
        random.seed(index)
        pair = dataset.pair(index)
        orders.add(pair.numbers[0] < pair.numbers[1])
        assert torch.equal(item["sound"], spectrogram(dataset.folder / item["name"], pair.numbers[1]))
        assert item["sound"].shape == (40, 18) and item["driving"].shape == (3, 64, 64)
    assert orders == {True, False}, "some pairs are exchanged in time"


@pytest.fixture
def film(sample):
    return min((sample / "test").glob("*.mp4"))


def test_driving_items_hold_the_sound_around_each_frame(sample, film):
    opt = options_of("x2face_voice", sample, "--mode=reconstruction", training=False)
    dataset = find_dataset(opt.dataset_mode)(opt, training=False)
    requested = RequestedClips(dataset, pair_settings(opt))
    picture = np.full((64, 64, 3), 128, np.uint8)
    pair = requested.clip(Request((picture,), film, best_frame=5, name="a"))
    for items in (list(next(dataset.clips()).driving), list(pair.driving)):
        assert len(items) == 8
        for frame in (0, 3, 7):
            assert torch.allclose(items[frame]["sound"], spectrogram(film, frame), rtol=0, atol=1e-3)
    assert torch.allclose(pair.first["sound"], spectrogram(film, 5), rtol=0, atol=1e-3)
    assert not torch.allclose(items[3]["sound"], items[7]["sound"], rtol=0, atol=0.1)


def test_frames_without_a_file_have_no_sound(sample):
    opt = options_of("x2face_voice", sample, training=False)
    dataset = find_dataset(opt.dataset_mode)(opt, training=False)
    requested = RequestedClips(dataset, pair_settings(opt))
    picture = np.full((64, 64, 3), 128, np.uint8)
    source, finish = requested.source([picture])
    with pytest.raises(UserError, match="reads sound from a file"):
        next(iter(requested.driven(source, [picture], finish, 25).driving))


@pytest.mark.slow
def test_its_commands_train_resume_animate_and_begin_the_second_stage(sample, film, tmp_path):
    folder = tmp_path / "x2face_project"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "result"))
    before = sorted(path.name for path in ROOT.iterdir())
    settings = [f"--dataroot={sample}", "--gpu_id=-1", "--nThreads=0", "--visdom=no", "--tensorboard=no"]
    short = ["--batch_size=2", "--print_every=1", "--validate_every=2"]
    run(folder, "--config=x2face.yaml", *settings, *short, "--steps=2")
    run(folder, "--name=x2face", "--continue_train", *settings, "--steps=3", "--print_every=1")
    log = [json.loads(line) for line in (folder / "result" / "x2face" / "log.jsonl").read_text().splitlines()]
    rates = {entry["step"]: entry["lr/x2face"] for entry in log if "l1" in entry}
    assert rates == {step: pytest.approx(1e-3 * step / 20) for step in (1, 2, 3)}
    assert (folder / "result" / "x2face" / "latest_averaged.pth").is_file()
    second = ["--config=x2face_voice.yaml", "--init_from=result/x2face", *settings, *short, "--steps=2"]
    assert "starting from the weights of" in run(folder, *second)
    for name in ("x2face", "x2face_voice"):
        pair = [f"--source_image={film}", f"--driving_video={film}", f"--output={name}.mp4", "--gpu_id=-1"]
        run(folder, f"--name={name}", *pair, script="test.py")
        assert (folder / f"{name}.mp4").is_file()
        tested = ["--mode=reconstruction", "--max_clips=1", f"--results_dir=made_{name}", "--gpu_id=-1"]
        run(folder, f"--name={name}", *tested, script="test.py")
        (entry,) = map(json.loads, (folder / f"made_{name}" / "results.jsonl").read_text().splitlines())
        assert entry["frames"] == 8 and entry["l1"] < 0.2
    assert sorted(path.name for path in ROOT.iterdir()) == before, "nothing is written into the checkout"
