"""Pairs of a source and a driving video, read, cut and resized into clips."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data.base import Clip, Dataset, Job, Preview, VideoFrames, corners_of
from data.faces.crop import Crop, chosen_faces, crop_picture, from_left, paste, points_box, square_around
from data.faces.landmarks import Detector, Face, Track, build_detector, track
from data.jobs.pair_list import Request, with_format
from data.video import IMAGE_SUFFIXES, open_steady, open_video, read_image
from data.video.reader import Resampled
from util.errors import UserError
from util.geometry import nearest_pose
from util.printable import printable
from util.resizing import resize, to_bytes

log = logging.getLogger(__name__)

DEFAULT_SIZE = (256, 256)
"""Height and width of the user's pictures if the dataset mode has no size."""


@dataclass(frozen=True)
class PairSettings:
    """How pairs are cut, followed and heard: the options of these names."""

    crop_image: bool
    crop_image_padding: Sequence[float]
    crop_video: bool
    paste_back: bool
    face: str | int
    source_frame: int
    fps: float | None
    audio: str
    find_best_frame: bool
    best_frame: int | None
    output: str | None
    """Where the result of a single pair goes."""
    format: str
    detector: Mapping[str, Any]
    """What `build_detector` takes."""
    tracking: Mapping[str, Any]
    """What `track` takes."""


def jobs_of(wanted: Sequence[Request], dataset: Dataset, settings: PairSettings, folder: Path) -> Iterable[Job]:
    """The pairs that the command names, else what the dataset has to animate; each knows where its result goes."""
    if wanted:
        requested = RequestedClips(dataset, settings)
        return [
            Job(each.name, partial(requested.clip, each), each.output, each.inputs, each.recorded, dataset.saves_motion)
            for each in wanted
        ]
    jobs = dataset.jobs()
    placed = (replace(job, output=job.output or _output(job.name, settings, folder)) for job in jobs)
    return placed if isinstance(jobs, Iterator) else list(placed)


def _output(name: str, settings: PairSettings, folder: Path) -> Path:
    if settings.output:
        raise UserError(
            "--output names the result of one pair (--source_image, --driving_video); for several pairs set "
            "--results_dir"
        )
    return folder / with_format(printable(name), settings.format)


