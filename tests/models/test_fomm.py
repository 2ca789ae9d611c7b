"""The first order motion model: released entries, configurations, training updates, animation."""

import json

import pytest
import torch
import yaml
from nested_config import NESTED
from paths import ROOT
from reference.formula import image

from models.fomm.family import FirstOrderMotion
from models.fomm.movement import relative_key_points
from models.fomm.networks import Discriminator
from models.parts.keypoints import KeyPoints
from models.parts.movement import movement_scale
from models.parts.warps import coordinate_grid
from options import parse
from util.errors import UserError
from util.visualisation import rows_of

MANIFEST = json.loads((ROOT / "tests/reference/first_order/manifest.json").read_text())
TINY = "configs/tiny/fomm.yaml"
SIZE = 32


def options(*words: str, config: str = TINY, training: bool = True):
    return parse([f"--config={ROOT / config}", *words], training)


def family(*words: str, config: str = TINY) -> FirstOrderMotion:
    opt = options(*words, config=config)
    made = FirstOrderMotion(opt, training=True)
    made.prepare_training(opt)
    return made


def batch(count: int = 2) -> dict[str, torch.Tensor]:
    frames = {name: image(name, (count, 3, SIZE, SIZE)) for name in ("source", "driving")}
    return {name: torch.from_numpy(frame) for name, frame in frames.items()}


def animated(model: FirstOrderMotion, source: torch.Tensor, driving: torch.Tensor, pieces: int) -> torch.Tensor:
    with torch.inference_mode():
        state, frames = model.encode_source({"image": source}), []
        for piece in driving.split(pieces):
            made, state = model.animate(state, {"image": piece})
            frames.append(made)
    return torch.cat(frames)


def randomised(model: FirstOrderMotion) -> FirstOrderMotion:
    """Jacobians that are not the identity and points that move, as after training."""
    torch.nn.init.normal_(model.kp_detector.jacobian.weight, std=0.05)
    torch.nn.init.normal_(model.kp_detector.kp.weight, std=0.3)
    return model.eval()


# --- released weights and configurations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "manifest"),
    [("vox-256", "vox-256"), ("vox-adv-256", "vox-adv-256"), ("bair", "vox-256"), ("taichi-adv", "vox-adv-256")],
)
def test_entries_and_shapes_are_those_of_the_released_weights(config, manifest):
    with torch.device("meta"):
        model = family("--no_perceptual", config=f"configs/fomm/{config}.yaml")
    for network, entries in MANIFEST[manifest].items():
        own = {name: list(value.shape) for name, value in getattr(model, network).state_dict().items()}
        assert list(own.items()) == list(entries.items())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--weight_feature_matching=10,10,10,10"], "--weight_feature_matching 10.*: the discriminator has 3 blocks"),
        (["--discriminator_scales="], "--weight_generator_gan 1.0 needs a discriminator: set --discriminator_scales"),
    ],
)
def test_inconsistent_adversarial_options_are_refused(words, message):
    with pytest.raises(UserError, match=message):
        family("--weight_generator_gan=1", *words)
    family(*words)
    family("--weight_generator_gan=1", "--weight_feature_matching=0")


@pytest.mark.parametrize(("side", "blocks"), [(16, 3), (28, 3), (60, 4)])
def test_pictures_too_small_for_the_discriminator_are_refused(side, blocks):
    discriminator = Discriminator(["1"], expansion=2, num_blocks=blocks)
    kp = KeyPoints(torch.zeros(1, 1, 2), None)
    with pytest.raises(UserError, match=f"{side} x {side} is too small for the {blocks} blocks .*--load_size"):
        discriminator({"1": torch.zeros(1, 3, side, side)}, kp)
    larger = torch.zeros(1, 3, 61, 61)
    assert discriminator({"1": larger}, kp)["1"][1].shape[0] == 1


@pytest.mark.parametrize("config", ["fomm/vox-256", "mraa/vox256", "tps/vox-256"])
def test_perceptual_weights_are_as_many_as_the_layers(config):
    with pytest.raises(UserError, match="--weight_perceptual: '10,10' is not of the form relu1_1,relu2_1,"):
        options("--weight_perceptual=10,10", config=f"configs/{config}.yaml")
    assert options("--weight_perceptual=", config=f"configs/{config}.yaml").weight_perceptual == []


