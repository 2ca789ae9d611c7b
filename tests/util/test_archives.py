"""Arrays in zip archives: what is read, what claims too much, what does not match."""

import zipfile
from io import BytesIO

import numpy as np
import pytest

from util.archives import read_npz
from util.errors import UserError


def npy(header: str, content: bytes) -> bytes:
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def archive(path, content: bytes, name="a.npy", compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr(name, content)


def test_arrays_survive_an_archive(tmp_path):
    arrays = {
        "n": np.arange(6.0).reshape(2, 3), "f": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "t": np.array(["ä", "b"]), "none": np.zeros((0, 68, 2), np.float32), "one": np.array(7),
        "flags": np.array([True, False]),
        "words": np.array([b"x"]), "big": np.arange(3, dtype=">i4"), "empty_texts": np.zeros((2, 0), "U3"),
    }  # fmt: skip
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        read = read_npz(tmp_path / "a.npz", "no arrays")
        assert read.keys() == arrays.keys()
        for name, value in arrays.items():
            assert read[name].dtype == value.dtype and read[name].flags.writeable
            np.testing.assert_array_equal(read[name], value)
    assert read_npz(tmp_path / "a.npz", "no arrays", "one").keys() == {"one"}
    with pytest.raises(UserError, match="a.npz: no arrays .lacks 'other'.; make it again"):
        read_npz(tmp_path / "a.npz", "no arrays", "other")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("util.archives.MAX_UNPACKED", 1 << 20)
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(1 << 21, np.uint8))
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    with pytest.raises(UserError, match=r"a.npz: no arrays \(0.0 MiB that unpack to 2 MiB, more than 1 MiB"):
        read_npz(tmp_path / "a.npz", "no arrays")


def test_large_uncompressed_archives_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("util.archives.MAX_UNPACKED", 1 << 10)
    np.savez(tmp_path / "a.npz", a=np.arange(5000))
    assert read_npz(tmp_path / "a.npz", "no arrays")["a"].size == 5000


@pytest.mark.parametrize(
    ("header", "content"),
    [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", bytes(8)),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }", bytes(8)),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", bytes(8)),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", bytes(8)),
        ("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }", bytes(8)),
        ("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", bytes(8)),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': 'x', }", bytes(8)),
        ("((((((", b""),
    ],
)
def test_headers_that_contradict_the_data_are_refused(tmp_path, header, content):
    archive(tmp_path / "a.npz", npy(header, content))
    with pytest.raises(UserError, match="a.npz: no arrays"):
        read_npz(tmp_path / "a.npz", "no arrays")


def test_damage_is_never_used(tmp_path):
    buffer = BytesIO()
    np.savez(buffer, a=np.arange(40))
    whole = buffer.getvalue()
    for place in range(0, len(whole), 5):
        (tmp_path / "a.npz").write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            read = read_npz(tmp_path / "a.npz", "no arrays", "a")
        except UserError:
            continue
        assert read["a"].tolist() == list(range(40)), place


def test_other_ways_to_compress_are_refused(tmp_path):
    archive(tmp_path / "a.npz", b"x", compression=zipfile.ZIP_LZMA)
    with pytest.raises(UserError, match="compressed in another way"):
        read_npz(tmp_path / "a.npz", "no arrays")
    (tmp_path / "b.npz").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="b.npz: no arrays"):
        read_npz(tmp_path / "b.npz", "no arrays")


def test_an_archive_without_entries_is_damaged(tmp_path):
    """Its end record claims a directory of no bytes; all arrays would be left out without a word."""
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(3))
    whole = bytearray(path.read_bytes())
    whole[-10:-6] = bytes(4)  # size of the directory (APPNOTE 4.3.16)
    whole[-6:-2] = (len(whole) - 22).to_bytes(4, "little")
    path.write_bytes(whole)
    assert zipfile.ZipFile(path).namelist() == []
    with pytest.raises(UserError, match="a.npz: no arrays .it holds nothing"):
        read_npz(path, "no arrays")
