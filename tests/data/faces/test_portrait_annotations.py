"""What is known of a clip's faces: landmarks, boxes, angles; and the items of training that hold it."""

import numpy as np
import pytest
import torch
from layouts import picture
from paths import ROOT

from data import find_dataset
from data.faces.head_pose import head_rotation, portrait_angles, rotation_of, yaw_pitch_roll
from data.faces.portrait_annotations import (
    FACE_MARGIN,
    Annotations,
    annotation_arrays,
    annotations_of,
    read_annotations,
)
from data.portraits import cut_window
from data.sample_faces import render
from data.video import write_image
from data.video.packed import pack
from models.live_portrait.keypoints import angles_of
from models.live_portrait.keypoints import rotation_of as portrait_rotation
from options import parse
from util.errors import UserError

CONFIG = ROOT / "configs" / "tiny" / "live_portrait.yaml"


def test_angles_go_through_the_matrix():
    matrix = rotation_of(20, -10, 7)
    np.testing.assert_allclose(yaw_pitch_roll(matrix), [20, -10, 7], atol=1e-9)
    angles = torch.tensor(portrait_angles(matrix), dtype=torch.float32)[:, None, None]
    # The family's matrix turns rows, ours columns.
    np.testing.assert_allclose(portrait_rotation(*angles)[0].T, matrix, atol=1e-5)
    assert torch.allclose(torch.stack(angles_of(portrait_rotation(*angles))), angles, atol=1e-3)


def test_a_turn_to_the_right_is_found_by_landmarks_with_the_sign_of_the_truth():
    turned = render(identity=3, rotation=(25, 0, 0), size=192)
    found = portrait_angles(head_rotation(turned.landmarks, 192, 192))
    assert found == pytest.approx(portrait_angles(rotation_of(25, 0, 0)), abs=10)


def annotations(count=3, size=(64, 96)):
    points = np.random.default_rng(0).uniform(20, 50, (count, 68, 2))
    return Annotations(size, points)


def test_a_mirrored_face_is_the_face_of_the_mirrored_picture():
    picture = render(identity=3, rotation=(20, 5, 8), size=192)
    facts = Annotations((192, 192), picture.landmarks[None]).frame(0)
    other = picture.landmarks * [-1, 1] + [191, 0]
    mirrored = facts.mirrored()
    left, right = slice(36, 42), slice(42, 48)
    middle = ((other[right].mean(0) + 0.5) * 2 / 192) - 1
    np.testing.assert_allclose(mirrored.landmarks[left].mean(0), middle, atol=1e-6)
    np.testing.assert_allclose(mirrored.boxes[0][[0, 2]], -facts.boxes[0][[2, 0]])
    assert (mirrored.boxes[:, 2] > mirrored.boxes[:, 0]).all()
    np.testing.assert_allclose(mirrored.angles, facts.angles * [1, -1, -1])


def test_boxes_hold_their_landmarks_and_are_squares():
    facts = annotations(size=(64, 64)).frame(1)
    for box, points in zip(facts.boxes, (facts.landmarks, facts.landmarks[48:]), strict=True):
        assert (points >= box[:2]).all() and (points <= box[2:]).all()
        assert box[2] - box[0] == pytest.approx(box[3] - box[1])
    reach = np.ptp(facts.landmarks, axis=0).max()
    assert facts.boxes[0][2] - facts.boxes[0][0] == pytest.approx(reach * (1 + 2 * FACE_MARGIN))


def test_a_window_transforms_the_facts():
    """A bright dot stays at its landmark when the frame is cut by a window."""
    frame = np.zeros((80, 100, 3), np.uint8)
    frame[38:43, 58:63] = 255
    known = Annotations((80, 100), np.tile([60.0, 40.0], (1, 68, 1)), np.zeros((1, 2, 4)), np.zeros((1, 3)))
    for window in ([0.1, -0.08, 1.1], [-0.05, 0.12, 0.8], [0, 0, 1]):
        facts = known.frame(0).seen_in(np.array(window, float))
        cut = cut_window(frame, np.array(window, float))[..., 0].astype(float)
        y, x = (np.average(index, weights=cut) for index in np.indices(cut.shape))
        expected = (facts.landmarks[0] + 1) * np.array([100, 80]) / 2 - 0.5
        np.testing.assert_allclose([x, y], expected, atol=0.3)


def test_stored_annotations_equal_those_computed_from_landmarks():
    known = annotations()
    known.landmarks[1] = np.nan
    arrays = annotation_arrays(known.landmarks, known.size)
    again = annotations_of(arrays, known.size, 3, "clip")
    assert list(again.present) == [0, 2] and np.isnan(arrays["angles"][1]).all()
    for name in ("landmarks", "boxes", "angles"):
        np.testing.assert_allclose(getattr(again.frame(2), name), getattr(known.frame(2), name), atol=1e-4)