def test_the_animals_have_one_jacobian_map():
    with torch.device("meta"):
        model = family("--no_perceptual", config="configs/fomm/mgif.yaml")
    assert model.kp_detector.state_dict()["jacobian.weight"].shape == (4, 35, 7, 7)


def test_parameters_are_as_many_as_described():
    with torch.device("meta"):
        model = family("--no_perceptual", config="configs/fomm/vox-256.yaml")
    counts = [sum(p.numel() for p in network.parameters()) for network in (model.kp_detector, model.generator)]
    assert counts == [14_215_368, 45_575_391]


@pytest.mark.parametrize("training", [True, False])
def test_a_nested_file_of_the_original_resolves_like_ours(tmp_path, training):
    path = tmp_path / "vox-256.yaml"
    path.write_text(NESTED)
    theirs = vars(parse([f"--config={path}"], training))
    ours = vars(options(config="configs/fomm/vox-256.yaml", training=training))
    differing = {name for name in ours if theirs[name] != ours[name]}
    assert differing <= {"config", "dataroot"} | (set() if training else {"pairs_list"})


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "configs/fomm").glob("*.yaml")))
def test_every_configuration_has_known_options_only(name):
    config = f"configs/fomm/{name}.yaml"
    written = yaml.safe_load((ROOT / config).read_text())
    resolved = vars(options(config=config)) | vars(options(config=config, training=False))
    assert set(written) <= set(resolved)


# --- training ---------------------------------------------------------------------------------------------------------


def step(model: FirstOrderMotion, data: dict, optimizers: dict) -> dict[str, float]:
    """One training step by hand; asserts that every named optimizer's parameters get gradients."""
    losses = {}
    for names, terms in model.training_step(data, clock=None):
        names = (names,) if isinstance(names, str) else names
        parameters = [p for name in names for p in getattr(model, name).parameters()]
        sum(terms.values()).backward(inputs=parameters)
        assert all(p.grad is not None for p in parameters)
        for name in names:
            optimizers[name].step()
            optimizers[name].zero_grad()
        losses |= {name: value.item() for name, value in terms.items()}
    return losses


def test_the_updates_of_a_step_come_in_the_original_s_order():
    model = family("--weight_generator_gan=1", "--use_kp", "--sn")
    updates = []
    for names, terms in model.training_step(batch(), clock=None):
        updates.append((names, list(terms)))
        sum(terms.values()).backward()
    animators = ["pixels", "gen_gan", "feature_matching", "equivariance_value", "equivariance_jacobian"]
    assert updates == [(("generator", "kp_detector"), animators), ("discriminator", ["disc_gan"])]


@pytest.mark.slow
def test_losses_fall_on_one_batch():
    model, data = family("--weight_generator_gan=1", "--lr_generator=5e-4", "--lr_kp_detector=2e-4"), batch()
    optimizers = model.optimizers()
    first = step(model, data, optimizers)
    for _ in range(60):
        last = step(model, data, optimizers)
    assert all(torch.isfinite(torch.tensor(value)) for value in last.values())
    assert last["pixels"] < 0.9 * first["pixels"]


def test_an_untrained_generator_can_start_with_the_source():
    source, distances = batch(4)["source"], {}
    for start in ("yes", "no"):
        model = family(f"--start_with_source={start}", "--num_down_blocks=0", "--generator_block_expansion=24")
        still = model.kp_detector(source)
        distances[start] = (model.generator(source, still, still)[0] - source).abs().mean().item()
    assert distances["yes"] < distances["no"] / 2, distances
    with pytest.raises(UserError, match="--num_down_blocks 0"):
        family("--start_with_source", "--num_down_blocks=1")


def test_a_generator_that_copies_pixels_starts_with_the_source_at_any_depth():
    source, distances = batch(4)["source"], {}
    for start in ("yes", "no"):
        model = family(f"--start_with_source={start}", "--composite", "--num_down_blocks=1")
        still = model.kp_detector(source)
        distances[start] = (model.generator(source, still, still)[0] - source).abs().mean().item()
    assert distances["yes"] < distances["no"] / 2, distances


