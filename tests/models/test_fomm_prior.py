"""Facial prior: released entries, configurations, given points, magnified movements, spotting, and its dataset mode."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from browser import content_of
from nested_config import NESTED
from paths import ROOT
from reference.formula import image
from running import run
from scipy.linalg import fractional_matrix_power

from data import find_dataset
from data.augment import Augmentation
from data.faces.detector import Detector
from data.micro.curves import Marks, correlation, movement_chart, spot
from data.micro.prior_points import (
    DEFAULT_POINTS,
    MIRRORED,
    PointsFolder,
    find_points,
    mirrored,
    points_of_face,
    write_points,
)
from data.micro.spotting import Movement, SpottingPlot
from data.video import open_video, read_image, write_image
from engine.checkpoints.load import load_networks
from models import find_family
from models.fomm_prior.family import FacialPrior
from models.fomm_prior.magnification import magnified, power_2x2
from models.fomm_prior.networks import prior_mask
from models.parts.keypoints import KeyPoints
from models.parts.warps import product_2x2
from options import owner_of_weights, parse
from util.errors import UserError

CONFIGS = ROOT / "configs" / "fomm_prior"
TINY = ROOT / "configs" / "tiny" / "fomm_prior.yaml"
MANIFEST = json.loads((ROOT / "tests/reference/first_order/manifest.json").read_text())["facial-prior"]
SIZE = 64
JITTER = ("brightness", "contrast", "saturation", "hue")


def family(*words: str, config: Path = TINY) -> FacialPrior:
    opt = parse([f"--config={config}", *words], training=True)
    made = find_family(opt.model)(opt, training=True)
    made.prepare_training(opt)
    return made


def randomised(model: FacialPrior) -> FacialPrior:
    """Jacobians that are not the identity, as after training."""
    torch.nn.init.normal_(model.kp_detector.jacobian.weight, std=0.05)
    return model.eval()


def points(seed: int = 0) -> torch.Tensor:
    """The points of one face, somewhere in a picture."""
    return torch.from_numpy(DEFAULT_POINTS)[None] * SIZE / 256 + seed


def animated(model: FacialPrior, driving: torch.Tensor, pieces: int = 3) -> torch.Tensor:
    source = torch.from_numpy(image("source", (1, 3, SIZE, SIZE)))
    with torch.inference_mode():
        state, frames = model.encode_source({"image": source, "keypoint": points()}), []
        for piece in driving.split(pieces):
            made, state = model.animate(state, {"image": piece, "keypoint": points(3).expand(len(piece), -1, -1)})
            frames.append(made)
    return torch.cat(frames)


# --- released weights and configurations ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["casme2", "samm", "smic-hs", "mixed"])
def test_entries_and_shapes_are_those_of_the_released_weights(name):
    with torch.device("meta"):
        model = family("--no_perceptual", config=CONFIGS / f"{name}.yaml")
    for network, entries in MANIFEST.items():
        own = {key: list(value.shape) for key, value in getattr(model, network).state_dict().items()}
        assert list(own.items()) == list(entries.items())
    counts = [sum(p.numel() for p in network.parameters()) for network in (model.kp_detector, model.generator)]
    assert counts == [14_288_994, 45_685_959]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_has_known_options_only(path):
    resolved = vars(parse([f"--config={path}"], True)) | vars(parse([f"--config={path}"], False))
    assert set(yaml.safe_load(path.read_text())) <= set(resolved)


def nested(folder: Path, **changes) -> Path:
    """The original's YAML of this family: that of the first order model on VoxCeleb with some changes."""
    content = yaml.safe_load(NESTED)
    content["dataset_params"] |= {"root_dir": "dataset/mixed", "id_sampling": False, "pairs_list": None}
    content["dataset_params"]["augmentation_params"]["jitter_param"] = {"hue": 0.1}
    content["model_params"]["common_params"]["num_kp"] = 18
    content["model_params"]["discriminator_params"].pop("sn")
    content["train_params"] |= {"num_repeats": 50, "batch_size": 9}
    content["train_params"]["loss_weights"]["generator_gan"] = 1
    path = folder / "mixed.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("training", [True, False])
