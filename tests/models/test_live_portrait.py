"""LivePortrait beside the reference cases: files of weights, streaming, templates, edits."""

import json

import pytest
import torch
import torch.nn.functional as F
from adapters.common import fill_weights
from paths import REFERENCE, ROOT
from safetensors.torch import save_file

from engine.checkpoints.load import load_networks
from engine.checkpoints.save import continue_from
from engine.clock import Clock
from engine.distributed import Processes
from engine.trainer import Trainer
from models import find_family
from models.live_portrait.animation import Frames, hull_ratio
from models.live_portrait.composing import with_source_pixels
from models.live_portrait.family import ANIMATORS, PERCEPTRONS
from models.live_portrait.finished import finish_generator, finish_warping
from models.live_portrait.keypoints import Motion, angles_of, nearest_rotation, rotation_of
from models.live_portrait.losses import cut_boxes
from models.live_portrait.networks import DenseMotion, SpadeGenerator, WarpingModule
from models.live_portrait.options import EYE_POINTS, LIP_POINTS, REGIONS
from models.live_portrait.released import RETARGETING
from models.live_portrait.retargeting import Openness, require_openness
from models.live_portrait.smoothing import KalmanSmoother
from models.live_portrait.transfer import Rules, region_points, transfer
from models.live_portrait.volumes import volume_grid
from options import parse
from util.errors import UserError

MANIFEST = json.loads((REFERENCE / "live_portrait" / "manifest.json").read_text())
CONFIG = ROOT / "configs" / "tiny" / "live_portrait.yaml"


def build(*words, training=False):
    """The small family with weights by formula."""
    family = find_family("live_portrait")(parse([f"--config={CONFIG}", *words], training), training)
    for seed, network in enumerate(family.networks().values()):
        fill_weights(network, seed)
    return family.eval()


# --- weights ----------------------------------------------------------------------------------------------------------


def test_released_sizes_have_the_released_entries():
    with torch.device("meta"):
        family = find_family("live_portrait")(parse(["--model=live_portrait"], False), training=False)
    for name, entries in MANIFEST["networks"].items():
        own = {key: list(value.shape) for key, value in getattr(family, name).state_dict().items()}
        assert own == entries, name


def test_released_configuration_builds_the_default_networks():
    with torch.device("meta"):
        words = [f"--config={ROOT / 'configs' / 'live_portrait' / 'released.yaml'}"]
        families = [
            find_family("live_portrait")(parse(each, False), training=False)
            for each in (words, ["--model=live_portrait"])
        ]
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
        other = find_family("live_portrait")(parse([f"--config={CONFIG}"], False), training=False)
        load_networks(other, place)
        assert same(family, other)


def test_animals_use_the_mlps_of_people(tmp_path):
    people, animals = build(), build()
    write_released(tmp_path, people, "pth")
    fill_weights(animals.motion_extractor, 77)
    for folder in ("base_models", "base_models_v1.1"):
        place = tmp_path / "liveportrait_animals" / folder
        place.mkdir(parents=True)
        for name in ANIMATORS:
            torch.save(getattr(animals, name).state_dict(), place / f"{name}.pth")
    for place in ("liveportrait_animals", "liveportrait_animals/base_models_v1.1"):
        other = find_family("live_portrait")(parse([f"--config={CONFIG}"], False), training=False)
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


def test_nearest_rotation_is_exact_in_half_precision():
    """Source videos are smoothed by default, and networks run under autocast with --precision bf16."""
    rotations = rotation_of(*(30 * torch.randn(3, 4, 1)))
    with torch.autocast("cpu", torch.bfloat16):
        found = nearest_rotation(rotations)
    assert found.dtype == torch.float32 and torch.allclose(found, rotations, atol=1e-6)


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
def test_streaming_smoothing_equals_smoothing_the_whole_clip(observation, piece):
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


def smoothed_in_pieces(smoother, series, piece):
    waiting, ready = None, []
    for part in series.split(piece):
        waiting, smooth = smoother.push(waiting, part)
        ready.append(smooth)
    while len(waiting.filtered):
        waiting, smooth = smoother.finish(waiting, piece)
        ready.append(smooth)
    return torch.cat(ready)


