"""Articulated animation: released entries, configurations, regions, both stages of training, ways to animate."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from paths import REFERENCE, ROOT
from reference.formula import image
from running import run

from data.frames import FramesDataset
from data.video import open_video
from engine.checkpoints.load import load_networks
from engine.checkpoints.save import Checkpoints
from engine.clock import Clock
from engine.distributed import Processes
from engine.trainer import Trainer
from models import find_family
from models.mraa.family import ArticulatedAnimation
from models.mraa.networks import BackgroundPredictor
from models.mraa.pictures import coloured_regions
from models.mraa.regions import (
    Regions,
    affine_of_covariance,
    covariance,
    covariance_of_affine,
    principal_axes,
    sign_of_first,
    upright,
)
from models.mraa_avd.family import ArticulatedAvd, stretched
from models.parts.keypoints import mean_position, spatial_softmax
from models.parts.warps import coordinate_grid
from options import owner_of_weights, parse
from util.errors import UserError

MANIFEST = json.loads((REFERENCE / "articulated" / "manifest.json").read_text())
SCHEDULES = json.loads((REFERENCE / "articulated" / "cases.json").read_text())["schedules"]
NAMES = ("vox256", "taichi256", "ted384", "ted-youtube384", "mgif256")
TINY, TINY_AVD = "configs/tiny/mraa.yaml", "configs/tiny/mraa_avd.yaml"
SIZE = 32


def options(*words: str, config: str = TINY, training: bool = True):
    return parse([f"--config={ROOT / config}", *words], training)


def family(*words: str, config: str = TINY) -> ArticulatedAnimation:
    opt = options(*words, config=config)
    made = find_family(opt.model)(opt, training=True)
    made.prepare_training(opt)
    return made.train()


def animator(*words: str, config: str = TINY) -> ArticulatedAnimation:
    """A family for animation whose regions move and turn, as after training."""
    torch.manual_seed(3)
    opt = options(*words, config=config, training=False)
    model = find_family(opt.model)(opt, training=False)
    torch.nn.init.normal_(model.region_predictor.regions.weight, std=0.1)
    return model.eval()


def batch(count: int = 2) -> dict[str, torch.Tensor]:
    frames = {name: image(name, (count, 3, SIZE, SIZE)) for name in ("source", "driving")}
    return {name: torch.from_numpy(frame) for name, frame in frames.items()}


def animated(model: ArticulatedAnimation, source: torch.Tensor, driving: torch.Tensor, pieces: int) -> torch.Tensor:
    with torch.inference_mode():
        state, frames = model.encode_source({"image": source}), []
        for piece in driving.split(pieces):
            made, state = model.animate(state, {"image": piece})
            frames.append(made)
    return torch.cat(frames)


# --- regions ----------------------------------------------------------------------------------------------------------


def lapack(covar: torch.Tensor) -> torch.Tensor:
    """U sqrt(S) by singular value decomposition, which the closed form replaces."""
    axes, values, _ = torch.linalg.svd(covar)
    return axes * values.sqrt()[..., None, :]


def random_covariances(count: int) -> torch.Tensor:
    matrix = torch.randn(count, 2, 2, dtype=torch.float64)
    return matrix @ matrix.mT


def test_axes_have_the_signs_of_lapack():
    covar = random_covariances(5000)
    torch.testing.assert_close(affine_of_covariance(covar), lapack(covar), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("diagonal", [(2.0, 1.0), (1.0, 2.0), (1.0, 1.0), (0.5, 0.0), (0.0, 0.5)])
def test_axes_of_diagonal_covariances_have_the_signs_of_lapack(diagonal):
    covar = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    torch.testing.assert_close(affine_of_covariance(covar), lapack(covar), atol=1e-5, rtol=0)


def test_the_gradient_of_the_axes_is_that_of_the_decomposition():
    covar, weight = random_covariances(200), torch.randn(200, 2, 2, dtype=torch.float64)
    gradients = []
    for function in (affine_of_covariance, lapack):
        given = covar.clone().requires_grad_()
        (function(given) * weight).sum().backward()
        # Only the symmetric part matters: both off-diagonal elements are one expression.
        gradients.append((given.grad + given.grad.mT) / 2)
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("covar", [torch.zeros(2, 2), torch.eye(2) * 0.1, torch.diag(torch.tensor([0.3, 0.0]))])
def test_degenerate_covariances_have_finite_values_and_gradients(covar):
    for noise in (0.0, 1e-7):
        given = (covar + noise * torch.randn(64, 2, 2)).requires_grad_()
        symmetric = (given + given.mT) / 2
        affine = affine_of_covariance(symmetric)
        affine.sum().backward()
        assert torch.isfinite(affine).all() and torch.isfinite(given.grad).all()


def test_the_covariance_is_the_mean_square_distance():
    heat = spatial_softmax(torch.randn(2, 3, 5, 7), 0.5)
    mean, plane = mean_position(heat), coordinate_grid(5, 7, like=heat)
    offset = plane - mean[..., None, None, :]
    expected = torch.einsum("bkhw,bkhwi,bkhwj->bkij", heat, offset, offset)
    torch.testing.assert_close(covariance(heat, mean), expected)


def test_the_affine_part_of_a_covariance_gives_it_back():
    covar = random_covariances(50)
    torch.testing.assert_close(covariance_of_affine(affine_of_covariance(covar)), covar)
    axes, variances = principal_axes(covar)
    torch.testing.assert_close(axes @ axes.mT, torch.eye(2, dtype=axes.dtype).expand_as(axes))
    assert (variances[..., 0] >= variances[..., 1]).all() and (variances >= 0).all()


def test_no_sign_makes_a_motion_vanish():
    matrices = torch.tensor([[[0.0, 1], [2, 3]], [[-1, 0], [0, 1]], [[5, 0], [0, -1]]])
    assert sign_of_first(matrices).flatten().tolist() == [1, -1, 1]


def test_upright_axes_keep_their_sign_while_a_tall_region_tilts():
    angle = torch.linspace(-1.2, 1.2, 41, dtype=torch.float64)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).unflatten(-1, (2, 2))
    covar = turn @ torch.diag(torch.tensor([0.01, 0.04], dtype=torch.float64)) @ turn.mT
    raw = affine_of_covariance(covar)
    steps = (upright(Regions(angle, raw)).affine.diff(dim=0)).abs().amax((1, 2))
    assert steps.max() < 0.02 < raw.diff(dim=0).abs().amax((1, 2)).max()


def test_regions_stay_exact_under_autocast():
    model, frame = animator(), torch.rand(2, 3, SIZE, SIZE)
    exact = model.region_predictor(frame)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(model.region_predictor(frame), exact)


@pytest.mark.parametrize("kind", ["zero", "shift", "affine", "perspective"])
def test_backgrounds_start_without_movement(kind):
    network, frames = BackgroundPredictor(kind, 3, 4, 16, 2), batch()
    matrix = network(frames["source"][:1], frames["driving"])
    torch.testing.assert_close(matrix, torch.eye(3).expand(2, 3, 3))
    assert bool(network.state_dict()) == (kind != "zero")


# --- released weights and configurations ------------------------------------------------------------------------------


def test_entries_and_shapes_are_those_of_the_released_weights():
    with torch.device("meta"):
        model = find_family("mraa")(
            options("--mode=avd", config="configs/mraa/vox256.yaml", training=False), training=False
        )
    for network, entries in MANIFEST["networks"].items():
        own = {name: list(value.shape) for name, value in getattr(model, network).state_dict().items()}
        assert list(own.items()) == list(entries.items())
        assert sum(p.numel() for p in getattr(model, network).parameters()) == MANIFEST["parameters"][network]


NESTED = """
dataset_params:
  root_dir: data/vox-png
  frame_shape: null
  id_sampling: True
  pairs_list: null
  augmentation_params:
    flip_param: {horizontal_flip: True, time_flip: True}
    jitter_param: {brightness: 0.1, contrast: 0.1, saturation: 0.1, hue: 0.1}
