"""Crops of faces and their way back: geometry, pasting, the choice of crops, and the command."""

import csv
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from paths import ROOT

from data.faces.crop import Crop, chosen_faces, crop_picture, cut, paste, square_around
from data.faces.detector import Face
from data.faces.trajectories import Trajectories, Trajectory
from data.preparation.face_clips import CropSettings, contact_sheet, propose
from data.preparation.fomm_crop import box_trajectories, commands, widened
from data.video import VideoWriter, open_video
from util.errors import UserError


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    picture = np.kron(coarse, np.ones((10, 10, 1), np.uint8))
    return np.clip(picture.astype(int) + rng.integers(-20, 20, picture.shape), 0, 255).astype(np.uint8)


def crop_at(*boxes, size=(120, 160), **more):
    return Crop(np.array(boxes, float), size, count=len(boxes), **more)


def face_at(x, y, side, shift=0.0):
    """A face whose points fill a box of this side around a position."""
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, 17), np.linspace(-0.5, 0.5, 4))
    points = (np.stack([u.ravel() * side + x, v.ravel() * side + y], -1) + shift).astype(np.float32)
    return Face(np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2]), points, 1.0)


def people(*faces, size=(480, 640)):
    """Trajectories from {frame: face} dictionaries."""
    count = max(max(one) for one in faces) + 1
    return Trajectories([Trajectory(one, set(one)) for one in faces], count, [], 1, size)


# cutting


def test_a_crop_at_its_own_size_is_a_copy(frame):
    crop = crop_at((30, 20, 90, 80))
    np.testing.assert_array_equal(crop.apply(frame), frame[20:80, 30:90])
    assert crop.apply(frame, 64).shape == (64, 64, 3)
    assert crop.apply(frame, (32, 48)).shape == (32, 48, 3)


def test_beyond_the_frame_its_border_is_repeated(frame):
    part = crop_at((-10, -5, 50, 55)).apply(frame)
    np.testing.assert_array_equal(part[5:, 10:], frame[:55, :50])
    np.testing.assert_array_equal(part[5:, 0], frame[:55, 0])


def test_boxes_between_pixels_agree_with_whole_ones(frame):
    whole = cut(frame, np.array([30.0, 20, 90, 80]), 60).astype(float)
    between = cut(frame, np.array([30.0, 20, 90, 80]) + 1e-4, 60).astype(float)
    assert np.abs(whole - between).max() <= 1
    half = cut(frame, np.array([30.5, 20, 90.5, 80]), 60).astype(float)
    mean = (frame[20:80, 30:90].astype(float) + frame[20:80, 31:91]) / 2
    assert np.abs(half - mean).max() <= 1


def test_points_follow_the_picture():
    frame = np.zeros((120, 160, 3), np.uint8)
    frame[47:50, 61:64] = 255
    point = np.array([[62.0, 48.0]])
    for box in ((30, 20, 90, 80), (30.3, 20.7, 93.3, 83.7)):
        crop = crop_at(box)
        inside = crop.points_inside(point, (240, 240))
        y, x = np.argwhere(crop.apply(frame, 240)[..., 0] > 200).mean(0)
        np.testing.assert_allclose(inside[0], (x, y), atol=0.6)
        np.testing.assert_allclose(crop.points_outside(inside, (240, 240)), point, atol=1e-6)


def test_a_crop_survives_a_file_and_refuses_other_frames(tmp_path, frame):
    crop = crop_at((30.25, 20, 90.25, 80), (31, 20, 91, 80), first=7, video="ä 1.mp4")
    crop.save(tmp_path / "a.crop.json")
    again = Crop.load(tmp_path / "a.crop.json")
    np.testing.assert_array_equal(again.boxes, crop.boxes)
    assert (again.first, again.count, again.video, again.frame_size) == (7, 2, "ä 1.mp4", (120, 160))
    with pytest.raises(UserError, match="160x120"):
        crop.apply(frame[:50])
    (tmp_path / "b.json").write_text("[]")
    with pytest.raises(UserError, match="b.json"):
        Crop.load(tmp_path / "b.json")


# pasting


@pytest.mark.parametrize("box", [(30, 20, 90, 80), (0, 0, 160, 120), (-8, 30, 72, 110), (30.4, 20.7, 91.4, 81.7)])
@pytest.mark.parametrize("size", [None, 37, 128, (64, 96)])
def test_pasting_the_crop_itself_changes_nothing(frame, box, size):
    crop = crop_at(box)
    np.testing.assert_array_equal(paste(frame, crop.apply(frame, size), crop), frame)


def test_pasting_replaces_what_changed_and_nothing_else(frame):
    crop = crop_at((30, 20, 94, 84))
    result = crop.apply(frame, 128)
    result[48:80, 48:80] = (250, 10, 10)
    out = paste(frame, result, crop)
    # A quarter of the crop changed, at twice the frame's scale: rows 44 to 60, columns 54 to 70 of the frame.
    assert np.abs(out[46:58, 56:68].astype(int) - (250, 10, 10)).max() <= 2
    untouched = np.ones(frame.shape[:2], bool)
    untouched[38:66, 48:76] = False
    np.testing.assert_array_equal(out[untouched], frame[untouched])