@pytest.mark.parametrize("look_ahead", [None, 0, 2, float("inf")])
def test_series_that_take_turns_are_smoothed_each_on_its_own(look_ahead):
    series = torch.randn(3, 40, 4, dtype=torch.float64).cumsum(1)
    turns = series.transpose(0, 1).flatten(0, 1)
    found = smoothed_in_pieces(KalmanSmoother(1e-4, look_ahead=look_ahead, series=3), turns, 8)
    for index, own in enumerate(series):
        alone = smoothed_in_pieces(KalmanSmoother(1e-4, look_ahead=look_ahead), own, 8)
        assert torch.allclose(found[index::3], alone, rtol=0, atol=1e-12)


def test_smoothing_of_one_frame_is_the_frame():
    smoother = KalmanSmoother()
    waiting, ready = smoother.push(None, torch.ones(1, 3))
    assert len(ready) == 0
    assert torch.equal(smoother.finish(waiting, 8)[1], torch.ones(1, 3, dtype=torch.float64))


# --- what is done to points -------------------------------------------------------------------------------------------


def random_motion(count):
    return Motion(
        0.3 * torch.randn(count, 21, 3),
        rotation_of(*(20 * torch.randn(3, count, 1))),
        0.05 * torch.randn(count, 21, 3),
        0.1 * torch.randn(count, 3),
        1.3 + 0.1 * torch.rand(count, 1),
    )


@pytest.mark.parametrize("region", REGIONS)
def test_a_face_driven_by_its_own_first_frame_is_unchanged(region):
    source, driving = random_motion(1), random_motion(1)
    rules = Rules(region=region)
    points = region_points(rules, source, transfer(rules, source, driving, driving))
    assert torch.allclose(points, source.points(), atol=1e-6)


def test_a_region_moves_its_points_alone():
    source, driving, initial = random_motion(1), random_motion(3), random_motion(1)
    rules = Rules(region="lip")
    moved = region_points(rules, source, transfer(rules, source, driving, initial)) - source.points()
    others = [point for point in range(21) if point not in LIP_POINTS]
    assert torch.equal(moved[:, others], torch.zeros(3, len(others), 3))
    assert (moved[:, list(LIP_POINTS)].abs().amax((0, 2)) > 0).all()


def test_a_scale_near_zero_does_not_blow_a_face_up():
    source, driving, initial = random_motion(1), random_motion(1), random_motion(1)
    initial = initial._replace(scale=torch.full((1, 1), 1e-9))
    rules = Rules()
    assert torch.equal(transfer(rules, source, driving, initial).scale, source.scale)


def test_a_driving_picture_gives_its_pose_on_request():
    source, driving = random_motion(1), random_motion(1)
    for kept, wanted in ((False, driving), (True, source)):
        rules = Rules(region="pose", picture=True, picture_as_original=kept)
        assert torch.equal(transfer(rules, source, driving, driving).rotation, wanted.rotation)


def adjuster(*words):
    return build(*words).adjuster


@torch.no_grad()
def test_retargeting_keeps_the_motion_and_lets_one_eye_close():
    source, driven = random_motion(2).points(), random_motion(2).points()
    openness = Openness.of(torch.tensor([[0.3, 0.3, 0.1]] * 2))
    winking = Openness.of(torch.tensor([[0.0, 0.3, 0.1]] * 2))
    both = Openness.of(torch.tensor([[0.3, 0.3, 0.1]] * 2))
    ours, theirs = (adjuster("--eye_retargeting", "--no_stitching", *more) for more in ([], ["--as_original=all"]))
    made = ours(source, driven, openness, winking, None) - driven
    right = ours(source, driven, openness, both, None) - driven
    eyes = list(EYE_POINTS)
    left = source[..., 0] < source[:, eyes, 0].mean(1, keepdim=True)
    assert torch.allclose(made[~left], right[~left], atol=1e-6) and not torch.allclose(made[left], right[left])
    forgotten = [theirs(source, points, openness, winking, None) for points in (driven, source)]
    assert torch.allclose(*forgotten)


@torch.no_grad()
def test_lips_are_closed_first_with_eyes_retargeted_too():
    source, driven = random_motion(1).points(), random_motion(1).points()
    openness = Openness.of(torch.tensor([[0.3, 0.3, 0.1]]))
    words = ("--eye_retargeting=0.2", "--normalize_lip")
    ours, theirs = adjuster(*words), adjuster(*words, "--as_original=normalize_lip")
    plain = adjuster("--eye_retargeting=0.2")
    arguments = source, driven, openness, None, None
    assert torch.equal(theirs(*arguments), plain(*arguments)) and not torch.equal(ours(*arguments), plain(*arguments))


