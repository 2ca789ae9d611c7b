"""Thin-plate spline motion: entries, configurations, schedules, splines, dropout, both stages, animation."""

import copy
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchvision
import yaml
from paths import REFERENCE, ROOT
from reference.formula import image
from running import run
from torch import nn

from data.frames import FramesDataset
from data.video import open_video
from engine.checkpoints.load import load_networks
from engine.clock import Clock
from engine.distributed import Processes
from engine.trainer import Trainer
from models import find_family
from models.parts.warps import coordinate_grid
from models.tps.dropout import MapDropout, all_maps
from models.tps.family import ThinPlateSplineMotion
from models.tps.networks import BackgroundPredictor, InstanceNorm
from models.tps.resnet import ResNet18
from models.tps.splines import RandomSpline, Splines
from options import owner_of_weights, parse
from util.errors import UserError

CONFIGS = ROOT / "configs" / "tps"
TINY = ROOT / "configs" / "tiny" / "tps.yaml"
MANIFEST = json.loads((REFERENCE / "thin_plate" / "manifest.json").read_text())
SCHEDULES = json.loads((REFERENCE / "thin_plate" / "cases.json").read_text())["schedules"]
PUBLISHED = sorted(set(SCHEDULES) - {"about"})
SIZE = 32


def family(*words: str, config: Path = TINY):
    opt = parse([f"--config={config}", *words], training=True)
    made = find_family(opt.model)(opt, training=True)
    made.prepare_training(opt)
    return made.train()


def at_rest(*words: str, config: Path = TINY):
    opt = parse([f"--config={config}", *words], training=False)
    return find_family(opt.model)(opt, training=False).eval()


def batch(count: int = 2) -> dict[str, torch.Tensor]:
    frames = {name: image(name, (count, 3, SIZE, SIZE)) for name in ("source", "driving")}
    return {name: torch.from_numpy(frame) for name, frame in frames.items()}


def at_epoch(epoch: int) -> Clock:
    return Clock(epoch_size=4, samples=4 * epoch)


def updates(model, epoch: int = 0) -> list[tuple]:
    """The names and terms of all updates of a step."""
    return list(model.training_step(batch(), at_epoch(epoch)))


def animated(model, source: torch.Tensor, driving: torch.Tensor, pieces: int = 3) -> torch.Tensor:
    source, driving = (frames.to(model.inpainting_network.final.weight.dtype) for frames in (source, driving))
    with torch.inference_mode():
        state, frames = model.encode_source({"image": source}), []
        for piece in driving.split(pieces):
            made, state = model.animate(state, {"image": piece})
            frames.append(made)
    return torch.cat(frames)


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """A source and seven driving frames."""
    frames = torch.from_numpy(image("frames", (8, 3, SIZE, SIZE)))
    return frames[:1], frames[1:]


def points(count: int, groups: int = 3) -> torch.Tensor:
    return 0.8 * torch.tanh(torch.randn(count, groups, 5, 2, dtype=torch.float64))


# --- released weights and configurations ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_entries_and_shapes_are_those_of_the_released_weights(name):
    with torch.device("meta"):
        model = family("--no_perceptual", config=CONFIGS / f"{name}.yaml")
    networks = model.networks()
    assert ("bg_predictor" in networks) == (name != "mgif-256")
    for network, module in networks.items():
        own = {entry: list(value.shape) for entry, value in module.state_dict().items()}
        assert list(own.items()) == list(MANIFEST["networks"][network].items())
        assert sum(p.numel() for p in module.parameters()) == MANIFEST["parameters"][network]


def test_the_second_stage_has_the_released_entries_too(tmp_path):
    with torch.device("meta"):
        model = family(f"--init_from={tmp_path}", config=CONFIGS / "vox-256-avd.yaml")
    own = {entry: list(value.shape) for entry, value in model.avd_network.state_dict().items()}
    assert own == MANIFEST["networks"]["avd_network"]
    assert set(model.networks()) == set(MANIFEST["networks"])


