"""Converting Caffe's VGG networks, on caffemodels that are written here byte by byte."""

import io
import struct
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import torch
from paths import ROOT

from models.parts.vgg import caffe_vgg
from script import convert_vgg_caffe
from util.caffemodel import read_caffemodel
from util.errors import UserError


def varint(value):
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def field(number, content):
    """A field with a length."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def number_field(number, value):
    return varint(number << 3) + varint(value)


def blob(array, *, old=False, packed=True, double=False):
    """A BlobProto; old ones say num, channels, height, width."""
    kind, data_field = ("d", 8) if double else ("f", 5)
    raw = array.astype(f"<{kind}").tobytes()
    if packed:
        data = field(data_field, raw)
    else:
        wire, size = (1, 8) if double else (5, 4)
        data = b"".join(varint(data_field << 3 | wire) + raw[i : i + size] for i in range(0, len(raw), size))
    if not old:
        return field(7, field(1, b"".join(map(varint, array.shape)))) + data
    shape = (1,) * (4 - array.ndim) + array.shape
    return b"".join(number_field(i + 1, side) for i, side in enumerate(shape)) + data


def layer(name, arrays, *, old=False, **settings):
    """A field of NetParameter: LayerParameter, or V1LayerParameter; with fields beside that are none of ours."""
    blobs = [blob(array, old=old, **settings) for array in arrays]
    if old:
        return field(2, field(4, name.encode()) + number_field(5, 4) + b"".join(field(6, one) for one in blobs))
    content = field(1, name.encode()) + field(2, b"Convolution") + field(3, b"data")
    return field(100, content + b"".join(field(7, one) for one in blobs))


def write(path, layers, **settings):
    rest = field(1, b"VGG") + number_field(5, 1) + varint(9 << 3 | 5) + struct.pack("<f", 1.0)
    path.write_bytes(rest + b"".join(layer(name, arrays, **settings) for name, arrays in layers.items()))
    return path


@pytest.mark.parametrize(
    "settings", [{}, {"old": True}, {"packed": False}, {"double": True}, {"old": True, "packed": False, "double": True}]
)
def test_every_form_of_the_file_is_read(settings, tmp_path):
    numbers = np.random.default_rng(0)
    arrays = {
        "conv": [
            numbers.standard_normal((4, 3, 3, 3)).astype(np.float32),
            numbers.standard_normal(4).astype(np.float32),
        ],
        "fc": [numbers.standard_normal((5, 7)).astype(np.float32), numbers.standard_normal(5).astype(np.float32)],
    }
    found = read_caffemodel(write(tmp_path / "a.caffemodel", {**arrays, "relu": []}, **settings))
    assert list(found) == ["conv", "fc"]
    for name, expected in arrays.items():
        for got, wanted in zip(found[name], expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_damaged_files_are_named(tmp_path):
    whole = write(tmp_path / "a.caffemodel", {"conv": [np.ones((4, 3, 3, 3)), np.ones(4)]}).read_bytes()
    cut = tmp_path / "cut.caffemodel"
    cut.write_bytes(whole[:-40])
    with pytest.raises(UserError, match=r"cut.caffemodel: damaged or cut off at byte \d+"):
        read_caffemodel(cut)
    cut.write_bytes(b"<!DOCTYPE html> no weights, a page")
    with pytest.raises(UserError, match="cut.caffemodel"):
        read_caffemodel(cut)


def archived(path, name, content, size=None):
    entry = tarfile.TarInfo(name)
    entry.size = len(content) if size is None else size
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(entry, io.BytesIO(content)) if size is None else archive.fileobj.write(entry.tobuf())


def test_damaged_archives_are_named(tmp_path, monkeypatch):
    path = tmp_path / "a.tar.gz"
    noise = np.random.default_rng(0).bytes(20_000)
    archived(path, "a.caffemodel", noise)
    path.write_bytes(path.read_bytes()[:10_000])
    with pytest.raises(UserError, match="a.tar.gz: the archive is damaged"):
        convert(monkeypatch, path)
    archived(path, "a.caffemodel", field(100, b"\xff\xff"))
    with pytest.raises(UserError, match="a.tar.gz: cannot read a layer"):
        convert(monkeypatch, path)
    archived(path, "a.caffemodel", b"", size=10**12)
    with pytest.raises(UserError, match="a.tar.gz: a.caffemodel claims 1,000,000,000,000 bytes"):
        convert(monkeypatch, path)


SMALL = (8, 4, "pool", 8, 6, "pool", *(6,) * 3, "pool", *(8,) * 3, "pool", *(8,) * 3, "pool")


@pytest.fixture
def small(monkeypatch):
    """VGGFace with few channels, and its layers as Caffe holds them."""
    monkeypatch.setitem(convert_vgg_caffe.CAFFE_WIDTHS, "vggface", SMALL)
    monkeypatch.setattr(convert_vgg_caffe, "FEATURES", 8 * 7 * 7)
    monkeypatch.setattr(convert_vgg_caffe, "HIDDEN", 16)
    numbers, shapes = np.random.default_rng(1), convert_vgg_caffe.expected_shapes("vggface")
    return {
        name: [
            (numbers.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5).astype(np.float32),
            numbers.standard_normal(shape[0]).astype(np.float32) * np.float32(0.1),
        ]
        for name, shape in shapes.items()
    }


def convert(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["convert_vgg_caffe.py", *map(str, arguments)])
    return convert_vgg_caffe.main()


@pytest.mark.parametrize("old", [False, True])
def test_a_model_is_converted_and_checked_against_numpy(old, small, tmp_path, monkeypatch, capsys):
    file = write(tmp_path / "VGG_FACE.caffemodel", small, old=old)
    archive = tmp_path / "vgg_face_caffe.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(file, "vgg_face_caffe/VGG_FACE.caffemodel")
    output = tmp_path / "vggface.pth"
    assert convert(monkeypatch, archive, "--output", output) == 0
    assert "vggface" in capsys.readouterr().out
    network = caffe_vgg("vggface", str(output), (24,))
    state = network.features.state_dict()
    for name, index in convert_vgg_caffe.convolutions("vggface").items():
        if f"{index}.weight" in state:
            np.testing.assert_array_equal(state[f"{index}.weight"].numpy(), small[name][0])
    # The networks see BGR: what a red picture excites are the weights of the last input channel.
    red = torch.zeros(1, 3, 32, 32)
    red[:, 0] = 1
    prepared = network.prepare(red)[0, :, 0, 0]
    np.testing.assert_allclose(prepared, [-93.5940, -104.7624, 255 - 129.1863], rtol=1e-6)


def test_whole_networks_are_kept_on_request(small, tmp_path, monkeypatch):
    file, output = write(tmp_path / "a.caffemodel", small), tmp_path / "b.pth"
    convert(monkeypatch, file, "--output", output, "--with_linear")
    state = torch.load(output, weights_only=True)
    assert state["linear_layers.6.weight"].shape == (2622, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda layers: layers.pop("conv3_2"), "neither VGG-19 nor VGGFace"),
        (lambda layers: layers.pop("fc7"), "missing layers .'fc7'"),
        (lambda layers: layers["conv2_1"].reverse(), "conv2_1 has the shapes"),
        (lambda layers: layers["conv2_1"][0].fill(np.nan), "weight of conv2_1 is not finite"),
        (lambda layers: layers["fc8"][0].fill(0.5), "weight of fc8 is not finite, or constant"),
    ],
)
def test_wrong_layers_are_refused_without_output(change, message, small, tmp_path, monkeypatch):
    change(small)
    output = tmp_path / "b.pth"
    with pytest.raises(UserError, match=message):
        convert(monkeypatch, write(tmp_path / "a.caffemodel", small), "--output", output)
    assert not output.exists()


def test_networks_that_differ_from_numpy_are_not_saved(small, tmp_path, monkeypatch):
    def flipped(kind, arrays, path, convert=convert_vgg_caffe.convert):
        return {name: value.flip(-1) for name, value in convert(kind, arrays, path).items()}

    monkeypatch.setattr(convert_vgg_caffe, "convert", flipped)
    output = tmp_path / "b.pth"
    with pytest.raises(UserError, match="differs from Caffe's arrays"):
        convert(monkeypatch, write(tmp_path / "a.caffemodel", small), "--output", output)
    assert not output.exists()


def test_the_help_explains_where_to_get_the_files():
    done = subprocess.run(
        [sys.executable, "script/convert_vgg_caffe.py", "nowhere.caffemodel"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2 and "see --help for where to get it" in done.stderr