def moved(family, sources, driving, piece):
    """The driven points of all frames, in which the sources take turns."""
    faces, count = len(sources.scale), len(driving.scale)
    index = torch.arange(faces).repeat(count)
    mover, state, found = family._mover(False, False, faces=faces), {"motion": sources}, []
    frames = Frames(sources.rows(index), driving.rows(torch.arange(count).repeat_interleave(faces)), index)
    for start in range(0, len(index), piece):
        state, points = mover.push(state, frames.rows(slice(start, start + piece)))
        found += [] if points is None else [points.driven]
    if "held" in state:
        found.append(mover.finish(state, len(index))[1].driven)
    return torch.cat(found)


@torch.no_grad()
@pytest.mark.parametrize(
    "words",
    [
        ["--smooth_motion", "--smooth_variance=1e-4"],
        ["--animals"],
        ["--animals", "--driving_option=pose-friendly"],
        ["--driving_option=adapt-scale"],
    ],
)
def test_faces_of_a_picture_move_as_if_each_were_alone(words):
    family, sources, driving = build("--no_stitching", *words), random_motion(3), random_motion(5)
    sources = sources._replace(canonical=sources.canonical * torch.tensor([1.0, 1.5, 0.5])[:, None, None])
    together = moved(family, sources, driving, 4)
    assert len(together) == 15
    for face in range(3):
        alone = moved(family, sources.rows(slice(face, face + 1)), driving, 4)
        assert torch.allclose(together[face::3], alone, atol=1e-5)


@torch.no_grad()
def test_animals_in_a_source_video_move_the_same_in_any_batches():
    family, sources, driving = build("--no_stitching", "--animals", "--smooth_motion=no"), *map(random_motion, (6, 6))
    frames, found = Frames(sources, driving, torch.zeros(6, 3, 8, 8)), []
    for piece in (1, 4):
        mover, state, points = family._mover(False, True), {}, []
        for start in range(0, 6, piece):
            state, made = mover.push(state, frames.rows(slice(start, start + piece)))
            points.append(made.driven)
        found.append(torch.cat(points))
    assert torch.allclose(*found, atol=1e-5)


@pytest.mark.parametrize("how", ["--no_relative", "--animals"])
@pytest.mark.parametrize("what", ["--normalize_lip", "--driving_option=adapt-scale"])
def test_options_of_relative_motion_are_refused_in_absolute_motion(how, what):
    with pytest.raises(UserError, match=f"{what.replace('=', ' ')}: only for relative motion, which {how} replaces"):
        build(how, what)


@pytest.mark.parametrize(
    ("word", "part"), [("--eye_retargeting=0.2", "eyes"), ("--lip_retargeting", "lips"), ("--normalize_lip", "lips")]
)
def test_untrained_retargeting_is_refused(word, part):
    """The first stage saves networks that change nothing."""
    family = find_family("live_portrait")(parse([f"--config={CONFIG}", word], False), training=False)
    with pytest.raises(UserError, match=f"retargeting of {part} is untrained and changes nothing; train it with"):
        family.prepare_inference()
    build(word).prepare_inference()


def test_unknown_openness_is_reported():
    source, driven = random_motion(1).points(), random_motion(1).points()
    assert source.shape == driven.shape
    with pytest.raises(UserError, match="old motion templates"):
        require_openness(adjuster("--lip_retargeting").adjustments, Openness.of(torch.ones(1, 3)), None)
    with pytest.raises(UserError, match="landmarks of the source"):
        require_openness(adjuster("--lip_retargeting=0.3").adjustments, None, None)


def test_flat_sets_of_points_have_no_size_and_sizes_have_bounds():
    points = torch.randn(1, 21, 3)
    assert hull_ratio(points, points * torch.tensor([1, 1, 0])) == 1
    assert hull_ratio(100 * points, points) == 4 and hull_ratio(points, 100 * points) == 0.25


# --- training ---------------------------------------------------------------------------------------------------------


