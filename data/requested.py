"""What a command asks to animate: one pair or a list of pairs, read, cut and resized into clips."""

from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data.base import Clip, Dataset
from data.crop import Crop, crop_picture, points_box, square_around
from data.csv_table import read_rows
from data.landmarks import build_detector, detector_settings, track, track_settings
from data.sheet import WRITTEN_SUFFIXES
from data.video import IMAGE_SUFFIXES, NOT_WRITTEN, has_format, open_steady, open_video, read_image
from util.errors import UserError
from util.geometry import nearest_pose
from util.resizing import resize, to_bytes
from util.values import at_least

DEFAULT_SIZE = (256, 256)
"""Height and width of pictures from outside where the dataset mode does not say."""


OF_PAIRS = ("crop_image", "crop_video", "paste_back", "find_best_frame", "best_frame")
"""Options that say how to take a pair."""


@dataclass(frozen=True)
class Request:
    """One video to make, as the command or a line of --pairs names it."""

    sources: tuple[Path, ...]
    driving: Path
    output: Path | None = None
    best_frame: int | None = None

    @property
    def name(self) -> str:
        """driving-source, without suffixes."""
        return "-".join(path.stem for path in (self.driving, *self.sources[:1]))

    @property
    def made_of(self) -> dict[str, str]:
        """What tells its result from others that might have its name."""
        source = ", ".join(str(path.resolve()) for path in self.sources)
        return {"sources": source, "driving video": str(self.driving.resolve()), "best frame": str(self.best_frame)}


def requests(opt: Any, needs_source: bool = True) -> list[Request]:
    """The pairs that the options name; empty where they name none, and the test split is meant."""
    named = [f"--{name}" for name in ("source_image", "driving_video", "output") if getattr(opt, name)]
    if opt.pairs:
        if named:
            raise UserError(f"--pairs: the table says what is animated and where it goes; leave out {', '.join(named)}")
        return read_pairs(Path(opt.pairs), opt.best_frame)
    alone = bool(opt.source_image) != bool(opt.driving_video)
    if alone and (needs_source or opt.source_image):
        given, missing = ("source_image", "driving_video") if opt.source_image else ("driving_video", "source_image")
        raise UserError(f"--{given} is given, --{missing} is not: a pair takes both")
    if not opt.driving_video:
        _refuse_options_of_pairs(opt)
        return []
    output = Path(opt.output) if opt.output else None
    request = Request(tuple(map(Path, opt.source_image or ())), Path(opt.driving_video), output, opt.best_frame)
    _check_output(request, "--output")
    return [request]


def _refuse_options_of_pairs(opt: Any) -> None:
    """Test splits are cut already, and their movements begin where they begin."""
    if hasattr(opt, "input_path"):  # what is found there is cut and pasted back in ways of its own
        return
    given = [f"--{name}" for name in OF_PAIRS if getattr(opt, name) not in (None, False)]
    if given:
        raise UserError(f"{', '.join(given)}: for pairs (--source_image and --driving_video, or --pairs) alone; clips "
                        "of the test split are taken as they are")  # fmt: skip


def read_pairs(path: Path, best_frame: int | None = None) -> list[Request]:
    """The lines of a csv file with the columns source, driving and, if wanted, frame, output."""
    found: dict[int, Request] = {}
    for line, row in read_rows(path, "--pairs", ("source", "driving")):
        where = f"--pairs {path}, line {line}"
        try:
            frame = at_least(0)(row["frame"]) if row.get("frame") else best_frame
        except ArgumentTypeError as error:
            raise UserError(f"{where}: frame: {error}") from None
        # Where a result goes does not depend on what lies about; what exists may be named from here, too.
        output = path.parent / row["output"] if row.get("output") else None
        found[line] = Request((_beside(path, row["source"]),), _beside(path, row["driving"]), output, frame)
        _check_output(found[line], where)
    _refuse_equal_names(path, found)
    return list(found.values())


def _check_output(request: Request, where: str) -> None:
    """Better told now than when the frames are made."""
    output = request.output
    if output and output.resolve() in {path.resolve() for path in (*request.sources, request.driving)}:
        raise UserError(f"{where}: {output} is what the result is made of; give the result another name")
    if output and output.suffix and not has_format(output) and output.suffix.lower() not in WRITTEN_SUFFIXES:
        raise UserError(f"{where}: {output}: {NOT_WRITTEN}")


def _refuse_equal_names(path: Path, found: dict[int, Request]) -> None:
    """Results of one name would be taken for made already."""
    lines: dict[str | Path, int] = {}
    for line, request in found.items():
        output = request.output or request.name
        if output in lines:
            raise UserError(
                f"--pairs {path}: the results of the lines {lines[output]} and {line} are both called {output}; give "
                "them names in the column output"
            )
        lines[output] = line


def _beside(table: Path, name: str) -> Path:
    """A path in a table: as it is, or else relative to the table's folder."""
    path = Path(name)
    return path if path.is_absolute() or path.exists() else table.parent / path


