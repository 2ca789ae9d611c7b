"""Few-shot talking heads: the mini language, released files, traps of the data, and the commands from end to end."""

import csv
import json
import os
import pickle
import shutil
import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from paths import ROOT
from PIL import Image
from torch.utils.data import default_collate

from data.base import to_tensor
from data.faces.detector import Detector
from data.faces.file_detector import face_of
from data.jobs.pairs import RequestedClips
from data.person import PersonDataset
from data.talking.drawing import draw_landmarks
from data.talking.files import read_frame_landmarks
from data.talking.frames import fitted, mirrored
from data.talking_head import TalkingHeadDataset, choose_frames
from data.video import open_video, write_image
from engine.checkpoints.load import load_networks
from engine.checkpoints.save import continue_from
from engine.clock import Clock
from engine.distributed import Processes
from engine.finite import NotFinite
from engine.trainer import Trainer, move
from models.talking_head.family import TalkingHead
from models.talking_head.layers import Flow, build_layers
from models.talking_head.losses import Content, Objective, Pixels, joint_updates, separate_updates
from models.talking_head.networks import BatchRows, Discriminator, Embedder, Generator, pair
from options import parse, run_folder
from options.pairs import pair_settings, requests
from script import finetune_persons
from script.finetune_persons import find_persons
from util.errors import UserError
from util.layer_language import body

TINY = ROOT / "configs" / "tiny"


# --- networks ---------------------------------------------------------------------------------------------------------


def test_bodies_are_read_from_text_and_lists():
    assert body("D 64 9 2, I, A 8") == body([["D", 64, 9, 2], ["I"], ["A", 8]]) == [["D", 64, 9, 2], ["I"], ["A", 8]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("D 64 9 2, X 3", r"layer 1 \(X 3\): choose from D, U"),
        ("D 64 9", r"layer 0 \(D 64 9\): D takes channels, kernel, pooling"),
        ("D 64 3 0", "numbers begin at 1"),
        ("D 64 many 2", "not a whole number"),
    ],
)
def test_wrong_layer_names_are_reported(text, message):
    with pytest.raises(ArgumentTypeError, match=message):
        body(text)


@pytest.mark.parametrize(
    ("text", "size", "message"),
    [
        ("D 8 3 3", 16, r"layer 0 \(D 8 3 3\): a map of 16 x 16 can't be pooled by 3"),
        ("D 8 4 2", 16, "the kernel must be odd"),
        ("D 8 3 2, BA 12 3", 16, r"layer 1 \(BA 12 3\): it adds to its input, which has 8 channels, not 12"),
        ("D 4 3 2, A", 16, "attention needs at least 8 input channels, not 4"),
        ("D 8 3 16, BA 8 3", 16, "a 1 x 1 map"),
    ],
)
def test_impossible_layers_are_named_when_built(text, size, message):
    with pytest.raises(UserError, match=message):
        build_layers(body(text), Flow(3, size), network="generator")


def test_invalid_bodies_are_refused():
    with pytest.raises(UserError, match="the last layer gives 8 channels of 8 x 8"):
        Generator(body("D 8 3 2, BA 8 3"), 8, 16)
    with pytest.raises(UserError, match="the person has no influence"):
        Generator(body("D 3 3 1"), 8, 16)
    with pytest.raises(UserError, match="allows D, B, I, A"):
        Embedder(body("D 8 3 2, BA 8 3"), 8, 16)
    with pytest.raises(UserError, match="--embedding_dim is 16"):
        Embedder(body("D 8 3 2"), 16, 16)


def test_entry_names_are_the_released_ones():
    manifest = json.loads((ROOT / "tests/reference/talking_head/manifest.json").read_text())["networks"]
    opt = parse(["--model=talking_head", "--content=pixels"], training=True)
    personal = parse(["--model=talking_head_finetune", "--init_from=x", "--content=pixels"], training=True)
    with torch.device("meta"):
        family = TalkingHead(opt, training=True)
        family.prepare_training(opt)
        generator = Generator(personal.generator_layers, 512, 256, personal=True)
        discriminator = Discriminator(personal.discriminator_layers, 512, 256, rows=None)
    networks = {**family.networks(), "finetune_generator": generator, "finetune_discriminator": discriminator}
    for name, network in networks.items():
        expected = {key: shape for key, shape in manifest[name].items() if key != "embedding.weight"}
        assert {key: list(value.shape) for key, value in network.state_dict().items()} == expected, name


