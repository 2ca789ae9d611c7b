"""Dataset mode `frames_prior`: clips of faces with the 18 points of the facial prior."""

from __future__ import annotations

import logging
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.augment import flip
from data.base import Clip, Job, as_tensor, to_tensor
from data.faces.detector import Detector
from data.faces.landmarks import SELDOM_SET, add_detector_options, build_detector, detector_settings
from data.frames import FramesDataset, plain
from data.micro.curves import Marks
from data.micro.prior_points import SEARCHED, PointsFolder, default_folder, find_points, mirrored, scaled
from data.micro.spotting import SpottingPlot
from data.video import unsuffixed
from util.cells import read_dicts
from util.errors import UserError
from util.values import integer, not_negative, text

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


class PriorFramesDataset(FramesDataset):
    """Clips as of mode `frames`, each with 18 points of the face: one set for a whole clip, of its first frame.

    Training items and test clips' items also hold `keypoint` (18, 2), x and y in pixels of the pictures.
    """

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        FramesDataset.add_options(parser, training)
        whole, parser = (
            parser,
            parser.add_argument_group("landmarks", example="--keypoint_folder dataset/smic/keypoint_folder"),
        )
        parser.add_argument("--keypoint_folder", type=text, default="",
            help="points of all clips, as script/kpmaker.py writes them; default: keypoint_folder in --dataroot if it "
            "is there, else points are found in the clips as they are needed")  # fmt: skip
        parser.add_switch(
            "--default_points", help="use the original's stored points if no face is found", advanced=True
        )
        if training:
            parser.add_switch(
                "--original_flips", help="leave the points where they are when pictures are mirrored", advanced=True
            )
            add_detector_options(whole)
            whole.set_advanced(*SELDOM_SET)
        else:
            parser.add_argument("--clip_fps", type=not_negative, default=100,
                help="frames per second of test clips' results; 0: as the driving clip's")  # fmt: skip
            parser.add_switch("--spotting", default=True,
                help="also draw how driving clip and result move (--mode animate): NAME_spotting.png")  # fmt: skip

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        self.found: dict[str, np.ndarray] = {}
        if training:
            self._check_augmentations()
            self._check_points()

    def _check_augmentations(self) -> None:
        moving = [name for name in ("rotation_degrees", "resize_ratio", "crop_size") if getattr(self.opt, name)]
        if moving:
            raise UserError(f"--{moving[0]} moves the face away from its points; remove it with frames_prior")

    def _check_points(self) -> None:
        """Check now that the folder of points has those of every training clip, rather than fail after an hour.

        Test clips are not checked: not all may be animated, and one without points does not stop the others.
        """
        folder = self.folder_of_points
        for name in self.names if folder and self.training else ():
            folder.find(*self._file_names(name))

    def _file_names(self, name: str) -> tuple[str, ...]:
        """Possible names of a clip's points, first that of kpmaker.py: folders keep their whole name."""
        return (name, plain(name)) if (self.folder / name).is_dir() else (plain(name),)

    @cached_property
    def folder_of_points(self) -> PointsFolder | None:
        """The folder of all clips' points; None: detect them on demand."""
        if self.opt.keypoint_folder:
            return PointsFolder(Path(self.opt.keypoint_folder))
        folder = default_folder(Path(self.opt.dataroot))
        return PointsFolder(folder) if folder.is_dir() else None

    @cached_property
    def detector(self) -> Detector:
        """The face detector, built at its first use."""
        return build_detector(**detector_settings(self.opt))

    def points(self, name: str) -> np.ndarray:
        """The points of a clip, in pixels of the networks' pictures."""
        if name not in self.found:
            with self.open(name) as video:
                if self.folder_of_points:
                    points = self.folder_of_points.read(*self._file_names(name))
                else:
                    points = self._found(islice(video, SEARCHED), self.detector.clip(name), name, "remove it")
                self.found[name] = scaled(points, video.size, self.load_size or video.size)
        return self.found[name]

    def _found(self, frames: Iterable[np.ndarray], detector: Detector, name: str, remedy: str) -> np.ndarray:
        return find_points(frames, detector, name=name, default=self.opt.default_points, remedy=remedy)[0]

    def __getitem__(self, index: int) -> dict[str, Any]:
        name, frames, *_ = self.draw(index)
        points, kind = self.points(name), self.augmentation.draw_flip()
        if kind == "mirror" and not self.opt.original_flips:
            points = mirrored(points, frames[0].shape[1])
        source, driving = map(to_tensor, self.augmentation.after_flip(flip(frames, kind)))
        return {"source": source, "driving": driving, "keypoint": as_tensor(points), "name": name}

    def jobs(self) -> list[Job]:
        self._check_points()
        return super().jobs()

    def make_clip(self, name: str, driving: str, source: str) -> Clip:
        clip = super().make_clip(name, driving, source)
        clip.source["keypoint"] = as_tensor(self.points(source))
        clip.driving = WithPoints(clip.driving, as_tensor(self.points(driving)))
        if self.opt.clip_fps and self.opt.clip_fps != clip.fps:
            clip.fps, clip.audio = Fraction(self.opt.clip_fps), None
        clip.coded = self.coded_marks.get(plain(driving))
        return clip

    @cached_property
    def coded_marks(self) -> dict[str, Marks]:
        """Onset, apex and offset of the clips, if the dataset's clips.csv has them."""
        path = Path(self.opt.dataroot) / "clips.csv"
        if not path.is_file():
            return {}
        return read_marks(path)

    def source_item(self, frames: Sequence[np.ndarray]) -> dict[str, Tensor]:
        return self.item(frames[0]) | {"keypoint": self._points_of(frames[:1], "the source picture", "--crop_image")}

    def driving_items(self, frames: Iterable[np.ndarray], source: dict[str, Any]) -> Iterator[dict[str, Tensor]]:
        frames = iter(frames)
        beginning = list(islice(frames, SEARCHED))
        points = self._points_of(beginning, "the driving video", "--crop_video")
        yield from WithPoints(map(self.item, chain(beginning, frames)), points)

    def _points_of(self, frames: Sequence[np.ndarray], name: str, cutting: str) -> Tensor:
        """The points of the user's video, in pixels of the networks' pictures."""
        points = self._found(frames, self.detector, name, f"crop it with {cutting}")
        size = frames[0].shape[:2]
        return as_tensor(scaled(points, size, self.load_size or size))

    def companion(self, clip: Clip, output: Path) -> AbstractContextManager:
        if not self.opt.spotting or self.opt.mode == "reconstruction" or self.opt.visualize:
            return nullcontext()
        path = output.with_name(f"{unsuffixed(output)}_spotting.png")
        return SpottingPlot(path, clip.source["keypoint"].numpy(), clip.coded)


class WithPoints:
    """Items with the same points each."""

    def __init__(self, items: Iterable[dict[str, Tensor]], points: Tensor):
        self.items, self.points = items, points

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return (item | {"keypoint": self.points} for item in self.items)


def read_marks(path: Path) -> dict[str, Marks]:
    """Onset, apex and offset by clip, from a table with these columns and `name`; warns of invalid rows."""
    try:
        columns, rows = read_dicts(path)
    except UserError as error:
        log.warning("%s; drawing no coded marks", error)
        return {}
    if "name" not in columns:
        log.warning("%s: no column name (available: %s); drawing no coded marks", path, ", ".join(columns))
        return {}
    marks = {}
    for _, row in rows:
        try:
            marks[row["name"]] = Marks(*(integer(row[mark]) if row.get(mark) else None for mark in Marks._fields))
        except ArgumentTypeError as error:
            log.warning("%s: %s: %s; skipping its coded marks", path, row["name"], error)
    return marks
