"""Turns the pairs and edits of a command into LivePortrait clips: cropped, animated, pasted back."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from data.base import Clip, Job, Preview, SavedMotion, as_tensor
from data.faces.detector import Detector
from data.faces.landmarks import build_detector, track
from data.faces.portrait_driving import Driving, DrivingSettings, open_driving
from data.faces.portrait_points import PortraitPoints
from data.faces.portrait_source import Cropping, PortraitPicture, PortraitVideo
from data.video.images import is_image
from data.video.opening import open_steady, open_video
from util.errors import UserError
from util.geometry import nearest_pose
from util.motion_template import is_template, write_template
from util.portrait_edits import EDITS, edit_arrays
from util.printable import printable

log = logging.getLogger(__name__)

FPS = Fraction(25)
GRID_STEPS = 5
"""Number of values per edit in the sheet of all edits."""
Source = PortraitPicture | PortraitVideo


@dataclass(frozen=True)
class Pairing:
    """The items of a pair: driving frames, each with its source frame, or once for each face of a picture."""

    driving: Driving
    source: Source

    def __len__(self) -> int:
        return self.frames * self.source.count

    @property
    def frames(self) -> int:
        """Frames of the result."""
        if not self.source.is_video:
            return self.driving.length
        return self.source.length if self.driving.is_picture else min(self.driving.length, self.source.length)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if not self.source.is_video:
            yield from with_faces(self.driving.items(), self.source.count)
            return
        driving = self._repeated() if self.driving.is_picture else self.driving.items()
        for item, source in zip(driving, self.source.frames(), strict=False):
            yield item | source

    def _repeated(self) -> Iterator[dict[str, Any]]:
        item = self.driving.item(0)
        while True:
            yield item

    def first(self, index: int) -> dict[str, Any]:
        """The driving frame that relative motion starts from, paired with the first source frame."""
        item = next(with_faces([self.driving.item(index)], self.source.count))
        return item | next(self.source.frames()) if self.source.is_video else item


@dataclass(frozen=True)
class PortraitSettings:
    """What is made of pairs, or of edits of pictures: the options of these names.

    How far eyes and lips are open is asked by options of the family; without them, nobody wants to know.
    """

    find_best_frame: bool
    audio: str
    save_template: str
    edit: str
    edit_sweep: str
    edit_grid: bool
    source_image: Sequence[str] | None
    fps: float | None
    output: str | None
    results_dir: str | None
    name: str
    format: str
    portrait_landmarks: str = ""
    eye_retargeting: str | float | None = None
    lip_retargeting: str | float | None = None
    normalize_lip: bool = False
    source_video_eye_retargeting: bool = False
    relative: bool = True
    animals: bool = False


class PortraitClips:
    """Makes the clips, by the settings."""

    def __init__(
        self,
        settings: PortraitSettings,
        cropping: Cropping,
        driving: DrivingSettings,
        detector: Mapping[str, Any],
        tracking: Mapping[str, Any],
    ):
        """`detector` as build_detector takes it, `tracking` as track takes it."""
        self.settings, self.cropping, self.driving = settings, cropping, driving
        self.detector_settings, self.tracking = detector, tracking
        wanted = {settings.eye_retargeting, settings.lip_retargeting} - {None}
        # Templates store the openness too, if a face is found, for later retargeting.
        self.needs_driving = True if "driving" in wanted else None if settings.save_template else False
        normalized = settings.normalize_lip or settings.source_video_eye_retargeting
        self.needs_source = bool(wanted) or normalized or settings.find_best_frame
        if not cropping.crops and cropping.paste_back:
            raise UserError("--no_crop_image, --paste_back: without a crop nothing is pasted back; remove one of them")
        if not cropping.crops and cropping.face != "largest" and not self.needs_source:
            raise UserError(f"--no_crop_image, --face {cropping.face}: without a crop no face is chosen; remove one")
        if tracking["on_missing"] == "skip":
            raise UserError("--on_missing skip: results keep every frame; use interpolate, hold or error")

    @cached_property
    def detector(self) -> Detector:
        """The face detector, built at its first use."""
        return build_detector(**self.detector_settings)

    @cached_property
    def portrait_points(self) -> PortraitPoints | None:
        """What finds 203 landmarks where 68 are known, if the user has its file."""
        file = self.settings.portrait_landmarks
        return PortraitPoints(Path(file)) if file else None

    def points(self, path: Path, rate: Fraction | None = None, option: str = "--source_image") -> np.ndarray:
        """Landmarks (N, 68 or 203, 2) of the face tracked through a video, or of a picture's face."""
        if self.detector_settings["name"] == "file" and rate is not None:
            raise UserError(
                f"--landmarks file: they belong to the original frames of {path}; remove --fps, or convert the video "
                f"to that rate before finding its landmarks"
            )
        log.info("detecting faces in %s", path)
        with open_steady(path, rate) as video:
            found = track(video, self.detector, name=path.name, fps=video.fps, **self.tracking)
        if not found.present.any():
            raise UserError(f"{option} {path}: no face in any of its {len(found)} frames")
        log.log(logging.INFO if found.report()["found"] == len(found) else logging.WARNING, "%s", found.summary())
        if self.portrait_points is None:
            return found.points
        with open_steady(path, rate) as video:
            return self.portrait_points.of_clip(video, found.points)

    def source(self, given: Path | np.ndarray, needs_points: bool | None = None) -> Source:
        """A picture, or a video all of whose frames are animated unless --source_frame names one."""
        needs_points = self.needs_source if needs_points is None else needs_points
        is_video = isinstance(given, Path) and given.exists() and not is_image(given)
        if is_video and self.cropping.source_frame is None:
            return PortraitVideo(given, self.cropping, partial(self.points, rate=self.settings.fps), needs_points)
        return PortraitPicture(given, self.cropping, lambda: self.detector, needs_points, self.portrait_points)

    def clip(self, request: Any) -> Clip:
        """The clip of a pair (data.jobs.pair_list.Request)."""
        source = self.source(request.sources[0])
        if self.settings.source_video_eye_retargeting and not source.is_video:
            log.warning("--source_video_eye_retargeting: %s is a picture, whose eyes stay as they are", source.path)
        rate = source.fps if source.is_video and _rate(request.driving) != source.fps else None
        driving = open_driving(request.driving, self.driving, self.points, rate, self.needs_driving)
        pairing, item = Pairing(driving, source), source.item()
        if driving.is_picture:
            item["driving_picture"] = as_tensor(np.ones(1, np.float32))
        fps = source.fps or (FPS if driving.is_picture else driving.fps)
        clip = Clip(
            request.name, item, pairing, fps, self._audio(request, driving), len(pairing), finish=source.finish()
        )
        best = self._best_frame(request, source, driving)
        if best is not None:
            clip.first = pairing.first(best)
        clip.saved_motion = self._saved_motion(driving)
        return clip

    def _saved_motion(self, driving: Driving) -> SavedMotion | None:
        file = self.settings.save_template
        return SavedMotion(driving.items, partial(write_template, file, fps=driving.fps)) if file else None

    def still(self, given: Path | np.ndarray) -> tuple[dict[str, Any], Callable | None]:
        """The item of a picture that many drivings share, and what finishes its frames."""
        picture = self.source(given)
        if picture.is_video:
            raise UserError(f"{given}: not a picture; choose a frame with --source_frame N")
        return picture.item(), picture.finish()

    def driven(self, path: Path, source: dict[str, Any], finish: Callable | None) -> Clip:
        """The clip of such an item and a driving video or template."""
        driving = open_driving(path, self.driving, self.points, None, self.needs_driving)
        if driving.is_picture:
            raise UserError(f"{path}: a picture drives no encoded source; give the path of the source instead")
        audio = path if self.settings.audio == "driving" and driving.has_sound else None
        count = faces_of(source)
        return Clip(
            path.stem, source, with_faces(driving.items(), count), driving.fps, audio, driving.length * count,
            finish=finish, saved_motion=self._saved_motion(driving),
        )  # fmt: skip

    def previews(self, request: Any) -> tuple[Preview | None, Preview | None]:
        """What of the source and of the driving video the networks would get; a request may lack either."""
        source = self.source(request.sources[0]).preview() if request.sources else None
        if not request.driving:
            return source, None
        driving = open_driving(request.driving, self.driving, self.points, None, False)
        return source, driving.preview(self.detector)

    def _best_frame(self, request: Any, source: Source, driving: Driving) -> int | None:
        if request.best_frame is None and not self.settings.find_best_frame:
            return None
        if not (self.settings.relative or self.settings.animals):
            raise UserError(
                "--best_frame and --find_best_frame choose the first frame of relative motion, which --no_relative "
                "replaces; remove one of them"
            )
        if request.best_frame is not None:
            if request.best_frame >= driving.length:
                last = driving.length - 1
                raise UserError(f"--best_frame {request.best_frame}: {request.driving} has frames 0 to {last}")
            return request.best_frame
        return nearest_pose(source.points, list(driving.points))[0]

    def _audio(self, request: Any, driving: Driving) -> Path | None:
        """The file whose sound the result gets: the one that --audio prefers, else the other."""
        if self.settings.audio == "none":
            return None
        sound = {"driving": request.driving if driving.has_sound else None, "source": _with_sound(request.sources[0])}
        other = "source" if self.settings.audio == "driving" else "driving"
        return sound[self.settings.audio] or sound[other]

    # --- edits --------------------------------------------------------------------------------------------------------

    def edits(self) -> list[Job]:
        """The clips of --edit, --edit_sweep and --edit_grid for each source picture."""
        settings, planned = self.settings, []
        base, sweep = read_edits(settings.edit), read_sweep(settings.edit_sweep)
        for path in map(Path, settings.source_image or ()):
            if sweep:
                suffix = f".{settings.format}" if settings.format != "png" else ""
                planned.append(self._planned(path, f"{path.stem}_sweep{suffix}", [base | each for each in sweep]))
            if settings.edit_grid:
                planned.append(self._planned(path, f"{path.stem}_grid.png", *grid_of(base)))
            if base and not sweep:
                planned.append(self._planned(path, f"{path.stem}_edit.png", [base]))
        if not planned:
            raise UserError("--edit, --edit_sweep and --edit_grid need a picture: set --source_image")
        if settings.output and len(planned) > 1:
            raise UserError("--output names one result, but the edits make several; use --results_dir")
        return planned

    def _planned(
        self, path: Path, file: str, rows: Sequence[Mapping[str, float]], sheet: dict[str, Any] | None = None
    ) -> Job:
        folder = Path(self.settings.results_dir or Path("eval_results") / self.settings.name)
        output = Path(self.settings.output or folder / file)
        inputs, recorded = {"sources": printable(str(path.resolve()))}, {"source": printable(str(path))}
        return Job(output.stem, partial(self._edited, path, output, rows, sheet), output, inputs, recorded)

    def _edited(self, path: Path, output: Path, rows: Sequence[Mapping[str, float]], sheet: dict | None) -> Clip:
        if not is_image(path) and self.cropping.source_frame is None:
            raise UserError(f"--edit: {path} is not a picture; choose a frame with --source_frame N")
        asks = any({"eyes", "lips"} & set(row) for row in rows)
        source = self.source(path, asks)
        faces = range(source.count) if sheet is None else [0]
        items = [{"edit": edit_arrays(row), "face": face} for row in rows for face in faces]
        return Clip(
            output.stem, source.item(), items, Fraction(self.settings.fps or FPS), length=len(items),
            finish=source.finish() if sheet is None else None, sheet=sheet or {},
        )  # fmt: skip