def tiny_family(*words, training=True):
    size = ["--batch_size=2"] if training else []
    opt = parse([f"--config={TINY / 'talking_head.yaml'}", *size, *words], training)
    family = TalkingHead(opt, training)
    if training:
        family.prepare_training(opt)
    return family


def test_a_personal_model_starts_as_the_meta_trained_one():
    family, rows = tiny_family(), torch.rand(1, 64)
    pictures, landmarks = torch.rand(1, 3, 3, 64, 64), torch.rand(1, 3, 3, 64, 64)
    with torch.no_grad():
        state = family.eval().encode_source({"pictures": pictures, "landmarks": landmarks})
        before, _ = family.animate(state, {"landmarks": landmarks[0]})
        family.discriminator.embedding.weight[:1] = rows
        score = family.discriminator(pair(pictures[0, :1], landmarks[0, :1]), torch.tensor([0])).scores
        family.generator.personalise(family.embed(pictures, landmarks).mean(1))
        family.discriminator.personalise(rows)
        torch.testing.assert_close(family.generator(landmarks[0], family.generator.adain), before)
        torch.testing.assert_close(family.discriminator(pair(pictures[0, :1], landmarks[0, :1])).scores, score)


def test_learning_rates_are_constant_by_default():
    clock, always, falling = Clock(10), tiny_family(), tiny_family("--lr_steps=100,50")
    for step, expected in ((0, 1.0), (99, 1.0), (125, 0.5), (150, 0.0)):
        clock.step = step
        assert always.rate("animator", clock) == 1.0
        assert falling.rate("discriminator", clock) == expected


def test_separate_updates_reach_only_their_networks():
    """The rows alone get the matching loss in the discriminator; the adversary reaches the generator."""
    discriminator = Discriminator(body("D 8 3 2, D 8 3 2"), 8, 16, rows=BatchRows(2, 8))
    real, landmarks, fake = (
        torch.rand(2, 3, 16, 16),
        torch.rand(2, 3, 16, 16),
        torch.rand(2, 3, 16, 16, requires_grad=True),
    )
    embeddings = torch.rand(2, 3, 8, requires_grad=True)
    objective = Objective(Content({"pixels": Pixels()}, {"pixels": 1.0}), 10, 80)

    def judge(picture):
        return discriminator(pair(picture, landmarks), torch.tensor([0, 1]))

    steps = list(separate_updates(objective, judge, real, fake, embeddings))
    assert [names for names, *_ in steps] == ["animator", "discriminator", "discriminator"]
    (_, terms, report), (_, second, _), (_, third, last) = steps
    assert {"l_pixels", "l_cnt", "l_adv", "l_fm", "l_mch", "l_eg"} == set(report)
    assert set(second) == {"l_d", "l_mch"} and set(third) == {"l_d2"} and set(last) == {"l_d2", "score", "score_hat"}
    assert torch.autograd.grad(terms["l_adv"], fake, retain_graph=True)[0].abs().sum() > 0
    rows, first = discriminator.embedding.weight, discriminator.layers[0].conv_l.weight_orig
    row_gradient, body_gradient = torch.autograd.grad(second["l_mch"], [rows, first], allow_unused=True)
    assert row_gradient.abs().sum() > 0 and body_gradient is None
    joint = list(joint_updates(objective, judge, real, fake, embeddings))
    assert [names for names, *_ in joint] == [("animator", "discriminator"), "discriminator"]


def test_the_adversarial_terms_of_the_original_cancel_inside_the_margin():
    discriminator = Discriminator(body("D 8 3 2"), 8, 16, rows=None)
    picture = torch.rand(1, 3, 16, 16, requires_grad=True)
    objective = Objective(Content({"pixels": Pixels()}, {"pixels": 0.0}), 0.0)
    names, terms, _ = next(
        joint_updates(objective, lambda x: discriminator(pair(x, x)), picture.detach(), picture, None)
    )
    (gradient,) = torch.autograd.grad(sum(terms.values()), picture)
    assert gradient.abs().max() == 0


# --- released files ---------------------------------------------------------------------------------------------------


def as_list(family):
    states = [dict(getattr(family, name).state_dict()) for name in ("generator", "embedder", "discriminator")]
    states[2]["embedding.weight"] = torch.rand(5, 64)
    return [2, 7, 1234, *states]


