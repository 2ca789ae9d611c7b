"""The index of a dataset of packed clips: their names, lengths and people, known before any clip is opened."""

import os
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from data.video.packed import SUFFIX, PackedClip
from data.video.packed_file import PackedFile, write_packed
from util.errors import UserError
from util.files import is_hidden_below

INDEX_NAME = "index.clips"


class ClipIndex:
    """All clips of a folder, their lengths and identities, from one file: in constant time for any number of clips."""

    def __init__(self, path: Path | str):
        path = Path(path)
        self.path = path / INDEX_NAME if path.is_dir() else path
        if not self.path.exists():
            raise UserError(f"{self.path}: no such index; make it with script/pack_frames.py --index {path}")
        self.folder = self.path.parent
        self._open()

    def _open(self) -> None:
        self._pack = PackedFile(self.path)
        if self._pack.text.get("kind") != "index":
            raise UserError(f"{self.path}: not an index of clips")
        # Read whole and verified against their checksums, since training samples by these numbers.
        array = self._pack.array
        self.lengths = array("lengths")
        """(N,) frames per clip."""
        self.identities = array("identities")
        """(N,) number of the person of each clip; `identity_names` has the names."""
        self._names, self._offsets = array("names"), array("places")
        self._identity_names, self._identity_offsets = array("identity_names"), array("identity_places")
        self._check()

    def _check(self) -> None:
        """Refuse arrays that contradict each other."""
        fits = (
            len(self.lengths) == len(self.identities) == len(self._offsets) - 1
            and _are_offsets(self._offsets, self._names)
            and _are_offsets(self._identity_offsets, self._identity_names)
            and self.identities.max(initial=0) < max(1, len(self._identity_offsets) - 1)
        )
        if not fits:
            raise self._pack.damaged("its arrays are inconsistent")

    def __len__(self) -> int:
        return len(self.lengths)

    def name(self, index: int) -> str:
        """A clip's name: its path in the folder, without the suffix."""
        return _text(self._names, self._offsets, range(len(self))[index])

    def identity_name(self, identity: int) -> str:
        """The name behind a number in `identities`."""
        return _text(self._identity_names, self._identity_offsets, identity)

    def __getitem__(self, index: int) -> PackedClip:
        return PackedClip(self.folder / f"{self.name(index)}{SUFFIX}")

    def __iter__(self) -> Iterator[PackedClip]:
        return (self[index] for index in range(len(self)))

    @cached_property
    def clips_of(self) -> list[np.ndarray]:
        """For each identity, the clips that show it."""
        order = np.argsort(self.identities, kind="stable")
        bounds = np.cumsum(np.bincount(self.identities))[:-1]
        return np.split(order, bounds)

    def __getstate__(self) -> dict:
        return {"path": self.path, "folder": self.folder}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._open()


def write_index(
    path: Path | str, names: Iterable[str], lengths: Iterable[int], identities: Iterable[str] | None = None
) -> None:
    """Write the index of clips: names (paths without suffix, from the index's folder), lengths, and who they show."""
    names = list(names)
    people, numbers = np.unique(
        [identity_of(name) for name in names] if identities is None else list(identities), return_inverse=True
    )
    name_text, name_offsets = _joined(names)
    people_text, people_offsets = _joined(people.tolist())
    arrays = {
        "lengths": np.asarray(list(lengths), "<u4"),
        "identities": numbers.astype("<u4"),
        "names": name_text,
        "places": name_offsets,
        "identity_names": people_text,
        "identity_places": people_offsets,
    }
    if len(arrays["lengths"]) != len(names) or len(numbers) != len(names):
        raise ValueError("an index needs one length and one identity per name")
    write_packed(path, (), lambda: {"kind": "index"}, arrays)


def index_folder(
    folder: Path | str, progress: Callable[[list[Path]], Iterable[Path]] = iter
) -> tuple[Path, int, dict[str, str]]:
    """Write the index of all clips in a folder; return its path, its length, and the reason for each clip left out."""
    folder = Path(folder)
    names, lengths, people, left_out = [], [], [], {}
    for path in progress(sorted(folder.rglob(f"*{SUFFIX}"))):
        name = path.relative_to(folder).as_posix().removesuffix(SUFFIX)
        if is_hidden_below(path, folder):
            continue
        try:
            clip = PackedClip(path)
        except UserError as error:
            left_out[name] = str(error)
            continue
        names.append(name)
        lengths.append(len(clip))
        people.append(str(clip.meta.get("identity", identity_of(name))))
    if not names:
        raise UserError(f"{folder}: no readable packed clips ({SUFFIX}); make some with script/pack_frames.py")
    write_index(folder / INDEX_NAME, names, lengths, people)
    return folder / INDEX_NAME, len(names), left_out


def identity_of(name: str) -> str:
    """The person in a clip, by its name: the first folder, or the part before "#", or else the whole name."""
    first, _, rest = name.partition("/")
    return first if rest else first.split("#")[0]


def _joined(names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    encoded = [os.fsencode(name) for name in names]
    offsets = np.zeros(len(encoded) + 1, "<u8")
    np.cumsum([len(name) for name in encoded], out=offsets[1:])
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


def _are_offsets(offsets: np.ndarray, names: np.ndarray) -> bool:
    """Whether offsets rise from 0 to the end of the names."""
    return offsets[0] == 0 and offsets[-1] == len(names) and bool(np.all(offsets[:-1] <= offsets[1:]))


def _text(names: np.ndarray, offsets: np.ndarray, index: int) -> str:
    return names[int(offsets[index]) : int(offsets[index + 1])].tobytes().decode(errors="surrogateescape")
