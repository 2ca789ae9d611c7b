"""Dataset mode `frames`: two random frames of a clip to train on, whole clips to animate."""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.augment import Augmentation, flip
from data.base import Clip, Dataset, Job, VideoFrames, to_tensor
from data.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Video, open_video, parts_of
from data.video.packed import SUFFIX, PackedClip
from util.csv_table import read_rows
from util.errors import UserError
from util.resizing import resize, to_bytes
from util.values import count, list_of, not_negative, number, one_of, positive, seed, text, within

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

PLACE = "--dataset_params"
AUGMENTATION = f"{PLACE}.augmentation_params"


class Drawn(NamedTuple):
    """Random frames of a clip, in order, with their numbers, e.g. to find their sound."""

    name: str
    frames: list[np.ndarray]
    numbers: list[int]
    fps: Fraction
    path: Path

    @property
    def times(self) -> list[float]:
        """Seconds from the start of the clip to each frame, by its average rate."""
        return [float(number / self.fps) for number in self.numbers]


class FramesDataset(Dataset):
    """Clips as folders of frames, strips of frames in one picture, gifs, videos and packed clips.

    A training item holds `source` and `driving` (3, H, W), the earlier and the later of two random frames of one clip,
    augmented alike, and `name`. A test clip has `image` (3, H, W) as its source and in each driving item.
    """

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        whole, parser = parser, parser.add_argument_group("clips", example="--load_size 256")
        add = parser.add_argument
        add("--frame_shape", f"{PLACE}.frame_shape", type=list_of(count, "height,width,[channels]"), default=[],
            help="height,width: bring frames to it, unless --load_size is given; height,width,channels: frames have "
            "this size already. Needed for strips of frames that aren't square", advanced=True)  # fmt: skip
        add("--load_size", type=list_of(count, "height,[width]"), default=[],
            help="bring frames to this size (one number: both) first; default: as they are")  # fmt: skip
        add("--split_seed", f"{PLACE}.random_seed", type=seed, default=0,
            help="seed of the 80/20 split of a folder without train and test", advanced=True)  # fmt: skip
        parser.add_switch(
            "--id_sampling", f"{PLACE}.id_sampling", help="an epoch goes over people, not over clips",
            advanced=not training,
        )  # fmt: skip
        parser.accept_unused(f"{PLACE}.name")
        if training:
            add(
                "--num_repeats", "--train_params.num_repeats", type=count, default=1,
                help="passes over data per epoch",
            )  # fmt: skip
            _add_augmentations(whole)
        else:
            add(
                "--pairs_list", f"{PLACE}.pairs_list", type=text, help="csv with columns source and driving",
                shapes_result=False, advanced=True,
            )  # fmt: skip
            add(
                "--num_pairs", "--animate_params.num_pairs", type=count, default=50, help="pairs to animate at most",
                shapes_result=False,
            )  # fmt: skip
            parser.add_alias("--reconstruction_params.num_videos", "--max_clips", mode="reconstruction")
            for mode in ("reconstruction", "animate"):
                parser.add_alias(f"--{mode}_params.format", "--format", mode=mode)

    def __init__(self, opt: Any, training: bool):
        self.opt, self.training = opt, training
        self.frame_shape, self.load_size = frame_sizes(opt.frame_shape, opt.load_size)
        if training:
            self.augmentation = _augmentation(opt)
            self.items = sorted(self.people) if opt.id_sampling else self.names

    @cached_property
    def entries(self) -> tuple[Path, list[str]]:
        """The folder of the split and its clips, listed at first use: the user's own pairs do not need them."""
        return find_entries(Path(self.opt.dataroot), self.training, self.opt.split_seed)

    @property
    def folder(self) -> Path:
        """The folder of the split's clips."""
        return self.entries[0]

    @property
    def names(self) -> list[str]:
        """The clips of the split."""
        return self.entries[1]

    @cached_property
    def people(self) -> dict[str, list[str]]:
        """The clips of each person: the name up to the first #."""
        people: dict[str, list[str]] = {}
        for name in self.names:
            people.setdefault(person_of(name), []).append(name)
        return people

    def __len__(self) -> int:
        return len(self.items) * self.opt.num_repeats

    def __getitem__(self, index: int) -> dict[str, Any]:
        pair = self.pair(index)
        source, driving = map(to_tensor, pair.frames)
        return {"source": source, "driving": driving, "name": pair.name}

    def pair(self, index: int) -> Drawn:
        """Source and driving frame of an item, augmented; --time_flip may have exchanged them."""
        drawn = self.draw(index)
        kind = self.augmentation.draw_flip()
        frames = self.augmentation.after_flip(flip(drawn.frames, kind))
        return drawn._replace(frames=frames, numbers=drawn.numbers[::-1] if kind == "time" else drawn.numbers)

    def draw(self, index: int) -> Drawn:
        """Two random frames of an item's clip, the earlier one first."""
        name = self._draw_clip(index)
        with self.open(name) as video:
            numbers, frames = draw_frames(video, 2)
            return Drawn(name, [self.sized(frame) for frame in frames], numbers, Fraction(video.fps), video.path)

    def _draw_clip(self, index: int) -> str:
        item = self.items[index % len(self.items)]
        return random.choice(self.people[item]) if self.opt.id_sampling else item

    def sample_name(self, index: int) -> str:
        return str(self.folder / self._draw_clip(index))

    def jobs(self) -> list[Job]:
        """The test clips: each from its own first frame, or in pairs."""
        titles = titles_of(self.names)
        if self.opt.mode == "reconstruction":
            wanted = [(titles[name], name, name) for name in self.names]
        else:
            pairs = self._pairs()
            wanted = [(f"{titles[driving]}-{titles[source]}", driving, source) for driving, source in pairs]
        return [Job(clip[0], partial(self.make_clip, *clip)) for clip in wanted]

    def source_item(self, frames: Sequence[np.ndarray]) -> dict[str, Tensor]:
        return self.item(frames[0])

    def driving_items(self, frames: Iterable[np.ndarray], source: dict[str, Any]) -> Iterator[dict[str, Any]]:
        return self.items_of(frames)

    def items_of(self, video: Iterable[np.ndarray]) -> Iterator[dict[str, Any]]:
        """The items of a driving video, a pair's or a test clip's: a VideoFrames, or frames alone."""
        return map(self.item, video)

    @staticmethod
    def size_of(opt: Any) -> tuple[int, int] | None:
        shape, size = frame_sizes(opt.frame_shape, opt.load_size)
        return size or shape or None

    def picture_size(self) -> tuple[int, int] | None:
        return self.size_of(self.opt)

    def sized(self, frame: np.ndarray) -> np.ndarray:
        """A frame resized to --load_size, in bytes."""
        if not self.load_size or frame.shape[:2] == self.load_size:
            return frame
        return to_bytes(resize(frame, self.load_size))

    def item(self, frame: np.ndarray) -> dict[str, Tensor]:
        """What animation reads of a frame."""
        return {"image": to_tensor(self.sized(frame))}

    def _pairs(self) -> list[tuple[str, str]]:
        if self.opt.pairs_list:
            return self._listed_pairs(Path(self.opt.pairs_list))
        chosen = random_pairs(len(self.names), self.opt.num_pairs)
        return [(self.names[driving], self.names[source]) for driving, source in chosen]

    def _listed_pairs(self, table: Path) -> list[tuple[str, str]]:
        if not table.is_file():
            raise UserError(f"--pairs_list {table}: no such file; use --pairs_list= for random pairs")
        rows = [(row["source"], row["driving"]) for _, row in read_rows(table, "--pairs_list", ("source", "driving"))]
        pairs = listed_pairs(rows, self.names, self.opt.num_pairs)
        if len(pairs) < min(len(rows), self.opt.num_pairs):
            problem = f"--pairs_list {table}: clips of only {len(pairs)} of its {len(rows)} pairs are in {self.folder}"
            if not pairs:
                raise UserError(f"{problem}; clips have names like {', '.join(self.names[:2])}")
            log.warning("%s", problem)
        return pairs

    def make_clip(self, name: str, driving: str, source: str) -> Clip:
        """A clip of the split, animated from the first frame of one of them."""
        sound = {}
        with self.open(source) as video:
            first = self.item(video[0])
            sound["source"] = self.folder / source if video.has_audio else None
        with self.open(driving) as video:
            fps, length = video.fps, len(video)
            sound["driving"] = self.folder / driving if video.has_audio else None
        return Clip(name, first, Driving(self, driving), Fraction(fps), sound.get(self.opt.audio), length)

    def open(self, name: str) -> Video:
        """Open a clip of any kind by its name."""
        path = self.folder / name
        width = self.frame_shape[1] if self.frame_shape else None
        video = PackedClip(path) if path.suffix == SUFFIX else open_video(path, frame_width=width)
        if self.frame_shape and not self.load_size and tuple(video.size) != self.frame_shape:
            video.close()
            raise UserError(
                f"{path}: its frames are {video.size[0]} x {video.size[1]} (height x width), not --frame_shape "
                f"{self.frame_shape[0]} x {self.frame_shape[1]}; set --load_size to resize them"
            )
        return video