def test_a_list_of_the_original_is_read_without_running_code(tmp_path):
    family, other = tiny_family(), tiny_family()
    torch.save(as_list(family), tmp_path / "save_1234.pkl", _use_new_zipfile_serialization=False)
    load_networks(other, tmp_path / "save_1234.pkl")
    for name, value in family.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@pytest.mark.parametrize("with_optimizers", [True, False])
def test_training_resumes_from_a_list_of_the_original(with_optimizers, tmp_path, caplog):
    """Its optimizers remember all embeddings of its videos, which the rows of a step have no use for."""
    content = as_list(tiny_family())
    if with_optimizers:
        for optimizer in tiny_family().optimizers().values():
            for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
                parameter.grad = torch.ones_like(parameter)
            optimizer.step()
            content.append(optimizer.state_dict())
        row = max(content[7]["state"], key=lambda key: content[7]["state"][key]["exp_avg"].shape == (2, 64))
        content[7]["state"][row] |= {name: torch.ones(5, 64) for name in ("exp_avg", "exp_avg_sq")}
    torch.save(content, tmp_path / "save_1234.pkl")
    trainer = Trainer(tiny_family(), Processes(torch.device("cpu")), Clock(20), folder=tmp_path)
    trainer.family.needed = frozenset({"embedder", "generator"})
    continue_from(trainer, tmp_path / "save_1234.pkl", batch_size=2)
    assert (trainer.clock.step, trainer.clock.samples) == (1235, 2470)
    steps = {name: len(optimizer.state_dict()["state"]) > 0 for name, optimizer in trainer.optimizers.items()}
    assert steps == dict.fromkeys(("animator", "discriminator"), with_optimizers)
    assert "reinitialising the rows of videos" in caplog.text
    assert ("resetting the optimizer of animator" in caplog.text) is not with_optimizers


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"E_state_dict": {}, "G_state_dict": {}}, "second implementation .* leaky ReLUs"),
        ([1, 2, 3], "not a save_N.pkl"),
        ({"generator": {}}, "lacks the entries"),
    ],
)
def test_other_files_are_refused_with_the_reason(content, message, tmp_path):
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(UserError, match=message):
        load_networks(tiny_family(training=False), tmp_path / "file.pth")


# --- data -------------------------------------------------------------------------------------------------------------


def face_points(shift=0.0):
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    return (np.stack([128 + 60 * np.cos(angle), 128 + 70 * np.sin(angle)], 1) + shift).astype(np.float32)


def make_video(folder, frames=5, with_faces=None, width=48, suffix=".png"):
    """A video folder in the layout of the preparation, whose frames are identified by their grey value."""
    folder.mkdir(parents=True)
    for index in range(frames):
        grey = np.full((32, width, 3), 20 * (index + 1), np.uint8)
        Image.fromarray(grey).save(folder / f"{index}{suffix}")
    known = range(frames) if with_faces is None else with_faces
    names = np.array([f"{index}{suffix}" for index in known], dtype="U10")
    points = np.array([face_points(index) for index in known], np.float32).reshape(-1, 68, 2)
    np.savez(folder / "metadata.npz", names=names, landmarks=points, size=256, frames=frames)


def dataset(root, training=True, **changes):
    opt = {
        "dataroot": str(root),
        "image_size": 32,
        "shots": 3,
        "fit": "squash",
        "random_flip": False,
        "retarget": False,
    }
    return TalkingHeadDataset(SimpleNamespace(**opt | changes), training)


def test_the_target_is_never_among_the_pictures(tmp_path):
    """README 17.22; also where a video has fewer frames than are wanted."""
    for count in (2, 3, 4, 9):
        for _ in range(20):
            target, *others = choose_frames(count, 8)
            assert len(others) == 8 and target not in others
    make_video(tmp_path / "a" / "v", frames=3)
    item = dataset(tmp_path)[0]
    shown = {int(picture.float().mean()) for picture in item["pictures"]}
    assert int(item["target"].float().mean()) not in shown and len(shown) == 2


