"""Dataset mode `portraits`: what is cut out, animated, pasted back, kept as a template, edited."""

import io
import pickle
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from adapters.common import fill_weights
from layouts import picture
from paths import ROOT

import grimace
from data import find_dataset
from data.faces.detector import Face
from data.faces.portrait_crop import PasteBack, Square, square_of
from data.faces.portrait_driving import DrivingTemplate
from data.faces.portrait_source import PortraitPicture
from data.jobs.pair_list import Request
from data.jobs.pairs import RequestedClips, jobs_of
from data.video import VideoWriter, read_image, write_image
from engine.animator import Animator, to_bytes
from engine.records import Records
from models import find_family
from options import parse
from options.pairs import pair_settings, requests
from util.border_mask import border_mask
from util.errors import UserError
from util.motion_template import read_template, write_template

CONFIG = ROOT / "configs" / "tiny" / "live_portrait.yaml"
SIZE = (96, 128)
CPU = torch.device("cpu")


def face_points(x, y, side=20.0, open_lips=0.2):
    """68 landmarks of an upright face around a position: a circle with eyes, lips and lids."""
    angles = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    for corner, centre in ((36, -0.4), (42, 0.4)):
        places = [(-0.2, 0), (-0.1, -0.06), (0.1, -0.06), (0.2, 0), (0.1, 0.06), (-0.1, 0.06)]
        points[corner : corner + 6] = np.array(places) + (centre, -0.3)
    points[48], points[54] = (-0.3, 0.5), (0.3, 0.5)
    points[62], points[66] = (0, 0.5 - 0.3 * open_lips), (0, 0.5 + 0.3 * open_lips)
    return (points * side / 2 + (x, y)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A picture with two faces, one with a face at its border, videos, and the landmarks of all of them."""
    folder = tmp_path_factory.mktemp("portraits")
    points = folder / "points"
    points.mkdir()
    for name, faces in {"two": [(40, 50), (95, 40)], "border": [(6, 50)], "one": [(60, 50)]}.items():
        write_image(folder / f"{name}.png", picture(3, SIZE))
        stacked = np.stack([face_points(*face) for face in faces])
        np.savez(points / f"{name}.npz", points=stacked[:1])
        np.savez(points / f"{name}_all.npz", points=stacked)
    write_image(folder / "square.png", picture(7, (64, 64)))
    np.savez(points / "square.npz", points=face_points(32, 32)[None])
    for name, count, size, fps in (
        ("drive", 7, (64, 64), 25), ("ntsc", 5, (64, 64), Fraction(30000, 1001)), ("single", 1, (64, 64), 25),
        ("upright", 6, SIZE[::-1], 25), ("wide", 9, SIZE, 25),
    ):  # fmt: skip
        with VideoWriter(folder / f"{name}.mp4", Fraction(fps)) as writer:
            for index in range(count):
                writer.write(picture(index, size))
        drift = [face_points(size[1] / 2 + i, size[0] / 2, open_lips=0.1 * i) for i in range(count)]
        np.savez(points / f"{name}.npz", points=np.stack(drift))
    return folder


@pytest.fixture(scope="module")
def family_of():
    """The small family with weights by formula, for some options."""

    def build(opt):
        family = find_family("live_portrait")(opt, training=False)
        for seed, network in enumerate(family.networks().values()):
            fill_weights(network, seed, 0.5)
        return family.eval()

    return build


def options(folder, *words):
    landmarks = ["--landmarks=file", f"--landmark_model={folder / 'points'}", "--crop_image"]
    return parse([f"--config={CONFIG}", *landmarks, *map(str, words)], training=False)


def clip_of(opt):
    dataset = find_dataset(opt.dataset_mode)(opt, training=False)
    return RequestedClips(dataset, pair_settings(opt)).clip(requests(opt)[0])


def result(family, clip, batch=4):
    """The frames that would be written."""
    animator = Animator(family, CPU, batch_size=batch, channels_last=False)
    frames = []
    for _, made in animator.batches(clip.source, clip.driving, clip.first):
        for frame in to_bytes(made).numpy():
            frame = clip.finish(frame) if clip.finish else frame
            frames += [] if frame is None else [frame]
    return frames


def pair(folder, source, driving, *words):
    return options(folder, f"--source_image={folder / source}", f"--driving_video={folder / driving}", *words)


# --- crops ------------------------------------------------------------------------------------------------------------


def test_an_unchanged_crop_leaves_the_picture():
    whole = picture(2, (200, 240))
    square = square_of(face_points(110, 100, 60), 2.3, (0, -0.125))
    pasted = PasteBack(square, whole.shape[:2], 512)(whole, square.cut(whole, 512))
    assert np.abs(pasted.astype(int) - whole).max() <= 6


def test_the_mask_fits_results_of_any_size():
    small, large = border_mask(128).astype(float), border_mask(512).astype(float)
    assert small[0].max() == 0 and small[64, 64] == 255
    assert np.array_equal(large[::4, ::4], small)


def test_a_square_outside_the_picture_changes_nothing():
    whole = picture(1, (40, 40))
    paste = PasteBack(Square(np.array([500.0, 500.0]), 20.0, 0.0), (40, 40), 64)
    assert np.array_equal(paste(whole, np.zeros((64, 64, 3), np.uint8)), whole)


def test_shifts_move_the_crop_in_both_directions():
    points = face_points(60, 50)
    plain, moved = (square_of(points, 2.0, shift) for shift in ((0, 0), (0.25, 0.5)))
    assert np.allclose(moved.centre - plain.centre, np.array([0.25, 0.5]) * plain.side, atol=1e-6)


# --- pairs ------------------------------------------------------------------------------------------------------------


def test_a_picture_is_animated_and_pasted_back(folder, family_of):
    opt = pair(folder, "one.png", "drive.mp4")
    clip = clip_of(opt)
    frames = result(family_of(opt), clip)
    assert len(frames) == len(clip.driving) == 7 and frames[0].shape == (*SIZE, 3)
    assert np.array_equal(frames[3][:5], picture(3, SIZE)[:5])
    assert not np.array_equal(frames[3][45:55, 55:65], picture(3, SIZE)[45:55, 55:65])
    bare = result(family_of(opt), clip_of(pair(folder, "one.png", "drive.mp4", "--no_paste_back")))
    assert bare[0].shape == (64, 64, 3)


@pytest.mark.slow
def test_all_faces_of_a_picture_are_animated(folder, family_of, monkeypatch):
    monkeypatch.setattr(PortraitPicture, "_found", two_faces)
    opt = pair(folder, "two.png", "drive.mp4", "--face=all")
    clip = clip_of(opt)
    assert clip.source["image"].shape == (2, 3, 64, 64) and len(clip.driving) == 14
    family = family_of(opt)
    both = result(family, clip, batch=3)
    left, right = (result(family, clip_of(pair(folder, "two.png", "drive.mp4", f"--face={n}"))) for n in (1, 2))
    assert len(both) == 7
    whole = picture(3, SIZE)
    # Where the faces' squares do not meet, each is as if it were alone.
    for alone, part in ((left[5], np.s_[:, :50]), (right[5], np.s_[:, 90:])):
        assert np.abs(both[5][part].astype(int) - alone[part]).max() <= 1
        assert not np.array_equal(alone[part], whole[part])
    with pytest.raises(UserError, match=r"--face 3: .*two.png shows 2 face"):
        clip_of(pair(folder, "two.png", "drive.mp4", "--face=3"))


def test_encoded_sources_and_arrays_make_the_frames_of_the_pair(folder, family_of, monkeypatch, template):
    """From Python: grimace.Model.encode, and pictures as arrays."""
    monkeypatch.setattr(PortraitPicture, "_found", two_faces)
    opt = pair(folder, "two.png", "upright.mp4", "--face=all", "--lip_retargeting=0.2")
    family, given = family_of(opt), Path(opt.source_image[0])
    pairs = RequestedClips(find_dataset(opt.dataset_mode)(opt, training=False), pair_settings(opt))
    for driving in (Path(opt.driving_video), folder / "drive.npz"):
        expected = np.stack(result(family, pairs.clip(Request((given,), driving))))
        assert len(expected) in (6, 7)
        for source in (given, read_image(given)):
            encoded = driven(pairs, source, driving)
            for clip in (encoded, pairs.clip(Request((source,), driving))):
                assert np.array_equal(np.stack(result(family, clip)), expected)
    item, finish = pairs.source([given])
    with pytest.raises(UserError, match=r"square\.png: a picture drives no encoded source"):
        pairs.driven(item, folder / "square.png", finish, Fraction(25))
    frames = [picture(index, (64, 64)) for index in range(2)]
    expected = result(family, pairs.driven(item, frames, finish, Fraction(25)), batch=2)
    animator = Animator(family, CPU, channels_last=False)
    model = SimpleNamespace(_animator=animator, _dataset=lambda opt: pairs.dataset)
    live = grimace.Encoded(model, item, animator.encode(item), opt, finish)
    for frame, usual in zip(frames, expected, strict=True):
        assert np.abs(grimace.Model.step(model, live, frame).astype(int) - usual).max() <= 1


def driven(pairs, source, driving):
    item, finish = pairs.source([source])
    return pairs.driven(item, driving, finish, Fraction(25))


def two_faces(self):
    places = ((95, 40), (40, 50))
    return [Face(np.array([x - 10, y - 10, x + 10, y + 10.0]), face_points(x, y), 1.0) for x, y in places]


def test_a_missing_face_is_reported_with_the_remedy(folder, monkeypatch):
    monkeypatch.setattr(PortraitPicture, "_found", lambda self: [])
    with pytest.raises(UserError, match=r"one\.png: no face found.*--no_crop_image"):
        clip_of(pair(folder, "one.png", "drive.mp4"))


def test_a_face_at_the_border_is_cut_out_with_black_around(folder, family_of):
    opt = pair(folder, "border.png", "single.mp4")
    frames = result(family_of(opt), clip_of(opt))
    assert len(frames) == 1 and frames[0].shape == (*SIZE, 3)


@pytest.mark.parametrize("words", [[], ["--no_relative"], ["--smooth_variance=1e-4"], ["--look_ahead=all"]])
@pytest.mark.slow
def test_a_source_video_is_animated_frame_by_frame_in_any_batches(folder, family_of, words):
    opt = pair(folder, "wide.mp4", "drive.mp4", *words)
    family = family_of(opt)
    one, four = (result(family, clip_of(opt), batch) for batch in (1, 4))
    assert len(one) == len(four) == 7
    for index, (a, b) in enumerate(zip(one, four, strict=True)):
        assert np.abs(a.astype(int) - b).max() <= 1
        # Each is pasted into its own frame.
        assert np.abs(a[:5].astype(int) - picture(index, SIZE)[:5]).max() < 25


def test_look_ahead_equals_smoothing_the_whole_clip(folder, family_of):
    made = []
    for words in (["--look_ahead=auto"], ["--look_ahead=all"], ["--look_ahead=0", "--smooth_variance=1"]):
        opt = pair(folder, "wide.mp4", "drive.mp4", *words)
        made.append(np.stack(result(family_of(opt), clip_of(opt))).astype(int))
    assert np.abs(made[0] - made[1]).max() <= 1 and np.abs(made[0] - made[2]).max() > 1


def test_rates_and_lengths_are_kept(folder):
    assert clip_of(pair(folder, "one.png", "ntsc.mp4")).fps == Fraction(30000, 1001)
    # A source video of 25 frames a second keeps its time; the driving video is brought to it.
    clip = clip_of(pair(folder, "wide.mp4", "ntsc.mp4"))
    assert clip.fps == 25 and clip.driving.driving.fps == 25


def test_a_driving_video_that_is_not_square_is_cropped_once_for_all_frames(folder):
    clip = clip_of(pair(folder, "one.png", "upright.mp4"))
    assert clip.driving.driving.square.angle == 0 and next(iter(clip.driving))["image"].shape == (3, 64, 64)
    assert clip_of(pair(folder, "one.png", "drive.mp4")).driving.driving.square is None
    assert clip_of(pair(folder, "one.png", "upright.mp4", "--no_crop_video")).driving.driving.square is None


def test_motion_starts_at_the_given_frame(folder, family_of):
    opt = pair(folder, "one.png", "drive.mp4", "--best_frame=4")
    family = family_of(opt)
    named = result(family, clip_of(opt))
    usual = result(family, clip_of(pair(folder, "one.png", "drive.mp4")))
    still = result(family, clip_of(pair(folder, "one.png", "single.mp4")))
    assert np.abs(usual[0].astype(int) - still[0]).max() <= 1
    assert np.abs(named[4].astype(int) - still[0]).max() <= 1 and np.abs(named[0].astype(int) - still[0]).max() > 1
    with pytest.raises(UserError, match="--best_frame 9: .* has frames 0 to 6"):
        clip_of(pair(folder, "one.png", "drive.mp4", "--best_frame=9"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--no_crop_image", "--paste_back"], "--no_crop_image, --paste_back: without a crop nothing is pasted back"),
        (["--no_crop_image", "--face=2"], "--no_crop_image, --face 2: without a crop no face is chosen"),
        (["--no_relative", "--best_frame=2"], "--best_frame and --find_best_frame choose the first frame of relative"),
    ],
)
def test_options_that_exclude_each_other_are_refused(folder, words, told):
    with pytest.raises(UserError, match=told):
        clip_of(pair(folder, "one.png", "drive.mp4", *words))


def test_an_option_of_source_videos_is_reported_for_pictures(folder, caplog):
    clip_of(pair(folder, "one.png", "drive.mp4", "--source_video_eye_retargeting"))
    assert "--source_video_eye_retargeting: " in caplog.text and "one.png is a picture" in caplog.text
    caplog.clear()
    clip_of(pair(folder, "wide.mp4", "drive.mp4", "--source_video_eye_retargeting"))
    assert "--source_video_eye_retargeting" not in caplog.text


def test_retargeting_reads_the_landmarks(folder, family_of):
    opt = pair(folder, "one.png", "drive.mp4", "--lip_retargeting", "--eye_retargeting=0.1", "--normalize_lip")
    clip = clip_of(opt)
    numbers = torch.stack([item["openness"] for item in clip.driving])
    assert torch.allclose(numbers[:, 2], 0.1 * torch.arange(7.0), atol=1e-5)
    assert clip.source["openness"].shape == (1, 3)
    family = family_of(opt)
    frames = np.stack(result(family, clip)).astype(int)
    opt = pair(folder, "one.png", "drive.mp4")
    plain = np.stack(result(family_of(opt), clip_of(opt)))
    assert np.abs(frames - plain).max() > 1


# --- templates --------------------------------------------------------------------------------------------------------


def pickled(template, old=False, openness=True):
    """A template as the original writes it, in its present or its first form."""
    rotation, prefix = ("R_d", "c_d") if old else ("R", "c")
    frames = [
        {"scale": a["scale"][None], rotation: a["R"][None], "exp": a["exp"][None], "t": a["t"][None]}
        | ({} if old else {"kp": a["kp"][None], "x_s": a["kp"][None]})
        for a in ({name: array[i] for name, array in template.arrays.items()} for i in range(len(template)))
    ]
    content = {"n_frames": len(frames), "output_fps": 25, "motion": frames}
    if openness:
        numbers = template.arrays["openness"]
        content |= {f"{prefix}_eyes_lst": [row[None, :2] for row in numbers],
                    f"{prefix}_lip_lst": [row[None, 2:] for row in numbers]}  # fmt: skip
    return content


@pytest.fixture(scope="module")
def template(folder, family_of):
    opt = pair(folder, "one.png", "drive.mp4", f"--save_template={folder / 'drive.npz'}")
    clip = clip_of(opt)
    animator = Animator(family_of(opt), CPU, batch_size=3, channels_last=False)
    clip.saved_motion.write(animator.measured(clip.saved_motion.items()))
    return read_template(folder / "drive.npz")


def test_a_template_moves_as_its_video(folder, family_of, template):
    opt = pair(folder, "one.png", "drive.mp4", "--lip_retargeting")
    family = family_of(opt)
    video = result(family, clip_of(opt))
    again = result(family, clip_of(pair(folder, "one.png", "drive.npz", "--lip_retargeting")))
    assert np.abs(np.stack(video).astype(int) - np.stack(again)).max() <= 1


def test_a_template_is_brought_to_the_rate_of_the_result(folder, template):
    """Its movements keep their speed, as those of a driving video do."""
    write_template(folder / "slow.npz", [template.arrays], Fraction(5))
    with_video = clip_of(pair(folder, "wide.mp4", "slow.npz"))
    assert with_video.fps == 25 and with_video.driving.driving.length == 5 * 7 and len(with_video.driving) == 9
    for words, fps, length in (([], 5, 7), (["--fps=10"], 10, 14), (["--fps=2.5"], Fraction(5, 2), 3)):
        clip = clip_of(pair(folder, "one.png", "slow.npz", *words))
        assert clip.fps == fps and len(clip.driving) == length
    shown = [item["motion"]["t"] for item in clip_of(pair(folder, "one.png", "slow.npz", "--fps=10")).driving]
    assert np.array_equal(np.stack(shown), template.arrays["t"].repeat(2, axis=0))


def test_suffixes_of_templates_may_be_capitals(folder, template):
    write_template(folder / "NOD.NPZ", [template.arrays], Fraction(25))
    for source in ("one.png", "wide.mp4"):
        assert clip_of(pair(folder, source, "NOD.NPZ")).driving.driving.length == 7


@pytest.mark.parametrize("name", ["drive.mp4", "nod.pkl", "nod"])
def test_a_template_is_written_under_no_other_suffix(folder, name):
    """It would replace a video, or be read as a pickle."""
    with pytest.raises(UserError, match=r"--save_template: .* is not a file name that ends with \.npz"):
        pair(folder, "one.png", "drive.mp4", f"--save_template={folder / name}")


def test_a_template_is_of_one_driving_video(folder, tmp_path):
    def dataset(*words):
        opt = options(folder, "--save_template=nod.npz", *words)
        return find_dataset(opt.dataset_mode)(opt, training=False)

    with pytest.raises(UserError, match=r"--save_template nod\.npz: --pairs has several driving videos"):
        dataset(f"--pairs={tmp_path / 'pairs.csv'}")
    with pytest.raises(UserError, match=r"--save_template: only for pairs, not for the test split"):
        dataset(f"--dataroot={folder}").jobs()
    opt = pair(folder, "one.png", "drive.mp4", "--save_template=nod.npz")
    (job,) = jobs_of(requests(opt), dataset(), pair_settings(opt), tmp_path)
    assert job.saves_motion


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("old", [True, False])
def test_templates_of_the_original_are_read(tmp_path, template, old, protocol):
    path = tmp_path / "motion.pkl"
    path.write_bytes(pickle.dumps(pickled(template, old), protocol=protocol))
    found = read_template(path)
    assert found.fps == 25 and len(found) == 7
    for name, array in found.arrays.items():
        assert np.array_equal(array, template.arrays[name]), name


def test_templates_without_openness_still_drive(folder, family_of, template):
    (folder / "animal.pkl").write_bytes(pickle.dumps(pickled(template, openness=False)))
    opt = pair(folder, "one.png", "animal.pkl")
    assert len(result(family_of(opt), clip_of(opt))) == 7
    opt = pair(folder, "one.png", "animal.pkl", "--lip_retargeting")
    with pytest.raises(UserError, match="old motion templates lack it"):
        result(family_of(opt), clip_of(opt))


class Hostile:
    """Runs code when it is unpickled without restriction."""

    def __reduce__(self):
        return eval, ("open('broken', 'w')",)


@pytest.mark.parametrize("place", ["whole", "inside", "array"])
def test_hostile_templates_run_nothing(tmp_path, monkeypatch, template, place):
    monkeypatch.chdir(tmp_path)
    content = pickled(template)
    if place == "whole":
        content = Hostile()
    elif place == "inside":
        content["motion"][0]["scale"] = Hostile()
    else:
        content["motion"][0]["scale"] = np.array([Hostile()], dtype=object)
    (tmp_path / "motion.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=r"motion\.pkl: .*(would run or build builtins\.eval|not one of plain numbers)"):
        read_template(tmp_path / "motion.pkl")
    assert not (tmp_path / "broken").exists()


def test_damaged_templates_are_reported(tmp_path, template):
    whole = pickle.dumps(pickled(template))
    wrong = {
        "a.pkl": whole[: len(whole) // 2],
        "b.pkl": b"",
        "c.pkl": pickle.dumps({"motion": [{}]}),
        "d.npz": b"PK\3\4",
        "e.pkl": pickle.dumps({"motion": []}),
    }
    for name, content in wrong.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            read_template(tmp_path / name)
    arrays = dict(template.arrays)
    arrays["R"] = np.full_like(arrays["R"], np.nan)
    write_template(tmp_path / "f.npz", [arrays], Fraction(25))
    with pytest.raises(UserError, match=r"f\.npz: R is float32 \(7, 3, 3\), but must be"):
        read_template(tmp_path / "f.npz")
    np.savez(tmp_path / "h.npz", format="motion template 1", fps=[25, 1], **template.arrays | {"R": np.float32(1)})
    with pytest.raises(UserError, match=r"h\.npz: .* must be"):
        read_template(tmp_path / "h.npz")
    write_template(tmp_path / "i.npz", [template.arrays], Fraction(10**6))
    with pytest.raises(UserError, match=r"i\.npz: .*at most 1000"):
        DrivingTemplate(tmp_path / "i.npz")
    buffer = io.BytesIO()
    np.savez(buffer, format=np.array([Hostile()], dtype=object))
    (tmp_path / "g.npz").write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match=r"g\.npz: not a motion template"):
        read_template(tmp_path / "g.npz")


# --- edits ------------------------------------------------------------------------------------------------------------


def edited(folder, family_of, *words):
    opt = options(folder, f"--source_image={folder / 'one.png'}", *words)
    dataset = find_dataset(opt.dataset_mode)(opt, training=False)
    assert dataset.makes_alone(opt)
    return {planned.output.name: (planned, planned.make(), family_of(opt)) for planned in dataset.jobs()}


def test_edits_change_a_picture_and_sweeps_give_a_video(folder, family_of):
    ((planned, clip, family),) = edited(folder, family_of, "--edit=smile=0.8,yaw=-10,eyes=0.5").values()
    (frame,) = result(family, clip)
    assert planned.output.name == "one_edit.png" and frame.shape == (*SIZE, 3)
    ((planned, clip, family),) = edited(folder, family_of, "--edit_sweep=yaw=-20:20:5,smile=0:1:3").values()
    frames = result(family, clip)
    assert planned.output.name == "one_sweep.mp4" and len(frames) == 8
    assert not np.array_equal(frames[0], frames[4])


def test_no_edit_is_the_source_itself_and_openness_needs_landmarks(folder, family_of):
    ((_, clip, family),) = edited(folder, family_of, "--edit=zoom=1", "--no_stitching").values()
    opt = pair(folder, "one.png", "single.mp4", "--no_stitching")
    still = result(family_of(opt), clip_of(opt))
    # Depth counts in edits; the weights' third shift is small.
    assert np.abs(result(family, clip)[0].astype(int) - still[0]).mean() < 4


def test_the_grid_shows_every_edit(folder, family_of):
    found = edited(folder, family_of, "--edit_grid")
    _, clip, _ = found["one_grid.png"]
    assert len(clip.driving) == len(clip.sheet["captions"]) == 17 * 5 and clip.finish is None


def edits_of(folder, *words):
    opt = options(folder, *words)
    return list(find_dataset(opt.dataset_mode)(opt, training=False).jobs())


def test_the_edit_of_another_picture_of_the_same_name_does_not_count(folder, tmp_path):
    other = tmp_path / "one.png"
    other.write_bytes((folder / "one.png").read_bytes())
    (first,), (second,) = (edits_of(folder, f"--source_image={path}", "--edit=smile=1")
                           for path in (folder / "one.png", other))  # fmt: skip
    first = replace(first, output=tmp_path / first.output.name)
    write_image(first.output, picture(3, SIZE))
    Records(tmp_path, {}).add(first.entry | first.inputs)
    assert Records(tmp_path, {}).has(first.output, first.inputs)
    with pytest.raises(UserError, match="exists already, made with other sources"):
        Records(tmp_path, {}).has(first.output, second.inputs)


def test_an_edit_does_not_replace_its_picture(folder):
    source = folder / "one.png"
    with pytest.raises(UserError, match=r"one\.png is, or contains, an input"):
        edits_of(folder, f"--source_image={source}", "--edit=smile=1", f"--output={source}")


@pytest.mark.parametrize("option", ["driving_video=drive.mp4", "best_frame=2", "save_template=nod.npz"])
def test_edits_refuse_options_of_driving_videos(folder, option):
    with pytest.raises(UserError, match=f"--{option.partition('=')[0]}: edits have no driving video; remove it"):
        edits_of(folder, f"--source_image={folder / 'one.png'}", "--edit=smile=1", f"--{option}")


@pytest.mark.parametrize(
    ("words", "used"),
    [
        ("--edit=smile=1", set()),
        ("--edit=smile=1,eyes=0.2", {"eye"}),
        ("--edit_sweep=yaw=0:1:2,lips=0:0.8:9", {"lip"}),
        ("--edit_grid", {"eye", "lip"}),
    ],
)
def test_edits_need_the_networks_that_they_use(folder, family_of, words, used):
    """Missing ones would change nothing."""
    family = family_of(options(folder, words, "--no_stitching"))
    assert set(family.optional) == {"stitching", "eye", "lip"} - used


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--edit=,", "names no edit"),
        ("--edit_sweep=,", "names no edit"),
        ("--edit_sweep=smile=0:1:²", "NAME=FROM:TO:FRAMES"),
        ("--edit=smile=1,smile=0", "sets smile twice"),
        ("--edit=smil=1", "no such edit; choose from gaze_x"),
        ("--edit=smile=9", "the range is -0.3 to 1.3"),
        ("--edit=smile=x", "'x' is not a number"),
        ("--edit=smile", "NAME=VALUE"),
        ("--edit_sweep=smile=1", "NAME=FROM:TO:FRAMES"),
    ],
)
def test_wrong_edits_are_reported(folder, family_of, words, told):
    with pytest.raises(UserError, match=told):
        edited(folder, family_of, words)
