"""Weights that are damaged, or hold what is no weights: never used, and refused by name."""

import os
import zipfile
import zlib
from pathlib import Path

import pytest
import torch
from toys import Chunks, Joint
from trainers import assert_equal, scrambled, trainer_at

from engine.checkpoints.load import load_networks
from engine.checkpoints.save import Checkpoints
from models.parts.vgg import Vgg19, vgg19
from util.archives import open_zip
from util.checksums import file_checksum, once_per_file
from util.errors import UserError
from util.weights_file import read_weights


def flip(path: Path, entry: str) -> None:
    """Change one bit of an entry of a zip archive; the file's time stays as it was."""
    state = path.stat()
    with zipfile.ZipFile(path) as archive:
        content = archive.read(entry)
    whole = bytearray(path.read_bytes())
    whole[whole.index(content) + len(content) // 2] ^= 0x40
    path.write_bytes(whole)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def weights(path: Path) -> Path:
    """A file of the generator's weights of a toy family, as its original would leave it."""
    torch.save(scrambled(Chunks).generator.state_dict(), path)
    return path


def test_a_flipped_bit_in_an_entry_is_reported(tmp_path):
    path = weights(tmp_path / "latest_net_G.pth")
    flip(path, "latest_net_G/data/0")
    torch.load(path)  # torch itself uses it
    with pytest.raises(
        UserError, match=r"G.pth: damaged or incomplete \(latest_net_G/data/0 does not match its checksum"
    ):
        read_weights(path)


def test_archives_without_checksums_are_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.ones(3)}, tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_weights(tmp_path / "a.pth")["a"].tolist() == [1, 1, 1]


def test_an_unchanged_file_is_verified_once(tmp_path):
    calls = []
    counted = once_per_file(lambda path: calls.append(path) or len(calls))
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert counted(path) == 1 and counted(path) == 2  # changed a moment ago: its time says little
    os.utime(path, (1, 1))
    assert counted(path) == 3 and counted(path) == 3
    os.utime(path, (2, 2))
    assert counted(path) == 4
    path.write_bytes(b"three")
    os.utime(path, (2, 2))
    assert counted(path) == 5 and file_checksum(path) == zlib.crc32(b"three")


@pytest.mark.parametrize("family", [Chunks, Joint])
def test_weights_with_another_checksum_are_refused(tmp_path, family):
    trainer = trainer_at(2, family)
    Checkpoints(tmp_path).save(trainer)
    other = scrambled(family)
    load_networks(other, tmp_path)
    assert_equal(trainer.family, other)
    (file,) = list(tmp_path.glob("latest_net_G.pth")) or list(tmp_path.glob("latest-checkpoint.pth.tar"))
    content = torch.load(file)
    file.unlink()  # the numbered set has the same file
    torch.save(content, file)
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = b"whole, but another file"
    for place in (tmp_path, file):
        with pytest.raises(UserError, match=f"{file.name} is damaged or replaced.*--which"):
            load_networks(scrambled(family), place)
    load_networks(scrambled(family), tmp_path, "00000002")
    (tmp_path / "latest_training.pth").unlink()
    load_networks(scrambled(family), tmp_path)


def test_a_damaged_training_state_does_not_stop_the_weights(tmp_path, caplog):
    Checkpoints(tmp_path).save(trainer_at(2, Chunks))
    (tmp_path / "latest_training.pth").unlink()
    (tmp_path / "latest_training.pth").write_bytes(b"nothing")
    load_networks(scrambled(Chunks), tmp_path)
    assert "cannot compare the weights with their checksums" in caplog.text


ODD = [
    (lambda weight: weight.index_fill(0, torch.tensor([1]), float("nan")), "holds NaN or infinity"),
    (lambda weight: weight.half() / 0, "holds NaN or infinity"),
    (lambda weight: weight.to(torch.complex64), "holds complex numbers"),
    (lambda weight: weight.to_sparse(), "is sparse"),
    (lambda weight: torch.quantize_per_tensor(weight.float(), 0.1, 0, torch.quint8), "is quantised"),
    (lambda weight: torch.ones(1).expand(10**12), "claims 1000000000000 numbers"),
    (lambda weight: "weights", "is a str, not a tensor"),
    (lambda weight: 0.5, "is a float, not a tensor"),
]


@pytest.mark.parametrize(("spoil", "says"), ODD)
def test_other_values_than_weights_are_refused_by_entry(tmp_path, spoil, says):
    state = scrambled(Chunks).generator.state_dict()
    state["2.weight"] = spoil(state["2.weight"])
    torch.save(state, tmp_path / "latest_net_G.pth")
    family = scrambled(Chunks)
    before = {name: value.clone() for name, value in family.state_dict().items()}
    with pytest.raises(UserError, match=rf"2\.weight {says}"):
        load_networks(family, tmp_path, needed=["generator"])
    for name, value in family.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_odd_weights_of_losses_are_refused(tmp_path):
    network = Vgg19(taps=(1,))
    state = {f"features.{name}": value for name, value in network.features.state_dict().items()}
    state["features.0.bias"] = state["features.0.bias"] / 0
    torch.save(state, tmp_path / "vgg19.pth")
    with pytest.raises(UserError, match="vgg19.pth: features.0.bias holds NaN"):
        vgg19(str(tmp_path / "vgg19.pth"), taps=(1,))


def test_weights_that_unpack_to_too_much_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.zeros(1 << 19)}, path)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in archive.infolist():
            packed.writestr(entry.filename, archive.read(entry))
    monkeypatch.setattr("util.archives.MAX_UNPACKED", 1 << 20)
    with open_zip(path):
        pass
    with pytest.raises(UserError, match="b.pth: damaged or incomplete .*unpack to 2 MiB"):
        read_weights(tmp_path / "b.pth")


def test_files_called_safetensors_are_read_as_such(tmp_path):
    """torch recognises the format by the name, and its error is not one of torch's own classes."""
    path = tmp_path / "a.safetensors"
    for content in (b"\xff" * 16, b"x", (2).to_bytes(8, "little") + b"[]"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="a.safetensors: damaged or incomplete"):
            read_weights(path)


def test_tensors_without_numbers_are_refused(tmp_path):
    torch.save({"a": torch.ones(3, device="meta")}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="a.pth: a has a shape and no numbers"):
        read_weights(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("optimizers", {"gen": "x", "dis": "x"}, "not the training state of this run"),
        ("clock", {}, "not the training state of this run .lacks 'step'"),
        ("checksums", "x", "its checksums are damaged"),
        ("checksums", {"{x}": 1}, "its checksums are damaged"),
    ],
)
def test_an_odd_training_state_is_refused_by_its_name(tmp_path, name, value, says):
    trainer = trainer_at(3)
    Checkpoints(tmp_path).save(trainer)
    for path in tmp_path.glob("*_training.pth"):
        torch.save(torch.load(path) | {name: value}, path)
    with pytest.raises(UserError, match=f"_training.pth: {says}"):
        Checkpoints(tmp_path).resume(trainer)


def test_an_archive_of_several_disks_is_reported(tmp_path):
    """zipfile raises already when it is asked whether the file is an archive."""
    path = weights(tmp_path / "a.pth")
    whole = path.read_bytes()
    locator = b"PK\x06\x07" + bytes(12) + (7).to_bytes(4, "little")
    path.write_bytes(whole[:-22] + locator + whole[-22:])
    with pytest.raises(UserError, match="a.pth: damaged or incomplete"):
        read_weights(path)
