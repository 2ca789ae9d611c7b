"""Read weights files from others: validated, never executed."""

import json
import pickle
import re
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from util.archives import first_damaged, open_zip
from util.checksums import once_per_file
from util.errors import UserError
from util.files import replacing
from util.reading import reading
from util.unpickling import NAMES, Array, Dtype
from util.weights_options import FETCH_AGAIN

HARMLESS: list[Any] = [
    Dtype,
    Array,
    *((value, ".".join(name)) for name, value in NAMES.items() if name[0].startswith("numpy")),
]
"""Types that weights files may hold besides tensors: numpy's numbers and arrays (learning rates, epochs)."""


def read_weights(path: Path | str, lazily: bool = False) -> Any:
    """The content of a file written by torch.save in any version since 0.4: tensors and plain values, never code.

    Its checksums are compared, once until it changes. With `lazily` tensors stay in the file until they are used, and
    their checksums are not compared.
    """
    path = Path(path)
    with reading(path, "damaged or incomplete", FETCH_AGAIN):
        problem = _recognise(path)
    if problem:
        raise UserError(f"{path}: {problem}")
    if is_safetensors(path):
        return _read_safetensors(path)
    with reading(path, "damaged or incomplete", FETCH_AGAIN):
        is_archive = zipfile.is_zipfile(path)
        if is_archive and (damaged := _damaged_table(path) if lazily else damaged_entry(path)):
            raise ValueError(f"{damaged} does not match its checksum")
        try:
            with torch.serialization.safe_globals(HARMLESS):
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=lazily and is_archive)
        except pickle.UnpicklingError as error:
            raise UserError(f"{path}: {_explain(str(error))}") from None
    for name, tensor in _tensors(content):
        if problem := _oddity(tensor):
            raise UserError(f"{path}: {name} {problem}; weights must be plain, dense numbers")
    return content


@once_per_file
def damaged_entry(path: Path) -> str | None:
    """The first entry of a zip archive that does not match its checksum; torch does not compare them."""
    with open_zip(path) as archive:
        return first_damaged(archive)


def _damaged_table(path: Path) -> str | None:
    """The name of the archive's pickle if it does not match its checksum."""
    with open_zip(path) as archive:
        for entry in archive.infolist():
            if entry.filename.endswith("data.pkl") and entry.CRC:
                archive.read(entry)  # raises for a mismatch
    return None


def _tensors(content: Any) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in dictionaries and lists, with its path."""
    waiting, seen = [("", content)], set()
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, (Mapping, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            waiting += [(f"{name}.{key}" if name else str(key), one) for key, one in items]


def _oddity(tensor: Tensor) -> str | None:
    """Why a tensor is not plain weights, or None."""
    if tensor.is_meta:
        return "has a shape and no numbers"
    if tensor.layout is not torch.strided:
        return "is sparse"
    if tensor.is_quantized:
        return "is quantised"
    if tensor.is_complex():
        return "holds complex numbers"
    # With strides of 0, a few bytes claim more numbers than fit into memory.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"claims {tensor.numel()} numbers, more than the file holds for it"
    return None


def refuse_unusable(state: Any, where: Path | str) -> None:
    """Refuse a state dict with anything but finite tensors, by the name of the entry."""
    if not isinstance(state, Mapping):
        raise UserError(f"{where}: holds a {type(state).__name__}, not a state dict")
    for name, value in state.items():
        problem = None
        if not isinstance(value, Tensor):
            problem = f"is a {type(value).__name__}, not a tensor"
        elif value.is_floating_point() and not _is_finite(value):
            problem = "holds NaN or infinity: the training that saved it had failed, or the file is damaged"
        if problem:
            raise UserError(f"{where}: {name} {problem}; use another checkpoint")


def _is_finite(tensor: Tensor) -> bool:
    if torch.isfinite(tensor.sum(dtype=torch.float64 if tensor.dtype == torch.float64 else torch.float32)):
        return True  # most often: a sum is a fifth of the work, and no number that is not finite leaves it finite
    values = tensor.float() if tensor.element_size() == 1 else tensor  # 8-bit types have no isfinite
    return bool(torch.isfinite(values).all())


def _recognise(path: Path) -> str | None:
    """The kind of a wrong file by its first bytes, or None."""
    if path.is_dir():
        return "is a folder, not a file of weights"
    if not path.is_file():
        found = sorted(other.name for other in path.parent.glob("*.pth*"))[:8] if path.parent.is_dir() else []
        return "no such file" + (f"; in its folder: {', '.join(found)}" if found else "")
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
    with reading(path, "damaged or incomplete", FETCH_AGAIN), open_zip(path) as archive:
        return any(name.endswith("data.pkl") for name in archive.namelist())


def is_safetensors(path: Path) -> bool:
    """Whether a file is in the safetensors format, by its name or first bytes: a JSON table, then tensors."""
    if path.suffix == ".safetensors":  # torch would accept it, too
        return True
    with path.open("rb") as file:
        head = file.read(9)
    length = int.from_bytes(head[:8], "little")
    return 2 <= length < path.stat().st_size and head[8:] == b"{"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with reading(path, "damaged or incomplete", FETCH_AGAIN, also=(SafetensorError,)):
        return load_file(path)


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, object] | None = None) -> None:
    """Write tensors and facts about them; others may read the file as far as the umask lets them."""
    from safetensors.torch import save_file

    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (metadata or {}).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file({key: value.contiguous() for key, value in tensors.items()}, temporary, metadata=texts or None)
        temporary.chmod(mode)  # safetensors 0.8 makes files that only their owner can read


def nested(content: Mapping[str, Any], entries: Iterable[str]) -> dict[str, Any]:
    """Group the flat names of a safetensors file, ENTRY.NAME, into a state dict per entry; other names are kept."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        entry = next((entry for entry in entries if name.startswith(f"{entry}.")), None)
        if entry is None:
            found[name] = value
        else:
            found.setdefault(entry, {})[name.removeprefix(f"{entry}.")] = value
    return found


def _explain(message: str) -> str:
    """Description of what torch's restricted unpickler refused."""
    named = re.search(r"GLOBAL ([\w.]+)|(?:Unsupported global|unsupported GLOBAL):? (?:GLOBAL )?([\w.]+)", message)
    name = next((group for group in named.groups() if group), None) if named else None
    if name:
        return (
            f"refused: it would run or build {name} when loaded; weights are data, and only tensors and plain values "
            "are read. If you trust it, convert it once: torch.save(the state dict, FILE)"
        )
    # What torch says before is advice to run the code in the file.
    cause = message.partition("WeightsUnpickler error:")[2] or message
    return f"not a file of weights, or damaged ({cause.strip().splitlines()[0][:200]})"
