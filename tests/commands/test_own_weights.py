"""The model that ships with Grimace: used without a name, described by its card, and exported."""

import hashlib
import re

import numpy as np
import pytest
import torch
from paths import ROOT
from running import run

from engine.checkpoints.load import load_networks
from models import find_family
from options import options_as_yaml, parse, uses_own_weights
from util.weights_file import read_weights

FOLDER = ROOT / "weights" / "own"
FILE = FOLDER / "latest-cpk-reconstruction.safetensors"
MAX_BYTES = 12 * 2**20


@pytest.fixture
def pictures(tmp_path):
    """The names of a picture and a video; nothing reads them."""
    return [f"--source_image={tmp_path / 'me.jpg'}", f"--driving_video={tmp_path / 'talk.mp4'}"]


def test_pictures_without_a_name_use_the_own_model(pictures, tmp_path):
    opt = parse([*pictures, f"--checkpoints_dir={tmp_path}"], training=False)
    assert uses_own_weights(opt)
    assert (opt.model, opt.name, opt.crop_image) == ("mraa", "own", True)


@pytest.mark.parametrize("words", [["--model=fomm"], [f"--config={ROOT / 'configs' / 'tiny' / 'fomm.yaml'}"]])
def test_a_named_model_is_used(pictures, tmp_path, words):
    assert not uses_own_weights(parse([*pictures, f"--checkpoints_dir={tmp_path}", *words], training=False))


def test_a_run_of_the_default_name_takes_precedence(pictures, tmp_path):
    (tmp_path / parse([f"--checkpoints_dir={tmp_path}"], training=False).name).mkdir()
    assert not uses_own_weights(parse([*pictures, f"--checkpoints_dir={tmp_path}"], training=False))


def test_training_never_uses_the_own_model(tmp_path):
    assert parse([f"--checkpoints_dir={tmp_path}"], training=True).name != "own"


def test_the_model_card_describes_this_file():
    card = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert FILE.stat().st_size <= MAX_BYTES
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() in card
    numbers = sum(value.numel() for name, value in read_weights(FILE).items() if "running" not in name)
    told = int(re.search(r"([\d,]+) parameters", card)[1].replace(",", ""))
    assert abs(told - numbers) < 0.01 * numbers


def test_the_own_model_moves_a_drawn_face_like_the_driving_one(tmp_path):
    from data.sample_faces import render

    opt = parse([f"--checkpoint={FOLDER}", "--name=own"], training=False)
    family = find_family(opt.model)(opt, training=False).eval()
    load_networks(family, FOLDER)

    def picture(yaw: float, identity: int) -> torch.Tensor:
        image = render(identity, rotation=(yaw, 0, 0), size=128).image
        return torch.from_numpy(image).movedim(2, 0)[None].float() / 255

    with torch.no_grad():
        state = family.encode_source({"image": picture(0, 3)})
        first, state = family.animate(state, {"image": picture(0, 1)})
        turned, state = family.animate(state, {"image": picture(18, 1)})
    assert (first - picture(0, 3)).abs().mean() < 0.02
    right, wrong = ((turned - picture(yaw, 3)).abs().mean() for yaw in (18, -18))
    assert right < wrong


def test_exported_weights_give_the_same_frames(tmp_path):
    opt = parse([f"--config={ROOT / 'configs' / 'tiny' / 'mraa.yaml'}"], training=False)
    family = find_family("mraa")(opt, training=False).eval()
    folder, out = tmp_path / "run", tmp_path / "out"
    folder.mkdir()
    entries = {name: network.state_dict() for name, network in family.networks().items()}
    torch.save(entries, folder / "latest-cpk-reconstruction.pth")
    (folder / "options.yaml").write_text(options_as_yaml(opt), encoding="utf-8")
    words = ("--run", folder, "--out", out, "--set", "crop_image=yes")
    assert "sha256" in run(tmp_path, *words, script="script/export_weights.py")
    again = parse([f"--checkpoint={out}"], training=False)
    assert again.crop_image and again.dataset_mode == "frames"
    small = find_family("mraa")(again, training=False).eval()
    load_networks(small, out)
    source, driving = torch.rand(1, 3, 64, 64), torch.rand(2, 3, 64, 64)
    frames = []
    with torch.no_grad():
        for network in (family, small):
            state = network.encode_source({"image": source})
            frames.append(network.animate(state, {"image": driving})[0])
    assert np.abs((frames[0] - frames[1]).numpy()).max() <= 1.5 / 255
