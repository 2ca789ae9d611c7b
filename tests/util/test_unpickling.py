"""The one reader of pickles: what it reads, and what hostile pickles can't make it do."""

import builtins
import io
import marshal
import os
import pickle
import struct
import tracemalloc
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data.expressions.annotations import read_annotations
from data.talking.files import read_frame_landmarks
from util.errors import UserError
from util.unpickling import read_pickle
from util.weights_file import read_weights

OBJECT_FIELD = (
    b"cnumpy\ndtype\nX\x02\0\0\0V8\x85R(K\x03X\x01\0\0\0|NX\x01\0\0\0a\x85}X\x01\0\0\0a"
    b"cnumpy\ndtype\nX\x01\0\0\0O\x85RK\0\x86sK\x08K\x01K\0tb"
)
"""A type of eight bytes that is a Python object: numpy would use any bytes as its address."""
FROM_BUFFER = b"cnumpy._core.numeric\n_frombuffer\n("


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("order", ["C", "F"])
def test_plain_data_of_every_protocol_are_read(tmp_path, protocol, order):
    arrays = {kind: np.arange(6).astype(kind).reshape(2, 3, order=order) for kind in ("<f8", ">f4", "u1", ">i2", "?")}
    content = OrderedDict(
        arrays, none=np.zeros((0, 2)), number=np.float64(0.1), row=np.int32(7),
        plain=[1, -2.5, "x", b"\xff\0", b"", None, True, (1, (2,)), 10**30],
    )  # fmt: skip
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
    read = read_pickle(tmp_path / "a.pkl", "arrays")
    assert list(read) == list(content) and read.pop("plain") == content.pop("plain")
    for name, value in content.items():
        assert read[name].dtype.newbyteorder("=") == value.dtype.newbyteorder("=")
        assert read[name].shape == value.shape, name
        np.testing.assert_array_equal(read[name], value)