def test_a_nested_file_of_the_original_is_known_by_its_points(tmp_path, training):
    theirs = vars(parse([f"--config={nested(tmp_path)}"], training))
    ours = vars(parse([f"--config={CONFIGS / 'mixed.yaml'}"], training))
    assert theirs["model"] == "fomm_prior"
    assert {name for name in ours if theirs[name] != ours[name]} <= {"config", "strips"}
    plain = tmp_path / "vox.yaml"
    plain.write_text(NESTED)
    assert parse([f"--config={plain}"], training).model == "fomm"


def test_the_pairs_of_the_challenge():
    with (CONFIGS / "challenge.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18 and len({row["driving"] for row in rows}) == 9
    assert rows[0] == {"distance": "0", "source": "normalized_westernMale", "driving": "Surprise_007_7_1", "frame": "0"}


def test_other_points_than_eighteen_are_refused():
    with pytest.raises(UserError, match="18 points"):
        family("--num_kp=10")


@pytest.mark.parametrize(("given", "meant"), [("fomm", "fomm_prior"), ("fomm_prior", "fomm")])
def test_a_checkpoint_of_the_other_family_is_refused_by_its_name(tmp_path, given, meant):
    opt = parse([f"--config={ROOT / 'configs' / 'tiny' / given}.yaml"], training=False)
    states = {
        name: network.state_dict() for name, network in find_family(given)(opt, training=False).networks().items()
    }
    torch.save(states, tmp_path / "00000099-checkpoint.pth.tar")
    opt = parse([f"--config={ROOT / 'configs' / 'tiny' / meant}.yaml"], training=False)
    with pytest.raises(UserError, match=f"checkpoint of the family {given}: load it with --model {given} "):
        load_networks(
            find_family(meant)(opt, training=False), tmp_path / "00000099-checkpoint.pth.tar", owner=owner_of_weights
        )


# --- given points -----------------------------------------------------------------------------------------------------


def test_the_mask_is_largest_a_pixel_above_and_left_of_a_point():
    mask = prior_mask(torch.tensor([[[20.0, 30.0]]]), (64, 64))
    assert mask.shape == (1, 1, 64, 64) and mask.max() == 1
    assert divmod(int(mask.argmax()), 64) == (29, 19)
    assert 0.2 < (mask == 0).double().mean() < 0.8, "what is below the mean is cut off"


def test_motion_is_in_the_jacobians_alone():
    model, used = randomised(family()), []
    model.generator.register_forward_hook(lambda module, args, out: used.append(args[1:]))
    animated(model, torch.rand(5, 3, SIZE, SIZE))
    for source, driving in used:
        assert torch.equal(driving.value, source.value.expand_as(driving.value))
        assert torch.equal(source.value, 2 * points() / SIZE - 1)
    assert not torch.allclose(used[-1][1].jacobian, used[-1][0].jacobian, atol=1e-3)


def test_values_derived_from_the_points_are_computed_once_per_video(monkeypatch):
    model, calls = family().eval(), []
    prior = model.kp_detector.prior
    monkeypatch.setattr(model.kp_detector, "prior", lambda *given: calls.append(given) or prior(*given))
    animated(model, torch.rand(7, 3, SIZE, SIZE), pieces=2)
    assert len(calls) == 2, "one for the source, one for the driving video"


def test_training_gives_source_driving_and_transformed_frame_the_same_points():
    model, seen = family("--weight_generator_gan=1"), []
    model.kp_detector.register_forward_hook(lambda module, args, out: seen.append(out.value))
    batch = {name: torch.rand(2, 3, SIZE, SIZE) for name in ("source", "driving")}
    batch["keypoint"] = torch.cat([points(), points(2)])
    for _, terms in model.training_step(batch, clock=None):
        sum(terms.values()).backward()
    assert len(seen) == 3 and all(torch.equal(value, seen[0]) for value in seen)


def test_half_precision_keeps_the_detector_exact():
    model, frame = randomised(family()), torch.rand(1, 3, SIZE, SIZE)
    prior = model.kp_detector.prior(points(), (SIZE, SIZE))
    exact = model.kp_detector(frame, prior)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(model.kp_detector(frame, prior), exact)


def test_preparing_for_inference_keeps_the_frames():
    model, driving = randomised(family()), torch.rand(3, 3, SIZE, SIZE)
    expected = animated(model, driving)
    model.prepare_inference()
    torch.testing.assert_close(animated(model, driving), expected, atol=2e-5, rtol=0)


@pytest.mark.slow
def test_the_networks_are_one_graph_for_the_compiler():
    model, driving = randomised(family("--magnify=2")), torch.rand(3, 3, SIZE, SIZE)
    expected = animated(model, driving)
    for network in (model.generator, model.kp_detector):
        network.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(animated(model, driving), expected)


# --- magnified movements ----------------------------------------------------------------------------------------------


def matrices() -> torch.Tensor:
    """Matrices with a real logarithm: near the identity, turning, stretching, shearing, defective."""
    torch.manual_seed(0)
    near = torch.eye(2, dtype=torch.float64) + 0.3 * torch.randn(40, 2, 2, dtype=torch.float64)
    eigenvalues = torch.linalg.eigvals(near)
    near = near[(eigenvalues.real > 0.05).all(-1)]
    special = [[[0.0, -1], [1, 0]], [[-0.5, -1], [1, -0.5]], [[2, 0], [0, 0.5]], [[1, 0.7], [0, 1]], [[1, 0], [0, 1]]]
    return torch.cat([near, torch.tensor(special, dtype=torch.float64)])


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0, 3.7, -1.0])
def test_powers_are_those_of_scipy(exponent):
    given = matrices()
    expected = np.stack([fractional_matrix_power(matrix, exponent) for matrix in given.numpy()]).real
    np.testing.assert_allclose(power_2x2(given, exponent).numpy(), expected, atol=1e-6, rtol=1e-6)


