"""Read the weights of a .caffemodel, a protobuf message, without Caffe.

Only the fields that hold weights are declared; the rest of Caffe's messages is skipped as unknown.
"""

import mmap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from util.errors import UserError

NEW_LAYER, OLD_LAYER = 100, 2
"""The fields of Caffe's NetParameter that hold layers: LayerParameter, and V1LayerParameter in files from before
2015."""
SCALAR = {"string": 9, "bytes": 12, "int32": 5, "int64": 3, "float": 2, "double": 1}
FIELDS = {
    # Packed numbers are encoded like bytes; read as bytes, 100 million of them need no Python object each.
    "Blob": "int32 num=1 channels=2 height=3 width=4; bytes* data=5 double_data=8; Shape shape=7",
    "Unpacked": "float* data=5; double* double_data=8",
    "Shape": "int64* dim=1",
    "NewLayer": "string name=1; Blob* blobs=7",
    "OldLayer": "string name=4; Blob* blobs=6",
}
"""Our messages: types, and names with their field numbers; * marks repeated fields."""


def read_caffemodel(path: Path, label: Path | None = None) -> dict[str, list[np.ndarray]]:
    """The arrays of every layer with weights, by layer name; they view the file's bytes and are copied layer by layer.

    Leading dimensions of 1, which old files give to biases and matrices, are dropped. `label` names the file in
    errors, e.g. the archive that contains it.
    """
    layers, label = {}, label or path
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise UserError(f"{label}: is empty; download it again")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for number, start, end in _fields(content, label):
                if number in (NEW_LAYER, OLD_LAYER):
                    layer = _parse("NewLayer" if number == NEW_LAYER else "OldLayer", content[start:end], label)
                    if layer.blobs:
                        layers[layer.name] = [_array(blob, layer.name, label) for blob in layer.blobs]
    if not layers:
        raise UserError(f"{label}: contains no layers with weights; is it a .caffemodel?")
    return layers


def _fields(content: mmap.mmap, path: Path) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field with a length; others are skipped."""
    position, size = 0, len(content)
    while position < size:
        try:
            tag, position = _varint(content, position)
            kind = tag & 7
            length = {0: 0, 1: 8, 5: 4}.get(kind)
            if kind == 2:
                length, position = _varint(content, position)
            elif kind == 0:
                _, position = _varint(content, position)
        except IndexError:
            length = None
        if length is None or position + length > size:
            raise UserError(f"{path}: damaged or cut off at byte {position}, or not a .caffemodel; download it again")
        if kind == 2:
            yield tag >> 3, position, position + length
        position += length


def _varint(content: mmap.mmap, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def _array(blob: Any, layer: str, path: Path) -> np.ndarray:
    values = _numbers(blob)
    shape = list(blob.shape.dim) or [blob.num, blob.channels, blob.height, blob.width]
    if np.prod(shape, dtype=np.int64) != values.size:
        raise UserError(f"{path}: layer {layer}: {values.size} numbers do not fill the shape {shape}")
    if not blob.shape.dim:
        while len(shape) > 1 and shape[0] == 1:
            shape.pop(0)
    return values.reshape(shape)


def _numbers(blob: Any) -> np.ndarray:
    for parts, kind in ((blob.data, "<f4"), (blob.double_data, "<f8")):
        if parts:
            return np.frombuffer(b"".join(parts), kind).astype(np.float32)
    one_by_one = _messages()["Unpacked"].FromString(blob.SerializeToString())
    return np.array(one_by_one.data or one_by_one.double_data, np.float32)


def _parse(name: str, content: bytes, path: Path) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return _messages()[name].FromString(content)
    except DecodeError as error:
        raise UserError(f"{path}: cannot read a layer ({error}); download it again") from None


@cache
def _messages() -> dict[str, Any]:
    """The classes of our messages."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="grimace/caffe.proto", package="caffe", syntax="proto2")
    for message_name, declaration in FIELDS.items():
        message = file.message_type.add(name=message_name)
        for group in declaration.split(";"):
            kind, *fields = group.split()
            for field in fields:
                _add_field(message, kind.rstrip("*"), repeated=kind.endswith("*"), declaration=field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}")) for name in FIELDS}


def _add_field(message: Any, kind: str, repeated: bool, declaration: str) -> None:
    name, number = declaration.split("=")
    field = message.field.add(name=name, number=int(number), label=3 if repeated else 1)
    if kind in SCALAR:
        field.type = SCALAR[kind]
    else:
        field.type, field.type_name = 11, f".caffe.{kind}"