model_params:
  num_regions: 10
  num_channels: 3
  estimate_affine: True
  revert_axis_swap: True
  bg_predictor_params: {block_expansion: 32, max_features: 1024, num_blocks: 5, bg_type: affine}
  region_predictor_params:
    temperature: 0.1
    block_expansion: 32
    max_features: 1024
    scale_factor: 0.25
    num_blocks: 5
    pca_based: True
    fast_svd: False
  generator_params:
    block_expansion: 64
    max_features: 512
    num_down_blocks: 2
    num_bottleneck_blocks: 6
    skips: True
    pixelwise_flow_predictor_params:
      block_expansion: 64
      max_features: 1024
      num_blocks: 5
      scale_factor: 0.25
      use_deformed_source: True
      use_covar_heatmap: True
      estimate_occlusion_map: True
  avd_network_params: {id_bottle_size: 64, pose_bottle_size: 64}
train_params:
  num_epochs: 100
  num_repeats: 75
  epoch_milestones: [60, 90]
  lr: 2.0e-4
  batch_size: 14
  scales: [1, 0.5, 0.25, 0.125]
  dataloader_workers: 6
  checkpoint_freq: 50
  use_sync_bn: False
  transform_params: {sigma_affine: 0.05, sigma_tps: 0.005, points_tps: 5}
  loss_weights: {perceptual: [10, 10, 10, 10, 10], equivariance_shift: 10, equivariance_affine: 10}