class RequestedClips:
    """Turns requests into clips, by the options of cropping, resizing and face detection.

    Faces are detected in whole pictures and frames, at their original proportions and resolution.
    """

    def __init__(self, dataset: Dataset, settings: PairSettings):
        self.dataset, self.settings = dataset, settings
        self.size = dataset.picture_size() or DEFAULT_SIZE
        if dataset.needs_landmarks and settings.tracking["on_missing"] == "skip":
            raise UserError("--on_missing skip: results keep every driving frame; use interpolate, hold or error")

    @cached_property
    def detector(self) -> Detector:
        """The face detector, built at its first use."""
        return build_detector(**self.settings.detector)

    def clip(self, request: Request) -> Clip:
        """Everything to make one video; the driving video is read as it is consumed."""
        if (own := self.dataset.clip_of(request)) is not None:
            return own
        sources = [_SourcePicture(self, one) for one in request.sources]
        if self.settings.paste_back and not sources:
            raise UserError("--paste_back needs the picture to paste into; set --source_image")
        source = self.dataset.source_item([one.cut() for one in sources], *self._landmarks(sources))
        driving = _DrivingVideo(self, request.driving, source)
        clip = Clip(
            request.name, source, driving, driving.fps, self._audio(request, driving), len(driving),
            self.dataset.cut_off,
        )  # fmt: skip
        best = self._best_frame(request, sources, driving)
        if self.dataset.needs_landmarks:
            driving.neutral = best
        elif best is not None:
            clip.first = driving.item(best)
        if self.settings.paste_back:
            clip.finish = sources[0].paste
        return clip

    def source(self, pictures: Sequence[Path | np.ndarray]) -> tuple[dict[str, Any], Callable | None]:
        """The item of a source that several videos drive, and what finishes its frames (`Clip.finish`)."""
        if (own := self.dataset.source_of(pictures)) is not None:
            return own
        sources = [_SourcePicture(self, one) for one in pictures]
        item = self.dataset.source_item([one.cut() for one in sources], *self._landmarks(sources))
        return item, sources[0].paste if self.settings.paste_back else None

    def driven(
        self, source: dict[str, Any], driving: Path | Iterable[np.ndarray], finish: Callable | None, fps: Fraction
    ) -> Clip:
        """The clip of such a source and a video, or of streamed frames (H, W, 3) uint8, which are not stored."""
        if self.settings.best_frame is not None or self.settings.find_best_frame:
            raise UserError("--best_frame and --find_best_frame need the paths of source and driving video")
        if isinstance(driving, Path):
            if (own := self.dataset.driven_clip(driving, source, finish)) is not None:
                return own
            video = _DrivingVideo(self, driving, source)
            audio = driving if self.settings.audio == "driving" and video.has_audio else None
            clip = Clip(driving.stem, source, video, video.fps, audio, len(video), self.dataset.cut_off)
        elif self.dataset.needs_landmarks or self.settings.crop_video:
            raise UserError(
                "--crop_video needs a video file; give its path instead of frames, or crop the frames yourself and "
                "remove --crop_video"
            )
        else:
            frames = VideoFrames((self.cut(frame, None) for frame in driving), fps)
            items = self.dataset.driving_items(frames, source)
            clip = Clip("frames", source, items, fps, cut_off=self.dataset.cut_off)
        clip.finish = finish
        return clip

    def previews(self, request: Request) -> tuple[Preview | None, Preview | None]:
        """What of the source and of the driving video the networks would get; a request may lack either."""
        if (own := self.dataset.previews_of(request)) is not None:
            return own
        source = _SourcePicture(self, request.sources[0]).preview() if request.sources else None
        return source, _DrivingVideo(self, request.driving, {}).preview() if request.driving else None

    def preview(self, picture: np.ndarray, faces: Sequence[Face], crop: Crop | None) -> Preview:
        """What of a picture the networks would get."""
        box = self.dataset.window(*picture.shape[:2]) if crop is None else crop.box()
        boxes = [face.box for face in from_left(faces)]
        return Preview(picture, boxes, corners_of(box), self.cut(picture, crop))

    def _landmarks(self, sources: list["_SourcePicture"]) -> list[list[np.ndarray]]:
        """The arguments of source_item after the pictures."""
        return [[one.points_in_cut() for one in sources]] if self.dataset.needs_landmarks else []

    def _audio(self, request: Request, driving: "_DrivingVideo") -> Path | None:
        """The file whose sound the result gets, if it has any."""
        if self.settings.audio == "driving":
            return request.driving if driving.has_audio else None
        path = next(iter(request.sources), None) if self.settings.audio == "source" else None
        if not isinstance(path, Path) or not path.is_file() or path.suffix.lower() in IMAGE_SUFFIXES:
            return None
        with open_video(path) as video:
            return path if video.has_audio else None

    def cut(self, picture: np.ndarray, crop: Crop | None) -> np.ndarray:
        """A picture at the dataset's size: its crop, else the dataset's window, resized to it on both axes.

        It is resized as the original's demo does, with smoothing where it shrinks.
        """
        if crop is not None:
            return crop.apply(picture, self.size)
        picture = _cropped(picture, self.dataset.window(*picture.shape[:2]))
        return picture if picture.shape[:2] == self.size else to_bytes(resize(picture, self.size))

    def points_in_cut(self, points: np.ndarray, size: tuple[int, int], crop: Crop | None) -> np.ndarray:
        """Points (..., 68, 2) of a picture of a size, in pixels of its crop."""
        if crop is not None:
            return crop.points_inside(points, self.size)
        left, top, right, bottom = self.dataset.window(*size)
        scale = np.float32([self.size[1] / (right - left), self.size[0] / (bottom - top)])
        return (points - np.float32([left, top])) * scale

    def _best_frame(self, request: Request, sources: list["_SourcePicture"], driving: "_DrivingVideo") -> int | None:
        option = "--best_frame" if request.best_frame is not None else "--find_best_frame"
        if request.best_frame is None and not self.settings.find_best_frame:
            return None
        if self.dataset.needs_landmarks and not self.dataset.retarget:
            raise UserError(
                f"{option}: for landmark-driven models this is the frame to compare with the source face; add "
                f"--retarget"
            )
        if request.best_frame is None:
            return self._find_best_frame(sources, driving)
        if request.best_frame >= len(driving):
            raise UserError(f"--best_frame {request.best_frame}: {request.driving} has frames 0 to {len(driving) - 1}")
        return request.best_frame

    def _find_best_frame(self, sources: list["_SourcePicture"], driving: "_DrivingVideo") -> int:
        if not sources or not sources[0].faces:
            raise UserError("--find_best_frame: no face found in the source; use --best_frame N instead")
        found = driving.track
        candidates = [points if present else None for points, present in zip(found.points, found.present, strict=True)]
        return nearest_pose(sources[0].points(), candidates)[0]