def nested(tmp_path: Path) -> Path:
    """The original's file for faces."""
    path = tmp_path / "vox-256.yaml"
    path.write_text(
        """
dataset_params:
  root_dir: data/vox
  frame_shape: null
  id_sampling: True
  augmentation_params:
    flip_param: {horizontal_flip: True, time_flip: True}
    jitter_param: {brightness: 0.1, contrast: 0.1, saturation: 0.1, hue: 0.1}
model_params:
  common_params: {num_tps: 10, num_channels: 3, bg: True, multi_mask: True}
  generator_params: {block_expansion: 64, max_features: 512, num_down_blocks: 3}
  dense_motion_params: {block_expansion: 64, max_features: 1024, num_blocks: 5, scale_factor: 0.25}
  avd_network_params: {id_bottle_size: 128, pose_bottle_size: 128}
train_params:
  num_epochs: 100
  num_repeats: 75
  epoch_milestones: [70, 90]
  lr_generator: 2.0e-4
  batch_size: 28
  scales: [1, 0.5, 0.25, 0.125]
  dataloader_workers: 12
  checkpoint_freq: 50
  dropout_epoch: 35
  dropout_maxp: 0.3
  dropout_startp: 0.1
  dropout_inc_epoch: 10
  bg_start: 10
  transform_params: {sigma_affine: 0.05, sigma_tps: 0.005, points_tps: 5}
  loss_weights: {perceptual: [10, 10, 10, 10, 10], equivariance_value: 10, warp_loss: 10, bg: 10}
train_avd_params:
  num_epochs: 200
  num_repeats: 300
  batch_size: 256
  dataloader_workers: 24
  checkpoint_freq: 50
  epoch_milestones: [140, 180]
  lr: 1.0e-3
  lambda_shift: 1
  random_scale: 0.25
visualizer_params: {kp_size: 5, draw_border: True, colormap: gist_rainbow}
"""
    )
    return path


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("stage", ["tps", "tps_avd"])
def test_a_nested_file_of_the_original_resolves_like_ours(tmp_path, stage, training):
    ours = CONFIGS / ("vox-256.yaml" if stage == "tps" else "vox-256-avd.yaml")
    model = [] if stage == "tps" else ["--model=tps_avd"]
    theirs = vars(parse([f"--config={nested(tmp_path)}", *model], training))
    expected = vars(parse([f"--config={ours}"], training))
    differing = {name for name in expected if theirs[name] != expected[name]}
    # Workers of a nested file are those of training.
    assert differing <= {"config", "name", "frame_shape", "dataroot"} | (set() if training else {"nThreads"})
    assert not theirs["frame_shape"]


def test_a_file_may_group_dropout_and_background(tmp_path):
    path = nested(tmp_path)
    content = yaml.safe_load(path.read_text())
    train = content["train_params"]
    train["dropout"] = {name: train.pop(name) for name in list(train) if name.startswith("dropout_")}
    train["background"] = {"bg_start": train.pop("bg_start") + 1}
    path.write_text(yaml.safe_dump(content))
    opt = parse([f"--config={path}"], training=True)
    assert (opt.model, opt.dropout_epoch, opt.bg_start) == ("tps", 35, 11)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_has_known_options_only(path):
    written = yaml.safe_load(path.read_text())
    resolved = [vars(parse([f"--config={path}"], training)) for training in (True, False)]
    assert set(written) <= set(resolved[0]) | set(resolved[1])


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_single_pairs_have_the_size_of_the_experiment(path):
    size = FramesDataset(parse([f"--config={path}"], training=False), training=False).picture_size()
    assert size == ((384, 384) if path.stem.startswith("ted") else None)


# --- schedules --------------------------------------------------------------------------------------------------------


