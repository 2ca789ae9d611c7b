"""Finding and following faces: the back ends on drawn people, the following on coloured squares that act as faces."""

import sys

import cv2
import numpy as np
import pytest
from paths import REAL

from data.faces.detector import Detector, Face, distinct
from data.faces.dlib_detector import load_model
from data.faces.landmarks import Status, Track, build_detector, follow, track
from data.sample_faces import render, tiny_clip
from util.errors import UserError


class SquareDetector(Detector):
    """Treats bright squares as faces; counts searches of whole frames."""

    near_size = 24

    def __init__(self):
        self.searches = 0

    def find(self, frames, near=False):
        self.searches += 0 if near else len(frames)
        return [self._squares(frame) for frame in frames]

    @staticmethod
    def _squares(frame):
        found = []
        for colour in range(3):
            bright = ((frame[..., colour] > 180) & (frame.argmax(-1) == colour)).astype(np.uint8)
            for x, y, w, h, _ in cv2.connectedComponentsWithStats(bright)[2][1:]:
                # What is half hidden is no square.
                if min(w, h) > 12 and max(w, h) < 1.3 * min(w, h):
                    found.append((np.array([x, y, x + w, y + h], float), 1.0))
        return found

    def landmarks_of(self, frames, boxes):
        return [[self._grid(box) for box in row] for row in boxes]

    @staticmethod
    def _grid(box):
        x, y = np.meshgrid(np.linspace(box[0], box[2], 17), np.linspace(box[1], box[3], 4))
        return np.stack([x.ravel(), y.ravel()], -1).astype(np.float32)


def scene(*squares, size=(120, 200), ground=40):
    """A frame with squares (left, top, side, colour) on a textured ground."""
    frame = np.full((*size, 3), ground, np.uint8)
    frame[::7] += 15
    for left, top, side, colour in squares:
        start = max(left, 0)
        frame[top : top + side, start : max(left + side, 0)] = colour
    return frame


def walking(count=40, hidden=(), step=3):
    return [scene(*[(10 + step * i, 40, 30, (250, 90, 60))] * (i not in hidden)) for i in range(count)]


@pytest.fixture(scope="module")
def dlib_detector():
    pytest.importorskip("dlib")
    return build_detector("dlib")


@pytest.fixture(scope="module")
def drawn():
    frames, truth = tiny_clip(0, frames=40, size=128)
    return list(frames), truth


@pytest.mark.slow
def test_dlib_finds_drawn_people(dlib_detector):
    for identity in (0, 2):
        picture = render(identity, size=128)
        (face,) = dlib_detector.detect([picture.image])[0]
        assert face.points.shape == (68, 2) and face.points.dtype == np.float32
        assert np.linalg.norm(face.points - picture.landmarks, axis=1).mean() < 4
        assert face.score > 0
    assert dlib_detector.detect([np.full((128, 128, 3), 90, np.uint8)]) == [[]]


def test_dlib_points_are_finer_than_whole_pixels(dlib_detector):
    picture = render(0, size=128)
    points = dlib_detector.detect([picture.image])[0][0].points
    large = cv2.resize(picture.image, (512, 512), interpolation=cv2.INTER_LINEAR)
    # The box is dlib's own on each picture, so only the grain of the points is compared.
    box = dlib_detector.detect([picture.image])[0][0].box
    fine = dlib_detector.landmarks_in_box(large, box * 4 + (1.5, 1.5, 1.5, 1.5))
    assert np.abs((fine - 1.5) / 4 - points).mean() < 0.5
    assert len(np.unique(points % 1)) > 2