class Requested:
    """Turns requests into clips, by the options of cutting, resizing and finding faces."""

    def __init__(self, dataset: Dataset, opt: Any):
        self.dataset, self.opt = dataset, opt
        self.size = dataset.picture_size() or DEFAULT_SIZE
        # Faces as small as some models make them are not found any more.
        self.pose_size = tuple(map(max, self.size, DEFAULT_SIZE))

    @cached_property
    def detector(self):
        """What finds faces; built when the first face is looked for."""
        return build_detector(**detector_settings(self.opt))

    def clip(self, request: Request) -> Clip:
        """Everything to make one video; the driving video is read as it is consumed."""
        pictures = [self._source_picture(path) for path in request.sources]
        cuts = [self._crop_of(picture, path) for picture, path in zip(pictures, request.sources, strict=True)]
        faces = [self.cut(picture, crop, self.size) for picture, crop in zip(pictures, cuts, strict=True)]
        source = self.dataset.source_item(faces)
        driving = _DrivingVideo(self, request.driving, source)
        extra = {"output": request.output, "faces": faces}
        best = self._best_frame(request, pictures, cuts, driving)
        if best is not None:
            extra["first"] = driving.item(best)
        if self.opt.paste_back and not pictures:
            raise UserError("--paste_back: into which picture? Give it with --source_image")
        if self.opt.paste_back:
            extra |= {"picture": pictures[0], "crop": cuts[0]}
        return Clip(request.name, source, driving, driving.fps, self._audio(request), len(driving), extra)

    def _audio(self, request: Request) -> Path | None:
        """The file whose sound the result gets, if it has any."""
        path = {"driving": request.driving, "source": next(iter(request.sources), None), "none": None}[self.opt.audio]
        if path is None or not path.is_file() or path.suffix.lower() in IMAGE_SUFFIXES:
            return None
        with open_video(path) as video:
            return path if video.has_audio else None

    def _source_picture(self, path: Path) -> np.ndarray:
        if not path.exists():
            raise UserError(f"--source_image {path}: there is no such file")
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return read_image(path)
        with open_video(path) as video:
            if not 0 <= self.opt.source_frame < len(video):
                raise UserError(f"--source_frame {self.opt.source_frame}: {path} has the frames 0 to {len(video) - 1}")
            return video[self.opt.source_frame]

    def _crop_of(self, picture: np.ndarray, path: Path) -> Crop | None:
        if not (self.opt.crop_image or self.opt.paste_back):
            return None
        (faces,) = self.detector.detect([picture])
        return crop_picture(picture, faces, self.opt.crop_image_padding, name=str(path))

    def cut(self, picture: np.ndarray, crop: Crop | None, size: tuple[int, int]) -> np.ndarray:
        """A picture at a size: what a crop shows of it, or all of it without keeping the proportions.

        It is resized as the original's demo does, with smoothing where it shrinks.
        """
        if crop is not None:
            return crop.apply(picture, size)
        return picture if picture.shape[:2] == size else to_bytes(resize(picture, size))

    def _best_frame(
        self, request: Request, pictures: list[np.ndarray], cuts: list[Crop | None], driving: "_DrivingVideo"
    ) -> int | None:
        if request.best_frame is not None:
            if request.best_frame >= len(driving):
                raise UserError(
                    f"--best_frame {request.best_frame}: {request.driving} has the frames 0 to {len(driving) - 1}"
                )
            return request.best_frame
        if not self.opt.find_best_frame:
            return None
        sources = [
            self.cut(picture, crop, self.pose_size) for picture, crop in zip(pictures[:1], cuts[:1], strict=True)
        ]
        (faces,) = self.detector.detect(sources) if sources else ([],)
        if not faces:
            raise UserError("--find_best_frame: no face is found in the source; give --best_frame N instead")
        found = self._track(driving.frames(self.pose_size), request.driving)
        candidates = [points if present else None for points, present in zip(found.points, found.present, strict=True)]
        return nearest_pose(faces[0].points, candidates)[0]

    def _track(self, frames: Iterable[np.ndarray], path: Path):
        return track(frames, self.detector, name=str(path), **track_settings(self.opt))


class _DrivingVideo:
    """The items of a driving video, read anew whenever they are asked for."""

    def __init__(self, owner: Requested, path: Path, source: dict[str, Any]):
        self.owner, self.path, self.source = owner, path, source
        with self._open() as video:
            self.fps, self.length, self.frame_size = Fraction(video.fps), len(video), video.size
            self.crop = self._square(video) if owner.opt.crop_video else None

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.owner.dataset.driving_items(self.frames(self.owner.size), self.source))

    def item(self, index: int) -> dict[str, Any]:
        """One item."""
        with self._open() as video:
            frame = self.owner.cut(video[index], self.crop, self.owner.size)
            return next(iter(self.owner.dataset.driving_items([frame], self.source)))

    def frames(self, size: tuple[int, int]) -> Iterator[np.ndarray]:
        """The frames, cut and resized."""
        with self._open() as video:
            for frame in video:
                yield self.owner.cut(frame, self.crop, size)

    def _open(self):
        if not self.path.exists():
            raise UserError(f"--driving_video {self.path}: there is no such file")
        return open_steady(self.path, self.owner.opt.fps)

    def _square(self, video: Iterable[np.ndarray]) -> Crop:
        """One square around all places of the face."""
        found = self.owner._track(video, self.path)
        boxes = [points_box(points) for points in found.points[found.present]]
        face_size = float(np.median([max(box[2:] - box[:2]) for box in boxes]))
        box = square_around(points_box(found.points[found.present]), face_size, self.frame_size)
        return Crop(box[None], self.frame_size, video=str(self.path))