def test_a_frozen_detector_moves_only_its_running_statistics():
    model = family("--lr_kp_detector=0")
    before = {name: value.clone() for name, value in model.kp_detector.state_dict().items()}
    step(model, batch(), model.optimizers())
    changed = {name for name, value in model.kp_detector.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all("running" in name or "num_batches" in name for name in changed)


def test_without_adversarial_loss_the_discriminator_is_left_alone():
    model = family()
    assert [names for names, _ in model.training_step(batch(), clock=None)] == [("generator", "kp_detector")]


def test_the_rate_is_a_function_of_the_epoch_alone():
    from engine.clock import Clock

    model = family("--epoch_milestones=2,3")
    rates = []
    for epoch in range(5):
        clock = Clock(epoch_size=4)
        clock.samples = 4 * epoch
        rates.append(model.rate("generator", clock))
    assert rates == pytest.approx([1, 1, 0.1, 0.01, 0.01])


def test_pictures_are_drawn_lazily():
    model, running = family("--draw_border"), None
    running = model.training_step(batch(), clock=None)
    next(running)
    with pytest.raises(StopIteration) as end:
        next(running)
    pictures = end.value.value
    assert pictures
    assert list(pictures)[:6] == ["source", "transformed", "driving", "deformed", "prediction", "occlusion"]
    assert pictures["mask 0"].shape == (2, 3, SIZE, SIZE)
    assert (pictures["source"][..., 0] == 1).all()


def test_a_jacobian_loss_without_jacobians_is_refused_by_name():
    with pytest.raises(UserError, match="weight_equivariance_jacobian"):
        family("--estimate_jacobian=no")


# --- animation --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [(), ("--relative=no",), ("--adapt_scale",), ("--relative_jacobian=no",)])
def test_frames_do_not_depend_on_how_the_driving_video_is_cut(mode):
    model = randomised(family(*mode))
    source, driving = torch.rand(1, 3, SIZE, SIZE), torch.rand(7, 3, SIZE, SIZE)
    whole = animated(model, source, driving, 7)
    for pieces in (1, 2, 5):
        torch.testing.assert_close(animated(model, source, driving, pieces), whole, atol=2e-5, rtol=0)


def test_animation_equals_the_networks_called_frame_by_frame():
    model = randomised(family("--relative=no"))
    source, driving = torch.rand(1, 3, SIZE, SIZE), torch.rand(3, 3, SIZE, SIZE)
    with torch.no_grad():
        kp_source = model.kp_detector(source)
        expected = [model.generator(source, kp_source, model.kp_detector(frame[None]))[0] for frame in driving]
    torch.testing.assert_close(animated(model, source, driving, 3), torch.cat(expected), atol=2e-5, rtol=0)


@pytest.mark.parametrize("mode", ["animate", "reconstruction"])
def test_explained_frames_are_the_same_with_the_original_s_columns(mode):
    opt = parse([f"--config={ROOT / TINY}", f"--mode={mode}", "--draw_border"], training=False)
    model = randomised(FirstOrderMotion(opt, training=False))
    source, driving = {"image": torch.rand(1, 3, SIZE, SIZE)}, {"image": torch.rand(3, 3, SIZE, SIZE)}
    with torch.inference_mode():
        state = model.encode_source(source)
        frames, _ = model.animate(state, driving)
        explained, _, columns = model.explain(source, state, driving)
    assert torch.equal(explained, frames)
    moved = ["moved points"] if mode == "animate" else []
    assert list(columns) == ["source", "driving", "deformed", *moved, "prediction", "occlusion"]
    assert all(len(column) == 3 and (column[..., 0] == 1).all() for column in columns.values())
    rows = rows_of([column.movedim(1, -1).numpy() for column in columns.values()])
    assert len(rows) == 3 and rows[0].shape == (SIZE, len(columns) * SIZE, 3)


def test_preparing_for_inference_keeps_the_frames():
    model = randomised(family())
    source, driving = torch.rand(1, 3, SIZE, SIZE), torch.rand(3, 3, SIZE, SIZE)
    expected = animated(model, source, driving, 3)
    model.prepare_inference()
    torch.testing.assert_close(animated(model, source, driving, 3), expected, atol=2e-5, rtol=0)


def test_the_source_is_encoded_once():
    model = family().eval()
    calls = []
    model.generator.first.register_forward_hook(lambda *_: calls.append("first"))
    model.kp_detector.register_forward_hook(lambda *_: calls.append("detector"))
    animated(model, torch.rand(1, 3, SIZE, SIZE), torch.rand(6, 3, SIZE, SIZE), 3)
    assert calls.count("first") == 1
    assert calls.count("detector") == 3


def test_the_source_driven_by_itself_stays_where_it_is():
    model = randomised(family())
    source = torch.rand(1, 3, SIZE, SIZE)
    with torch.no_grad():
        kp = model.kp_detector(source)
        motion = model.generator.motion(model.generator.encode(source), kp, kp)
    grid = coordinate_grid(*motion.deformation.shape[1:3], like=source)
    torch.testing.assert_close(motion.deformation[0], grid, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "words",
    [
        ("--estimate_jacobian=no", "--weight_equivariance_jacobian=0"),
        ("--dense_motion_num_blocks=0",),
        ("--estimate_occlusion_map=no", "--single_jacobian_map"),
        ("--kp_detector_scale_factor=1", "--num_down_blocks=2", "--start_with_source=no"),
    ],
)
def test_every_variant_trains_and_animates(words):
    model = family(*words)
    for _, terms in model.training_step(batch(), clock=None):
        assert all(torch.isfinite(value) for value in terms.values())
    frames = animated(model.eval(), torch.rand(1, 3, SIZE, SIZE), torch.rand(3, 3, SIZE, SIZE), 2)
    assert frames.shape == (3, 3, SIZE, SIZE)
    assert 0 <= frames.min() <= frames.max() <= 1


def test_half_precision_keeps_the_detector_and_the_coordinates_exact():
    model = randomised(family())
    source, driving = torch.rand(1, 3, SIZE, SIZE), torch.rand(4, 3, SIZE, SIZE)
    exact = animated(model, source, driving, 4)
    kp = model.kp_detector(driving)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(model.kp_detector(driving), kp)
        frames = animated(model, source, driving, 4)
    assert (frames - exact).abs().mean() < 0.02


@pytest.mark.slow
def test_the_networks_are_one_graph_for_the_compiler():
    model = randomised(family())
    source, driving = torch.rand(1, 3, SIZE, SIZE), torch.rand(2, 3, SIZE, SIZE)
    expected = animated(model, source, driving, 2)
    for network in (model.generator, model.kp_detector):
        network.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(animated(model, source, driving, 2), expected)
    for _, terms in model.train().training_step(batch(), clock=None):
        sum(terms.values()).backward()


def test_a_nearly_singular_jacobian_does_not_throw_the_picture_away():
    model = randomised(family())
    count = options().num_kp
    kp = KeyPoints(torch.zeros(1, count, 2), torch.eye(2).repeat(1, count, 1, 1))
    flat = KeyPoints(kp.value, torch.tensor([[1.0, 1.0], [1.0, 1.0]]).repeat(1, count, 1, 1))
    with torch.no_grad():
        frame, motion = model.generator(torch.rand(1, 3, SIZE, SIZE), kp, flat)
    assert torch.isfinite(frame).all()
    assert torch.isfinite(motion.deformation).all()


def test_a_flat_hull_moves_at_scale_one():
    line = torch.linspace(-1, 1, 8)[None, :, None].repeat(1, 1, 2)
    assert movement_scale(line, torch.rand(1, 8, 2)) == 1
    assert movement_scale(torch.rand(1, 8, 2), line) == 1


def test_relative_movement_starts_at_the_source():
    source, driving = (KeyPoints(torch.rand(1, 5, 2), torch.randn(1, 5, 2, 2)) for _ in range(2))
    kp = relative_key_points(source, driving, driving, scale=1.7)
    torch.testing.assert_close(kp.value, source.value)
    torch.testing.assert_close(kp.jacobian, source.jacobian, atol=1e-3, rtol=1e-3)


def test_sizes_that_do_not_fit_are_explained():
    model = family(config="configs/tiny/fomm.yaml").eval()
    with pytest.raises(UserError, match="multiples of 32"):
        model.encode_source({"image": torch.rand(1, 3, 40, 40)})


def test_a_released_checkpoint_animates_with_two_networks_alone(tmp_path):
    from engine.checkpoints.load import load_networks

    model, opt = randomised(family()), options()
    content = {name: getattr(model, name).state_dict() for name in ("generator", "kp_detector", "discriminator")}
    path = tmp_path / "00000099-checkpoint.pth.tar"
    torch.save({**content, "optimizer_generator": {"state": {}, "param_groups": []}, "epoch": 99}, path)
    loaded = FirstOrderMotion(opt, training=True).eval()
    load_networks(loaded, path)
    source, driving = torch.rand(1, 3, SIZE, SIZE), torch.rand(3, 3, SIZE, SIZE)
    assert torch.equal(animated(loaded, source, driving, 3), animated(model, source, driving, 3))
