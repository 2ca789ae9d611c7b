"""Dataset mode `talking_head`: T + 1 frames of a video with their landmarks, one to be made from the others."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.base import Clip, Job, to_byte_tensors, to_tensor
from data.talking.driven import LandmarkDriven, Shown, add_driving_options, joined
from data.talking.files import FrameLandmarks, find_landmark_file, read_frame_landmarks
from data.video.images import read_image
from util.errors import UserError
from util.values import count

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

MAX_CACHED = 1000
"""Files of landmarks that a process keeps in memory."""
read_once = lru_cache(MAX_CACHED)(read_frame_landmarks)
TEST_FPS = Fraction(5)
"""Sampled frames are far apart in time; play results slowly."""


class TalkingHeadDataset(LandmarkDriven):
    """Folders <person>/<video>/ of frames with metadata.npz (or metadata.pkl), below train/ and test/ if there are.

    A training item holds `video` (its number), and as bytes `pictures` and `landmarks` (T, 3, H, W), `target` and
    `target_landmarks` (3, H, W); the target is never among the pictures. A test clip is embedded from T frames spread
    over a video and driven by the others: `image` and `landmarks` (3, H, W) in each driving item.
    """

    several_sources = True

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        parser = parser.add_argument_group("frames of a person", example="--shots 4 --fit crop")
        parser.add_argument("--shots", "--metatrain_T", type=count, default=8, help="T: frames that show the person")
        add_driving_options(parser, training)
        if training:
            parser.add_switch("--random_flip", default=True, help="mirror half of the frames")

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        self.shots = opt.shots
        self.random_flip = training and opt.random_flip
        self.training = training
        if training:
            len(self)  # fails now if the folder is missing

    @cached_property
    def entries(self) -> tuple[Path, list[str]]:
        """The folder of the split and its videos; listed at first use: the user's own pairs do not need them."""
        return find_videos(Path(self.opt.dataroot), self.training)

    @property
    def folder(self) -> Path:
        """The folder of the split's videos."""
        return self.entries[0]

    @property
    def videos(self) -> list[str]:
        """The videos of the split, <person>/<video>."""
        return self.entries[1]

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> dict[str, Any]:
        video = self.folder / self.videos[index]
        known = read_once(find_landmark_file(video))
        chosen = [self._frame(video, known, frame) for frame in choose_frames(len(known.names), self.shots)]
        frames = joined(chosen, to_byte_tensors)
        pictures, landmarks = frames["pictures"], frames["landmarks"]
        return {
            "video": self.first_item + index,
            "target": pictures[0],
            "target_landmarks": landmarks[0],
            "pictures": pictures[1:],
            "landmarks": landmarks[1:],
        }

    def _frame(self, video: Path, known: FrameLandmarks, index: int, flip: bool = True) -> Shown:
        """A frame and its landmark picture."""
        flip = flip and self.random_flip and random.random() > 0.5
        return self.shown(read_image(video / known.names[index]), known.points[index], known.size, flip)

    def item_names(self) -> Sequence[str]:
        return self.videos

    def jobs(self) -> list[Job]:
        """Every test video: its person from T of its frames, moved by the landmarks of the others."""
        return [Job(name.replace("/", "_"), partial(self._clip, name)) for name in self.videos]

    def _clip(self, name: str) -> Clip:
        known = read_frame_landmarks(find_landmark_file(self.folder / name))
        frames = range(len(known.names))
        shown = {round(i * (len(frames) - 1) / max(self.shots - 1, 1)) for i in range(self.shots)}
        held_out = [index for index in frames if index not in shown] or list(frames)
        source = joined([self._frame(self.folder / name, known, index, flip=False) for index in sorted(shown)])
        driving = HeldOut(self, self.folder / name, known, held_out)
        return Clip(name.replace("/", "_"), source, driving, TEST_FPS, length=len(held_out))


class HeldOut:
    """The frames of a test video outside the embedding set, as driving items."""

    def __init__(self, dataset: TalkingHeadDataset, video: Path, known: FrameLandmarks, frames: Sequence[int]):
        self.dataset, self.video, self.known, self.frames = dataset, video, known, frames

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for index in self.frames:
            picture, landmarks = self.dataset._frame(self.video, self.known, index, flip=False)
            yield {"image": to_tensor(picture), "landmarks": to_tensor(landmarks)}


def choose_frames(count: int, shots: int) -> list[int]:
    """A random target and T other frames of `count`; if there are too few, others repeat, but never the target."""
    if count < 2:
        raise UserError(f"only {count} frames with a face; training needs at least 2")
    target, *others = random.sample(range(count), min(shots + 1, count))
    chosen = list(others)
    while len(chosen) < shots:
        chosen += random.sample(others, min(shots - len(chosen), len(others)))
    return [target, *chosen]


def find_videos(root: Path, training: bool) -> tuple[Path, list[str]]:
    """The folder of the split and the sorted names <person>/<video> of those with faces in two frames or more."""
    if not root.is_dir():
        raise UserError(f"--dataroot {root}: no such folder; it needs <person>/<video>/<frames>")
    folder = root
    if (root / "train").is_dir():
        folder = root / ("train" if training else "test")
    if not training and folder.name != "test":
        raise UserError(f"--dataroot {root}: no train/ and test/; move the test persons to test/")
    names = sorted(f"{person.name}/{video.name}" for person in _folders(folder) for video in _folders(person))
    with ThreadPoolExecutor(16) as pool:
        problems = list(pool.map(lambda name: _problem(folder / name), names))
    kept = [name for name, problem in zip(names, problems, strict=True) if not problem]
    left_out = [f"{name}: {problem}" for name, problem in zip(names, problems, strict=True) if problem]
    if left_out:
        more = f" and {len(left_out) - 5} more" if len(left_out) > 5 else ""
        log.warning("skipped %d of %d videos: %s%s", len(left_out), len(names), "; ".join(left_out[:5]), more)
    if not kept:
        raise UserError(
            f"--dataroot {root}: no videos with landmarks in {folder}; it needs <person>/<video>/<frames>, and the "
            f"metadata.npz of each video, which script/extract_landmarks.py --root writes"
        )
    return folder, kept


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _problem(video: Path) -> str | None:
    """Why a video can't be trained on, if so."""
    path = find_landmark_file(video)
    if path is None:
        return "no landmarks"
    try:
        count = len(read_frame_landmarks(path).names)
    except UserError as error:
        return str(error)
    return None if count > 1 else f"a face in {count} frames, fewer than 2"