@pytest.mark.slow
def test_following_equals_searching_every_frame_at_a_fraction_of_the_searches(dlib_detector, drawn, monkeypatch):
    frames, truth = drawn
    whole = []
    find = type(dlib_detector).find
    monkeypatch.setattr(
        type(dlib_detector),
        "find",
        lambda self, frames, near=False: (near or whole.append(1), find(self, frames, near))[1],
    )
    followed = track(frames, dlib_detector)
    searches = len(whole)
    searched = track(frames, dlib_detector, search_every=1)
    assert searches <= 4 and len(whole) - searches == len(frames)
    apart = np.linalg.norm(followed.points - searched.points, axis=-1) * 2
    assert np.median(apart) <= 1
    assert np.linalg.norm(followed.points - truth.landmarks, axis=-1).mean() < 4
    assert followed.report()["found"] == len(frames) and followed.report()["faces"] == 1


def test_a_cut_brings_the_other_persons_points_at_once(dlib_detector):
    people = [render(identity, rotation=(turn, 0, 0), size=128) for identity, turn in ((0, -10), (2, 10))]
    frames = [
        np.clip(one.image.astype(int) * gain, 0, 255).astype(np.uint8)
        for one, gain in zip(people, (0.6, 1), strict=True)
    ]
    result = track([frames[0]] * 6 + [frames[1]] * 6, dlib_detector)
    for index, points in enumerate(result.points):
        assert np.linalg.norm(points - people[index >= 6].landmarks, axis=1).mean() < 4


def test_the_result_does_not_depend_on_the_clip_before(dlib_detector, drawn):
    frames = drawn[0][:12]
    fresh = track(frames, dlib_detector)
    track([np.roll(frame, 20, 1) for frame in frames], dlib_detector)
    np.testing.assert_array_equal(track(frames, dlib_detector).points, fresh.points)


def test_a_box_within_a_better_one_is_dropped():
    whole, mouth, other = ([117, 167, 340, 390], [150, 270, 304, 425], [300, 100, 400, 200])
    kept = distinct([(np.array(mouth), 0.1), (np.array(whole), 1.5), (np.array(other), 0.5)])
    assert [score for _, score in kept] == [1.5, 0.5]


# following, on squares


def test_a_moving_face_is_followed_with_few_searches():
    detector = SquareDetector()
    result = track(walking(), detector)
    assert result.present.all() and detector.searches <= 3
    np.testing.assert_allclose(result.boxes[:, 0], 10 + 3 * np.arange(40), atol=1.5)


@pytest.mark.parametrize("mode", ["interpolate", "hold", "skip"])
def test_frames_without_a_face(mode):
    hidden = range(10, 20)
    result = track(walking(hidden=hidden), SquareDetector(), on_missing=mode)
    left = result.boxes[list(hidden), 0]
    report = result.report()
    assert (report["found"], report["longest_gap"]) == (30, 10)
    if mode == "skip":
        assert np.isnan(left).all() and not result.present[12] and report["without"] == 10
        return
    assert report["filled"] == 10 and (result.status[list(hidden)] == Status.FILLED).all()
    expected = 10 + 3 * np.array(hidden) if mode == "interpolate" else np.full(10, 10 + 3 * 9)
    np.testing.assert_allclose(left, expected, atol=2)


def test_missing_at_the_ends_holds_the_nearest():
    result = track(walking(hidden=[*range(5), *range(35, 40)]), SquareDetector())
    np.testing.assert_allclose(result.points[0], result.points[5])
    np.testing.assert_allclose(result.points[39], result.points[34])


def test_missing_faces_can_be_an_error_that_names_clip_and_frame():
    with pytest.raises(UserError, match="holiday.mp4: no face in 2 of 40 .*frame 7"):
        track(walking(hidden=[7, 8]), SquareDetector(), name="holiday.mp4", on_missing="error")
    with pytest.raises(UserError, match="holiday.mp4: no face in any of its 5 frames"):
        track([scene()] * 5, SquareDetector(), name="holiday.mp4")
    assert not track([scene()] * 5, SquareDetector(), on_missing="skip").present.any()


def test_nothing_is_interpolated_across_a_cut():
    shot = [scene((10, 40, 30, (250, 90, 60)))] * 5 + [scene()] * 3
    other = np.zeros_like(scene())
    other[..., 2] = np.linspace(150, 10, 200)
    face = other.copy()
    face[40:70, 150:180] = (60, 250, 90)
    result = track(shot + [other] * 3 + [face] * 5, SquareDetector())
    assert result.cuts == [8]
    np.testing.assert_allclose(result.boxes[:8, 0], 10, atol=1)
    np.testing.assert_allclose(result.boxes[8:, 0], 150, atol=1)


