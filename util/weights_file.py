"""Reading files of weights that others wrote: recognised, never executed."""

import pickle
import re
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from util.errors import UserError
from util.unpickling import NAMES, Array, Dtype

HARMLESS = [
    Dtype,
    Array,
    *((value, ".".join(name)) for name, value in NAMES.items() if name[0].startswith("numpy")),
]
"""What weights files may hold beside tensors: numpy's numbers and arrays (learning rates, epochs)."""


def read_weights(path: Path | str) -> Any:
    """The content of a file written by torch.save in any version since 0.4: tensors and plain values, never code."""
    path = Path(path)
    problem = _recognise(path)
    if problem:
        raise UserError(f"{path}: {problem}")
    if is_safetensors(path):
        return _read_safetensors(path)
    try:
        with torch.serialization.safe_globals(HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: {_explain(str(error))}") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AssertionError, IndexError) as error:
        raise UserError(f"{path}: damaged or incomplete ({_first_line(error)}); copy or download it again") from None


def _recognise(path: Path) -> str | None:
    """What is wrong with a file by its first bytes, or None."""
    if path.is_dir():
        return "is a folder, not a file of weights"
    if not path.is_file():
        found = sorted(other.name for other in path.parent.glob("*.pth*"))[:8] if path.parent.is_dir() else []
        return "there is no such file" + (f"; in its folder: {', '.join(found)}" if found else "")
    with path.open("rb") as file:
        head = file.read(512)
    text = head.lstrip().lower()
    if not head:
        return "is empty; copy or download it again"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "is a web page, not weights: the download led to a page (log-in, quota, confirmation); download it again"
    if text.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the weights themselves: run 'git lfs pull' where it came from"
    if head.startswith(b"PK") and not zipfile.is_zipfile(path):
        return "is cut off: the download or copy did not finish; get it again"
    if head.startswith(b"PK") and not _is_torch_zip(path):
        return "is a zip archive of something else; unpack it and name the weights inside"
    if head.startswith(b"\x1f\x8b"):
        return "is compressed with gzip; unpack it first (gunzip or tar xzf)"
    if tarfile.is_tarfile(path) and not text.startswith(b"\x80"):
        return "is a tar archive; unpack it and name the weights inside"
    if head.startswith(b"\x89HDF"):
        return "is an HDF5 file (Keras?), not weights of PyTorch"
    return None


def _is_torch_zip(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("data.pkl") for name in archive.namelist())


def is_safetensors(path: Path) -> bool:
    """Whether a file is in the safetensors format, by its first bytes: tensors behind a table in JSON."""
    with path.open("rb") as file:
        head = file.read(9)
    length = int.from_bytes(head[:8], "little")
    return 2 <= length < path.stat().st_size and head[8:] == b"{"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged or incomplete ({_first_line(error)}); copy or download it again") from None


def nested(content: Mapping[str, Any], entries: Iterable[str]) -> dict[str, Any]:
    """The flat names of a safetensors file, ENTRY.NAME, as one state dict for each entry; other names as they are."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        entry = next((entry for entry in entries if name.startswith(f"{entry}.")), None)
        if entry is None:
            found[name] = value
        else:
            found.setdefault(entry, {})[name.removeprefix(f"{entry}.")] = value
    return found


def _explain(message: str) -> str:
    """Words for what torch's restricted unpickler refused."""
    named = re.search(r"GLOBAL ([\w.]+)|(?:Unsupported global|unsupported GLOBAL):? (?:GLOBAL )?([\w.]+)", message)
    name = next((group for group in named.groups() if group), None) if named else None
    if name:
        return (
            f"refused: it would run or build {name} when loaded; weights are data, and only tensors and plain values "
            "are read. If you trust it, convert it once: torch.save(the state dict, FILE)"
        )
    return f"not a file of weights, or damaged ({_first_line(message)})"


def _first_line(error: Exception | str) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