def test_items_have_the_documented_shapes_and_ranges(tmp_path):
    make_video(tmp_path / "a" / "v")
    item = dataset(tmp_path)[0]
    assert item["video"] == 0
    assert item["pictures"].shape == item["landmarks"].shape == (3, 3, 32, 32)
    assert item["target"].shape == item["target_landmarks"].shape == (3, 32, 32)
    assert all(item[key].dtype == torch.uint8 for key in item if key != "video")
    batch = move(default_collate([item, item]), torch.device("cpu"), channels_last=False)
    assert torch.equal(batch["video"], torch.tensor([0, 0])) and batch["target"].shape == (2, 3, 32, 32)
    assert np.array_equal(batch["pictures"][1], item["pictures"].numpy() / np.float32(255))


def test_mirroring_leaves_the_points_as_they_were():
    """README 17.20: a frame that is drawn twice would start with mirrored points the second time."""
    points = face_points()
    before, picture = points.copy(), np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    turned, moved = mirrored(picture, points)
    assert np.array_equal(points, before)
    assert np.array_equal(turned[:, ::-1], picture)
    assert np.array_equal(mirrored(turned, moved)[1], before)


def test_videos_without_faces_are_skipped_and_reported(tmp_path, caplog):
    """README 17.21 and 17.19: no hang on them, and strays are no videos."""
    make_video(tmp_path / "a" / "good")
    make_video(tmp_path / "a" / "faceless", with_faces=[])
    make_video(tmp_path / "b" / "single", with_faces=[2])
    (tmp_path / "b" / "unprepared").mkdir()
    make_video(tmp_path / "b" / "broken")
    (tmp_path / "b" / "broken" / "metadata.npz").write_bytes(b"PK cut off")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").write_text("stray")
    made = dataset(tmp_path)
    assert made.videos == ["a/good"]
    assert "skipped 4 of 5 videos" in caplog.text and "a face in 1 frames" in caplog.text
    shutil.rmtree(tmp_path / "a" / "good")
    with pytest.raises(UserError, match="extract_landmarks.py"):
        dataset(tmp_path)


def test_test_persons_are_kept_apart(tmp_path):
    make_video(tmp_path / "train" / "a" / "v")
    with pytest.raises(UserError, match="move the test persons|no such"):
        dataset(tmp_path / "train", training=False).jobs()
    make_video(tmp_path / "test" / "b" / "v", frames=6)
    assert dataset(tmp_path).videos == ["a/v"]
    (clip,) = dataset(tmp_path, training=False).clips()
    assert clip.source["pictures"].shape[0] == 3 and clip.length == len(list(clip.driving)) == 3


@pytest.mark.parametrize("spoil", [
    lambda whole: whole[:100],
    lambda whole: whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 4]) + whole[len(whole) // 2 + 1 :],
    lambda whole: b"PK" + whole[2:60] + bytes(200),
    lambda whole: b"",
])  # fmt: skip
def test_a_video_with_damaged_landmarks_is_skipped(tmp_path, caplog, spoil):
    for person in "ab":
        make_video(tmp_path / "train" / person / "v")
    path = tmp_path / "train" / "a" / "v" / "metadata.npz"
    path.write_bytes(spoil(path.read_bytes()))
    assert dataset(tmp_path).videos == ["b/v"]
    assert "skipped 1 of 2 videos: a/v" in caplog.text and "metadata.npz: not readable as landmarks" in caplog.text


def test_frames_of_landmarks_are_in_their_folder(tmp_path):
    video = make_video(tmp_path / "train" / "a" / "v") or tmp_path / "train" / "a" / "v"
    np.savez(video / "metadata.npz", names=np.array(["../../x.png"]), landmarks=np.zeros((1, 68, 2)), size=256)
    with pytest.raises(UserError, match="frames called '../../x.png'"):
        read_frame_landmarks(video / "metadata.npz")


