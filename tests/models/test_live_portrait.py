"""LivePortrait beside the reference cases: files of weights, streaming, templates, edits."""

import json

import pytest
import torch
from adapters.common import fill_weights
from paths import REFERENCE, ROOT
from safetensors.torch import save_file

from engine.loading import load_networks
from models import find_family
from models.live_portrait.family import ANIMATORS, PERCEPTRONS
from models.live_portrait.keypoints import angles_of, nearest_rotation, rotation_of
from models.live_portrait.released import RETARGETING
from models.live_portrait.smoothing import KalmanSmoother
from options import parse
from util.errors import UserError

MANIFEST = json.loads((REFERENCE / "live_portrait" / "manifest.json").read_text())
CONFIG = ROOT / "configs" / "tiny" / "live_portrait.yaml"


def build(*words, training=False):
    """The small family with weights by formula."""
    family = find_family("live_portrait")(parse([f"--config={CONFIG}", *words], training))
    for seed, network in enumerate(family.networks().values()):
        fill_weights(network, seed)
    return family.eval()


# --- weights ----------------------------------------------------------------------------------------------------------


def test_released_sizes_have_the_released_entries():
    with torch.device("meta"):
        family = find_family("live_portrait")(parse(["--model=live_portrait"], False))
    for name, entries in MANIFEST["networks"].items():
        own = {key: list(value.shape) for key, value in getattr(family, name).state_dict().items()}
        assert own == entries, name


def test_released_configuration_builds_the_default_networks():
    with torch.device("meta"):
        words = [f"--config={ROOT / 'configs' / 'live_portrait' / 'released.yaml'}"]
        families = [find_family("live_portrait")(parse(each, False)) for each in (words, ["--model=live_portrait"])]
    one, other = ({key: value.shape for key, value in family.state_dict().items()} for family in families)
    assert one == other


def write_released(folder, family, kind):
    """The files of the original, or of its conversion to safetensors in one folder, and the animals' folder beside."""
    base = folder / "liveportrait" / "base_models" if kind == "pth" else folder
    fifth = folder / "liveportrait" / "retargeting_models" if kind == "pth" else folder
    save = torch.save if kind == "pth" else save_file
    for place in (base, fifth):
        place.mkdir(parents=True, exist_ok=True)
    for name in ANIMATORS:
        save(getattr(family, name).state_dict(), base / f"{name}.{kind}")
    states = {key: getattr(family, name).state_dict() for name, key in RETARGETING.items()}
    if kind == "pth":
        content = {key: {f"module.{n}": v for n, v in state.items()} for key, state in states.items()}
        content["something_else"] = {"w": torch.zeros(1)}
    else:
        content = {f"{key}_module.{n}": v for key, state in states.items() for n, v in state.items()}
    save(content, fifth / f"stitching_retargeting_module.{kind}")
    return base


def same(one, other):
    names = (*ANIMATORS, *PERCEPTRONS)
    states = [{f"{n}.{k}": v for n in names for k, v in getattr(f, n).state_dict().items()} for f in (one, other)]
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_released_folders_load(tmp_path, kind):
    family = build()
    base = write_released(tmp_path, family, kind)
    for place in (tmp_path, base, base / f"motion_extractor.{kind}"):
        other = find_family("live_portrait")(parse([f"--config={CONFIG}"], False))
        load_networks(other, place)
        assert same(family, other)


def test_animals_take_the_perceptrons_of_people(tmp_path):
    people, animals = build(), build()
    write_released(tmp_path, people, "pth")
    fill_weights(animals.motion_extractor, 77)
    for folder in ("base_models", "base_models_v1.1"):
        place = tmp_path / "liveportrait_animals" / folder
        place.mkdir(parents=True)
        for name in ANIMATORS:
            torch.save(getattr(animals, name).state_dict(), place / f"{name}.pth")
    for place in ("liveportrait_animals", "liveportrait_animals/base_models_v1.1"):
        other = find_family("live_portrait")(parse([f"--config={CONFIG}"], False))
        load_networks(other, tmp_path / place)
        assert same(animals, other)