def by_epoch(rows: list[list]) -> dict[int, float]:
    """Values that hold from a first to a last epoch."""
    return {epoch: value for first, last, value in rows for epoch in range(first, last + 1)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_schedules_are_the_original_s(name, tmp_path):
    expected = SCHEDULES[name]
    with torch.device("meta"):
        model = family("--no_perceptual", config=CONFIGS / f"{name}.yaml")
        second = family(f"--init_from={tmp_path}", config=CONFIGS / f"{name}-avd.yaml")
    for epoch, rate in by_epoch(expected["lr"]).items():
        assert 2e-4 * model.rate("animator", at_epoch(epoch)) == pytest.approx(rate)
    for epoch, rate in by_epoch(expected["lr_avd"]).items():
        assert 1e-3 * second.rate("avd", at_epoch(epoch)) == pytest.approx(rate)
    for epoch, probability in by_epoch(expected["dropout_p"]).items():
        assert model.dropout.probability(epoch) == pytest.approx(probability)
        assert (model.dropout.at(epoch) is all_maps) == (epoch > expected["dropout_on_until"])
    assert model.bg_start == (math.inf if expected["background_from"] is None else expected["background_from"])


# --- parts ------------------------------------------------------------------------------------------------------------


def test_the_residual_network_is_torchvision_s():
    ours, theirs = ResNet18(3, 1000), torchvision.models.resnet18()
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(2, 3, 64, 96)
    for mode in (True, False):
        torch.testing.assert_close(ours.train(mode)(x), theirs.train(mode)(x), atol=1e-4, rtol=1e-4)
    assert ours.layer4[1].conv2.weight.detach().std() == pytest.approx(math.sqrt(2 / (512 * 9)), rel=0.05)


def test_a_folded_residual_network_computes_the_same():
    network = ResNet18(3, 7, width=8)
    network(torch.rand(4, 3, 32, 32))
    x = torch.rand(2, 3, 32, 32)
    expected = network.eval()(x)
    folded = network.folded()
    assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]
    torch.testing.assert_close(folded(x), expected, atol=1e-5, rtol=1e-4)


def test_instance_norm_is_torch_s():
    ours, theirs = InstanceNorm(5), nn.InstanceNorm2d(5, affine=True)
    nn.init.normal_(ours.weight)
    nn.init.normal_(ours.bias)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 5, 6, 7)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


def test_the_background_is_static_before_training():
    matrix = BackgroundPredictor(width=4)(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32))
    assert torch.equal(matrix, torch.eye(3).expand(2, 3, 3))


def test_splines_equal_a_loop_over_the_formula():
    driving, source = points(2), points(2)
    splines = Splines.between(driving, source)
    grids, grid = splines.grids((3, 4)), coordinate_grid(3, 4, like=driving)
    for b, k, i, j in [(0, 0, 0, 0), (1, 2, 2, 3), (0, 1, 1, 2)]:
        c, z = driving[b, k], grid[i, j]
        squared = ((c[:, None] - c) ** 2).sum(-1)
        system = torch.zeros(8, 8, dtype=torch.float64)
        system[:5, :5] = squared * torch.log(squared + 1e-9)
        system[:5, 5:7], system[:5, 7] = c, 1
        system[5:, :5] = system[:5, 5:].T
        system += 0.01 * torch.eye(8)
        solved = torch.linalg.inv(system) @ torch.cat([source[b, k], torch.zeros(3, 2)])
        away = ((z - c) ** 2).sum(-1)
        expected = solved[5] * z[0] + solved[6] * z[1] + solved[7] + (away * torch.log(away + 1e-9)) @ solved[:5]
        torch.testing.assert_close(grids[b, k, i, j], expected)


def test_equal_points_give_the_identity_with_the_corrected_regulariser():
    same = points(4)
    still = coordinate_grid(6, 5, like=same).expand(4, 3, -1, -1, -1)
    original = (Splines.between(same, same).grids((6, 5)) - still).abs().mean()
    mended = (Splines.between(same, same, (0.01, 1e-5)).grids((6, 5)) - still).abs().mean()
    assert 0.001 < original < 0.3
    assert mended < original / 500


