"""LivePortrait's second stage: what each network learns from, and that nothing else changes."""

import copy

import pytest
import torch
from paths import ROOT
from trainers import cpu_trainer

from data.faces.portrait_crop import openness
from data.sample_faces import render
from engine.checkpoints.save import Checkpoints
from models import find_family
from models.live_portrait_retarget.losses import (
    OpennessMeter,
    below_chin,
    crop_border,
    eyes_mask,
    mouth_mask,
    openness_of,
    point_target,
)
from options import parse
from util.errors import UserError
from util.landmark_network import WEIGHTS, load_network

CONFIG = ROOT / "configs" / "tiny" / "live_portrait_retarget.yaml"


def family_of(*words):
    """The small family ready to train: faces differ in pose and expression, the perceptrons change nothing yet."""
    torch.manual_seed(0)
    opt = parse([f"--config={CONFIG}", "--init_from=first", "--batch_size=2", *words], training=True)
    family = find_family("live_portrait_retarget")(opt, training=True)
    family.prepare_training(opt)
    family.motion_extractor.start_at_rest()
    detector = family.motion_extractor.detector
    with torch.no_grad():
        for head in (detector.fc_exp, detector.fc_t):
            head.weight.normal_(std=0.02)
        for _ in range(10):  # spectral norms begin with random vectors, with which weights explode
            family.spade_generator.train()(torch.rand(1, 64, 4, 4))
    return family.train()


def landmarks_of(*pictures):
    found = [torch.from_numpy((picture.landmarks + 0.5) * (2 / len(picture.image)) - 1).float() for picture in pictures]
    return torch.stack(found)


@pytest.fixture(scope="module")
def batch():
    faces = [render(identity=k, aus={"AU25": 3.0 * k, "AU26": 2.0 * k}, size=64) for k in range(2)]
    pictures = torch.stack([torch.from_numpy(face.image).permute(2, 0, 1) / 255 for face in faces])
    found = landmarks_of(*faces)
    return {
        "source": pictures,
        "driving": pictures.flip(0),
        "source_landmarks": found,
        "driving_landmarks": found.flip(0),
    }