def test_pasting_everything_is_feathered_but_not_at_the_frames_own_edge(frame):
    crop = crop_at((0, 20, 80, 100))
    white = np.full((80, 80, 3), 255, np.uint8)
    out = paste(frame, white, crop, everything=True, feather=0.25).astype(float)
    assert (out[60, 0] == 255).all() and (out[60, 40] == 255).all()
    change = np.abs(out - frame)[:, 20:60].mean((1, 2))
    assert change[20] < 2 < change[30] < change[40]
    np.testing.assert_array_equal(out[:20], frame[:20])
    np.testing.assert_array_equal(out[100:], frame[100:])


# choosing


def test_the_square_holds_the_face_and_stays_in_the_frame():
    box = square_around(np.array([300.0, 200, 400, 300]), 100, (480, 640), margin=0.5)
    assert box.tolist() == [250, 130, 450, 330]
    corner = square_around(np.array([0.0, 0, 100, 100]), 100, (480, 640))
    assert corner.tolist() == [0, 0, 200, 200]
    flat = square_around(np.array([100.0, 20, 220, 140]), 120, (160, 640))
    assert (flat[2] - flat[0], flat[1], flat[3]) == (160, 0, 160)
    wide = square_around(np.array([10.0, 60, 410, 160]), 100, (200, 640))
    assert wide[2] - wide[0] == 400 and wide[0] <= 10 and wide[2] >= 410 and wide[1] <= 60 and wide[3] >= 160


def test_fixed_crops_contain_all_positions_of_a_face():
    moving = {index: face_at(200 + 2 * index, 200, 80) for index in range(40)}
    (one,) = propose(people(moving), CropSettings())
    left, top, right, bottom = one.crop.box()
    assert one.reason == "" and right - left == bottom - top
    for face in moving.values():
        assert (face.points >= (left, top)).all() and (face.points <= (right, bottom)).all()
    assert (one.crop.first, one.crop.count) == (0, 40)


def test_a_new_fixed_crop_starts_when_the_face_would_be_too_small():
    approaching = {index: face_at(320, 240, 40 + 2 * index) for index in range(90)}
    crops = [one.crop for one in propose(people(approaching), CropSettings())]
    assert len(crops) > 1
    assert sum(crop.count for crop in crops) == 90
    assert all(one.first + one.count == other.first for one, other in zip(crops, crops[1:], strict=False))


def test_following_crops_move_smoothly_and_stay_in_the_frame():
    rng = np.random.default_rng(0)
    shaking = {i: face_at(100 + 5 * i + rng.normal(0, 4), 240, 100) for i in range(100) if i not in (30, 31, 32)}
    (one,) = propose(people(shaking), CropSettings(method="follow"), fps=25)
    boxes = one.crop.boxes
    assert boxes.shape == (100, 4)
    assert boxes.min() >= 0 and boxes[:, 2].max() <= 640 and boxes[:, 3].max() <= 480
    middle = (boxes[:, 0] + boxes[:, 2])[20:80] / 2
    assert np.abs(np.diff(middle, 2)).max() < 0.7
    assert np.abs(middle - (100 + 5 * np.arange(20, 80))).max() < 5
    assert np.isnan(one.points[30]).all()


def test_dropped_faces_have_reasons():
    short = {index: face_at(100, 100, 80) for index in range(10)}
    small = {index: face_at(400, 100, 20) for index in range(40)}
    kept = {index: face_at(300, 300, 80) for index in range(40)}
    reasons = {one.reason for one in propose(people(short, small, kept), CropSettings())}
    assert reasons == {"", "only 10 frames (--min_frames 25)", "only 40 pixels large (--min_size 96)"}


def test_fomm_crops_follow_the_protocol():
    still = {index: face_at(200, 200, 100) for index in range(40)}
    found = people(still)
    assert propose(found, CropSettings(method="fomm"))[0].reason.startswith("only 39 frames")
    (one,) = propose(found, CropSettings(method="fomm", min_frames=30))
    assert (
        one.crop.box().tolist() == widened(np.array([150, 150, 250, 250]), (480, 640)).tolist() == [140, 140, 260, 260]
    )
    assert (one.crop.first, one.crop.count) == (0, 39)
    assert not np.isnan(one.points).any()


def test_fomm_trajectories_end_with_the_overlap_with_their_first_box():
    boxes = [[np.array([4.0 * i, 0, 4.0 * i + 40, 40])] for i in range(20)]
    ends = [(one.first, one.last) for one in box_trajectories(boxes)]
    assert ends == [(0, 6), (7, 13), (14, 19)]
    gap = [*boxes[:1] * 5, [], *boxes[:1] * 5]
    assert [(one.first, one.last) for one in box_trajectories(gap)] == [(0, 4), (6, 10)]
    assert commands([], (480, 640), 25) == []