def _cropped(picture: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    height, width = picture.shape[:2]
    return picture if window == (0, 0, width, height) else np.asarray(Image.fromarray(picture).crop(window))


class _SourcePicture:
    """A picture whose face is animated, and its crop; faces are detected once, if at all."""

    def __init__(self, owner: RequestedClips, source: Path | np.ndarray):
        self.owner, self.frame = owner, 0
        self.path = path = source if isinstance(source, Path) else Path("picture")
        if not isinstance(source, Path):
            self.picture = source
            return
        if not path.exists():
            raise UserError(f"--source_image {path}: no such file")
        self.picture = read_image(path) if path.suffix.lower() in IMAGE_SUFFIXES else self._frame_of_video()

    def _frame_of_video(self) -> np.ndarray:
        self.frame = self.owner.settings.source_frame
        with open_video(self.path) as video:
            if not 0 <= self.frame < len(video):
                raise UserError(f"--source_frame {self.frame}: {self.path} has frames 0 to {len(video) - 1}")
            return video[self.frame]

    @cached_property
    def faces(self) -> list[Face]:
        return self.owner.detector.clip(self.path.name, self.frame).detect([self.picture])[0]

    @property
    def chosen(self) -> list[Face]:
        """The face of --face, if there are any."""
        which = self.owner.settings.face
        if which == "all":
            raise UserError("--face all: this model animates one face per picture; give its number from the left")
        return chosen_faces(self.faces, which, str(self.path)) if self.faces else []

    @cached_property
    def crop(self) -> Crop | None:
        settings = self.owner.settings
        if not (settings.crop_image or settings.paste_back):
            return None
        return crop_picture(self.picture, self.chosen, settings.crop_image_padding, name=str(self.path))

    def paste(self, generated: np.ndarray) -> np.ndarray:
        """The whole picture with the result pasted over the crop."""
        return paste(self.picture, generated, self.crop)

    def cut(self) -> np.ndarray:
        """What is given to the dataset."""
        return self.owner.cut(self.picture, self.crop)

    def preview(self) -> Preview:
        """What of it the networks would get."""
        return self.owner.preview(self.picture, self.faces, self.crop)

    def points(self) -> np.ndarray:
        """The landmarks of the face that a crop would show."""
        if not self.faces:
            raise UserError(
                f"--source_image {self.path}: no face found; use another picture, --face_detector or --landmarks"
            )
        return self.chosen[0].points

    def points_in_cut(self) -> np.ndarray:
        """The landmarks in pixels of the cut."""
        return self.owner.points_in_cut(self.points(), self.picture.shape[:2], self.crop)


class _DrivingVideo:
    """The items of a driving video, opened once, read again at each iteration."""

    def __init__(self, owner: RequestedClips, path: Path, source: dict[str, Any]):
        self.owner, self.path, self.source = owner, path, source
        self.neutral: int | None = None
        """The frame whose landmarks are compared with the source's, if the command names one."""
        if not path.exists():
            raise UserError(f"--driving_video {path}: no such file")
        self._video = open_steady(path, owner.settings.fps)
        self.fps, self.length, self.frame_size = Fraction(self._video.fps), len(self._video), self._video.size
        self.has_audio = path.suffix.lower() not in IMAGE_SUFFIXES and path.is_file() and self._video.has_audio

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        dataset, landmarks = self.owner.dataset, ()
        if dataset.needs_landmarks:
            points = self.owner.points_in_cut(self.track.points, self.frame_size, self.crop)
            landmarks = points, self.neutral
        yield from dataset.driving_items(VideoFrames(self._frames(), self.fps, self.path), self.source, *landmarks)

    def item(self, index: int) -> dict[str, Any]:
        """One item, for modes without landmarks."""
        frame = VideoFrames([self._cut(self._video[index])], self.fps, self.path, index)
        return next(iter(self.owner.dataset.driving_items(frame, self.source)))

    def preview(self) -> Preview:
        """What of its first frame the networks would get."""
        crop = self.crop
        with self._video as video:
            frame = video[0]
        (faces,) = self.owner.detector.clip(self.path.name).detect([frame])
        return self.owner.preview(frame, faces, crop)

    def _frames(self) -> Iterator[np.ndarray]:
        with self._video:
            yield from map(self._cut, self._video)

    def _cut(self, frame: np.ndarray) -> np.ndarray:
        return self.owner.cut(frame, self.crop)

    @cached_property
    def track(self) -> Track:
        """The face's track through the whole frames; reads the video once, a few frames at a time."""
        settings = self.owner.settings
        if settings.detector["name"] == "file" and isinstance(self._video, Resampled):
            raise UserError(
                f"--landmarks file: they belong to the original frames of {self.path}; remove --fps, or convert the "
                f"video to a constant rate before finding its landmarks"
            )
        log.info("detecting faces in %s (%d frames)", self.path, self.length)
        found = track(self._video, self.owner.detector, name=str(self.path), fps=self.fps, **settings.tracking)
        if not found.present.any():
            raise UserError(f"--driving_video {self.path}: no face in any of its {len(found)} frames")
        report = found.report()
        log.log(logging.INFO if report["found"] == len(found) else logging.WARNING, "%s", found.summary())
        return found

    @cached_property
    def crop(self) -> Crop | None:
        """One square around all positions of the face with --crop_video, else None."""
        if not self.owner.settings.crop_video:
            return None
        points = self.track.points[self.track.present]
        face_size = float(np.median([max(box[2:] - box[:2]) for box in map(points_box, points)]))
        box = square_around(points_box(points), face_size, self.frame_size)
        return Crop(box[None], self.frame_size, video=str(self.path))
