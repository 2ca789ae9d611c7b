"""Learning with truth: the losses, the dataset mode that gives it, the families that take it, pictures at rest."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from paths import ROOT

from data import find_dataset
from data.drawn import DrawnDataset
from data.faces.detector import MIRRORED
from data.sample_faces import perform_rich, render_clip
from data.sample_faces.clips import write_film
from data.sample_faces.motion import motion_truth
from models import find_family
from models.parts.truth import GUIDES, TruthLosses, guide_error, masked_difference, motion_error, visibility_error
from models.parts.warps import coordinate_grid, warp
from options import parse
from util.errors import UserError

SIZE = 64
WEIGHTS = [f"--weight_truth_{name}=1" for name in ("motion", "occlusion", "points", "face")]
FAMILIES = ("fomm", "mraa", "tps")
PORTRAITS = ["--dataset_mode=drawn_portraits", f"--load_size={SIZE}", "--crop_jitter=0", *WEIGHTS[:2], WEIGHTS[3]]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A rich set of two clips with its dense motion."""
    folder = tmp_path_factory.mktemp("drawn")
    for identity in (2, 9):
        rng = np.random.default_rng([0, identity, 0])
        frames, truth = render_clip(0, identity, perform_rich(rng, 3, 3.0, 0, 0.5), SIZE, 3.0)
        name = f"id{identity:03d}#00"
        write_film(folder / "train" / f"{name}.mp4", frames, 3, None)
        motion_truth(truth, rng, 4).save(folder / "motion" / f"{name}.npz")
        truth.save(folder / "truth" / f"{name}.npz")
    (folder / "test").mkdir()
    return folder


def options(model: str, *words: str, training: bool = True):
    return parse([f"--config={ROOT / 'configs' / 'tiny' / f'{model}.yaml'}", *words], training)


def dataset(folder, *words: str) -> DrawnDataset:
    opt = options("mraa", "--dataset_mode=drawn", f"--dataroot={folder}", f"--load_size={SIZE}", *words)
    return find_dataset("drawn")(opt, training=True)


def moved_source(item: dict) -> torch.Tensor:
    """The source under the true motion."""
    motion = torch.nn.functional.interpolate(item["motion"][None], size=(SIZE, SIZE), mode="bilinear")
    return warp(item["source"][None], coordinate_grid(SIZE, SIZE, motion) + motion.movedim(1, 3))[0]


@pytest.mark.parametrize("flips", ["--horizontal_flip=no", "--horizontal_flip=yes"])
def test_the_motion_of_an_item_brings_its_source_to_its_driving_frame(drawn, flips):
    items = dataset(drawn, flips, "--jitter_brightness=0", "--jitter_contrast=0", "--jitter_saturation=0",
                    "--jitter_hue=0")  # fmt: skip
    still = moved = 0.0
    for index in range(12):
        item = items[index]
        seen = torch.nn.functional.interpolate(item["seen"][None], size=(SIZE, SIZE))[0] > 0.5
        still += masked_difference(item["source"][None], item["driving"][None], seen[None].float())
        moved += masked_difference(moved_source(item)[None], item["driving"][None], seen[None].float())
    assert moved < 0.6 * still


def test_mirrored_points_keep_their_side():
    assert sorted(MIRRORED) == list(range(68))
    np.testing.assert_array_equal(MIRRORED[MIRRORED], np.arange(68))
    assert MIRRORED[36] == 45 and MIRRORED[48] == 54 and MIRRORED[8] == 8 and MIRRORED[31] == 35


def test_points_lie_where_the_mask_is(drawn):
    item = dataset(drawn)[0]
    nose = ((item["driving_points"][30, :2] + 1) / 2 * (SIZE - 1)).round().long()
    assert item["mask"][0, nose[1], nose[0]] == 1


def test_clips_without_their_motion_are_refused(tmp_path, drawn):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    (tmp_path / "train" / "a.mp4").write_bytes((drawn / "train" / "id002#00.mp4").read_bytes())
    with pytest.raises(UserError, match="--layouts motion"):
        dataset(tmp_path)


@pytest.mark.parametrize(
    "words", [["--rotation_degrees=10"], ["--resize_ratio=0.9,1.1"], ["--rotation_degrees=10", "--horizontal_flip=yes"]]
)
def test_augmentations_that_the_truth_does_not_follow_are_refused(drawn, words):
    with pytest.raises(UserError, match="the true motion of drawn people does not follow these; remove them"):
        dataset(drawn, *words)


