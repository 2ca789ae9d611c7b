"""Dataset mode `face`: consecutive frames of a face with structure maps drawn from its key points."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from data.base import Clip, Dataset, Job, as_tensor, to_tensor, to_tensors
from data.faces.retarget import Retarget
from data.structure.edge_cache import EdgeCache, cache_file
from data.structure.maps import background_edges, structure_maps
from data.structure.outputs import FaceOutputs
from data.structure.sequences import Sequence as Frames
from data.structure.sequences import choose_frames, find_sequences, of_trainable_length
from data.video.images import read_image
from util.errors import UserError
from util.geometry import nearest_pose
from util.values import at_least, count, integer, one_of, text

if TYPE_CHECKING:
    from torch import Tensor

NEUTRAL_AMONG = 50
"""Number of driving frames searched for the one most like the source in pose and expression."""
TEST_FPS = 15
"""Frame rate of folders of frames, which do not store one."""


class FaceDataset(Dataset):
    """Folders <phase>_data/<sequence> of frames and <phase>_keypoints/<sequence> of their 68 points.

    A training item holds `frames` (T, 3, S, S) and `structures` (T, C, S, S) as bytes (data/structure.py), T frames of
    one sequence in order, and `name`. A test clip has `image` (3, S, S) and `structure` (C, S, S) as its source and in
    each driving item, and `frame`, the item's name; the user's driving items have no ground truth `image`.
    """

    needs_landmarks = True

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        whole, parser = parser, parser.add_argument_group("sequences", example="--load_size 128 --no_canny_edge")
        add = parser.add_argument
        add("--load_size", type=side, default=256, help="S: frames are brought to S x S; a multiple of 32, at least 64")
        # No default here: training and test differ.
        add("--phase", type=one_of("train", "test", "val"),
            help="beginning of the names of the data folders; default: train, and test for test.py")  # fmt: skip
        add(
            "--max_dataset_size", type=count, default=sys.maxsize, help="take so many sequences at most",
            shapes_result=False,
        )  # fmt: skip
        parser.add_switch("--no_canny_edge", help="no background edges in the structure maps")
        parser.add_switch("--no_dist_map", help="no distance maps: 2 structure channels instead of 16")
        parser.add_switch("--original_fit", help="compute structure maps bit for bit as the original, with the noise "
            "of its fit of curves; slower", advanced=True)  # fmt: skip
        add(
            "--structure_nc", type=integer, help="channels of the structure maps; follows from --no_dist_map",
            advanced=True,
        )  # fmt: skip
        add("--structure_cache", type=text, default="",
            help="keeps background edges once found; default: .structure_cache in --dataroot; none",
            shapes_result=False)  # fmt: skip
        if training:
            _add_clip_options(whole)
        else:
            _add_test_options(whole)

    def __init__(self, opt: Any, training: bool):
        self.opt, self.training, self.side = opt, training, opt.load_size
        self.retarget = not training and opt.retarget
        self.phase = opt.phase or ("train" if training else "test")
        self.cache = _cache_folder(opt, self.phase)
        self.cut_off = None if training or not opt.original_levels else 255
        if training or not (opt.source_image or opt.pairs):
            found = find_sequences(Path(opt.dataroot), self.phase)
            self.sequences = (self._trainable(found) if training else found)[: opt.max_dataset_size]

    def _trainable(self, found: list[Frames]) -> list[Frames]:
        opt = self.opt
        return of_trainable_length(
            found,
            total=opt.n_frames_total,
            chunk=opt.max_frames_per_gpu,
            min_frames=opt.frames_D_V,
            alike=opt.batch_size > 1,
        )

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: int) -> dict[str, Any]:
        opt, sequence = self.opt, self.sequences[index]
        chosen = choose_frames(len(sequence), opt.n_frames_total, opt.max_frames_per_gpu, opt.max_t_step)
        frames, structures = self.load(sequence, chosen)
        return {"frames": frames, "structures": structures, "name": sequence.name}

    def sample_name(self, index: int) -> str:
        return str(self.sequences[index].pictures)

    def load(
        self, sequence: Frames, chosen: Sequence[int], size: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Frames (T, 3, S, S) of a sequence, all of `size` if given, and their structure maps."""
        pictures = [read_image(sequence.frames[index][0]) for index in chosen]
        sizes = {picture.shape[:2] for picture in pictures} | ({size} if size else set())
        if len(sizes) > 1:
            known = " and ".join(f"{height} x {width}" for height, width in sorted(sizes))
            raise UserError(
                f"{sequence.pictures}: the frames of a sequence must have one size, found {known}; resize them"
            )
        points = np.stack([sequence.points(index) for index in chosen])
        background = [self._background(sequence, *pair) for pair in zip(chosen, pictures, strict=True)]
        maps = self._structure_maps(points, sizes.pop(), background)
        return to_tensors([self._sized(picture) for picture in pictures]), as_tensor(maps)

    def picture(self, picture: np.ndarray) -> Tensor:
        """A frame as the networks see it: (3, S, S)."""
        return to_tensor(self._sized(picture))

    def _sized(self, picture: np.ndarray) -> np.ndarray:
        if picture.shape[:2] == (self.side, self.side):
            return picture
        image = Image.fromarray(picture).resize((self.side, self.side), Image.Resampling.BICUBIC)
        return np.asarray(image)

    def _background(self, sequence: Frames, index: int, picture: np.ndarray) -> np.ndarray | None:
        if self.opt.no_canny_edge:
            return None
        if self.cache is None:
            return self._edges(picture)
        cache = open_cache(self.cache, sequence.name, sequence.pictures, len(sequence), self.side)
        return cache.edges(index, sequence.frames[index][0], lambda: self._edges(picture))

    def jobs(self) -> list[Job]:
        """Every test sequence, animated from its own first frame."""
        return [Job(sequence.name, partial(self._clip, sequence)) for sequence in self.sequences]

    def _clip(self, sequence: Frames) -> Clip:
        first, limit = self.opt.start_frame, self.opt.total_test_frames
        chosen = range(len(sequence))[first : limit and first + limit]
        if not chosen:
            raise UserError(f"--start_frame {first}: {sequence.pictures} has only {len(sequence)} frames")
        driving = Driving(self, sequence, chosen)
        source = {name: value for name, value in next(iter(driving)).items() if name != "frame"}
        fps = Fraction(self.opt.fps or TEST_FPS)
        return Clip(sequence.name, source, driving, fps, length=len(chosen), cut_off=self.cut_off)

    def source_item(self, frames: Sequence[np.ndarray], points: Sequence[np.ndarray]) -> dict[str, Any]:
        picture, found = frames[0], points[0]
        return {"image": self.picture(picture), "structure": self._outside(found, picture), "points": found}

    def driving_items(
        self, frames: Iterable[np.ndarray], source: dict[str, Any], points: np.ndarray, neutral: int | None = None
    ) -> Iterator[dict[str, Any]]:
        adapt = self._adapter(source["points"], points, neutral)
        for number, (picture, found) in enumerate(zip(frames, points, strict=False)):
            structure = self._outside(adapt(found), picture)
            yield {"structure": structure, "image": self.picture(picture), "frame": f"{number:05d}"}

    def _adapter(
        self, source: np.ndarray, driving: np.ndarray, neutral: int | None
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Retargets driving points to the source's face; proportions compare only between similar poses."""
        if not self.retarget:
            return np.asarray
        if neutral is None:
            neutral = nearest_pose(source, list(driving[:NEUTRAL_AMONG]))[0]
        return Retarget(source, driving[neutral])

    def _outside(self, points: np.ndarray, picture: np.ndarray) -> Tensor:
        """The structure map of the user's picture, resized to S x S."""
        wanted = self.opt.background_edges and not self.opt.no_canny_edge
        background = [self._edges(picture)] if wanted else None
        return as_tensor(self._structure_maps(points[None], (self.side, self.side), background)[0])

    def _edges(self, picture: np.ndarray) -> np.ndarray:
        return background_edges(picture, self.side, self.opt.original_fit)

    def _structure_maps(
        self, points: np.ndarray, size: tuple[int, int], background: Sequence[np.ndarray | None] | None
    ) -> np.ndarray:
        """Structure maps of points (F, 68, 2) in pictures of a size, as the options say."""
        return structure_maps(
            points,
            size,
            self.side,
            background,
            distances=not self.opt.no_dist_map,
            original_fit=self.opt.original_fit,
        )

    @staticmethod
    def size_of(opt: Any) -> tuple[int, int]:
        return opt.load_size, opt.load_size

    def picture_size(self) -> tuple[int, int]:
        return self.side, self.side

    def companion(self, clip: Clip, output: Path) -> AbstractContextManager:
        # --output asks for one result and nothing beside it.
        return nullcontext() if self.opt.output else FaceOutputs(output, clip.fps, self.opt.quality)


class Driving:
    """Some frames of a sequence as driving items, read again at each iteration."""

    def __init__(self, dataset: FaceDataset, sequence: Frames, chosen: range):
        self.dataset, self.sequence, self.chosen = dataset, sequence, chosen

    def __iter__(self) -> Iterator[dict[str, Any]]:
        size = None
        for index in self.chosen:
            path = self.sequence.frames[index][0]
            size = size or read_image(path).shape[:2]
            frames, structures = self.dataset.load(self.sequence, [index], size)
            yield {"image": frames[0], "structure": structures[0], "frame": path.stem}


@lru_cache(maxsize=64)
def open_cache(folder: Path, name: str, pictures: Path, rows: int, side: int) -> EdgeCache:
    """The cache of a sequence; each process keeps a few open."""
    return EdgeCache(cache_file(folder, name, pictures, rows, side), rows, side)


def _cache_folder(opt: Any, phase: str) -> Path | None:
    if opt.structure_cache == "none" or opt.no_canny_edge:
        return None
    kind = f"{phase}_original" if opt.original_fit else phase
    return Path(opt.structure_cache or Path(opt.dataroot) / ".structure_cache") / kind


def side(value: Any) -> int:
    """A picture side that can be halved five times, to at least 2 x 2."""
    number = integer(value)
    if number % 32 or number < 64:
        raise ArgumentTypeError(f"{value!r} is not a multiple of 32 from 64 on")
    return number


def _add_clip_options(parser: Any) -> None:
    parser = parser.add_argument_group("training clips", example="--n_frames_total 12 --max_frames_per_gpu 4")
    add = parser.add_argument
    add("--n_frames_total", type=count, default=30, help="frames of a training clip")
    add("--max_frames_per_gpu", type=count, default=6, help="frames of a clip between two updates; less saves memory")
    add("--frames_D_V", type=at_least(2), default=3, help="frames that the video discriminator sees")
    add("--max_t_step", type=count, default=1, help="largest step from frame to frame, drawn for each clip")


def _add_test_options(parser: Any) -> None:
    parser = parser.add_argument_group("test sequences", example="--start_frame 10 --total_test_frames 100")
    add = parser.add_argument
    add("--start_frame", type=at_least(0), default=0, help="first frame of each test sequence; it is the reference")
    add("--total_test_frames", type=count, help="frames of each test sequence at most")
    parser.add_switch("--retarget", default=True,
        help="give landmarks of a driving video the proportions of the source's face; no: as the original")  # fmt: skip
    parser.add_switch(
        "--original_levels", help="truncate results to bytes, as the original does, instead of rounding", advanced=True
    )
    parser.add_switch("--background_edges", help="keep the background edges of pictures and videos from outside")
    parser.add_alias("--n_frames_pre_load_test", "--animate_batch")
    parser.set_defaults(animate_batch=6)