def _rate(driving: Path) -> Fraction | None:
    """The rate of a driving video; None for pictures and templates, which have none."""
    if not driving.exists() or is_image(driving) or is_template(driving):
        return None
    with open_steady(driving) as video:
        return Fraction(video.fps)


def faces_of(source: dict[str, Any]) -> int:
    """The number of faces in a source's item."""
    return len(source["image"]) if source["image"].ndim == 4 else 1


def with_faces(items: Iterable[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Driving items, each once for every face of the source."""
    for item in items:
        yield from (item | {"face": face} for face in range(count)) if count > 1 else [item]


def _with_sound(path: Path | np.ndarray) -> Path | None:
    if not isinstance(path, Path) or is_image(path) or not path.is_file():
        return None
    with open_video(path) as video:
        return path if video.has_audio else None


def read_edits(text: str) -> dict[str, float]:
    """smile=0.8,wink=20 as numbers by name; raises UserError for unknown names and values out of range."""
    found: dict[str, float] = {}
    for part in _parts("--edit", text):
        name, equals, value = part.partition("=")
        if not equals:
            _refuse_form("--edit", part, "NAME=VALUE")
        if name in found:
            raise UserError(f"--edit {text}: sets {name} twice; remove one")
        found[name] = _edit_value("--edit", name, value)
    return found


def read_sweep(text: str) -> list[dict[str, float]]:
    """smile=-0.3:1.3:30, several in sequence, as one edit per frame."""
    rows: list[dict[str, float]] = []
    for part in _parts("--edit_sweep", text):
        name, _, course = part.partition("=")
        pieces = course.split(":")
        if len(pieces) != 3 or not pieces[2].isdecimal() or not int(pieces[2]):
            _refuse_form("--edit_sweep", part, "NAME=FROM:TO:FRAMES")
        low, high = (_edit_value("--edit_sweep", name, piece) for piece in pieces[:2])
        rows += [{name: float(value)} for value in np.linspace(low, high, int(pieces[2]))]
    return rows


def grid_of(base: Mapping[str, float]) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """Every edit at several values over its range, and how a picture of them is laid out."""
    rows, captions = [], []
    for name, edit in EDITS.items():
        for value in np.linspace(edit.low, edit.high, GRID_STEPS):
            rows.append({**base, name: float(value)})
            captions.append(f"{name}={value:.3g}")
    return rows, {"columns": GRID_STEPS, "captions": captions, "border": 2}


def _edit_value(option: str, name: str, text: str) -> float:
    if name not in EDITS:
        raise UserError(f"{option} {name}: no such edit; choose from {', '.join(EDITS)}")
    low, high = EDITS[name].low, EDITS[name].high
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{option} {name}={text}: {text!r} is not a number") from None
    if not low <= value <= high:
        raise UserError(f"{option} {name}={text}: the range is {low:g} to {high:g}")
    return value


def _parts(option: str, text: str) -> list[str]:
    """The edits in a text, separated by commas."""
    parts = [part for part in (part.strip() for part in text.split(",")) if part]
    if text and not parts:
        raise UserError(f"{option} {text}: names no edit; choose from {', '.join(EDITS)}")
    return parts


def _refuse_form(option: str, part: str, form: str) -> NoReturn:
    raise UserError(f"{option} {part}: expected the form {form}")