def test_a_face_that_comes_into_sight_between_searches_is_found_from_its_first_frame():
    detector = SquareDetector()
    result = track(walking(60, hidden=range(25), step=2), detector, on_missing="skip")
    assert result.present.tolist() == [False] * 25 + [True] * 35
    assert detector.searches < 15


def test_two_people_who_cross_keep_their_identity():
    red, blue = (250, 60, 60), (60, 60, 250)
    frames = [scene((140 - 3 * i, 45, 26, blue), (10 + 3 * i, 40, 34, red)) for i in range(45)]
    people = follow(frames, SquareDetector()).people
    for person in people:
        colours = {frames[i][int(f.box[1]) + 13, int(f.box[0]) + 13].argmax() for i, f in person.faces.items()}
        assert len(colours) == 1
    assert [len(person.faces) > 25 for person in people] == [True, True]


def test_largest_or_tracked_face():
    growing = [scene((20, 40, 26, (250, 60, 60)), (120, 20, 18 + i, (60, 60, 250))) for i in range(30)]
    largest = track(growing, SquareDetector(), several="largest")
    assert largest.boxes[0, 0] < 50 and largest.boxes[-1, 0] > 100
    tracked = track(growing, SquareDetector(), several="tracked")
    assert len(set(tracked.person.tolist())) == 1
    assert tracked.report()["faces"] == 2


def test_a_face_is_chosen_by_its_number_from_the_left_and_followed():
    frames = [scene((10, 40, 30, (250, 90, 60)), (130 - i, 30, 60, (60, 90, 250))) for i in range(12)]
    for number, left in ((1, 10), (2, 119)):
        found = track(frames, SquareDetector(), several=number)
        assert abs(found.boxes[11, 0] - left) < 1
    with pytest.raises(UserError, match="--several 3: clip shows 2 face"):
        track(frames, SquareDetector(), several=3)


def test_smoothing_reduces_jitter_without_lag():
    rng = np.random.default_rng(0)
    frames = [scene((60 + int(n), 40, 30, (250, 90, 60))) for n in rng.integers(-1, 2, 60)]
    rough, smooth = (track(frames, SquareDetector(), search_every=1, smooth=s) for s in (0, 0.5))
    assert np.diff(smooth.points[:, 0, 0]).std() < 0.4 * np.diff(rough.points[:, 0, 0]).std()
    moving = track(walking(), SquareDetector(), search_every=1, smooth=0.5)
    assert np.abs(moving.boxes[20:, 0] - moving.points[20:, 0, 0]).max() < 3
    with pytest.raises(UserError, match="--smooth 3"):
        track(walking(), SquareDetector(), smooth=3)


def test_track_survives_a_file(tmp_path):
    result = track(walking(hidden=[3]), SquareDetector(), name="a.mp4", on_missing="skip")
    result.save(tmp_path / "a.npz")
    again = Track.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(again.points, result.points)
    assert again.report() == result.report()
    (tmp_path / "b.npz").write_bytes(b"not a file")
    with pytest.raises(UserError, match="b.npz"):
        Track.load(tmp_path / "b.npz")


# landmarks from files


def test_landmarks_are_read_from_npz_text_folder_and_packed_clip(tmp_path):
    from data.video.packed import pack

    points = np.random.default_rng(0).uniform(5, 90, (4, 68, 2)).astype(np.float32).round()
    frames = [np.zeros((100, 100, 3), np.uint8)] * 4
    np.savez(tmp_path / "one.npz", points=points)
    lines = ["\n".join(f"{int(x)},{int(y)}" for x, y in frame) for frame in points]
    (tmp_path / "two.txt").write_text("\n".join(lines))
    (tmp_path / "three").mkdir()
    for index, text in enumerate(lines):
        # Natural order: 2 before 10.
        (tmp_path / "three" / f"{index * 5}.txt").write_text(text)
    pack(tmp_path / "four.clip", frames, fps=25, arrays={"landmarks": points})
    detector = build_detector("file", model=tmp_path)
    for name in ("one.mp4", "two.mp4", "three", "four.mp4"):
        np.testing.assert_allclose(track(frames, detector, name=name).points, points)