def test_released_weights_are_loaded_strictly(tmp_path):
    family = build()
    base = write_released(tmp_path, family, "pth")
    state = family.warping_module.state_dict()
    state.pop("fourth.bias")
    torch.save(state, base / "warping_module.pth")
    with pytest.raises(UserError, match=r"warping_module.*1 missing: fourth\.bias"):
        load_networks(family, tmp_path)
    (base / "spade_generator.pth").unlink()
    with pytest.raises(UserError, match=r"lacks spade_generator\.pth"):
        load_networks(family, tmp_path)


def test_stitching_without_its_file_is_refused_unless_it_is_off(tmp_path):
    base = write_released(tmp_path, build(), "pth")
    fifth = tmp_path / "liveportrait" / "retargeting_models" / "stitching_retargeting_module.pth"
    elsewhere = fifth.rename(tmp_path / "fifth.pth")
    with pytest.raises(UserError, match=r"no stitching_retargeting_module\.pth.*--retargeting_weights.*--no_stitching"):
        load_networks(build(), base)
    load_networks(build("--no_stitching"), base)
    load_networks(build(f"--retargeting_weights={elsewhere}"), base)


# --- points -----------------------------------------------------------------------------------------------------------


def test_angles_are_those_that_a_rotation_was_made_of():
    angles = 40 * torch.rand(3, 5, 1) - 20
    found = angles_of(rotation_of(*angles))
    assert torch.allclose(torch.stack(found), angles, atol=1e-4)


def test_nearest_rotation_is_one_and_keeps_rotations():
    rotations = rotation_of(*(30 * torch.randn(3, 4, 1)))
    assert torch.allclose(nearest_rotation(rotations), rotations, atol=1e-6)
    bent = nearest_rotation(rotations + 0.1 * torch.randn(4, 3, 3))
    assert torch.allclose(bent @ bent.mT, torch.eye(3).expand(4, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(bent), torch.ones(4), atol=1e-5)


def kalman_by_hand(series, observation, process=1e-5):
    """The recursion of the specification, over the whole series."""
    mean, variance, means, variances, priors = series[0], 1.0, [], [], []
    for index, value in enumerate(series):
        prior = variance + process if index else 1.0
        gain = prior / (prior + observation)
        mean, variance = mean + gain * (value - mean), (1 - gain) * prior
        means.append(mean), variances.append(variance), priors.append(prior)
    smooth = [means[-1]]
    for i in reversed(range(len(series) - 1)):
        smooth.insert(0, means[i] + variances[i] / priors[i + 1] * (smooth[0] - means[i]))
    return torch.stack(smooth)


@pytest.mark.parametrize("observation", [3e-7, 1e-4])
@pytest.mark.parametrize("piece", [1, 3, 40])
def test_smoothing_as_a_stream_is_smoothing_of_the_whole(observation, piece):
    series = torch.randn(150, 4, dtype=torch.float64).cumsum(0)
    smoother, waiting, ready = KalmanSmoother(observation), None, []
    for part in series.split(piece):
        waiting, smooth = smoother.push(waiting, part)
        ready.append(smooth)
        assert len(waiting.filtered) <= smoother.look_ahead
    while len(waiting.filtered):
        waiting, smooth = smoother.finish(waiting, 3)
        ready.append(smooth)
    assert torch.allclose(torch.cat(ready), kalman_by_hand(series, observation), rtol=0, atol=1e-7)


def test_smoothing_of_one_frame_is_the_frame():
    smoother = KalmanSmoother()
    waiting, ready = smoother.push(None, torch.ones(1, 3))
    assert len(ready) == 0
    assert torch.equal(smoother.finish(waiting, 8)[1], torch.ones(1, 3, dtype=torch.float64))