def draw_frames(video: Video, count: int, among: Sequence[int] | None = None) -> tuple[list[int], list[np.ndarray]]:
    """Random frames of a clip, in order: their numbers, and they themselves; `among`: the numbers to draw from.

    A damaged file may have fewer frames than it claims: then draw from those that can be read.
    """
    while True:
        length = len(video)
        numbers = range(length) if among is None else [number for number in among if number < length]
        if not numbers:
            raise UserError(f"{video.path}: no face in any of the {length} readable frames")
        try:
            drawn = sorted(random.choices(numbers, k=count))
            return drawn, [video[number] for number in drawn]
        except UserError:
            if not 0 < len(video) < length:
                raise


class Driving:
    """The frames of a clip as driving items, read again at each iteration."""

    def __init__(self, dataset: FramesDataset, name: str):
        self.dataset, self.name = dataset, name

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self.dataset.open(self.name) as video:
            yield from self.dataset.items_of(VideoFrames(video, Fraction(video.fps), video.path))


def frame_sizes(
    frame_shape: Sequence[int] | None, load_size: Sequence[int] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The size of the frames in files and the size to resize them to, both (height, width), or () if not given.

    As in the originals, a shape of two numbers resizes frames; three numbers describe the files.
    """
    shape, wanted = tuple(frame_shape or ()), tuple(load_size or ())
    size = (*wanted, *wanted) or (shape if len(shape) == 2 else ())
    return shape[:2], size[:2]


def plain(name: str) -> str:
    """A clip's name without the suffix of its kind of file."""
    known = (SUFFIX, *IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
    return Path(name).stem if Path(name).suffix.lower() in known else name


def titles_of(names: Iterable[str]) -> dict[str, str]:
    """Names of the clips' results: without suffixes, unless two would be equal."""
    counted = Counter(map(plain, names))
    return {name: plain(name) if counted[plain(name)] == 1 else name for name in names}


def person_of(name: str) -> str:
    """The part of a clip's name that names the person: up to the first #, without a suffix."""
    return plain(name).split("#")[0]


def is_entry(path: Path) -> bool:
    """Whether a path in a data folder is a clip: a folder, or a file of a known kind."""
    known = path.is_dir() or path.suffix.lower() in (SUFFIX, *IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
    return known and not path.name.startswith(".")


def find_entries(root: Path, training: bool, seed: int) -> tuple[Path, list[str]]:
    """The folder of the split and the sorted names of its clips: train/ and test/, or 80/20 of all."""
    if not root.is_dir():
        raise UserError(f"--dataroot {root}: no such folder; it needs train/ and test/ with clips")
    parts = parts_of(root)
    folder = (root / ("train" if training else "test")) if parts else root
    if parts and folder not in parts:
        raise UserError(
            f"--dataroot {root}: contains {parts[0].name} but no {folder.name}; move some clips to {folder}"
        )
    names = sorted(path.name for path in folder.iterdir() if is_entry(path))
    if not parts:
        train, test = random_split(names, seed)
        names = train if training else test
    if not names:
        kinds = ", ".join((*VIDEO_SUFFIXES[:3], *IMAGE_SUFFIXES[:2]))
        raise UserError(
            f"--dataroot {root}: no clips in {folder}; a clip is a folder of frames, or a file ({kinds}...)"
        )
    return folder, names


def random_split(names: Sequence[str], seed: int, test_share: float = 0.2) -> tuple[list[str], list[str]]:
    """Training and test part in the order of a permutation; the test part is rounded up."""
    order = np.random.RandomState(seed).permutation(len(names))
    tests = math.ceil(test_share * len(names))
    return [names[i] for i in order[tests:]], [names[i] for i in order[:tests]]


def random_pairs(videos: int, num_pairs: int, seed: int = 0) -> list[tuple[int, int]]:
    """Pairs (driving, source) of video numbers, drawn without replacement from all pairs of the first videos."""
    side = min(num_pairs, videos)
    chosen = np.random.RandomState(seed).choice(side**2, min(side**2, num_pairs), replace=False)
    return [divmod(int(number), side) for number in chosen]


def listed_pairs(rows: Sequence[tuple[str, str]], names: Sequence[str], num_pairs: int) -> list[tuple[str, str]]:
    """Pairs (driving, source) from rows (source, driving); skips rows that name an absent clip."""
    present = set(names)
    kept = [(driving, source) for source, driving in rows if source in present and driving in present]
    return kept[:num_pairs]


def _add_augmentations(parser: Any) -> None:
    parser = parser.add_argument_group("augmentation", example="--horizontal_flip --time_flip --rotation_degrees 10")
    add = parser.add_argument
    parser.add_switch("--time_flip", f"{AUGMENTATION}.flip_param.time_flip", help="swap the two frames at random")
    parser.add_switch("--horizontal_flip", f"{AUGMENTATION}.flip_param.horizontal_flip", help="mirror at random")
    add("--rotation_degrees", f"{AUGMENTATION}.rotation_param.degrees", type=list_of(number, "from,[to]"), default=[],
        help="rotate by up to this angle, or by one between two angles")  # fmt: skip
    add("--resize_ratio", f"{AUGMENTATION}.resize_param.ratio", type=list_of(positive, "least,most"), default=[],
        help="scale by a factor between these two", advanced=True)  # fmt: skip
    add("--resize_interpolation", f"{AUGMENTATION}.resize_param.interpolation", type=one_of("nearest", "bilinear"),
        default="nearest", help="how --resize_ratio samples", advanced=True)  # fmt: skip
    add("--crop_size", f"{AUGMENTATION}.crop_param.size", type=list_of(count, "height,width"),
        default=[], help="random window", advanced=True)  # fmt: skip
    for kind in ("brightness", "contrast", "saturation", "hue"):
        amount = within(0, 0.5) if kind == "hue" else not_negative
        add(
            f"--jitter_{kind}", f"{AUGMENTATION}.jitter_param.{kind}", type=amount, default=0.0, help=f"vary {kind}",
            advanced=True,
        )  # fmt: skip


def _augmentation(opt: Any) -> Augmentation:
    degrees = opt.rotation_degrees
    return Augmentation(
        time_flip=opt.time_flip,
        horizontal_flip=opt.horizontal_flip,
        degrees=(-degrees[0], degrees[0]) if len(degrees) == 1 else tuple(degrees),
        resize_ratio=tuple(opt.resize_ratio),
        interpolation=opt.resize_interpolation,
        crop_size=tuple(opt.crop_size),
        brightness=opt.jitter_brightness,
        contrast=opt.jitter_contrast,
        saturation=opt.jitter_saturation,
        hue=opt.jitter_hue,
    )