def test_splines_are_solved_in_single_precision_whatever_the_networks_do():
    driving, source = points(2).float(), points(2).float()
    exact = Splines.between(driving, source).grids((4, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(Splines.between(driving, source).grids((4, 4)), exact)


def test_splines_are_differentiable_in_their_points():
    driving, source = points(1, 1).requires_grad_(), points(1, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda c, y: Splines.between(c, y).grids((3, 3)), (driving, source))


def test_the_random_spline_s_jacobian_is_its_derivative():
    transform = RandomSpline(torch.randn(1, 2, 3).double(), torch.randn(1, 1, 25).double())
    places = torch.randn(1, 3, 2, dtype=torch.float64, requires_grad=True)
    for p, row in [(0, 0), (1, 1), (2, 0)]:
        (gradient,) = torch.autograd.grad(transform.points(places)[0, p, row], places)
        torch.testing.assert_close(gradient[0, p], transform.jacobian(places)[0, p, row])


def dropout(paper: bool, probability: float = 0.5) -> MapDropout:
    made = MapDropout(probability, probability, ramp_epochs=1, until_epoch=10, paper=paper)
    made.draw = lambda logits: torch.tensor([[0.9, 0.1, 0.9, 0.2], [0.1, 0.9, 0.9, 0.9]])
    return made


@pytest.mark.parametrize("paper", [False, True])
def test_dropped_maps_have_weight_0_and_the_background_is_never_dropped(paper):
    shares = dropout(paper).at(0)(torch.randn(2, 4, 3, 3))
    assert (shares[0, 2] == 0).all() and (shares[1, 1:] == 0).all()
    assert (shares[:, 0] > 0).all()
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 3, 3), atol=1e-4, rtol=0)


def test_the_original_loses_share_where_the_strongest_map_is_dropped_and_the_paper_s_does_not():
    logits = torch.zeros(2, 4, 1, 1)
    logits[:, 2] = 30
    assert dropout(paper=False).at(0)(logits)[0].sum() < 1e-3
    kept = dropout(paper=True).at(0)(logits)[0].flatten()
    torch.testing.assert_close(kept, torch.tensor([0.2, 0.4, 0.0, 0.4]))


def test_the_paper_s_ramp_ends_at_the_given_epoch():
    made = MapDropout(0.1, 0.3, ramp_epochs=10, until_epoch=35, paper=True)
    assert [made.probability(epoch) for epoch in (0, 5, 10, 34, 35)] == pytest.approx([0.1, 0.2, 0.3, 0.3, 0])


# --- training ---------------------------------------------------------------------------------------------------------


def test_the_background_learns_from_its_epoch_on():
    model = family("--bg", "--bg_start=2")
    ((names, terms),) = updates(model, epoch=1)
    assert names == ("animator",) and list(terms) == ["pixels", "equivariance_value", "warp_loss"]
    ((names, terms),) = updates(model, epoch=2)
    assert names == ("animator", "background") and "bg" in terms
    assert "background" not in family("--bg=no").optimizers()


def test_gradients_are_scaled_to_the_largest_value_network_by_network():
    model = family("--bg", "--clip_gradients=2")
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 5.0)
    model.kp_detector.fg_encoder.fc.bias.grad.fill_(-10)
    model.before_update(("animator",))
    assert model.kp_detector.fg_encoder.fc.bias.grad[0] == pytest.approx(-2, rel=1e-4)
    assert model.kp_detector.fg_encoder.conv1.weight.grad.max() == pytest.approx(1, rel=1e-4)
    assert model.dense_motion_network.maps.weight.grad.max() == pytest.approx(2, rel=1e-4)
    assert model.bg_predictor.bg_encoder.fc.bias.grad[0] == 5
    assert model.inpainting_network.final.weight.grad.max() == 5
    mended = family("--clip_inpainting", "--clip_gradients=2")
    mended.inpainting_network.final.weight.grad = torch.full_like(mended.inpainting_network.final.weight, 5.0)
    mended.before_update(("animator",))
    assert mended.inpainting_network.final.weight.grad.max() == pytest.approx(2, rel=1e-4)


def test_weight_decay_can_leave_norms_and_biases_alone():
    (all_alike,) = family("--weight_decay=0.1").optimizers()["animator"].param_groups
    assert all_alike["weight_decay"] == 0.1
    decayed, spared = family("--weight_decay=0.1", "--no_decay_norms").optimizers()["animator"].param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0)
    assert {p.ndim for p in spared["params"]} == {1}
    assert len(decayed["params"]) + len(spared["params"]) == len(all_alike["params"])