def test_regions_and_guides_of_the_batch_are_used_and_missed_by_name():
    words = [
        "--gan_regions=whole,face",
        "--weight_gan=1",
        "--region_size=48",
        "--weight_guide=1",
        "--weight_headpose=1",
    ]
    opt = parse([f"--config={CONFIG}", *words, "--batch_size=2"], True)
    family = find_family("live_portrait")(opt, training=True)
    family.prepare_training(opt)
    batch = {name: torch.rand(2, 3, 64, 64) for name in ("source", "driving")}
    with pytest.raises(UserError, match="--weight_headpose needs driving_angles"):
        next(family.training_step(batch, Clock(1)))
    batch |= {f"{name}_landmarks": torch.rand(2, 68, 2) for name in ("source", "driving")}
    batch["driving_angles"] = torch.zeros(2, 3)
    with pytest.raises(UserError, match="--gan_regions face needs face_box"):
        next(family.training_step(batch, Clock(1)))
    batch["face_box"] = torch.tensor([[-0.5, -0.5, 0.5, 0.5]] * 2)
    name, terms = next(family.training_step(batch, Clock(1)))
    assert name == "animator" and {"gan", "matching", "guide", "headpose", "prior", "equivariance"} <= set(terms)
    assert all(torch.isfinite(term) for term in terms.values())


def test_the_cascade_sees_regions_and_names_its_terms():
    words = ["--perceptual_regions=whole,face,lips", "--region_size=48", "--batch_size=2"]
    opt = parse([f"--config={CONFIG}", *words], True)
    family = find_family("live_portrait")(opt, training=True)
    family.prepare_training(opt)
    made, real = (torch.rand(2, 3, 64, 64) for _ in range(2))
    batch = {"face_box": torch.tensor([[-1.0, -1, 1, 1]] * 2), "lips_box": torch.tensor([[-0.5, 0, 0.5, 1]] * 2)}
    terms = family.perceptual(made, real, batch)
    assert set(terms) == {"pixels", "pixels_face", "pixels_lips"}
    # What is wrong outside a region costs nothing there.
    outside = real.clone()
    outside[..., :24, :] = made[..., :24, :]
    wrong = family.perceptual(outside, real, batch)
    assert wrong["pixels_lips"] == 0 and wrong["pixels"] > 0
    with pytest.raises(UserError, match="--perceptual_regions face needs face_box"):
        family.perceptual(made, real, {})


def test_lists_of_guides_have_one_length():
    opt = parse([f"--config={CONFIG}", "--guide_points=1,2", "--guide_landmarks=30"], True)
    family = find_family("live_portrait")(opt, training=True)
    with pytest.raises(UserError, match="--guide_points names 2 points, --guide_landmarks 1"):
        family.prepare_training(opt)


def test_a_guided_point_is_pulled_to_its_landmark():
    words = ["--weight_guide=1", "--guide_points=4,9", "--guide_landmarks=30,8", "--weight_prior=0", "--batch_size=1",
             "--weight_deformation=0"]  # fmt: skip
    opt = parse([f"--config={CONFIG}", *words], True)
    family = find_family("live_portrait")(opt, training=True)
    family.prepare_training(opt)
    motion = random_motion(1)
    landmarks = torch.rand(1, 68, 2)
    landmarks[:, [30, 8]] = motion.points()[:, [4, 9], :2]
    batch = {f"{name}_landmarks": landmarks for name in ("source", "driving")}
    assert float(family.priors(motion, motion, batch)["guide"]) == pytest.approx(0, abs=1e-6)
    assert float(family.priors(motion, motion, {k: v + 0.1 for k, v in batch.items()})["guide"]) > 0.1


def test_pixels_are_copied_along_the_flow():
    """Untrained, with copying, the result is the source; and points that all move by a pixel move the picture."""
    opt = parse([f"--config={CONFIG}", "--copy_pixels", "--flow_kernel=3"], True)
    family = find_family("live_portrait")(opt, training=True)
    family.prepare_training(opt)
    family.eval()
    assert family.warping_module.dense_motion_network.mask.kernel_size == (3, 3, 3)
    picture = F.interpolate(torch.rand(2, 3, 8, 8), size=64, mode="bicubic").clamp(0, 1)
    with torch.no_grad():
        encoded, kp = family.encode(picture), family.motion_extractor(picture).points()
        assert (family.generate(encoded, kp, kp) - picture).abs().mean() < 0.05
        size = (8, 16, 16)
        shifted = volume_grid(size, like=kp).expand(2, -1, -1, -1, -1) + torch.tensor([4 / 63, 0, 0])
        painted = torch.cat([torch.zeros_like(picture), torch.ones_like(picture[:, :1])], dim=1)
        motion = DenseMotion(torch.zeros(0), shifted, torch.zeros(0))
        moved = with_source_pixels(painted, picture, motion)
    assert torch.allclose(moved[..., :-2], picture[..., 2:], atol=1e-4)


