"""What every dataset mode provides: training items by index, test clips in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from util.attributes import KeepsMethods
from util.printable import printable
from util.run_options import RunOptions

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Clip:
    """One video to make. `driving` is read as it is consumed and never held whole."""

    name: str
    source: dict[str, Any]
    driving: Iterable[dict[str, Any]]
    fps: Fraction
    audio: Path | None = None
    length: int | None = None
    """Number of driving frames, if known in advance, for the progress bar."""
    cut_off: int | None = None
    """The byte of white if results are truncated to bytes, as an original does; None: results are rounded."""
    output: Path | None = None
    """The result's path; None: it follows from the name."""
    first: dict[str, Any] | None = None
    """The driving item that relative motion starts from; None: the first one."""
    finish: Callable[[np.ndarray], np.ndarray | None] | None = None
    """From a frame as it was made to the one to write, e.g. pasted into the whole picture; None: later ones are
    needed for it."""
    sheet: dict[str, Any] = field(default_factory=dict)
    """Arguments of SheetWriter if the result is one picture: how its frames are laid out."""
    coded: Any = None
    """The coded marks of a micro-expression (data.micro.curves.Marks), for its plot."""
    saved_motion: SavedMotion | None = None


@dataclass
class SavedMotion:
    """The motion of a driving video to save beside the result: `write` gets that of all items."""

    items: Callable[[], Iterable[dict[str, Any]]]
    write: Callable[[Iterator[dict[str, np.ndarray]]], None]


@dataclass(frozen=True)
class Preview:
    """A source, or the first frame of a driving video, and what of it the networks get."""

    picture: np.ndarray
    """The whole picture (H, W, 3) uint8."""
    faces: list[np.ndarray]
    """The boxes of all faces in it, from the left: left, top, right, bottom."""
    cut: np.ndarray
    """Corners (4, 2) of the crop, clockwise from the upper left one."""
    network_input: np.ndarray
    """What the networks get."""


def corners_of(box: Sequence[float]) -> np.ndarray:
    """The corners (4, 2) of a box."""
    left, top, right, bottom = box
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


@dataclass
class Job:
    """A video to make: its name, its path, and a function that opens its inputs when its turn comes."""

    name: str
    make: Callable[[], Clip]
    output: Path | None = None
    """None: it follows from the name."""
    inputs: dict[str, str] = field(default_factory=dict)
    """Inputs that identify its result, since another result may have the same name."""
    recorded: dict[str, Any] = field(default_factory=dict)
    """Fields for the records, from the command or a line of --pairs."""
    saves_motion: bool = False
    """Whether its driving motion is saved, too (`Clip.saved_motion`), even where the result exists already."""

    @property
    def entry(self) -> dict[str, Any]:
        """Its entry in the records."""
        return {"name": printable(self.name), "output": self.output} | self.recorded


@dataclass
class VideoFrames:
    """The frames of a driving video, (H, W, 3) uint8 in order, and where to find files beside it."""

    frames: Iterable[np.ndarray]
    fps: Fraction
    path: Path | None = None
    """The file or folder; None: frames from Python."""
    start: int = 0
    """The number of the first of these frames in the video."""

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.frames)

    def time(self, position: int) -> float:
        """Seconds from the start of the video to the frame at a position among these."""
        return float((self.start + position) / self.fps)


@dataclass(frozen=True)
class Mixture:
    """Several concatenated datasets that are sampled in fixed shares."""

    sizes: Sequence[int]
    block: Sequence[int]
    """Samples of each dataset in every block of the stream: 7 and 3 for shares of 0.7 and 0.3."""
    weights: Sequence[Sequence[float] | None]
    """How often the samples of each dataset are drawn, as `Dataset.weights`."""


