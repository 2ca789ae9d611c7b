"""The frame index of a video file, for random access without decoding the whole file."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from util.archives import read_npz
from util.errors import UserError
from util.files import replacing
from util.reading import reading

VERSION = 2
CACHE_FOLDER = ".grimace_cache"
TRIED_KEYS = 3
"""Number of keyframes to try if a container seeks wrongly, before decoding from the start."""
CACHED_FROM = 16 * 2**20
"""Minimum file size to cache an index beside the file; smaller files are faster to index again."""


@dataclass(frozen=True)
class FrameIndex:
    """The presentation times of all frames in order, and the keyframes at which decoding can start."""

    times: np.ndarray
    """(N,) presentation times in the stream's time base; 0, 1, 2... where the file has no usable ones."""
    keys: np.ndarray
    """(K, 2) of the frames at which decoding can start: presentation time, and size in bytes to recognise it."""
    last: int
    """Duration of the last frame, or 0 if unknown."""
    seekable: bool
    """Whether times are unique and the file can be entered at a keyframe."""
    decoded: bool
    """Whether the frames were counted by decoding them, because the file's packets could not be trusted."""
    damage: str = ""
    """A note of missing frames, so that a cached index repeats the warning."""

    def __len__(self) -> int:
        return len(self.times)

    def starts(self, index: int) -> list[tuple[int, int]]:
        """The keyframes to try for a frame, nearest first; none if decoding starts at the beginning."""
        if not self.seekable:
            return []
        before = self.keys[self.keys[:, 0] <= self.times[index]]
        # The first keyframe needs no seek: a file that was just opened is there.
        return [(time, size) for time, size in before[:0:-1][:TRIED_KEYS].tolist()]

    def key_before(self, index: int) -> int:
        """The last frame up to this one at which decoding can start."""
        if not self.seekable:
            return 0
        position = int(np.searchsorted(self.keys[:, 0], self.times[index], side="right")) - 1
        return int(np.searchsorted(self.times, self.keys[position, 0])) if position >= 0 else 0


def index_of_packets(times: Iterable[int], keys: Sequence[tuple[int, int]], last: int) -> FrameIndex | None:
    """The index of an intact file from its packets; None if they contradict themselves."""
    times = np.sort(np.asarray(times, dtype=np.int64))
    if len(times) == 0 or np.any(np.diff(times) <= 0):
        return None
    return FrameIndex(times, _sorted_keys(keys), last, seekable=True, decoded=False)


def index_of_frames(
    times: Iterable[int | None], keys: Sequence[tuple[int, int]], last: int, damage: str = ""
) -> FrameIndex:
    """The index of the frames that decoding gave, in order; without usable times they are only counted."""
    times = list(times)
    if all(time is not None for time in times) and all(a < b for a, b in zip(times, times[1:], strict=False)):
        return FrameIndex(np.asarray(times, dtype=np.int64), _sorted_keys(keys), last, True, True, damage)
    return FrameIndex(np.arange(len(times), dtype=np.int64), _sorted_keys(()), 0, False, True, damage)


def _sorted_keys(keys: Sequence[tuple[int, int]]) -> np.ndarray:
    return np.asarray(sorted(keys), dtype=np.int64).reshape(-1, 2)


class IndexCache:
    """The index of one video on disk; ignored if it does not match the file's current size and time."""

    def __init__(self, video: Path, folder: Path | None):
        video = video.resolve()
        state = video.stat()
        self.fingerprint = np.array([VERSION, state.st_size, state.st_mtime_ns], dtype=np.int64)
        self.always = folder is not None
        self.large = state.st_size >= CACHED_FROM
        # A shared folder holds videos of one name from many folders.
        digest = hashlib.sha256(os.fsencode(video)).hexdigest()[:16]
        self.path = (
            (folder / f"{video.stem}.{digest}.npz") if folder else video.parent / CACHE_FOLDER / f"{video.name}.npz"
        )

    def load(self) -> FrameIndex | None:
        """The cached index, if there is one and it matches the file."""
        try:
            stored = read_npz(self.path, "no index of frames")
            with reading(self.path, "no index of frames"):
                if not np.array_equal(stored["fingerprint"], self.fingerprint):
                    return None
                return FrameIndex(
                    stored["times"],
                    stored["keys"],
                    int(stored["last"]),
                    bool(stored["seekable"]),
                    bool(stored["decoded"]),
                    str(stored["damage"]),
                )
        except UserError:  # there is none yet, or a damaged one, which is made again
            return None

    def save(self, index: FrameIndex) -> None:
        """Save an index if rebuilding would take long, or if a cache folder is given."""
        if not (self.always or self.large):
            return
        try:
            with replacing(self.path) as temporary:
                np.savez(temporary, fingerprint=self.fingerprint, **asdict(index))
        except OSError:
            # A read-only disk is no error for data; a cache folder that the user named is.
            if self.always:
                raise