def test_the_statistics_move_as_often_as_the_original_s():
    model = family("--bg")
    updates(model)
    assert model.kp_detector.fg_encoder.bn1.num_batches_tracked == 3
    assert model.bg_predictor.bg_encoder.bn1.num_batches_tracked == 2


def test_the_warp_loss_moves_the_flow_and_not_the_encoder():
    model = family()
    given = batch()
    encoded = model.encode(given["source"])
    kp = [model.kp_detector(given[name]) for name in ("source", "driving")]
    motion = model.dense_motion_network(encoded.small_source, *kp)
    (term,) = model.warp_loss(model.inpainting_network, given["driving"], encoded, motion).values()
    term.backward()
    assert all(p.grad is None for p in model.inpainting_network.parameters())
    assert model.dense_motion_network.maps.weight.grad.abs().max() > 0
    assert all(head.weight.grad is None for head in model.dense_motion_network.occlusion)


VARIANTS = [
    (),
    ("--no_multi_mask",),
    ("--num_down_blocks=3",),
    ("--flow_limit=1.5",),
    ("--dense_motion_scale_factor=1",),
    ("--paper_dropout", "--dropout_epoch=5"),
]


@pytest.mark.parametrize("words", VARIANTS, ids=" ".join)
def test_every_variant_trains_and_animates(words):
    model = family(*words, "--dropout_maxp=0.5")
    ((_, terms),) = updates(model)
    total = sum(terms.values())
    assert torch.isfinite(total)
    total.backward()
    assert all(p.grad is not None for p in model.dense_motion_network.parameters())
    assert animated(model.eval(), *pictures()).shape == (7, 3, SIZE, SIZE)


def test_training_in_half_precision_stays_close():
    losses = {}
    for precision in ("fp32", "bf16"):
        torch.manual_seed(0)
        trainer = Trainer(family("--bg"), Processes(torch.device("cpu")), Clock(4), precision=precision)
        losses[precision] = trainer.step([batch()])[0]
    for name, value in losses["fp32"].items():
        assert losses["bf16"][name] == pytest.approx(float(value), rel=0.05, abs=0.02), name


def test_a_flow_that_fits_no_mask_is_refused():
    with pytest.raises(UserError, match="--dense_motion_scale_factor"):
        family("--num_down_blocks=1", "--dense_motion_scale_factor=0.125")


def test_pictures_are_drawn_lazily():
    running = family("--bg", "--draw_border").training_step(batch(), at_epoch(0))
    next(running)
    with pytest.raises(StopIteration) as end:
        next(running)
    drawn = end.value.value
    assert list(drawn)[:7] == [
        "source",
        "transformed",
        "driving",
        "deformed",
        "prediction",
        "occlusion 0",
        "occlusion 1",
    ]
    assert drawn["map 0"].shape == (2, 3, SIZE, SIZE)


# --- second stage -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first_stage(tmp_path_factory):
    """A released file of the first stage."""
    torch.manual_seed(0)
    model = family("--bg")
    content = {name: network.state_dict() for name, network in model.networks().items()}
    path = tmp_path_factory.mktemp("released") / "00000099-checkpoint.pth.tar"
    torch.save(content | {"optimizer": {"state": {}, "param_groups": []}, "epoch": 99}, path)
    return path


def second_stage(path: Path, *words: str):
    """The second stage on a file of the first."""
    opt = parse(
        [f"--config={ROOT / 'configs/tiny/tps_avd.yaml'}", "--bg", f"--init_from={path}", *words], training=True
    )
    model = find_family(opt.model)(opt, training=True)
    needed = set(model.networks())
    model.prepare_training(opt)
    load_networks(model.train(), path, needed=needed)
    return model.train()