def test_the_truth_has_landmarks_of_its_own(drawn):
    with pytest.raises(UserError, match="--annotations none: landmarks are those of the ground truth here"):
        portrait_batch(drawn, "--annotations=none")


def test_the_true_motion_has_no_error_and_hidden_pixels_do_not_count():
    motion = 0.2 * torch.randn(2, 2, 16, 16)
    seen = (torch.rand(2, 1, 16, 16) > 0.3).float()
    grid = coordinate_grid(16, 16, motion) + motion.movedim(1, 3)
    assert motion_error(grid, motion, seen) < 1e-6
    off = grid + 1.0 * (1 - seen).movedim(1, 3)
    assert motion_error(off, motion, seen) < 1e-6
    assert motion_error(grid + 0.5, motion, seen) == pytest.approx(0.5, abs=1e-5)


def test_the_true_visibility_is_the_best_occlusion_map():
    seen = (torch.rand(2, 1, 16, 16) > 0.3).float()
    assert visibility_error(seen, seen) < 1e-3 < visibility_error(torch.full_like(seen, 0.5), seen)


def test_guided_points_are_landmarks_and_those_outside_do_not_count():
    landmarks = torch.cat([torch.rand(2, 68, 2) - 0.5, torch.ones(2, 68, 1)], dim=2)
    points = torch.stack([landmarks[:, list(guide), :2].mean(1) for guide in GUIDES], dim=1)
    assert guide_error(points, landmarks) < 1e-6
    assert guide_error(points[:, :3], landmarks) < 1e-6
    points[:, 0] += 0.4
    assert guide_error(points, landmarks) == pytest.approx(0.4 / len(GUIDES), rel=1e-4)
    landmarks[:, 30, 0] = 1.5
    assert guide_error(points, landmarks) < 1e-6


def test_batches_without_truth_are_refused():
    with pytest.raises(UserError, match="--dataset_mode drawn"):
        TruthLosses(motion=1.0)({}, *([torch.zeros(1)] * 2), [], ())


