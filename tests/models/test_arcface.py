"""The network of the identity loss: its file, its alignment, what it says of equal and of other pictures."""

import numpy as np
import pytest
import torch

from data.sample_faces import render
from metrics.parts.embeddings import alignment, five_points
from models.live_portrait.losses import Identity, cut_grid
from models.parts.arcface import ArcFaceNet, alignment_grid, load_arcface
from util.arcface_template import SIDE
from util.errors import UserError


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(0)
    network = ArcFaceNet([1, 2, 1, 1], [8, 8, 12, 16, 16], 24)
    torch.save(network.state_dict(), tmp_path / "arcface.pth")
    return tmp_path / "arcface.pth"


def face_of(identity=1, size=128, **moment):
    picture = render(identity=identity, size=size, **moment)
    landmarks = torch.from_numpy((picture.landmarks + 0.5) * (2 / size) - 1).float()[None]
    return picture, torch.from_numpy(picture.image).permute(2, 0, 1)[None] / 255, landmarks


def test_faces_are_aligned_as_the_metric_aligns_them():
    import cv2

    picture, tensor, landmarks = face_of(rotation=(10, 5, 15))
    chip = cv2.warpAffine(picture.image, alignment(five_points(picture.landmarks)), (SIDE, SIDE))
    ours = cut_grid(tensor, alignment_grid(landmarks, tensor))[0].permute(1, 2, 0).numpy() * 255
    inner = np.s_[8:-8, 8:-8]
    assert np.abs(ours[inner] - chip[inner]).mean() < 1.5


def test_sizes_are_read_from_the_file_and_weights_stay_frozen(file):
    network = load_arcface(file)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    loss = Identity(2.0, network).train()
    _, tensor, landmarks = face_of()
    made = tensor.clone().requires_grad_()
    batch = {"driving_landmarks": landmarks}
    assert loss(made, tensor, batch)["identity"].item() == pytest.approx(0, abs=1e-5)
    other = face_of(identity=2)[1]
    far = loss(made, other, batch)["identity"]
    far.backward()
    assert float(far) > 0 and made.grad.abs().sum() > 0
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_other_files_are_reported(tmp_path):
    with pytest.raises(UserError, match=r"--identity_network .*absent\.pth: no such file"):
        load_arcface(tmp_path / "absent.pth")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth: not the weights of an ArcFace network"):
        load_arcface(tmp_path / "other.pth")