def test_mismatching_annotations_are_reported(tmp_path):
    known = annotations()
    with pytest.raises(UserError, match=r"clip: landmarks has shape \(3, 68, 2\), a clip of 4 frames"):
        annotations_of({"landmarks": known.landmarks}, known.size, 4, "clip")
    with pytest.raises(UserError, match="no frame with a face"):
        annotations_of({"landmarks": np.full((3, 68, 2), np.nan)}, known.size, 3, "clip")
    np.savez(tmp_path / "a.npz", points=known.landmarks)
    with pytest.raises(UserError, match=r"a\.npz: needs an array landmarks.*prepare_videos"):
        read_annotations(tmp_path / "a.npz", known.size, 3)
    np.savez(tmp_path / "b.npz", landmarks=known.landmarks, size=128)
    with pytest.raises(UserError, match=r"b\.npz: made for frames of 128 pixels"):
        read_annotations(tmp_path / "b.npz", known.size, 3)
    assert read_annotations(tmp_path / "c.npz", known.size, 3) is None


# --- items ------------------------------------------------------------------------------------------------------------


def dataset(root, *words):
    opt = parse([f"--config={CONFIG}", f"--dataroot={root}", *words], training=True)
    return find_dataset(opt.dataset_mode)(opt, training=True)


KINDS = ("brightness", "contrast", "saturation", "hue")
PLAIN = ("--horizontal_flip=no", "--time_flip=no", *(f"--jitter_{kind}=0" for kind in KINDS))


def test_items_of_drawn_people_hold_the_truth(sample):
    item = dataset(sample, *PLAIN)[0]
    shapes = {"source": (3, 64, 64), "driving": (3, 64, 64), "face_box": (4,), "lips_box": (4,)}
    shapes |= {f"{name}_{part}": shape for name in ("source", "driving")
               for part, shape in (("landmarks", (68, 2)), ("angles", (3,)))}  # fmt: skip
    assert {name: tuple(value.shape) for name, value in item.items() if name != "name"} == shapes
    # The truth is at the size at which the clips were drawn, items at --load_size.
    assert item["driving_landmarks"].abs().max() < 1
    assert item["driving_landmarks"].dtype == torch.float32


def test_flips_and_windows_move_landmarks_with_the_pixels(sample):
    """The same draws without and with the landmarks' augmentation: eyes stay dark, wherever they are."""
    data = dataset(sample, *PLAIN[1:], "--horizontal_flip", "--crop_jitter=0.2")
    contrasts = []
    for index in range(12):
        torch.manual_seed(index)
        item = data[index % len(data)]
        points = item["driving_landmarks"]
        for eye in (points[36:42].mean(0), points[42:48].mean(0)):
            grid = eye.view(1, 1, 1, 2)
            cheek = (eye + torch.tensor([0.0, 0.12])).view(1, 1, 1, 2)
            dark, bright = (
                torch.nn.functional.grid_sample(item["driving"][None], place, align_corners=False).mean()
                for place in (grid, cheek)
            )
            contrasts.append(float(bright - dark))
    assert np.mean(np.array(contrasts) > 0.05) > 0.8


def test_without_annotations_items_are_those_of_frames(sample):
    assert set(dataset(sample, "--annotations=none")[0]) == {"source", "driving", "name"}


def test_packed_clips_and_single_pictures_are_annotated(tmp_path):
    frames = [picture(index, (64, 64)) for index in range(4)]
    points = np.random.default_rng(0).uniform(20, 50, (4, 68, 2))
    points[2] = np.nan
    (tmp_path / "train").mkdir()
    pack(tmp_path / "train" / "a.clip", frames, fps=25, arrays=annotation_arrays(points, (64, 64)))
    write_image(tmp_path / "train" / "b.png", frames[0])
    with pytest.raises(UserError, match=r"b\.png: has no landmarks, unlike other clips"):
        dataset(tmp_path)[1]
    (tmp_path / "points").mkdir()
    np.savez(tmp_path / "points" / "b.npz", landmarks=points[:1])
    data = dataset(tmp_path, *PLAIN, f"--annotations={tmp_path / 'points'}")
    drawn = {tuple(data[0]["driving_landmarks"][0].tolist()) for _ in range(20)}
    assert len(drawn) == 3, "the frame without a face is not drawn"
    picture_item = data[1]
    assert torch.equal(picture_item["source"], picture_item["driving"])


def test_augmentations_that_landmarks_do_not_follow_are_refused(sample):
    with pytest.raises(UserError, match="landmarks do not follow these; use --crop_jitter"):
        dataset(sample, "--rotation_degrees=10")
    dataset(sample, "--rotation_degrees=10", "--annotations=none")[0]