def test_the_second_stage_trains_the_avd_network_alone(first_stage):
    model = second_stage(first_stage, "--moving_statistics")
    before = copy.deepcopy(model.state_dict())
    trainer = Trainer(model, Processes(torch.device("cpu")), Clock(8))
    losses = [float(trainer.step([batch(4)])[0]["rec_kp"]) for _ in range(12)]
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert losses[-1] < losses[0]
    released = torch.load(first_stage)["bg_predictor"]
    assert all(torch.equal(value, released[name]) for name, value in model.bg_predictor.state_dict().items())
    assert any(name.startswith("avd_network") for name in changed)
    others = {name for name in changed if not name.startswith("avd_network")}
    assert others and all(
        name.startswith("kp_detector") and "running" in name or "num_batches" in name for name in others
    )


def test_the_second_stage_reports_which_sizes_fit(first_stage):
    model = second_stage(first_stage)
    with pytest.raises(UserError, match="pictures of 60 x 60 don't fit.*multiples of 16"):
        next(model.training_step({name: torch.rand(2, 3, 60, 60) for name in ("source", "driving")}, clock=None))


@pytest.mark.parametrize("words", [["--batch_size=1"], ["--batch_size=4", "--accumulate=4"]])
def test_the_second_stage_refuses_batches_of_one_sample(first_stage, words):
    with pytest.raises(UserError, match="two samples in each micro-batch; use a larger --batch_size"):
        second_stage(first_stage, *words)


def test_the_detector_may_rest_in_the_second_stage(first_stage):
    model = second_stage(first_stage, "--no_moving_statistics")
    before = copy.deepcopy(model.kp_detector.state_dict())
    next(model.training_step(batch(), at_epoch(0)))
    assert all(torch.equal(value, before[name]) for name, value in model.kp_detector.state_dict().items())


def test_avd_animation_needs_an_avd_network(first_stage, tmp_path):
    model = second_stage(first_stage)
    path = tmp_path / "00000001-checkpoint.pth.tar"
    torch.save({name: network.state_dict() for name, network in model.networks().items()}, path)
    animator = at_rest("--mode=avd")
    with pytest.raises(UserError, match="has no AVD network.*tps_avd"):
        load_networks(animator, first_stage)
    load_networks(animator, path)
    assert animated(animator, *pictures()).shape == (7, 3, SIZE, SIZE)


# --- animation --------------------------------------------------------------------------------------------------------


def moving(model):
    """A detector whose points move with the picture, as after training; in double precision, for splines magnify."""
    nn.init.normal_(model.kp_detector.fg_encoder.fc.weight, std=0.5)
    return model.double()