class Dataset(KeepsMethods):
    """Training items by index, test clips in order. Holds paths and settings, never a cursor.

    Random choices in `__getitem__` come from the global generators of random, numpy and torch: the loader seeds them
    for every sample from the run's seed, the epoch and the index, so that items do not depend on workers or processes.
    """

    first_item: int = 0
    """The number of its first training item among those of several datasets (--dataroot A,B)."""
    needs_source: bool = True
    """Whether a pair needs a source picture; False for personal models, which know their person."""
    cut_off: int | None = None
    """`Clip.cut_off` of results from the user's own pictures and videos."""
    several_sources: bool = False
    """Whether a source may be several pictures of a person."""
    of_pairs: tuple[str, ...] = ("crop_image", "crop_video", "paste_back", "find_best_frame", "best_frame")
    """The options of pairs that mean nothing for the test split, and are refused there."""
    saves_motion: bool = False
    """`Job.saves_motion` of pairs that the command names."""
    retarget: bool = False
    """With `needs_landmarks`: whether those of a driving face get the proportions of the source's."""
    needs_landmarks: bool = False
    """Whether source_item and driving_items also take the landmarks (68, 2) of their frames' faces, in these frames'
    pixels: source_item(frames, points) and driving_items(frames, source, points, neutral)."""

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        """Declare the mode's options; `parser.set_defaults` for shared ones."""

    def __init__(self, opt: RunOptions, training: bool):
        """List the data; raise UserError for a missing or empty folder here, not in the first batch."""

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One sample. Images are float (3, H, W) in [0, 1], or their bytes, of which the trainer makes such floats on
        the device; the class docstring lists every key and shape."""
        raise NotImplementedError

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch of some samples; by default tensors are stacked, so that all need one shape."""
        from torch.utils.data import default_collate

        return default_collate(samples)

    def weights(self) -> Sequence[float] | None:
        """How often each training item is drawn, in proportion; None: each once in an epoch.

        With weights an epoch is as many draws as there are items: some come more than once, others not at all.
        """
        return None

    def mixture(self) -> Mixture | None:
        """How several datasets share the stream of samples; None: it is one dataset."""
        return None

    def sample_name(self, index: int) -> str:
        """The files of a training item, for messages; draws the same random numbers as `__getitem__`. "": no name."""
        return str((self.item_names() or {index: ""})[index])

    def item_names(self) -> Sequence[str] | None:
        """Stable item names, so that per-item weights survive dataset changes."""
        return None

    def jobs(self) -> Iterable[Job]:
        """What to animate if the command names no pictures or videos: the test split.

        Return a list if the clips are known without opening them: then a damaged one does not stop the others.
        """
        raise NotImplementedError

    def clips(self) -> Iterator[Clip]:
        """The clips of all jobs, in order."""
        return (job.make() for job in self.jobs())

    def pictures_of(self, outside: bool) -> frozenset[str]:
        """Of what items hold the frames, as `image` or `pictures`: "source", "driving". `outside`: of pairs that the
        command names."""
        return frozenset({"source", "driving"})

    @staticmethod
    def makes_alone(opt: Any) -> bool:
        """Whether the options ask for results without a driving video; `jobs` yields them."""
        return False

    @staticmethod
    def is_still(request: Any) -> bool:
        """Whether a pair's result (data.jobs.pair_list.Request) is a picture."""
        return False

    def clip_of(self, request: Any) -> Clip | None:
        """The clip of a pair, for modes with their own way to crop faces; None: the common way."""
        return None

    def source_of(self, pictures: Sequence[Any]) -> tuple[dict[str, Any], Callable | None] | None:
        """The source that many drivings share and what finishes its frames, for modes with their own way to crop
        faces (paths, or pictures (H, W, 3) uint8); None: the common way."""
        return None

    def driven_clip(self, driving: Path, source: dict[str, Any], finish: Callable | None) -> Clip | None:
        """The clip of such a source and a driving video, for the same modes; None: the common way."""
        return None

    def previews_of(self, request: Any) -> tuple[Preview | None, Preview | None] | None:
        """What of the source and of the driving video the networks would get, for the same modes. A request may lack
        either; None: the common way."""
        return None

    def source_item(self, frames: Sequence[np.ndarray]) -> dict[str, Any]:
        """The item that encode_source reads, from pictures (H, W, 3) uint8 of any person: one, or several."""
        raise NotImplementedError

    def driving_items(self, frames: Iterable[np.ndarray], source: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The items that animate reads, lazily, one per frame (H, W, 3) uint8 of any driving video.

        Commands give a VideoFrames, which also tells the video's path, rate and first frame, e.g. to read its sound.
        With `needs_landmarks` there are `points` (N, 68, 2) of all frames, and `neutral`: the number of the frame that
        the source is compared with, where the command names one.
        """
        raise NotImplementedError

    @staticmethod
    def size_of(opt: Any) -> tuple[int, int] | None:
        """Height and width of the pictures of its items, for families that need to know (`opt.picture_size`).

        None: they are as the files are. --crop_size, which cuts windows out of training pictures, comes after it.
        """
        return None

    def picture_size(self) -> tuple[int, int] | None:
        """Height and width that the user's pictures are resized to; None: not resized."""
        return None

    def window(self, height: int, width: int) -> tuple[int, int, int, int]:
        """The part of a whole picture from outside that is brought to that size: left, top, right, bottom.

        It may reach beyond the picture, which is black there.
        """
        return 0, 0, width, height

    def companion(self, clip: Clip, output: Path) -> AbstractContextManager:
        """What writes more files next to the video `output`, by `write(item, picture)` for each frame; or nothing.

        Its `path` is the file to look at beside the video.
        """
        return nullcontext()


def to_tensor(frame: np.ndarray) -> Tensor:
    """A picture (H, W, C) as float tensor (C, H, W) in [0, 1]."""
    return to_tensors([frame])[0]


def to_tensors(frames: Sequence[np.ndarray]) -> Tensor:
    """Pictures (H, W, C) of one size as one float tensor (N, C, H, W) in [0, 1]."""
    planes = _planes(frames, np.float32)
    for picture, frame in zip(planes, frames, strict=True):
        if frame.dtype == np.uint8:
            picture /= np.float32(255)
    return as_tensor(planes)


def to_byte_tensors(frames: Sequence[np.ndarray]) -> Tensor:
    """Pictures (H, W, C) uint8 of one size as one tensor (N, C, H, W) of bytes: a quarter of the floats' memory, which
    takes most of a loader's time where an item has many pictures."""
    return as_tensor(_planes(frames, np.uint8))


def _planes(frames: Sequence[np.ndarray], kind: type) -> np.ndarray:
    import cv2

    height, width, channels = frames[0].shape
    planes = np.empty((len(frames), channels, height, width), kind)
    for picture, frame in zip(planes, frames, strict=True):
        # Channels are taken apart as bytes, where there is a quarter of the memory to walk through.
        for plane, channel in zip(picture, cv2.split(np.ascontiguousarray(frame)), strict=True):
            plane[...] = channel
    return planes


def as_tensor(array: np.ndarray) -> Tensor:
    """An array as a contiguous tensor. torch is imported here: what the modes declare for --help does without."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(array))