def test_a_still_picture_is_cropped_with_padding():
    picture = np.zeros((480, 640, 3), np.uint8)
    faces = [face_at(100, 100, 40), face_at(320, 240, 100)]
    box = crop_picture(picture, faces).box()
    assert box[2] - box[0] == box[3] - box[1] == 200 and box[0] == 220
    np.testing.assert_array_equal(crop_picture(picture, faces, (10,)).box(), box + (-10, -10, 10, 10))
    np.testing.assert_array_equal(crop_picture(picture, faces, (1, 2, 3, 4)).box(), box + (-1, -2, 3, 4))
    assert crop_picture(picture, faces, (1000,)).box().tolist() == [0, 0, 640, 480]
    first = chosen_faces(faces[::-1], "left", "cat.png")
    assert first == chosen_faces(faces, 1, "cat.png") == [faces[0]] and chosen_faces(faces, "all", "") == faces
    with pytest.raises(UserError, match=r"--face 3: cat.png shows 2 face"):
        chosen_faces(faces, 3, "cat.png")
    with pytest.raises(UserError, match="cat.png: no face"):
        crop_picture(picture, [], name="cat.png")
    with pytest.raises(UserError, match="one number, or four"):
        crop_picture(picture, faces, (1, 2))


def test_the_contact_sheet_marks_kept_and_dropped_crops():
    found = people(*({i: face_at(x, 240, 100) for i in range(n)} for x, n in ((160, 30), (480, 5))))
    proposals = propose(found, CropSettings())
    frames = [(index, np.full((480, 640, 3), 90, np.uint8)) for index in (2, 20)]
    sheet = contact_sheet(frames, proposals, columns=2, tile=320)
    assert sheet.shape == (240, 640, 3)
    green, red = ((sheet == colour).all(-1) for colour in ((40, 200, 60), (230, 60, 40)))
    assert green[:, :320].any() and green[:, 320:].any() and red[:, :320].any() and not red[:, 320:].any()


# the command


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A drawn person in a wide video, a video without anyone, and a file that is none."""
    from data.sample_faces import tiny_clip

    folder = tmp_path_factory.mktemp("videos")
    frames, _ = tiny_clip(0, frames=30, size=144)
    with VideoWriter(folder / "anna ü.mp4", Fraction(25)) as writer:
        for person in frames:
            wide = np.full((192, 320, 3), 100, np.uint8)
            wide[24:168, 40:184] = person
            writer.write(wide)
    with VideoWriter(folder / "empty.mp4", Fraction(25)) as writer:
        for _ in range(5):
            writer.write(np.full((96, 128, 3), 100, np.uint8))
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def crop_faces(*arguments):
    command = [sys.executable, str(ROOT / "script" / "crop_faces.py"), *map(str, arguments), "--workers", "0"]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_the_command_crops_faces_and_reports_dropped_ones(videos, tmp_path):
    pytest.importorskip("dlib")
    out = tmp_path / "out"
    arguments = ("--in", videos, "--out", out, "--size", "64", "--preview", "--min_frames", "10")
    done = crop_faces(*arguments)
    assert done.returncode == 0, done.stderr
    clip = out / "anna ü#000000#000030.mp4"
    with open_video(clip) as video:
        assert (len(video), tuple(video.size), video.fps) == (30, (64, 64), 25)
    points = np.load(clip.with_suffix(".npz"))["points"]
    assert points.shape == (30, 68, 2) and np.nanmin(points) > 0 and np.nanmax(points) < 64
    with (out / "crops.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["kept"] == "True" and row["frames_with_face"] == "30"
    failures = (out / "crop_faces_failures.csv").read_text(encoding="utf-8")
    assert "empty.mp4" in failures and "no face in any frame" in failures and "broken.mp4" in failures
    assert (out / "previews" / "anna ü.jpg").is_file() and (out / "previews" / "empty.jpg").is_file()
    check_pasting(videos / "anna ü.mp4", clip)
    before = {path: path.stat().st_mtime_ns for path in out.glob("anna*")}
    again = crop_faces(*arguments)
    assert again.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("anna*")} == before


def check_pasting(video, clip):
    """A clip that is pasted back unchanged leaves the video nearly as it was: mp4 loses a little."""
    crop = Crop.load(clip.with_suffix(".crop.json"))
    with open_video(video) as frames, open_video(clip) as results:
        full = frames[3]
        pasted = paste(full, results[3], crop, index=3)
    assert np.abs(pasted.astype(int) - full).mean() < 1


def test_the_command_fails_if_nothing_is_usable(videos, tmp_path):
    pytest.importorskip("dlib")
    done = crop_faces("--in", videos / "empty.mp4", "--out", tmp_path / "none")
    assert done.returncode == 1 and "no face" in done.stdout + done.stderr
    done = crop_faces("--in", tmp_path / "nothing", "--out", tmp_path / "none")
    assert done.returncode == 2 and "--in" in done.stderr and "Traceback" not in done.stderr