@pytest.mark.parametrize("mode", ["standard", "relative", "avd", "reconstruction"])
def test_frames_do_not_depend_on_how_the_driving_video_is_cut(mode):
    model = moving(at_rest(f"--mode={mode}", "--bg", "--adapt_scale"))
    source, driving = pictures()
    whole = animated(model, source, driving, 7)
    assert (whole[0] - whole[-1]).abs().max() > 1e-3
    for pieces in (1, 2, 5):
        torch.testing.assert_close(animated(model, source, driving, pieces), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", ["relative", "avd", "reconstruction"])
def test_visualisations_show_intermediate_results(mode):
    model, (source, driving) = at_rest(f"--mode={mode}", "--bg", "--draw_border"), pictures()
    with torch.inference_mode():
        given = {"image": source}
        frames, _, columns = model.explain(given, model.encode_source(given), {"image": driving})
    torch.testing.assert_close(frames, animated(model, source, driving, 7))
    assert list(columns)[:4] == ["source", "driving", "deformed", "prediction"]
    assert all(len(column) == 7 for column in columns.values())
    assert (columns["map 0"][..., 0] == 1).all()


@pytest.mark.parametrize("mode", ["standard", "reconstruction"])
def test_preparing_for_inference_keeps_the_frames(mode):
    model = moving(at_rest(f"--mode={mode}", "--bg"))
    expected = animated(model, *pictures())
    model.prepare_inference()
    torch.testing.assert_close(animated(model, *pictures()), expected, atol=1e-6, rtol=0)


def test_relative_movement_starts_at_the_source():
    model = moving(at_rest("--mode=relative", "--adapt_scale"))
    source, driving = (frames.double() for frames in pictures())
    state = model.encode_source({"image": source})
    seen = []
    model.dense_motion_network.register_forward_hook(lambda module, args, motion: seen.append(args[2].value))
    with torch.inference_mode():
        model.animate(state, {"image": driving})
    torch.testing.assert_close(seen[0][0], state["kp_source"].value[0])


def test_the_source_is_encoded_once():
    model, calls = at_rest("--mode=standard"), []
    model.inpainting_network.first.register_forward_hook(lambda *_: calls.append("first"))
    model.kp_detector.register_forward_hook(lambda *_: calls.append("detector"))
    animated(model, *pictures())
    assert calls.count("first") == 1 and calls.count("detector") == 4


def test_half_precision_keeps_the_points_exact():
    model = moving(at_rest("--mode=standard")).float()
    _, driving = pictures()
    with torch.inference_mode():
        exact = model.kp_detector(driving).value
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(model.kp_detector(driving).value, exact)


@pytest.mark.slow
def test_the_networks_are_one_graph_for_the_compiler():
    model = moving(at_rest("--mode=reconstruction", "--bg"))
    expected = animated(model, *pictures())
    for network in model.networks().values():
        network.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(animated(model, *pictures()), expected)
    trained = family("--bg", "--dropout_epoch=5")
    for network in trained.networks().values():
        network.compile(backend="eager")
    ((_, terms),) = updates(trained)
    sum(terms.values()).backward()


def test_sizes_that_do_not_fit_are_explained():
    with pytest.raises(UserError, match="multiples of 16"):
        at_rest("--mode=standard").encode_source({"image": torch.rand(1, 3, 40, 40)})


def test_a_checkpoint_without_background_predictor_reconstructs_a_static_background(first_stage, tmp_path):
    content = torch.load(first_stage)
    del content["bg_predictor"]
    torch.save(content, tmp_path / "early.pth.tar")
    moved, still = at_rest("--mode=reconstruction", "--bg"), at_rest("--mode=standard")
    load_networks(moved, tmp_path / "early.pth.tar")
    load_networks(still, tmp_path / "early.pth.tar")
    assert torch.equal(animated(moved, *pictures()), animated(still, *pictures()))


def test_a_file_of_this_family_is_known_by_its_networks(first_stage):
    other = SimpleNamespace(recognises_weights=lambda content: False)
    assert owner_of_weights(other, torch.load(first_stage)) == "tps"
    fomm = find_family("fomm")(parse([f"--config={ROOT / 'configs/tiny/fomm.yaml'}"], training=False), training=False)
    with pytest.raises(UserError, match="family tps: load it with --model tps"):
        load_networks(fomm, first_stage, owner=owner_of_weights)


def test_the_family_is_recognised_by_the_sections_of_a_nested_file():
    assert ThinPlateSplineMotion.recognises({"model_params": {"common_params": {"num_tps": 10}}})
    assert not ThinPlateSplineMotion.recognises({"model_params": {"common_params": {"num_kp": 10}}})


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_both_stages_train_and_animate_by_command(sample, tmp_path):
    tiny = ROOT / "configs" / "tiny"
    training = [f"--dataroot={sample}", "--steps=2", "--cpu", "--visdom=no"]
    run(tmp_path, f"--config={tiny / 'tps.yaml'}", *training, "--batch_size=2")
    run(tmp_path, f"--config={tiny / 'tps_avd.yaml'}", *training, "--batch_size=4", "--init_from=result/tps")
    driving = sorted((sample / "test").glob("*.mp4"))[0]
    pair = [f"--source_image={driving}", f"--driving_video={driving}", "--cpu"]
    for name, mode in [("tps", "relative"), ("tps_avd", "avd")]:
        run(tmp_path, f"--name={name}", f"--mode={mode}", f"--output={mode}.mp4", *pair, script="test.py")
        with open_video(tmp_path / f"{mode}.mp4") as made:
            assert len(made) == 8 and made.size == (64, 64) and made.has_audio
    output = run(tmp_path, "--name=tps", "--mode=avd", "--output=x.mp4", *pair, script="test.py", status=2)
    assert "has no AVD network" in output