def test_copied_pixels_come_through_the_quick_form():
    family = build("--copy_pixels", "--flow_kernel=3")
    source, driving = {"image": torch.rand(1, 3, 64, 64)}, {"image": torch.rand(3, 3, 64, 64)}
    with torch.inference_mode():
        expected, _ = family.animate(family.encode_source(source), driving)
        family.prepare_inference()
        made, _ = family.animate(family.encode_source(source), driving)
    assert made.shape == (3, 3, 64, 64) and torch.allclose(made, expected, rtol=0, atol=1e-4)


def test_training_starts_from_released_weights(tmp_path, caplog):
    """Their names contain no number, so that training starts at step 0."""
    caplog.set_level("INFO")
    write_released(tmp_path, build(), "pth")
    opt = parse([f"--config={CONFIG}", "--batch_size=2"], True)
    family = find_family("live_portrait")(opt, training=True)
    family.prepare_training(opt)
    trainer = Trainer(family, Processes(torch.device("cpu")), Clock(20))
    continue_from(trainer, tmp_path, batch_size=2)
    assert trainer.clock.step == 0 and same(family, build())
    assert "its length of training is unknown" in caplog.text


def test_boxes_are_cropped():
    picture = torch.rand(2, 3, 32, 32)
    boxes = torch.tensor([[-1.0, -1.0, 0.0, 0.0], [0.0, -0.5, 1.0, 0.5]])
    cut = cut_boxes(picture, boxes, 16)
    assert torch.allclose(cut[0], picture[0, :, :16, :16], atol=1e-5)
    assert torch.allclose(cut[1], picture[1, :, 8:24, 16:], atol=1e-5)


# --- the quick forms --------------------------------------------------------------------------------------------------


def scattered_statistics(network):
    """Running statistics that folding has to heed."""
    for name, buffer in network.named_buffers():
        if "running_mean" in name:
            buffer.normal_(std=0.1)
        elif "running_var" in name:
            buffer.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("upscale", [1, 2])
def test_the_fast_generator_gives_the_same_pictures(upscale):
    generator = SpadeGenerator(upscale, 16, 32, 1, out_channels=12, hidden=20, num_middle_blocks=2).eval()
    label = torch.randn(2, 32, 6, 10)
    expected = generator(label).detach()
    with torch.inference_mode():
        assert torch.allclose(finish_generator(generator)(label), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("gradients", [False, True])
def test_the_fast_warping_gives_the_same_maps(gradients):
    sizes = {"motion_expansion": 4, "motion_num_blocks": 2, "compress": 2}
    module = scattered_statistics(WarpingModule(21, 4, 3, 8, 32, 1, **sizes))
    volume, source = torch.randn(2, 4, 3, 32, 32), 0.5 * torch.randn(2, 21, 3)
    driving = source + 0.1 * torch.randn(2, 21, 3)
    expected = module(volume, source, driving).detach()
    with torch.set_grad_enabled(gradients):
        made = finish_warping(module)(volume, source, driving)
    assert torch.allclose(made, expected, rtol=0, atol=2e-5)


def test_prepared_networks_make_the_same_frames():
    family, driving = scattered_statistics(build()), {"image": torch.rand(3, 3, 64, 64)}
    source = {"image": torch.rand(1, 3, 64, 64)}
    with torch.inference_mode():
        expected, _ = family.animate(family.encode_source(source), driving)
        family.prepare_inference()
        made, _ = family.animate(family.encode_source(source), driving)
        with torch.autocast("cpu", torch.bfloat16):
            rough, _ = family.animate(family.encode_source(source), driving)
    assert torch.allclose(made, expected, rtol=0, atol=1e-4)
    assert (rough.float() - expected).abs().mean() < 0.05