def test_old_pickles_are_read_and_hostile_ones_refused(tmp_path):
    rows = [("2.jpg", face_points(2)), ("1.jpg", face_points(1))]
    for protocol in (0, 2, 4, 5):
        (tmp_path / "metadata.pkl").write_bytes(pickle.dumps(rows, protocol=protocol))
        known = read_frame_landmarks(tmp_path / "metadata.pkl")
        assert known.names == ["1.jpg", "2.jpg"] and known.size == 256
        np.testing.assert_array_equal(known.points[0], face_points(1))

    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'owned'}",)

    (tmp_path / "metadata.pkl").write_bytes(pickle.dumps([("1.jpg", Hostile())]))
    with pytest.raises(UserError, match="system"):
        read_frame_landmarks(tmp_path / "metadata.pkl")
    assert not (tmp_path / "owned").exists()
    (tmp_path / "metadata.pkl").write_bytes(pickle.dumps(rows)[:-300])
    with pytest.raises(UserError, match="metadata.pkl"):
        read_frame_landmarks(tmp_path / "metadata.pkl")


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
def test_points_stay_on_what_they_mark_however_a_frame_becomes_square(fit):
    """README 17.28. A bright spot in a wide frame, and the point that marks it in the squashed frame."""
    frame = np.zeros((40, 80, 3), np.uint8)
    frame[18:22, 48:52] = 255
    picture, points = fitted(frame, np.array([[50 * 256 / 80, 20 * 256 / 40]]), 64, fit=fit, points_size=256)
    rows, columns = np.nonzero(picture[..., 0] > 100)
    assert picture.shape == (64, 64, 3)
    assert abs(columns.mean() + 0.5 - points[0, 0]) < 1 and abs(rows.mean() + 0.5 - points[0, 1]) < 1


def test_nothing_changes_where_the_size_is_right():
    points = face_points()
    assert np.array_equal(fitted(np.zeros((61, 80, 3), np.uint8), points, 256)[1], points)


def test_landmark_pictures_are_drawn_from_any_type_and_never_changed():
    points = face_points(0.6)
    picture = draw_landmarks(points, 256)
    assert np.array_equal(picture, draw_landmarks(points.astype(np.float64), 256))
    assert draw_landmarks(points * 1e9, 64).min() >= 0
    with pytest.raises(ValueError, match="read-only"):
        picture[0] = 0


def test_a_driving_video_needs_faces_in_its_whole_frames_only(tmp_path):
    """README 17.15: frames without a face have points, too; and the video may be of any shape."""
    for number, brightness in enumerate((90, 91, 20, 92)):
        write_image(tmp_path / "drive" / f"{number}.png", np.full((600, 300, 3), brightness, np.uint8))
    write_image(tmp_path / "me.png", np.full((600, 300, 3), 90, np.uint8))
    video, retarget = tmp_path / "drive", ["--retarget", "--best_frame=1"]
    words = ["--model=talking_head", "--image_size=64", f"--source_image={tmp_path / 'me.png'}", *retarget]
    make_video(tmp_path / "data" / "test" / "p" / "v")
    make_video(tmp_path / "data" / "train" / "p" / "v")
    opt = parse([*words, f"--driving_video={video}", f"--dataroot={tmp_path / 'data'}"], training=False)
    requested = RequestedClips(TalkingHeadDataset(opt, training=False), pair_settings(opt))
    requested.detector = SomeFaces()
    clip = requested.clip(*requests(opt))
    assert clip.source["points"].shape == (1, 68, 2) and clip.first is None
    expected = face_points() * np.float32([256 / 300, 256 / 600])
    np.testing.assert_allclose(clip.source["points"][0], expected, rtol=1e-5)
    drawn = to_tensor(draw_landmarks(expected / 4, 64))
    assert all(((item["landmarks"] - drawn).abs() > 0.3).float().mean() < 0.01 for item in clip.driving)
    assert len(list(clip.driving)) == 4


@pytest.mark.parametrize(("fit", "corner", "side"), [("pad", (-150, 0), 600), ("crop", (0, 150), 300)])
def test_single_pictures_become_square_by_fit(tmp_path, fit, corner, side):
    """And no dataset is needed for them."""
    picture = np.full((600, 300, 3), 90, np.uint8)
    write_image(tmp_path / "drive" / "0.png", picture)
    picture[:150] = 255
    write_image(tmp_path / "me.png", picture)
    words = ["--model=talking_head", "--image_size=64", f"--fit={fit}", f"--source_image={tmp_path / 'me.png'}"]
    opt = parse([*words, f"--driving_video={tmp_path / 'drive'}", f"--dataroot={tmp_path / 'no'}"], training=False)
    requested = RequestedClips(TalkingHeadDataset(opt, training=False), pair_settings(opt))
    requested.detector = SomeFaces()
    clip = requested.clip(*requests(opt))
    seen = clip.source["pictures"][0]
    assert bool((seen[:, :, :12] == 0).all()) == (fit == "pad"), "black beside the picture"
    assert bool((seen == 1).any()) == (fit == "pad"), "what is white is cut off, or shown whole"
    expected = (face_points() - np.float32(corner)) * np.float32(256 / side)
    np.testing.assert_allclose(clip.source["points"][0], expected, rtol=1e-5)
    (driving,) = clip.driving
    drawn = to_tensor(draw_landmarks(expected / 4, 64))
    assert ((driving["landmarks"] - drawn).abs() > 0.3).float().mean() < 0.01