def test_landmarks_of_another_clip_are_never_used(tmp_path):
    points = np.ones((4, 68, 2), np.float32) * np.arange(68)[:, None]
    np.savez(tmp_path / "id.npz", points=points)
    (tmp_path / "id.2.txt").write_text("\n".join("1,2" for _ in range(68)))
    detector = build_detector("file", model=tmp_path)
    with pytest.raises(UserError, match="id.1"):
        track(walking(4), detector, name="id.1")
    with pytest.raises(UserError, match="4 frames, but the video is longer"):
        track(walking(5), detector, name="id.mp4")
    points[1] = np.nan
    np.savez(tmp_path / "id.npz", points=points)
    assert track(walking(4), detector, name="id", on_missing="skip").present.tolist() == [True, False, True, True]
    (tmp_path / "bad.txt").write_text("1,2\n3")
    with pytest.raises(UserError, match="bad.txt"):
        track(walking(1), detector, name="bad.mp4")


# what is missing


def test_missing_models_and_packages_are_reported_with_the_remedy(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="nowhere.dat.*--landmark_model"):
        build_detector("dlib", model=tmp_path / "nowhere.dat")
    (tmp_path / "broken.dat").write_bytes(b"no model")
    with pytest.raises(UserError, match="broken.dat"):
        build_detector("dlib", model=tmp_path / "broken.dat")
    with pytest.raises(UserError, match="sfd.*hog, cnn"):
        build_detector("dlib", face_detector="sfd")
    with pytest.raises(UserError, match="2DFAN4.*--landmark_model"):
        build_detector("face-alignment", model=tmp_path)
    for name, package in (("dlib", "dlib-bin"), ("face-alignment", "face-alignment")):
        monkeypatch.setitem(sys.modules, name.replace("-", "_"), None)
        with pytest.raises(UserError, match=f"pip install {package}"):
            build_detector(name)


def test_the_dlib_model_is_found_without_importing_its_package(dlib_detector):
    assert "face_recognition_models" not in sys.modules


# face-alignment, with stand-in networks: the released weights are not distributed with the package