train_avd_params:
  num_epochs: 30
  num_repeats: 2000
  batch_size: 256
  dataloader_workers: 20
  checkpoint_freq: 50
  epoch_milestones: [20, 25]
  lr: 1.0e-3
  lambda_shift: 1
  lambda_affine: 1
  random_scale: 0.25
reconstruction_params: {num_videos: 1000, format: '.mp4'}
animate_params: {num_pairs: 50, format: '.mp4', mode: avd}
visualizer_params: {kp_size: 5, draw_border: True, colormap: gist_rainbow, region_bg_color: [1, 1, 1]}
"""


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("model", "config"), [("mraa", "vox256"), ("mraa_avd", "vox256-avd")])
def test_a_nested_file_of_the_original_resolves_like_ours(tmp_path, model, config, training):
    path = tmp_path / f"{config}.yaml"
    path.write_text(NESTED)
    words = [] if model == "mraa" else ["--model=mraa_avd"]
    theirs = vars(parse([f"--config={path}", *words], training))
    ours = vars(options(config=f"configs/mraa/{config}.yaml", training=training))
    differing = {name for name in ours if theirs[name] != ours[name] and (theirs[name] or ours[name])}
    assert theirs["model"] == model
    assert differing <= {"config", "dataroot"} | (set() if training else {"nThreads"})


@pytest.mark.parametrize("name", [name + stage for name in NAMES for stage in ("", "-avd")])
def test_every_configuration_has_known_options_only(name):
    config = f"configs/mraa/{name}.yaml"
    written = yaml.safe_load((ROOT / config).read_text())
    resolved = vars(options(config=config)) | vars(options(config=config, training=False))
    assert set(written) <= set(resolved)
    assert written["region_predictor_pad"] == (3 if name.startswith("vox") else 0)


@pytest.mark.parametrize("name", [name + stage for name in NAMES for stage in ("", "-avd")])
def test_single_pairs_have_the_size_of_the_experiment(name):
    opt = options(config=f"configs/mraa/{name}.yaml", training=False)
    size = FramesDataset(opt, training=False).picture_size()
    assert size == ((384, 384) if name.startswith("ted") else None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("stage", "rates"), [("", "lr"), ("-avd", "lr_avd")])
def test_rates_are_those_of_the_original(name, stage, rates):
    with torch.device("meta"):
        model = family(
            *(["--init_from=x"] if stage else ["--no_perceptual"]), config=f"configs/mraa/{name}{stage}.yaml"
        )
    ((key, optimizer),) = model.optimizers().items()
    for first, last, expected in SCHEDULES[name][rates]:
        for epoch in (first, last):
            clock = Clock(epoch_size=10)
            clock.samples = 10 * epoch
            assert optimizer.param_groups[0]["lr"] * model.rate(key, clock) == pytest.approx(expected)


# --- training ---------------------------------------------------------------------------------------------------------


def trained(model: ArticulatedAnimation, steps: int) -> list[dict[str, float]]:
    """The losses of steps by the engine on one batch."""
    trainer, losses = Trainer(model, Processes(torch.device("cpu")), Clock(4)), []
    for _ in range(steps):
        losses.append({name: float(value) for name, value in trainer.step([batch()])[0].items()})
    return losses


@pytest.mark.slow
def test_losses_fall_on_one_batch():
    losses = trained(family("--bg_type=affine", "--lr=1e-3", "--start_with_source=no"), 40)
    assert set(losses[0]) == {"pixels", "equivariance_shift", "equivariance_affine"}
    assert all(torch.isfinite(torch.tensor(list(row.values()))).all() for row in losses)
    assert losses[-1]["pixels"] < 0.8 * losses[0]["pixels"]


def test_pictures_are_drawn_lazily():
    model = family("--draw_border")
    running = model.training_step(batch(), clock=None)
    next(running)
    with pytest.raises(StopIteration) as end:
        next(running)
    pictures = end.value.value
    assert list(pictures) == [
        "source", "transformed", "driving", "deformed", "prediction", "occlusion", "driving regions", "source regions",
    ]  # fmt: skip
    assert all((picture[..., 0] == 1).all() for picture in pictures.values())
    assert pictures["driving regions"].shape == (2, 3, SIZE, SIZE)


def test_regions_are_coloured_by_their_heatmaps():
    heat = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).reshape(1, 1, 2, 2).numpy()
    drawn = coloured_regions(heat, "gist_rainbow", [1, 1, 1])
    nothing = coloured_regions(heat * [[[[1, 0]]]], "gist_rainbow", [0.2, 0.4, 0.6])
    assert not (drawn[0, 0, 0] == drawn[0, 0, 1]).all()
    assert nothing[0, 0, 1] == pytest.approx([0.2, 0.4, 0.6])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pca_based=no", "--estimate_affine=no"], "use_covar_heatmap"),
        (["--start_with_source", "--skips=no"], "start_with_source"),
        (["--pca_based=no", "--estimate_affine=no", "--use_covar_heatmap=no"], "weight_equivariance_affine"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_by_name(words, message):
    with pytest.raises(UserError, match=message):
        family(*words)


@pytest.mark.parametrize(
    "words",
    [
        ("--pca_based=no",),
        ("--pca_based=no", "--estimate_affine=no", "--use_covar_heatmap=no", "--weight_equivariance_affine=0"),
        ("--start_with_source=no", "--skips=no", "--num_down_blocks=2", "--flow_predictor_scale_factor=0.25"),
        ("--start_with_source=no", "--estimate_occlusion_map=no", "--use_deformed_source=no", "--bg_type=perspective"),
        ("--revert_axis_swap=no", "--align_corners=no", "--region_predictor_pad=0"),
    ],
)
def test_every_variant_trains_and_animates(words):
    model = family(*words)
    for _, terms in model.training_step(batch(), clock=None):
        assert all(torch.isfinite(value) for value in terms.values())
        sum(terms.values()).backward()
    frames = animated(model.eval(), torch.rand(1, 3, SIZE, SIZE), torch.rand(3, 3, SIZE, SIZE), 2)
    assert frames.shape == (3, 3, SIZE, SIZE)
    assert 0 <= frames.min() <= frames.max() <= 1


def test_the_second_stage_trains_and_the_first_one_is_frozen():
    model = family("--init_from=x", "--lr=3e-3", config=TINY_AVD)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = trained(model, 30)
    assert set(losses[0]) == {"rec_shift", "rec_affine"}
    assert losses[-1]["rec_shift"] < 0.5 * losses[0]["rec_shift"]
    changed = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"avd_network"}


def test_the_originals_second_stage_updates_running_statistics():
    model = family("--init_from=x", "--moving_statistics", config=TINY_AVD)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained(model, 1)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in changed} == {"avd_network", "region_predictor"}
    assert all("running" in name for name in changed if not name.startswith("avd_network"))


def test_the_second_stage_refuses_batches_of_one_sample():
    with pytest.raises(UserError, match="two samples in each micro-batch"):
        family("--init_from=x", "--batch_size=4", "--accumulate=4", config=TINY_AVD)


def test_the_second_stage_needs_a_first_one():
    with pytest.raises(UserError, match="--init_from"):
        family(config=TINY_AVD)


def test_visualising_the_second_stage_does_not_change_it():
    model = family("--init_from=x", config=TINY_AVD)
    running = model.training_step(batch(), clock=None)
    next(running)
    with pytest.raises(StopIteration) as end:
        next(running)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert "prediction" in dict(end.value.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.avd_network.training


def test_proportions_stretch_positions_and_shapes():
    regions = Regions(torch.rand(1, 3, 2), torch.randn(1, 3, 2, 2))
    made, factors = stretched(regions, torch.tensor([[2.0, 0.5]])), torch.diag(torch.tensor([2.0, 0.5]))
    torch.testing.assert_close(made.shift, regions.shift @ factors)
    torch.testing.assert_close(made.affine, factors @ regions.affine)


# --- animation --------------------------------------------------------------------------------------------------------

WAYS = ("--mode=standard", "--mode=relative", "--mode=avd", "--mode=reconstruction")


@pytest.mark.parametrize("mode", WAYS)
def test_frames_do_not_depend_on_how_the_driving_video_is_cut(mode):
    model = animator(mode, "--bg_type=affine", "--adapt_scale")
    source, driving = torch.rand(1, 3, SIZE, SIZE), torch.rand(7, 3, SIZE, SIZE)
    whole = animated(model, source, driving, 7)
    for pieces in (1, 2, 5):
        torch.testing.assert_close(animated(model, source, driving, pieces), whole, atol=1e-4, rtol=0)


@pytest.mark.parametrize("mode", WAYS)
def test_preparing_for_inference_keeps_the_frames(mode):
    model = animator(mode, "--bg_type=affine")
    source, driving = torch.rand(1, 3, SIZE, SIZE), torch.rand(3, 3, SIZE, SIZE)
    expected = animated(model, source, driving, 3)
    model.prepare_inference()
    torch.testing.assert_close(animated(model, source, driving, 3), expected, atol=1e-4, rtol=0)


def test_the_ways_to_animate_differ():
    source, driving = torch.rand(1, 3, SIZE, SIZE), torch.rand(3, 3, SIZE, SIZE)
    made = [animated(animator(mode), source, driving, 3) for mode in WAYS[:3]]
    assert (made[0] - made[1]).abs().max() > 1e-3 and (made[1] - made[2]).abs().max() > 1e-3


@pytest.mark.parametrize("mode", WAYS)
def test_visualisations_show_intermediate_results(mode):
    model, driving = animator(mode, "--draw_border"), torch.rand(3, 3, SIZE, SIZE)
    source = {"image": torch.rand(1, 3, SIZE, SIZE)}
    with torch.inference_mode():
        frames, _, columns = model.explain(source, model.encode_source(source), {"image": driving})
        assert torch.equal(frames, model.animate(model.encode_source(source), {"image": driving})[0])
    assert list(columns) == [
        "source", "driving", "deformed", "prediction", "occlusion", "driving regions", "source regions",
    ]  # fmt: skip
    assert all(len(column) == 3 for column in columns.values())


def test_relative_animation_starts_at_the_source():
    model = animator("--mode=relative", "--relative_covar")
    source, driving = torch.rand(1, 3, SIZE, SIZE), torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        regions = model.region_predictor(source)
        expected = model.generator(model.generator.encode(source), regions, regions)[0]
    torch.testing.assert_close(animated(model, source, driving, 2)[:1], expected, atol=1e-3, rtol=0)


def test_the_source_is_encoded_once():
    model, calls = animator(), []
    model.generator.first.register_forward_hook(lambda *_: calls.append("first"))
    model.region_predictor.register_forward_hook(lambda *_: calls.append("predictor"))
    animated(model, torch.rand(1, 3, SIZE, SIZE), torch.rand(6, 3, SIZE, SIZE), 3)
    assert calls.count("first") == 1 and calls.count("predictor") == 3


def test_the_source_driven_by_itself_stays_where_it_is():
    model, source = animator(), torch.rand(1, 3, SIZE, SIZE)
    with torch.no_grad():
        regions = model.region_predictor(source)
        motion = model.generator(model.generator.encode(source), regions, regions)[1]
    grid = coordinate_grid(*motion.deformation.shape[1:3], like=source)
    torch.testing.assert_close(motion.deformation[0], grid, atol=1e-3, rtol=0)


@pytest.mark.slow
def test_the_networks_are_one_graph_for_the_compiler():
    model = animator("--mode=avd", "--bg_type=affine")
    source, driving = torch.rand(1, 3, SIZE, SIZE), torch.rand(2, 3, SIZE, SIZE)
    expected = animated(model, source, driving, 2)
    for network in model.networks().values():
        network.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(animated(model, source, driving, 2), expected)


def test_sizes_that_do_not_fit_are_explained():
    with pytest.raises(UserError, match="multiples of 32"):
        animator().encode_source({"image": torch.rand(1, 3, 40, 40)})


# --- checkpoints ------------------------------------------------------------------------------------------------------


def released(*networks: str, folder: Path, words: tuple[str, ...] = (), **more) -> Path:
    """A file as the original writes them, in the serialisation of torch before 1.6."""
    model = animator("--mode=avd", *words)
    content = {name: getattr(model, name).state_dict() for name in networks}
    path = folder / "vox256.pth"
    torch.save(content | more, path, _use_new_zipfile_serialization=False)
    return path


ADAM = {"state": {}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
ALL = ("generator", "bg_predictor", "region_predictor", "avd_network")


@pytest.mark.parametrize(
    ("networks", "words", "more"),
    [
        (ALL, (), {"optimizer_avd": ADAM, "optimizer_reconstruction": ADAM, "epoch_avd": 29}),
        (ALL, (), {}),
        (ALL, ("--bg_type=affine",), {}),
        (("generator", "region_predictor", "avd_network"), ("--bg_type=affine",), {}),
    ],
)
def test_released_files_load_with_and_without_their_optional_entries(tmp_path, networks, words, more):
    path = released(*networks, folder=tmp_path, words=words, **more)
    source, driving = torch.rand(1, 3, SIZE, SIZE), torch.rand(3, 3, SIZE, SIZE)
    for mode in WAYS[:3]:
        loaded = find_family("mraa")(options(mode, *words, training=False), training=False).eval()
        load_networks(loaded, path)
        expected = animated(animator("--mode=avd", *words), source, driving, 3)
        assert (mode == "--mode=avd") == torch.equal(animated(loaded, source, driving, 3), expected)


def test_a_file_without_avd_network_is_an_error(tmp_path):
    path = released("generator", "region_predictor", folder=tmp_path)
    loaded = find_family("mraa")(options("--mode=avd", training=False), training=False).eval()
    with pytest.raises(UserError, match="has no AVD network.*--model mraa_avd --init_from"):
        load_networks(loaded, path, owner=owner_of_weights)
    load_networks(find_family("mraa")(options("--mode=relative", training=False), training=False), path)


def test_the_second_stage_starts_from_the_first_one_s_run_and_saves_all_networks(tmp_path):
    first = Trainer(family(), Processes(torch.device("cpu")), Clock(4))
    Checkpoints(tmp_path / "first").save(first)
    assert (tmp_path / "first" / "latest-cpk-reconstruction.pth").is_file()
    model = family("--init_from=x", config=TINY_AVD)
    load_networks(model, tmp_path / "first", needed={"generator", "region_predictor"})
    assert torch.equal(model.generator.final.weight, first.family.generator.final.weight)
    Checkpoints(tmp_path / "second").save(Trainer(model, Processes(torch.device("cpu")), Clock(4)))
    content = torch.load(tmp_path / "second" / "latest-cpk-avd.pth")
    assert set(content) == {*ALL, "epoch_avd"}
    for name in ("mraa", "mraa_avd"):
        loaded = find_family(name)(options("--mode=avd", training=False), training=False).eval()
        load_networks(loaded, tmp_path / "second")
        assert torch.equal(loaded.avd_network.decoder[0].weight, model.avd_network.decoder[0].weight)


def test_a_run_of_the_second_stage_is_an_articulated_avd():
    assert isinstance(animator(config=TINY_AVD), ArticulatedAvd)
    assert animator(config=TINY_AVD).way == "avd"


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_both_stages_and_all_ways_from_the_command_line(sample, tmp_path):
    data = [f"--dataroot={sample}", "--cpu"]
    short = [*data, "--visdom=no", "--steps=1", "--batch_size=2"]
    run(tmp_path, f"--config={ROOT / TINY}", *short, "--name=first")
    run(tmp_path, f"--config={ROOT / TINY_AVD}", *short, "--name=second", "--init_from=result/first")
    clips = sorted((sample / "test").glob("*.mp4"))
    pair = [f"--source_image={clips[0]}", f"--driving_video={clips[1]}", "--output=made.mp4", "--overwrite"]
    ways = {64: ["--name=first", "--mode=relative", "--best_frame=3"], 96: ["--name=second", "--img_shape=96,96"]}
    for size, words in ways.items():
        run(tmp_path, *words, *pair, "--cpu", script="test.py")
        with open_video(tmp_path / "made.mp4") as video:
            assert len(video) == 8 and video.has_audio and video.size == (size, size)
    output = run(tmp_path, "--name=first", *data, "--mode=reconstruction", script="test.py")
    assert "Reconstruction loss:" in output
    output = run(tmp_path, "--name=first", *pair, "--mode=avd", "--cpu", script="test.py", status=2)
    assert "has no AVD network" in output and "Traceback" not in output