class SomeFaces(Detector):
    """A detector that finds a face in frames brighter than 50."""

    can_follow = False

    def detect(self, frames):
        return [[face_of(face_points())] if frame.mean() > 50 else [] for frame in frames]


def person(folder, shots, monkeypatch, **changes):
    monkeypatch.setattr("data.talking.driven.build_detector", lambda **_: SomeFaces())
    monkeypatch.setattr("data.talking.driven.detector_settings", lambda opt: {})
    opt = {"source": str(folder), "shots": shots, "image_size": 32, "fit": "squash", "batch_size": 2}
    return PersonDataset(SimpleNamespace(**opt | changes), training=True)


def test_frames_without_a_face_are_replaced_and_reported(tmp_path, monkeypatch, caplog):
    make_video(tmp_path / "p", frames=8)  # the first two are too dark for a face
    (tmp_path / "p" / "metadata.npz").unlink()
    made = person(tmp_path / "p", 4, monkeypatch)
    whole = made.person()
    shown = [round(float(picture.mean()) * 255 / 20) for picture in whole["pictures"]]
    assert len(set(shown)) == 4 and min(shown) > 2
    assert round(float(whole["target"].mean()) * 255 / 20) not in shown
    assert "no face in frames" in caplog.text
    assert len(made) == 4 and made[5]["picture"].shape == (3, 32, 32)


def test_a_single_picture_is_enough_and_none_is_an_error(tmp_path, monkeypatch):
    make_video(tmp_path / "p", frames=3)
    made = person(tmp_path / "p" / "2.png", 8, monkeypatch)
    assert len(made.person()["pictures"]) == 1 and len(made) == 2
    with pytest.raises(UserError, match="no face in any of its 1 frames"):
        person(tmp_path / "p" / "0.png", 8, monkeypatch)
    with pytest.raises(UserError, match="--source is missing"):
        person("", 8, monkeypatch)


def test_persons_are_entries_of_a_folder_and_strays_are_not(tmp_path):
    """README 17.19."""
    for name in ("p10", "p2"):
        (tmp_path / name).mkdir()
    for name in ("p3.mp4", ".hidden", "notes.txt", "p1.jpg"):
        (tmp_path / name).touch()
    assert [path.name for path in find_persons(tmp_path)] == ["p1.jpg", "p2", "p3.mp4", "p10"]
    with pytest.raises(UserError, match="--persons"):
        find_persons(tmp_path / "p10")


# --- commands ---------------------------------------------------------------------------------------------------------


def run(*words, status=0):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == status, done.stderr
    return done.stderr