@pytest.fixture
def alignment(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    pytest.importorskip("face_alignment")

    class Brightness(torch.nn.Module):
        """Heat maps that peak where the view is brightest, for every point."""

        def __init__(self, size):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x):
            return torch.nn.functional.avg_pool2d(x.mean(1, keepdim=True), 4).repeat(1, 68, 1, 1) * self.weight

    class Everywhere(torch.nn.Module):
        """The detector's six pairs of scores and offsets: one face, at the prior of one cell of the coarsest map."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x):
            maps = []
            for level in range(6):
                height, width = (max(1, side // 2 ** (level + 2)) for side in x.shape[2:])
                scores = torch.zeros(len(x), 2, height, width)
                scores[:, 0] = 9
                if level == 3:
                    # A bright frame has a face, a dark one none.
                    scores[:, 1, 2, 3] = torch.where(x.mean((1, 2, 3)) > -90, 20.0, 0.0)
                maps += [scores * self.weight, torch.zeros(len(x), 4, height, width)]
            return maps

    monkeypatch.setattr("face_alignment.models.FAN", Brightness)
    monkeypatch.setattr("face_alignment.detection.sfd.sfd_detector.s3fd", Everywhere)
    torch.save(Brightness(4).state_dict(), tmp_path / "2DFAN4-test.pth.tar")
    torch.save(Everywhere().state_dict(), tmp_path / "s3fd-test.pth")
    return build_detector("face-alignment", model=tmp_path, face_detector_model=tmp_path, batch_size=2)


def test_face_alignment_places_boxes_and_points_in_the_frame(alignment):
    frames = [np.full((240, 320, 3), 60, np.uint8) for _ in range(3)]
    frames[1][:] = 0
    frames[2] = cv2.resize(frames[2], (1280, 960))  # searched at half its size
    frames[0][76:79, 117:120] = 255
    frames[2][156:166, 226:236] = 255
    found = alignment.detect(frames)
    assert [len(faces) for faces in found] == [1, 0, 1]
    # Priors of the fourth map: stride 32, side 128, centre (16 + 32 x, 16 + 32 y).
    np.testing.assert_allclose(found[0][0].box, [48, 16, 176, 144], atol=1)
    np.testing.assert_allclose(found[2][0].box, [96, 32, 352, 288], atol=2)
    np.testing.assert_allclose(found[0][0].points, np.tile([118, 77], (68, 1)), atol=4)
    np.testing.assert_allclose(found[2][0].points, np.tile([231, 161], (68, 1)), atol=8)
    alone = [alignment.detect([frame])[0] for frame in frames]
    for together, single in zip(found, alone, strict=True):
        for one, other in zip(together, single, strict=True):
            np.testing.assert_allclose(one.points, other.points)


@pytest.mark.slow
def test_face_alignment_loads_its_own_networks(tmp_path):
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("face_alignment.models")
    torch.save(models.FAN(4).state_dict(), tmp_path / "2DFAN4-random.pth.tar")
    with pytest.raises(UserError, match="s3fd"):
        build_detector("face-alignment", model=tmp_path, face_detector_model=tmp_path)
    torch.save({"something": torch.zeros(1)}, tmp_path / "s3fd-wrong.pth")
    with pytest.raises(UserError, match="s3fd-wrong.pth: not the weights of sfd"):
        build_detector("face-alignment", model=tmp_path, face_detector_model=tmp_path)
    from face_alignment.detection.sfd.net_s3fd import s3fd

    torch.save(s3fd().state_dict(), tmp_path / "s3fd-wrong.pth")
    detector = build_detector("face-alignment", model=tmp_path, face_detector_model=tmp_path)
    points = detector.landmarks_in_box(np.zeros((64, 64, 3), np.uint8), np.array([10.0, 10, 50, 50]))
    assert points.shape == (68, 2) and np.isfinite(points).all()


# real people, where there are any


@pytest.mark.skipif(not (REAL / "clips").is_dir(), reason="no real clips here")
@pytest.mark.slow
def test_all_real_clips_have_faces(dlib_detector):
    from itertools import islice

    from data.video import list_videos, open_video

    for path in list_videos(REAL / "clips"):
        with open_video(path) as video:
            report = track(islice(video, 12), dlib_detector, name=path.name).report()
        assert report["found"] == 12 and report["cuts"] == 0, report


@pytest.mark.skipif(not (REAL / "portraits").is_dir(), reason="no portraits here")
def test_portraits_have_one_face_and_a_cat_none(dlib_detector):
    from data.video.images import list_images, read_image

    for path in list_images(REAL / "portraits"):
        faces = dlib_detector.detect([read_image(path)])[0]
        assert len(faces) == (0 if path.stem.startswith("no_face") else 1), path.name


def test_faces_are_sorted_by_size(dlib_detector):
    small, large = render(0, size=96).image, render(2, size=160).image
    frame = np.full((160, 256, 3), 128, np.uint8)
    frame[:96, :96], frame[:, 96:] = small, large
    faces = dlib_detector.detect([frame])[0]
    assert [isinstance(face, Face) for face in faces] == [True, True]
    assert faces[0].size > faces[1].size and faces[0].box[0] > 96


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, ValueError])
def test_whatever_dlib_raises_for_a_damaged_model_is_reported_with_its_file(tmp_path, error):
    def read(path):
        raise error("vector::_M_default_append")

    with pytest.raises(UserError, match="a.dat: not a model that dlib can read here .*; download it again"):
        load_model(read, tmp_path / "a.dat")
