"""The authors' 203 landmarks by an ONNX file, which the test writes."""

import struct

import numpy as np
import pytest

from data.faces.portrait_points import PortraitPoints
from util.errors import UserError

pytest.importorskip("onnxruntime")


def field(number: int, content: bytes | int) -> bytes:
    """One field of a protocol buffer: a varint, or bytes with their length."""
    if isinstance(content, int):
        return varint(8 * number) + varint(content)
    return varint(8 * number + 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    parts = bytearray()
    while True:
        parts.append(value & 127 | (128 if value > 127 else 0))
        value >>= 7
        if not value:
            return bytes(parts)


def described(name: str, *shape: int) -> bytes:
    """A ValueInfoProto of floats."""
    sizes = b"".join(field(1, field(1, size)) for size in shape)
    return field(1, name.encode()) + field(2, field(1, field(1, 1) + field(2, sizes)))


def node(kind: str, inputs: list[str], output: str) -> bytes:
    return b"".join(field(1, name.encode()) for name in inputs) + field(2, output.encode()) + field(4, kind.encode())


def tensor(name: str, numbers: np.ndarray) -> bytes:
    dims = b"".join(field(1, size) for size in numbers.shape)
    return dims + field(2, 1) + field(8, name.encode()) + field(9, struct.pack(f"<{numbers.size}f", *numbers.flat))


def onnx_file(path, points: np.ndarray, outputs: int = 3) -> None:
    """A network like landmark.onnx: its third output is `points`, moved by the mean of the picture."""
    rest = [f"out{index}" for index in range(outputs - 1)]
    nodes = [node("GlobalAveragePool", ["picture"], "pooled"), node("Flatten", ["pooled"], "mean")]
    nodes += [node("Identity", ["mean"], name) for name in rest]
    nodes += [node("MatMul", ["mean", "spread"], "moved"), node("Add", ["points", "moved"], "landmarks")]
    spread = np.full((3, points.size), 0.01)
    graph = b"".join(field(1, each) for each in nodes) + field(2, b"test")
    graph += field(5, tensor("points", points.reshape(1, -1))) + field(5, tensor("spread", spread))
    graph += field(11, described("picture", 1, 3, 224, 224))
    graph += b"".join(field(12, described(name, 1, 3)) for name in rest) + field(
        12, described("landmarks", 1, points.size)
    )
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(2, 13)))


def face(x: float, y: float, side: float) -> np.ndarray:
    """68 points of an upright face: a circle, with eyes and lips where they belong."""
    angles = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    points = np.zeros((68, 2))
    points[:36] = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    points[36:42], points[42:48], points[48:68] = (-0.4, -0.3), (0.4, -0.3), (0, 0.5)
    return points * side / 2 + (x, y)


def test_points_of_the_crop_come_back_into_the_picture(tmp_path):
    inside = np.random.default_rng(0).uniform(0.2, 0.8, (203, 2))
    onnx_file(tmp_path / "landmark.onnx", inside)
    find = PortraitPoints(tmp_path / "landmark.onnx")
    black = np.zeros((200, 300, 3), np.uint8)
    found = find(black, face(120, 90, 60))
    # The crop is 1.5 faces large and moved up by a tenth of itself.
    np.testing.assert_allclose(found, (inside - 0.5) * 90 + (120, 90 - 9), atol=1e-2)
    white = find(np.full_like(black, 255), face(120, 90, 60))
    assert np.allclose(white - found, 0.03 * 90, atol=0.05), "the network sees pictures in [0, 1]"


def test_a_turned_face_is_seen_upright(tmp_path):
    inside = np.tile([0.5, 0.5], (203, 1)) + np.linspace(0, 0.3, 203)[:, None] * (1, 0)
    onnx_file(tmp_path / "landmark.onnx", inside)
    turn = np.array([[0, -1], [1, 0]])  # a quarter clockwise, as pictures have it
    found = PortraitPoints(tmp_path / "landmark.onnx")(np.zeros((300, 300, 3), np.uint8), face(0, 0, 60) @ turn.T + 150)
    assert np.ptp(found[:, 0]) < 0.1 and found[-1, 1] - found[0, 1] == pytest.approx(0.3 * 90, abs=0.1)


def test_other_files_are_reported(tmp_path):
    with pytest.raises(UserError, match=r"--portrait_landmarks .*absent.onnx: no such file"):
        PortraitPoints(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(UserError, match=r"text\.onnx: not an ONNX network"):
        PortraitPoints(tmp_path / "text.onnx")
    onnx_file(tmp_path / "few.onnx", np.zeros((106, 2)))
    with pytest.raises(UserError, match=r"few\.onnx: its outputs are .*\(1, 212\); the third output"):
        PortraitPoints(tmp_path / "few.onnx")(np.zeros((90, 90, 3), np.uint8), face(45, 45, 40))
    onnx_file(tmp_path / "one.onnx", np.zeros((203, 2)), outputs=1)
    with pytest.raises(UserError, match=r"one\.onnx: its outputs are"):
        PortraitPoints(tmp_path / "one.onnx")(np.zeros((90, 90, 3), np.uint8), face(45, 45, 40))