def failures_in(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_failed_persons_stop_no_other_and_are_listed(tmp_path, monkeypatch):
    names = [os.fsencode(f"{name}.png") for name in "abcd"] + [b"caf\xe9.png"]
    for name in names:
        (tmp_path / "people" / os.fsdecode(name)).parent.mkdir(exist_ok=True)
        (tmp_path / "people" / os.fsdecode(name)).touch()
    reasons = {"a": UserError("no face"), "b": OSError(28, "No space left"), "d": NotFinite("loss is nan")}

    def train(opt, processes, family):
        person = Path(opt.source).stem
        if person in reasons or person.startswith("caf"):
            raise reasons.get(person, UserError("no face either"))
        (run_folder(opt) / "after.png").parent.mkdir(parents=True)
        (run_folder(opt) / "after.png").touch()
        return 0

    meta = SimpleNamespace(objective=SimpleNamespace(content=None))
    monkeypatch.setattr("building.build_family", lambda opt: meta)
    monkeypatch.setattr("engine.distributed.start", lambda devices: None)
    monkeypatch.setattr("train.train", train)
    command = ["x", "--persons", str(tmp_path / "people"), "--init_from=meta", f"--checkpoints_dir={tmp_path / 'runs'}"]
    monkeypatch.setattr(sys, "argv", command)
    assert finetune_persons.main() == 1
    table = tmp_path / "runs" / "persons" / "finetune_persons_failures.csv"
    told = {Path(row["item"]).name: row["reason"] for row in failures_in(table)}
    assert told.keys() == {"a.png", "b.png", "d.png", r"caf\xe9.png"} and told["a.png"] == "no face"
    assert "No space left" in told["b.png"] and told["d.png"] == "loss is nan"
    monkeypatch.setattr(sys, "argv", [*command, "--shard=2/5"])
    assert finetune_persons.main() == 1
    assert [row["reason"] for row in failures_in(table.with_name("finetune_persons_failures.2-of-5.csv"))]
    reasons.clear()
    for path in (tmp_path / "people").glob("caf*"):
        path.unlink()
    monkeypatch.setattr(sys, "argv", command)
    assert finetune_persons.main() == 0 and not table.exists(), "nothing fails any more"


@pytest.mark.slow
def test_from_videos_to_a_talking_person(sample, tmp_path):
    """Meta-train 3 steps, finetune 5, drive with sound; also without finetuning, and from the original's list."""
    common = ["--gpu_id=-1", "--visdom=no", f"--checkpoints_dir={tmp_path}", "--nThreads=0"]
    meta, film = tmp_path / "meta", next((sample / "test").glob("*.mp4"))
    run("train.py", f"--config={TINY / 'talking_head.yaml'}", f"--dataroot={sample / 'talking_head'}", "--steps=3",
        "--batch_size=2", "--name=meta", *common)  # fmt: skip
    columns = json.loads((meta / "log.jsonl").read_text().splitlines()[-1])
    assert {"l_cnt", "l_adv", "l_fm", "l_mch", "l_eg", "l_d", "l_d2", "score", "score_hat"} <= set(columns)
    lines = [line.split(", ") for line in (meta / "log.txt").read_text().splitlines()]
    assert [line[2] for line in lines] == ["0", "1", "2"] and all(len(line) == 14 for line in lines)
    assert lines[0][:5] == ["0", "0", "0", "nan", "nan"], "--content pixels has no distances by VGG"
    run("script/export.py", "--run", meta, "--output", tmp_path / "save_2.pkl")
    exported = torch.load(tmp_path / "save_2.pkl", weights_only=True)
    assert exported[2] == 2 and exported[5]["embedding.weight"].shape == (4, 64)

    run("train.py", f"--config={TINY / 'talking_head_finetune.yaml'}", f"--init_from={meta}", f"--source={film}",
        "--shots=3", "--steps=5", "--name=anna", *common)  # fmt: skip
    assert (tmp_path / "anna" / "before.png").is_file() and (tmp_path / "anna" / "after.png").is_file()
    weights = torch.load(tmp_path / "anna" / "latest-talking-head.pth", weights_only=True)
    assert set(weights) == {"generator", "discriminator", "epoch"} and "adain" in weights["generator"]
    run("test.py", "--model=talking_head_finetune", f"--checkpoint={tmp_path / 'anna'}", f"--driving_video={film}",
        f"--output={tmp_path / 'anna.mp4'}", "--gpu_id=-1")  # fmt: skip
    with open_video(film) as driving, open_video(tmp_path / "anna.mp4") as made:
        assert len(made) == len(driving) and made.fps == driving.fps and made.has_audio == driving.has_audio

    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "broken.png").write_bytes(b"no picture")
    run("script/finetune_persons.py", "--persons", tmp_path / "people", f"--init_from={meta}",
        f"--config={TINY / 'talking_head_finetune.yaml'}", *common, status=1)  # fmt: skip
    (failure,) = failures_in(tmp_path / "persons" / "finetune_persons_failures.csv")
    assert Path(failure["item"]).name == "broken.png" and "cannot be read as a picture" in failure["reason"]

    frames = sorted((sample / "test_data").glob("*/*.jpg"))[:2]
    run("test.py", "--model=talking_head", f"--checkpoint={meta}", "--source_image", *frames, f"--driving_video={film}",
        f"--output={tmp_path / 'forward.mp4'}", "--retarget", "--compare", "--gpu_id=-1")  # fmt: skip
    with open_video(tmp_path / "forward.mp4") as made:
        assert len(made) > 0 and made.size == (64, 3 * 64), "source | landmarks | result"