def test_a_matrix_without_logarithm_moves_along_a_line():
    mirror = torch.tensor([[-1.0, 0], [0, 1]])
    torch.testing.assert_close(power_2x2(mirror, 2.0), torch.tensor([[-3.0, 0], [0, 1]]))
    assert torch.isfinite(power_2x2(torch.tensor([[[0.0, 0], [0, 0]], [[1, 1], [1, 1]]]), 3.0)).all()


def test_magnifying_by_three_repeats_the_movement_three_times():
    initial, driving = (KeyPoints(torch.rand(1, 18, 2), torch.eye(2) + 0.2 * torch.rand(1, 18, 2, 2)) for _ in range(2))
    once = product_2x2(driving.jacobian, torch.linalg.inv(initial.jacobian))
    larger = magnified(driving, initial, 3.0)
    torch.testing.assert_close(larger.jacobian, once @ once @ once @ initial.jacobian, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(larger.value - initial.value, 3 * (driving.value - initial.value))
    torch.testing.assert_close(magnified(driving, driving, 5.0).jacobian, driving.jacobian)


def test_movements_that_are_measured_are_not_magnified():
    opt = parse([f"--config={TINY}", "--magnify=5", "--mode=reconstruction"], training=False)
    with pytest.raises(UserError, match="--magnify 5 --mode reconstruction: .*--magnify 1"):
        find_family(opt.model)(opt, training=False)


def test_magnify_reaches_the_generator():
    torch.manual_seed(0)
    plain, driving, used = randomised(family()), torch.rand(4, 3, SIZE, SIZE), {}
    for factor in ("1", "3"):
        model = family(f"--magnify={factor}").eval()
        model.load_state_dict(plain.state_dict())
        jacobians = used.setdefault(factor, [])
        hook = lambda module, args, out, jacobians=jacobians: jacobians.append((args[1].jacobian, args[2].jacobian))  # noqa: E731
        model.generator.register_forward_hook(hook)
        animated(model, driving, pieces=4)
    ((source, once),), ((_, larger),) = used["1"], used["3"]
    change = once @ torch.linalg.inv(source)
    torch.testing.assert_close(larger, change @ change @ change @ source, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(larger[:1], source, atol=1e-4, rtol=1e-4)


# --- points of the dataset mode ---------------------------------------------------------------------------------------


def test_mirrored_points_are_the_points_of_the_mirrored_face():
    landmarks = np.random.default_rng(0).uniform(0, 99, (68, 2)).astype(np.float32)
    others = {19: 24, 27: 27, 38: 43, 39: 42, 41: 46, 48: 54, 55: 59, 57: 57, 31: 35}
    others |= {there: here for here, there in others.items()}
    face = landmarks.copy()
    for here, there in others.items():
        face[here] = (99 - landmarks[there][0], landmarks[there][1])
    np.testing.assert_allclose(points_of_face(face), mirrored(points_of_face(landmarks), 100), atol=1e-4)
    assert sorted(MIRRORED) == list(range(18))


@pytest.fixture
def root(tmp_path):
    """Clips of two frames whose first pixels tell them, with their points."""
    picture = np.rint(200 * np.moveaxis(image("face", (3, SIZE, SIZE)), 0, -1)).astype(np.uint8)
    for index, name in enumerate(("train/a", "train/b", "test/c", "test/d")):
        for frame in range(3):
            write_image(tmp_path / name / f"{frame:05d}.png", picture + 10 * frame)
        write_points(tmp_path / "keypoint_folder" / f"{name[-1]}.pt", points(index)[0].numpy())
    marks = "name,onset,apex,offset\nc,0,1,2\nd,0,,2\n"
    (tmp_path / "clips.csv").write_text(marks)
    return tmp_path


def dataset(root: Path, *words: str, training: bool = True):
    opt = parse([f"--config={TINY}", f"--dataroot={root}", *words], training)
    return find_dataset(opt.dataset_mode)(opt, training)


def test_a_training_item_has_the_points_of_its_clip(root):
    data = dataset(root, "--horizontal_flip=no", "--num_repeats=1")
    item = data[1]
    assert item["name"] == "b" and item["keypoint"].dtype == torch.float32
    torch.testing.assert_close(item["keypoint"], points(1)[0])
    assert torch.equal(dataset(root, "--load_size=128", "--horizontal_flip=no")[0]["keypoint"], 2 * points(0)[0])


@pytest.mark.parametrize(("words", "follow"), [((), True), (("--original_flips",), False)])
def test_points_are_mirrored_with_the_pictures(root, monkeypatch, words, follow):
    data = dataset(root, "--time_flip=no", *(f"--jitter_{kind}=0" for kind in JITTER), *words)
    monkeypatch.setattr(Augmentation, "draw_flip", lambda self: "mirror")
    item, straight = data[0], points()[0]
    assert torch.equal(item["keypoint"], torch.from_numpy(mirrored(straight.numpy(), SIZE)) if follow else straight)
    first = torch.from_numpy(read_image(root / "train" / "a" / "00000.png")).permute(2, 0, 1) / 255
    assert item["source"][0].argmax() == first.flip(2)[0].argmax()


class TwoFaces(Detector):
    """Finds a small face after a large one in every frame but the first."""

    def find(self, frames, near=False):
        boxes = [np.array([20.0, 20, 220, 220]), np.array([5.0, 5, 45, 45])]
        return [[(box, 1.0) for box in boxes] if frame.any() else [] for frame in frames]

    def landmarks_of(self, frames, boxes):
        return [[np.tile(box[:2], (68, 1)) for box in row] for row in boxes]


def test_the_largest_face_counts_or_the_last_as_for_the_original():
    frames = [np.zeros((256, 256, 3), np.uint8), np.ones((256, 256, 3), np.uint8)]
    found, remark = find_points(iter(frames), TwoFaces(), name="x")
    assert np.all(found == 20) and remark == "no face before frame 1"
    assert np.all(find_points(frames[1:], TwoFaces(), name="x", last=True)[0] == 5)
    small = [frame[:64, :64] for frame in frames]
    assert np.all(find_points(small, TwoFaces(), name="x")[0] == 5), "small frames are searched at a larger size"


def test_files_of_points_are_found_by_the_exact_name_first(root):
    folder = PointsFolder(root / "keypoint_folder")
    write_points(folder.folder / "SAMM_xyz_long.pt", DEFAULT_POINTS)
    folder = PointsFolder(folder.folder)
    assert np.array_equal(folder.read("xyz"), DEFAULT_POINTS), "by a name that contains the clip's, as the original"
    assert np.allclose(folder.read("a"), points(0)[0])
    write_points(folder.folder / "other_xyz.pt", DEFAULT_POINTS)
    with pytest.raises(UserError, match="no xyz.pt.*several.*kpmaker"):
        PointsFolder(folder.folder).read("xyz")


def test_files_of_the_original_are_read_and_others_refused_by_name(root):
    place = root / "keypoint_folder" / "a.pt"
    torch.save(torch.from_numpy(DEFAULT_POINTS)[None].requires_grad_(), place)
    folder = PointsFolder(place.parent)
    assert np.array_equal(folder.read("a"), DEFAULT_POINTS)
    for content, said in ((torch.zeros(68, 2), "18, 2"), (torch.full((18, 2), torch.nan), "finite"), (print, "a.pt")):
        torch.save(content, place)
        with pytest.raises(UserError, match=said):
            folder.read("a")


def test_a_clip_without_points_is_reported_before_training(root):
    (root / "keypoint_folder" / "b.pt").unlink()
    with pytest.raises(UserError, match=r"no b\.pt .*script/kpmaker\.py"):
        dataset(root)
    (root / "train" / "b").rename(root / "train" / "b#1.mp4")
    with pytest.raises(UserError, match=r"no b#1\.mp4\.pt "):
        dataset(root)
    (root / "train" / "b#1.mp4").rename(root / "elsewhere")
    (root / "train" / "b#1.mp4").touch()
    with pytest.raises(UserError, match=r"no b#1\.pt "):
        dataset(root)
    with pytest.raises(UserError, match="no such folder; make it with script/kpmaker.py"):
        dataset(root, "--keypoint_folder=nowhere")
    with pytest.raises(UserError, match="--rotation_degrees moves the face away"):
        dataset(root, "--rotation_degrees=10")


def test_test_clips_have_points_and_the_coded_marks(root):
    data = dataset(root, "--dataset_mode=frames_prior", training=False)
    clips = {clip.name: clip for clip in data.clips()}
    clip = clips["c-d"]
    assert clip.fps == 100 and clip.coded == Marks(0, 1, 2)
    torch.testing.assert_close(clip.source["keypoint"], points(3)[0])
    items = list(clip.driving)
    assert len(items) == 3
    torch.testing.assert_close(items[2]["keypoint"], points(2)[0])
    assert clips["d-c"].coded == Marks(0, None, 2)


def test_only_clips_that_are_animated_need_points(root):
    (root / "keypoint_folder" / "c.pt").unlink()
    (root / "pairs.csv").write_text("source,driving\nd,d\n")
    data = dataset(root, f"--pairs_list={root / 'pairs.csv'}", training=False)
    assert [clip.name for clip in data.clips()] == ["d-d"]
    with pytest.raises(UserError, match=r"no c\.pt"):
        list(dataset(root, training=False).clips())
    with pytest.raises(UserError, match="no such folder; make it with script/kpmaker.py"):
        list(dataset(root, "--keypoint_folder=nowhere", training=False).clips())


@pytest.mark.parametrize(
    ("table", "coded", "said"),
    [
        ("name,onset,apex,offset\nc,0.0, 1 ,2.0\nd,-,1,2\n", Marks(0, 1, 2), "clips.csv: d: '-' is not a whole number"),
        ("\ufeffname,onset,apex,offset\nc,0,,2\nd,1,x,2\n", Marks(0, None, 2), "clips.csv: d: 'x' is not a whole"),
        ("clip;onset;apex;offset\nc;0;1;2\n", None, "clips.csv: no column name (available: clip;onset;apex;offset)"),
        ("", None, "clips.csv: is empty"),
    ],
)
def test_invalid_marks_are_skipped_with_a_warning(root, caplog, table, coded, said):
    (root / "clips.csv").write_text(table)
    clips = {clip.name: clip for clip in dataset(root, training=False).clips()}
    assert clips["c-d"].coded == coded and clips["d-c"].coded is None
    assert said in caplog.text and len(caplog.records) == 1


def test_points_are_found_where_nothing_has_them(sample):
    data = dataset(sample, training=False)
    with open_video(next((sample / "test").glob("*.mp4"))) as video:
        frames = list(video)
    with np.load(next((sample / "truth").glob(f"{video.path.stem}.npz"))) as truth:
        expected = points_of_face(truth["landmarks"][0])
    source = data.source_item(frames[:1])
    found = source["keypoint"].numpy()
    eyes = expected[6, 0] - expected[4, 0]
    assert np.linalg.norm(found - expected, axis=1).mean() < 0.3 * eyes
    items = list(data.driving_items(iter(frames), source))
    assert len(items) == len(frames) and torch.equal(items[-1]["keypoint"], items[0]["keypoint"])
    empty = np.zeros_like(frames[0])
    with pytest.raises(UserError, match="source picture: no face found; .*--crop_image, or .*--default_points"):
        data.source_item([empty])
    with pytest.raises(UserError, match="driving video: no face in its first 2 frames; crop it with --crop_video"):
        next(data.driving_items([empty] * 2, source))
    stored = dataset(sample, "--default_points", training=False).source_item([empty])["keypoint"]
    torch.testing.assert_close(stored, points()[0])


# --- spotting ---------------------------------------------------------------------------------------------------------


def test_marks_of_a_movement():
    time = np.arange(40)
    curve = np.clip(np.minimum(time - 10, 30 - time) / 10, 0, None)
    onset, apex, offset = spot(curve)
    assert apex == 20 and abs(onset - 10) <= 1 and abs(offset - 30) <= 1
    assert spot(np.zeros(9)) == Marks(None, None, None) and spot([]) == Marks(None, None, None)
    assert correlation(curve, 3 * curve + 1) == pytest.approx(1) and correlation(curve, np.zeros(40)) == 0


def moved(picture: np.ndarray, shift: float, place: slice) -> np.ndarray:
    """A picture of which some rows are shifted to the right."""
    columns = np.clip(np.arange(SIZE) - shift, 0, SIZE - 1)
    low, share = np.floor(columns).astype(int), (columns % 1)[:, None]
    out = picture.astype(float)
    out[place] = (1 - share) * out[place][:, low] + share * out[place][:, np.minimum(low + 1, SIZE - 1)]
    return out.round().astype(np.uint8)


def test_head_motion_is_subtracted_from_face_motion():
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(60, 200, (16, 16, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    shifts = [0.0, 1.0, 2.0, 1.0, 0.0]
    curves = {}
    for name, rows in {"mouth": slice(40, 48), "head": slice(None)}.items():
        movement = Movement(points()[0].numpy())
        for shift in shifts:
            movement.add(moved(picture, shift, rows))
        curves[name] = movement.curve
    assert np.argmax(curves["mouth"]) == 2 and curves["mouth"][2] > 0.1 > 10 * curves["mouth"][0]
    assert max(curves["head"]) < 0.6 * max(curves["mouth"])


def test_the_chart_shows_both_curves(tmp_path):
    driving, made = (
        torch.rand(5, 3, SIZE, SIZE),
        np.random.default_rng(0).integers(0, 255, (5, SIZE, SIZE, 3), np.uint8),
    )
    path = tmp_path / "x_spotting.png"
    with SpottingPlot(path, points()[0].numpy(), Marks(0, 2, None)) as plot:
        for frame, picture in zip(driving, made, strict=True):
            plot.write({"image": frame, "keypoint": points()[0]}, picture)
    colours = {tuple(pixel) for pixel in read_image(path).reshape(-1, 3)}
    assert {(31, 98, 178), (214, 98, 20)} <= colours
    assert movement_chart("still", "px", {"driving": [0.0] * 3, "result": [0.0] * 3}).ndim == 3
    with pytest.raises(RuntimeError), SpottingPlot(tmp_path / "none.png", points()[0].numpy()) as plot:
        raise RuntimeError
    assert not (tmp_path / "none.png").exists()


def test_every_video_gets_its_plot_a_single_one_too(root, tmp_path):
    for words in ((), ("--output=one.mp4",)):
        data = dataset(root, *words, training=False)
        with data.companion(next(data.clips()), tmp_path / "one.mp4") as plot:
            assert plot.path == tmp_path / "one_spotting.png"
    assert dataset(root, "--spotting=no", training=False).companion(None, tmp_path / "one.mp4").__enter__() is None


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_train_and_animate_into_the_folder_of_the_checkpoint(root):
    tiny = f"--config={TINY}"
    run(root, tiny, f"--dataroot={root}", "--steps=2", "--batch_size=2", "--name=micro", "--gpu_id=-1", "--visdom=no")
    (root / "pairs.csv").write_text("distance,source,driving,frame\n0,c,d,0\n0,d,c,0\n")
    checkpoint = root / "result" / "micro" / "00000002-checkpoint.pth.tar"
    arguments = ["--mode=animate", f"--checkpoint={checkpoint}", "--pairs_list=pairs.csv", "--strips", "--magnify=2"]
    run(root, tiny, f"--dataroot={root}", *arguments, "--cpu", script="test.py")
    folder = checkpoint.parent / "animation"
    for name in ("d-c", "c-d"):
        with open_video(folder / f"{name}.mp4") as video:
            assert len(video) == 3 and video.fps == 100
        assert read_image(folder / "png" / f"{name}.png").shape == (SIZE, 3 * SIZE, 3)
        assert read_image(folder / f"{name}_spotting.png").ndim == 3
        assert f"{name}_spotting.png" in [one["beside"] for one in content_of(folder / "index.html")["results"]]