class Runs:
    """The effect of a hostile pickle: it calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def code_object() -> bytes:
    """A pickle that builds code out of marshalled bytes, as functions are smuggled."""
    return pickle.dumps(Runs(marshal.loads, marshal.dumps(compile("1", "x", "eval"))), 2)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (pickle.dumps({"a": Runs(os.system, "true")}, 2), "posix.system"),
        (pickle.dumps({"a": Runs(builtins.eval, "1")}, 4), "builtins.eval"),
        (pickle.dumps({"a": [{"b": (np.zeros(17), Runs(os.getcwd))}]}, 4), "posix.getcwd"),
        (code_object(), "marshal.loads"),
        (pickle.dumps(SimpleNamespace(a=1)), "types.SimpleNamespace"),
        (pickle.dumps({"a": Runs(np.load, "x.npy")}, 2), "numpy.*load"),
        (b"c__builtin__\ngetattr\n.", "__builtin__.getattr"),
    ],
)
def test_hostile_pickles_are_refused_with_the_forbidden_name(tmp_path, content, name):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(UserError, match=f"a.pkl: refused.*{name}"):
        read_pickle(tmp_path / "a.pkl", "a dictionary of arrays")


def test_references_out_of_a_pickle_are_refused(tmp_path):
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return "elsewhere" if obj == "secret" else None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"a": "secret"})
    (tmp_path / "a.pkl").write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="refused.*elsewhere"):
        read_pickle(tmp_path / "a.pkl", "a dictionary of arrays")


@pytest.mark.parametrize(
    "content",
    [
        FROM_BUFFER + b"B\x08\0\0\0AAAAAAAA" + OBJECT_FIELD + b"K\x01\x85X\x01\0\0\0CtR.",
        FROM_BUFFER + b"B\x08\0\0\0AAAAAAAAcnumpy\ndtype\nX\x02\0\0\0f8\x85RK\x09\x85X\x01\0\0\0CtR.",
        FROM_BUFFER + b"B\x08\0\0\0AAAAAAAAcnumpy\ndtype\nX\x02\0\0\0f8\x85RJ\xff\xff\xff\xff\x85X\x01\0\0\0CtR.",
        b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85B\x01\0\0\0b\x87R"
        b"(K\x01K\x7f\x85cnumpy\ndtype\nX\x02\0\0\0f8\x85R\x89B\x08\0\0\0AAAAAAAAtb.",
        b"cnumpy\nndarray\n(K\x01\x85X\x02\0\0\0f8B\x08\0\0\0AAAAAAAAtR.",
        b"cnumpy._core.multiarray\nscalar\n" + OBJECT_FIELD + b"B\x08\0\0\0AAAAAAAA\x86R.",
        b"c_codecs\nencode\nX\x01\0\0\0aX\x06\0\0\0rot_13\x86R.",
        b"cnumpy\ndtype\n)\x81.",
        b"}K\x01K\x02s.",
        b"cnumpy\ndtype\n}b.",
        b"\x96" + struct.pack("<Q", 2**62) + b"x.",
        b"p" + b"9" * 400 + b"\n.",
    ],
)
def test_other_objects_than_plain_data_are_refused(tmp_path, content):
    (tmp_path / "a.pkl").write_bytes(b"\x80\x03" + content)
    with pytest.raises(UserError, match="a.pkl: cannot be read as a pickle of arrays"):
        read_pickle(tmp_path / "a.pkl", "arrays")


@pytest.mark.parametrize("read", [read_annotations, read_frame_landmarks])
def test_annotations_and_landmarks_are_read_that_way(tmp_path, read):
    """numpy ends the process with these bytes."""
    array = FROM_BUFFER + b"B\x08\0\0\0AAAAAAAA" + OBJECT_FIELD + b"K\x01\x85X\x01\0\0\0CtR"
    (tmp_path / "a.pkl").write_bytes(b"\x80\x03}X\x01\0\0\0k" + array + b"s.")
    with pytest.raises(UserError, match="a.pkl: .*plain numbers"):
        read(tmp_path / "a.pkl")


def test_weights_are_read_that_way(tmp_path):
    """Files of torch.save hold pickles, too."""
    torch.save({"lr": np.float64(0.5), "history": np.arange(3), "w": torch.ones(2)}, tmp_path / "a.pth")
    read = read_weights(tmp_path / "a.pth")
    assert read["lr"] == 0.5 and read["history"].tolist() == [0, 1, 2]
    torch.save({"x": Runs(np.frombuffer, b"12345678")}, tmp_path / "b.pth")
    with pytest.raises(UserError, match="refused"):
        read_weights(tmp_path / "b.pth")
    hostile = io.BytesIO()
    torch.save({"x": np.void(b"12345678")}, hostile)
    (tmp_path / "c.pth").write_bytes(hostile.getvalue())
    with pytest.raises(UserError, match="c.pth: "):
        read_weights(tmp_path / "c.pth")


def test_a_large_number_in_the_memo_takes_no_memory(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"\x80\x02}r\xff\xff\xff\x0f.")
    tracemalloc.start()
    assert read_pickle(tmp_path / "a.pkl", "arrays") == {}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_sizes_are_limited(tmp_path, monkeypatch):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(list(range(3000))))
    monkeypatch.setattr("util.unpickling.MAX_STEPS", 2000)
    with pytest.raises(UserError, match="more than 2,000 instructions; save it as npz"):
        read_pickle(tmp_path / "a.pkl", "arrays")
    monkeypatch.setattr("util.unpickling.MAX_BYTES", 1 << 10)
    with pytest.raises(UserError, match="longer than"):
        read_pickle(tmp_path / "a.pkl", "arrays")


@pytest.mark.parametrize("name", [None, 3, "a/b.png"])
def test_landmarks_of_frames_without_a_name_are_refused(tmp_path, name):
    (tmp_path / "metadata.pkl").write_bytes(pickle.dumps([(name, np.zeros((68, 2)))] * 2))
    with pytest.raises(UserError, match="metadata.pkl: .*frames called"):
        read_frame_landmarks(tmp_path / "metadata.pkl")
