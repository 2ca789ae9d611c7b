"""Grimace's own landmarks: the network, its training, the detector that asks it."""

import numpy as np
import pytest
import torch
from paths import ROOT
from running import run

from data.faces.landmarks import build_detector
from data.faces.own_detector import OwnDetector, crop_matrix, cut, square_around
from data.sample_faces import render
from util.errors import UserError
from util.landmark_network import SIDE, WEIGHTS, LandmarkNetwork, load_network

pytest.importorskip("dlib")


@pytest.fixture(scope="module")
def detector() -> OwnDetector:
    return build_detector("own")


def faces(*yaws: float):
    return [render(k, rotation=(yaw, 0, 0), size=160) for k, yaw in enumerate(yaws)]


def error(points: np.ndarray, picture) -> float:
    eyes = np.linalg.norm(picture.landmarks[36] - picture.landmarks[45])
    return float(np.linalg.norm(points - picture.landmarks, axis=1).mean() / eyes)


def test_points_lie_on_faces_in_rough_boxes(detector):
    pictures = faces(0, 15, -20)
    boxes = [[picture.box + np.array([-8, 4, 6, 9])] for picture in pictures]
    found = detector.landmarks_of([picture.image for picture in pictures], boxes)
    errors = [error(row[0], picture) for row, picture in zip(found, pictures, strict=True)]
    assert np.median(errors) < 0.08


def test_a_batch_gives_what_single_frames_give(detector):
    pictures = faces(0, 10)
    frames, boxes = [p.image for p in pictures], [[p.box] for p in pictures]
    together = detector.landmarks_of(frames, boxes)
    for frame, row, alone in zip(frames, boxes, together, strict=True):
        np.testing.assert_allclose(detector.landmarks_of([frame], [row])[0][0], alone[0], atol=0.02)
    assert detector.landmarks_of(frames, [[], []]) == [[], []]


def test_faces_are_found_in_whole_frames(detector):
    picture = render(2, size=256)
    face = detector.detect([picture.image])[0][0]
    assert error(face.points, picture) < 0.1


def test_confidence_is_a_probability(detector):
    picture = faces(0)[0]
    (_, sure), = detector.landmarks_and_visibility([picture.image], [[picture.box]])  # fmt: skip
    assert sure.shape == (68,) and 0 <= sure.min() <= sure.max() <= 1


def test_the_network_is_differentiable_in_the_picture():
    crops = torch.rand(2, 3, SIDE, SIDE, requires_grad=True)
    LandmarkNetwork(8).eval()(crops).points.sum().backward()
    assert float(crops.grad.abs().sum()) > 0


def test_crops_map_points_to_their_positions():
    frame = np.zeros((100, 120, 3), np.uint8)
    frame[38:43, 58:63] = 255
    matrix = crop_matrix(np.array([60.0, 40.0, 32.0]), SIDE, 20.0)
    crop = cut(frame, matrix, SIDE).mean(-1)
    y, x = np.unravel_index(int(crop.argmax()), crop.shape)
    assert abs(x - 31.5) < 6 and abs(y - 31.5) < 6
    np.testing.assert_allclose(square_around(np.array([[0.0, 0], [10, 4]]))[:2], [5, 2])


def test_other_weights_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="train_landmarks"):
        load_network(tmp_path / "x.safetensors")
    state = LandmarkNetwork().state_dict()
    first = next(iter(state))
    for value, says in ((torch.zeros(3), f"not the weights .* size mismatch for {first}"), ("x", f"{first} is a str")):
        torch.save(state | {first: value}, tmp_path / "x.pth")
        with pytest.raises(UserError, match=f"x.pth: {says}"):
            load_network(tmp_path / "x.pth")


@pytest.mark.slow
def test_training_resumes_and_exports(tmp_path, sample):
    words = ["--people", sample, "--run", tmp_path / "run", "--out", tmp_path / "out", "--batch_size", 4]
    run(ROOT, *words, "--steps", 2, script="script/train_landmarks.py")
    run(ROOT, *words, "--steps", 3, script="script/train_landmarks.py")
    assert torch.load(tmp_path / "run" / "latest.pth", weights_only=True)["step"] == 3
    load_network(tmp_path / "out" / "own.safetensors")
    torch.save({"step": 3}, tmp_path / "run" / "latest.pth")
    words += ["--steps", 4]
    assert "latest.pth: not what this script keeps" in run(ROOT, *words, script="script/train_landmarks.py", status=2)
    assert (tmp_path / "out" / "own.safetensors").stat().st_size < 4 * 2**20


def test_the_model_card_describes_this_file():
    import hashlib

    card = (ROOT / "weights" / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() in card