@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize("size", [SIZE, SIZE // 2], ids=["as drawn", "half of it"])
def test_families_train_with_ground_truth(drawn, model, size):
    opt = options(model, *WEIGHTS, "--dataset_mode=drawn", f"--dataroot={drawn}", f"--load_size={size}")
    items = find_dataset("drawn")(opt, training=True)
    batch = torch.utils.data.default_collate([items[k] for k in range(2)])
    family = find_family(model)(opt, training=True)
    family.prepare_training(opt)
    family.train()
    names, terms = next(family.training_step(batch, SimpleNamespace(epoch=0, step=0)))[:2]
    assert {"truth_motion", "truth_occlusion", "truth_points", "truth_face"} <= set(terms)
    sum(terms[name] for name in ("truth_motion", "truth_points")).backward()
    detector = family.region_predictor if model == "mraa" else family.kp_detector
    assert had_gradient(detector)


def portrait_batch(drawn, *words: str):
    opt = options("live_portrait", *PORTRAITS, f"--dataroot={drawn}", *words)
    items = find_dataset("drawn_portraits")(opt, training=True)
    return opt, torch.utils.data.default_collate([items[k] for k in range(2)])


def test_a_portrait_family_learns_motion_occlusion_and_faces_from_truth(drawn):
    opt, batch = portrait_batch(drawn, "--weight_headpose=1", "--weight_guide=1")
    family = find_family("live_portrait")(opt, training=True)
    family.prepare_training(opt)
    family.train()
    terms = next(family.training_step(batch, SimpleNamespace(epoch=0, step=0)))[1]
    assert {"truth_motion", "truth_occlusion", "truth_face", "headpose", "guide"} <= set(terms)
    terms["truth_motion"].backward()
    assert had_gradient(family.motion_extractor)


@pytest.mark.parametrize("flips", ["--horizontal_flip=no", "--horizontal_flip=yes"])
def test_landmarks_boxes_and_angles_follow_a_mirrored_drawn_portrait(drawn, flips):
    random.seed(0)
    batches = [portrait_batch(drawn, flips)[1] for _ in range(6)]
    batch = {key: torch.cat([one[key] for one in batches]) for key in batches[0] if key != "name"}
    # Landmarks are between the edges of the picture, points between the middles of its outermost pixels.
    points, found = batch["driving_points"][..., :2] * (SIZE - 1) / SIZE, batch["driving_landmarks"]
    # The outline of a turned face is not where the points of the jaw are.
    assert (found[:, 17:] - points[:, 17:]).abs().max() < 0.04
    assert ((batch["face_box"][:, 0] < found[:, 30, 0]) & (found[:, 30, 0] < batch["face_box"][:, 2])).all()
    nose, yaw = found[:, 30, 0] - found[:, [36, 45], 0].mean(1), batch["driving_angles"][:, 1]
    turned = yaw.abs() > 8
    assert turned.sum() > 2
    assert (torch.sign(nose) == -torch.sign(yaw))[turned].all()


def test_crop_jitter_does_not_go_with_true_motion(drawn):
    with pytest.raises(UserError, match="--crop_jitter 0.06: the true motion"):
        portrait_batch(drawn, "--crop_jitter=0.06")


@pytest.mark.parametrize("model", [*FAMILIES, "live_portrait"])
def test_truth_is_off_by_default(model):
    opt = options(model)
    family = find_family(model)(opt, training=True)
    family.prepare_training(opt)
    assert family.truth({}, None, None, [], ()) == {}


def test_motion_first_skips_the_generator():
    opt = options("mraa", "--motion_first=5")
    family = find_family("mraa")(opt, training=True)
    family.prepare_training(opt)
    assert family.step_networks(SimpleNamespace(step=4)) == family.generator.moved
    assert family.step_networks(SimpleNamespace(step=5)) == family.generator.from_source


def test_motion_first_trains_the_motion_extractor_of_a_portrait_family_alone(drawn):
    opt, batch = portrait_batch(drawn, "--motion_first=5", "--weight_headpose=1", "--weight_guide=1")
    family = find_family("live_portrait")(opt, training=True)
    family.prepare_training(opt)
    family.train()
    updates = {step: dict(family.training_step(batch, SimpleNamespace(epoch=0, step=step))) for step in (4, 5)}
    assert set(updates[4]["animator"]) == {"equivariance", "prior", "deformation", "headpose", "guide"}
    assert {"pixels", "truth_motion", "guide"} <= set(updates[5]["animator"])
    sum(updates[4]["animator"].values()).backward()
    assert had_gradient(family.motion_extractor) and not had_gradient(family.spade_generator)


def test_motion_first_misses_the_ground_truth_in_its_first_step(drawn):
    opt, batch = portrait_batch(drawn, "--motion_first=5")
    family = find_family("live_portrait")(opt, training=True)
    family.prepare_training(opt)
    del batch["motion"]
    with pytest.raises(UserError, match="--dataset_mode drawn"):
        next(family.training_step(batch, SimpleNamespace(epoch=0, step=0)))


def had_gradient(network: torch.nn.Module) -> bool:
    return any(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in network.parameters())


def at_rest(model: str, *words: str) -> float:
    """How far a frame is from the source when nothing moves and the occlusion map finds all of it right."""
    torch.manual_seed(0)
    opt = options(model, "--start_with_source=yes", *words, training=True)
    family = find_family(model)(opt, training=True)
    family.prepare_training(opt)
    family.eval()
    network = family.generator
    flow = network.dense_motion_network if model == "fomm" else network.pixelwise_flow_predictor
    with torch.no_grad():
        flow.occlusion.bias.fill_(30.0)
        source = torch.rand(1, 3, SIZE, SIZE)
        state = family.encode_source({"image": source})
        frames, _ = family.animate(state, {"image": source})
    return float((frames - source).abs().max())


def test_a_picture_without_motion_is_unchanged():
    assert at_rest("fomm", "--composite", "--dense_motion_scale_factor=0.5") < 1e-3
    assert at_rest("mraa", "--flow_predictor_scale_factor=0.5") < 1e-3


def test_composite_needs_an_occlusion_map():
    with pytest.raises(UserError, match="--estimate_occlusion_map"):
        at_rest("fomm", "--composite", "--estimate_occlusion_map=no")


def test_gradients_are_clipped_together():
    opt = options("mraa", "--clip_gradients=0.5")
    family = find_family("mraa")(opt, training=True)
    family.prepare_training(opt)
    parameters = [p for network in family.networks().values() for p in network.parameters()]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    family.before_update(("reconstruction",))
    length = torch.stack([p.grad.norm() for p in parameters]).norm()
    assert float(length) == pytest.approx(0.5, rel=1e-3)