@pytest.mark.parametrize(
    "words", [[], ["--openness_by=pictures"], ["--shoulder_mask=border", "--train_parts=stitching"]]
)
@pytest.mark.slow
def test_the_perceptrons_learn_and_nothing_else_does(batch, words):
    family = family_of(*words)
    before = copy.deepcopy(family.state_dict())
    trainer = cpu_trainer(family)
    losses = [trainer.step([batch])[0] for _ in range(4)]
    trained = {"stitching"} if "--train_parts=stitching" in words else {"stitching", "eye", "lip"}
    moved = {name.split(".")[0] for name, value in family.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == trained
    assert all(torch.isfinite(value) for step in losses for value in step.values())
    parts = {"stitching": {"shoulders", "stitching_change"}, "eye": {"eyes_points"}, "lip": {"lips_points"}}
    if "--openness_by=pictures" in words:
        parts |= {net: {f"{part}_{term}" for term in ("openness", "keep", "offsets")}
                  for net, part in (("eye", "eyes"), ("lip", "lips"))}  # fmt: skip
    assert set(losses[0]) == set().union(*(parts[name] for name in trained))


def test_shoulders_come_back_along_the_gradient_of_stitching(batch):
    family = family_of("--train_parts=stitching", "--stitching_motion=absolute")
    batch = batch | {"driving": batch["source"]}  # the other sample's driving frame shows the other person
    parameters = list(family.stitching.parameters())

    def shoulders():
        return next(family.training_step(batch, None))[1]["shoulders"]

    before = shoulders()
    gradients = torch.autograd.grad(before, parameters)
    length = sum(gradient.square().sum() for gradient in gradients).sqrt()
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter -= 0.003 * gradient / length
    assert 0 < shoulders() < before


def test_offsets_of_points_learn_the_way_from_one_frame_to_the_other(batch):
    family = family_of("--train_parts=eyes,lips", "--lr=1e-3")
    trainer = cpu_trainer(family)
    losses = [trainer.step([batch])[0] for _ in range(40)]
    for name in ("eyes_points", "lips_points"):
        assert float(losses[-1][name]) < 0.5 * float(losses[0][name]), [float(each[name]) for each in losses]


def test_only_a_parts_own_points_have_a_way():
    expression, other = torch.zeros(2, 21, 3), torch.rand(2, 21, 3)
    scale = torch.tensor([[1.0], [2.0]])
    target = point_target(expression, other, scale, [11, 13])
    assert torch.equal(target[:, [11, 13]], scale[..., None] * other[:, [11, 13]])
    assert target.count_nonzero() == target[:, [11, 13]].count_nonzero() == 12


def test_others_move_a_sample_not_itself(batch):
    family = family_of("--stitching_motion=absolute")
    with torch.no_grad():
        motion = family.motion_extractor(family.seen(batch["source"]))
        moved = family._moved_by_others(motion, motion)
    assert not torch.allclose(moved, motion.points(), atol=1e-3)
    relative = family_of("--stitching_motion=relative")._moved_by_others(motion, motion)
    assert torch.allclose(relative, motion.points(), atol=1e-5), "others at rest move nobody, relative to themselves"


def test_openness_is_that_of_the_crops(batch):
    faces = [render(identity=k, aus={"AU25": 4.0}, size=64) for k in range(3)]
    expected = torch.from_numpy(openness(torch.stack([torch.from_numpy(face.landmarks) for face in faces]).numpy()))
    assert torch.allclose(openness_of(landmarks_of(*faces)), expected, atol=1e-4)


@pytest.mark.parametrize("size", [96, 256])
def test_the_openness_meter_measures_mouths_and_passes_gradients(size):
    shut, wide = (render(identity=2, aus=aus, size=size) for aus in ({}, {"AU25": 4.0, "AU26": 4.0}))
    pictures = torch.stack([torch.from_numpy(face.image).permute(2, 0, 1) / 255 for face in (shut, wide)])
    pictures.requires_grad_()
    found = OpennessMeter(load_network(WEIGHTS)).train()(pictures, landmarks_of(shut, wide))
    assert found[1, 2] > found[0, 2] + 0.2
    found[:, 2].sum().backward()
    assert pictures.grad.abs().sum() > 0


def test_masks_are_where_the_parts_are():
    face = render(identity=1, size=64)
    points = landmarks_of(face)
    for mask, inner in ((eyes_mask, range(36, 48)), (mouth_mask, range(48, 68))):
        found = mask(points, 64)
        for index in inner:
            x, y = face.landmarks[index].round().astype(int)
            assert found[0, 0, y, x] == 1
        assert found[0, 0, 2, 2] == 0 and 0 < found.mean() < 0.3
    shoulders = below_chin(points, 64)
    chin = int(face.landmarks[8, 1])
    assert shoulders[0, 0, : chin + 1].sum() == 0 and shoulders[0, 0, -1].min() == 1
    border = crop_border(64, like=points)
    assert border[0, 0, 0, 0] == 1 and border[0, 0, 32, 32] == 0


def test_a_second_stage_needs_a_first_one_and_two_samples():
    opt = parse([f"--config={CONFIG}"], training=True)
    with pytest.raises(
        UserError, match="--init_from: stitching, eyes and lips are trained on a model of live_portrait"
    ):
        find_family("live_portrait_retarget")(opt, training=True).prepare_training(opt)
    with pytest.raises(UserError, match="stitching uses the motion of other samples"):
        family_of("--batch_size=1")
    family_of("--batch_size=1", "--train_parts=eyes,lips")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--landmark_network=mine.pth"], "--landmark_network mine.pth: only --openness_by pictures measures with it"),
        (["--lip_openness=0.5,0.1"], "--lip_openness 0.5,0.1: the least comes first; set 0.1,0.5"),
    ],
)
def test_options_that_would_be_ignored_are_refused(words, told):
    with pytest.raises(UserError, match=told):
        family_of(*words)


def test_clips_without_landmarks_are_reported(batch):
    family = family_of("--train_parts=eyes")
    bare = {name: batch[name] for name in ("source", "driving")}
    with pytest.raises(UserError, match=r"--train_parts eyes,lips needs source_landmarks.*--layouts portraits"):
        next(family.training_step(bare, None))


def test_what_it_learned_is_loaded_by_the_first_stage_too(batch, tmp_path):
    from engine.checkpoints.load import load_networks

    family = family_of("--train_parts=lips")
    trainer = cpu_trainer(family)
    trainer.step([batch])
    Checkpoints(tmp_path).save(trainer)
    for name in ("live_portrait", "live_portrait_retarget"):
        opt = parse([f"--config={ROOT / 'configs' / 'tiny' / f'{name}.yaml'}"], training=False)
        other = find_family(name)(opt, training=False)
        load_networks(other, tmp_path)
        assert torch.equal(other.lip.mlp[0].weight, family.lip.mlp[0].weight)
