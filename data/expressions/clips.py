"""From pictures and the options of expressions to clips: stills, movements, panels, maps, grids."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.base import Clip, as_tensor
from data.expressions.annotations import read_annotations
from data.expressions.faces import FaceFinder, FacePaster
from data.expressions.openface import choose_face, choose_person, read_table
from data.faces.crop import Crop
from data.video.images import is_image, list_images, read_image
from util.errors import UserError
from util.expressions import (
    STRONGEST,
    VIEWS,
    Unit,
    parse_expression,
    parse_sweeps,
    parse_units,
    transition,
)
from util.printable import printable

if TYPE_CHECKING:
    from torch import Tensor

FPS = Fraction(25)
SPLIT_FRAMES = 5
"""Frames from a test picture's expression to another's, by default."""
MAPS = ("attention", "color")
ORIGINAL_WHITE = 254
"""The byte that GANimation makes of 1; it truncates instead of rounding."""


@dataclass(frozen=True)
class Subject:
    """A picture to work on."""

    path: Path
    picture: np.ndarray
    crops: list[Crop]
    own: np.ndarray | None
    """Its intensities, if known."""
    name: str = ""
    target: np.ndarray | None = None
    """Its target expression if the options name none."""


@dataclass(frozen=True)
class Movement:
    """The driving signal: one expression per frame, in intensities from 0 to 5."""

    expressions: list[np.ndarray]
    fps: Fraction = FPS

    @property
    def is_still(self) -> bool:
        return len(self.expressions) == 1


@dataclass(frozen=True)
class Frames:
    """The frames of a clip: for each expression each view of each face."""

    expressions: Sequence[np.ndarray]
    views: Sequence[str] = ("composed",)
    faces: Sequence[int] = (0,)
    back: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.expressions) * len(self.views) * len(self.faces)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        plain = tuple(self.views) == ("composed",)
        for expression in self.expressions:
            for view in self.views:
                for face in self.faces:
                    item = {"aus": condition(expression), "face": face}
                    yield item if plain else item | {"view": VIEWS.index(view), "back": self._back(expression)}

    def _back(self, expression: np.ndarray) -> Tensor:
        return condition(expression if self.back is None else self.back)


@dataclass(frozen=True)
class ExpressionSettings:
    """What to make of pictures: the options of these names."""

    input_path: str | None
    expression: str
    au: str
    intensity: float
    own_aus: str
    start: str
    interpolate: int
    easing: str
    sweep: str
    driving_aus: str
    min_confidence: float
    panel: bool
    original_levels: bool
    maps: bool
    au_grid: bool
    au_levels: Sequence[float]
    paste_back: bool
    mode: str
    seed: int
    fps: float | None
    results_dir: str
    output: str | None
    format: str

    @property
    def rate(self) -> Fraction | None:
        """Frames per second, where they are named."""
        return None if self.fps is None else Fraction(self.fps).limit_denominator(1001)


class ExpressionClips:
    """The clips that the settings describe, picture by picture."""

    def __init__(
        self,
        settings: ExpressionSettings,
        units: Sequence[Unit],
        faces: FaceFinder,
        to_image: Callable[[np.ndarray], Tensor],
    ):
        self.settings, self.units, self.faces, self.to_image = settings, units, faces, to_image
        self.folder = Path(settings.results_dir)
        self.target = target_expression(settings, units)
        self.sweeps = parse_sweeps(settings.sweep, units)
        driving = read_driving(settings, units) if settings.driving_aus else None
        # A picture's table is a target expression, a video's table drives each frame.
        self.driving = None if driving is None or driving.is_still else driving
        if driving is not None and driving.is_still:
            self.target = driving.expressions[0]

    def clips(self, pictures: Sequence[Path], aus: np.ndarray) -> Iterator[Clip]:
        """Clips of --input_path, or else of the given test pictures with their intensities."""
        given = self.settings.input_path
        for subject in self._outside(Path(given)) if given else self._split(pictures, aus):
            yield from self._clips_of(subject)

    def source(self, picture: np.ndarray, path: Path) -> tuple[dict[str, Any], FacePaster | None]:
        """The item of a picture that many expressions share, and what puts its faces back."""
        import torch

        crops = self.faces.crops(picture, path)
        item = {"image": torch.stack([self.to_image(self.faces.cut(picture, crop)) for crop in crops])}
        return item, FacePaster(picture, crops) if self.settings.paste_back else None

    def _outside(self, given: Path) -> Iterator[Subject]:
        own = OwnExpressions(self.settings.own_aus, self.units)
        for path in input_pictures(given):
            try:
                picture = read_image(path)
                subject = Subject(path, picture, self.faces.crops(picture, path), own.of(path, picture), path.stem)
            except UserError as error:
                if not given.is_dir():
                    raise
                warnings.warn(f"skipped: {error}", stacklevel=2)
                continue
            yield subject

    def _split(self, pictures: Sequence[Path], aus: np.ndarray) -> Iterator[Subject]:
        others = np.random.default_rng(self.settings.seed).permutation(len(pictures))
        for index, path in enumerate(pictures):
            picture, other = read_image(path), int(others[index])
            whole = Crop(np.array([[0, 0, picture.shape[1], picture.shape[0]]], float), picture.shape[:2])
            name = path.stem if self._names_expression() else f"{path.stem}_{pictures[other].stem}"
            yield Subject(path, picture, [whole], aus[index], name, aus[other])

    def _names_expression(self) -> bool:
        return self.target is not None or bool(self.sweeps) or self.driving is not None or self.settings.au_grid

    def _clips_of(self, subject: Subject) -> Iterator[Clip]:
        if self.settings.mode == "reconstruction":
            yield self._reconstruction(subject)
            return
        if self.settings.au_grid:
            yield self._grid(subject)
        if self.settings.au_grid and self.target is None and not self.sweeps and self.driving is None:
            return
        movement = self._movement(subject)
        yield self._main(subject, movement)
        for face in range(len(subject.crops)):
            if movement.is_still and self.settings.panel:
                yield self._panel(subject, movement, face)
            for view in MAPS if self.settings.maps else ():
                name = f"{subject.name}{_number(face)}_{view}"
                yield self._clip(name, subject, Frames(movement.expressions, (view,), (face,)), movement.fps)

    def _start(self, subject: Subject) -> np.ndarray:
        known = subject.own is not None and self.settings.start == "own"
        return subject.own if known else np.zeros(len(self.units), np.float32)

    def _movement(self, subject: Subject) -> Movement:
        fps = self.settings.rate or FPS
        if self.driving is not None:
            return self.driving
        start, target = self._start(subject), self.target
        if self.sweeps:
            base = start if target is None else target
            return Movement([frame for sweep in self.sweeps for frame in sweep.over(base)], fps)
        frames = self.settings.interpolate
        if target is None:
            target = parse_expression("smile", self.units) if subject.target is None else subject.target
            frames = frames or (0 if subject.target is None else SPLIT_FRAMES)
        return Movement(transition(start, target, frames, self.settings.easing) if frames else [target], fps)

    def _main(self, subject: Subject, movement: Movement) -> Clip:
        faces = range(len(subject.crops))
        finish = FacePaster(subject.picture, subject.crops) if self.settings.paste_back else None
        frames = Frames(movement.expressions, faces=faces if self.settings.paste_back else (0,))
        clip = self._clip(subject.name, subject, frames, movement.fps, finish)
        if self.settings.output and not Path(self.settings.input_path or "").is_dir():
            clip.output = Path(self.settings.output)
        return clip

    def _panel(self, subject: Subject, movement: Movement, face: int) -> Clip:
        frames = Frames(movement.expressions, VIEWS, (face,), back=subject.own)
        name = f"{subject.path.name}_out{_number(face)}"
        clip = self._clip(name, subject, frames, FPS, None, {"columns": len(VIEWS)}, still=True)
        clip.cut_off = ORIGINAL_WHITE if self.settings.original_levels else None
        return clip

    def _grid(self, subject: Subject) -> Clip:
        expressions, captions = [], []
        for index, unit in enumerate(self.units):
            for level in self.settings.au_levels:
                expression = np.array(self._start(subject), np.float32)
                expression[index] = level
                expressions.append(expression)
                captions.append(f"{unit.column}={level:g}")
        sheet = {"columns": len(self.settings.au_levels), "captions": captions, "border": 2}
        return self._clip(f"{subject.name}_au_grid", subject, Frames(expressions), FPS, None, sheet, still=True)

    def _reconstruction(self, subject: Subject) -> Clip:
        image = self.to_image(subject.picture)
        frames = [item | {"image": image} for item in Frames([self._start(subject)])]
        return self._clip(subject.path.stem, subject, frames, FPS, still=True)

    def _clip(
        self,
        name: str,
        subject: Subject,
        frames: Frames | list[dict[str, Any]],
        fps: Fraction,
        finish: Callable[[np.ndarray], np.ndarray | None] | None = None,
        sheet: dict[str, Any] | None = None,
        still: bool = False,
    ) -> Clip:
        import torch

        images = [self.to_image(self.faces.cut(subject.picture, crop)) for crop in subject.crops]
        still = still or (isinstance(frames, Frames) and len(frames.expressions) == 1)
        suffix = ".png" if still else "" if self.settings.format == "png" else f".{self.settings.format}"
        return Clip(
            name, {"image": torch.stack(images)}, frames, fps, length=len(frames),
            output=self.folder / f"{printable(name)}{suffix}", finish=finish, sheet=sheet or {},
        )  # fmt: skip


class OwnExpressions:
    """The intensities that the user's pictures show, from --own_aus."""

    def __init__(self, own_aus: str, units: Sequence[Unit]):
        self.units, self.reader, self.annotations = units, None, None
        path = Path(own_aus)
        self.tables = path if own_aus and (path.is_dir() or path.suffix.lower() == ".csv") else None
        if own_aus == "pyfeat":
            from data.expressions.pyfeat import UnitReader

            self.reader = UnitReader(units)
        elif own_aus and self.tables is None:
            self.annotations = read_annotations(path, units)

    def of(self, path: Path, picture: np.ndarray) -> np.ndarray | None:
        """The intensities of a picture, or None if unknown."""
        if self.reader is not None:
            return self.reader.read(picture)
        if self.annotations is not None:
            if path.stem not in self.annotations:
                raise UserError(f"--own_aus: {path.stem} is not among its {len(self.annotations)} pictures")
            return self.annotations[path.stem].astype(np.float32)
        if self.tables is None:
            return None
        table = read_table(self.tables / f"{path.stem}.csv" if self.tables.is_dir() else self.tables, self.units)
        return table.intensities[choose_face(table)[0]].astype(np.float32)


def condition(intensities: np.ndarray) -> Tensor:
    """Intensities from 0 to 5 as the networks take them, from 0 to 1."""
    return as_tensor(np.asarray(intensities / STRONGEST, np.float32))


def input_pictures(path: Path) -> list[Path]:
    """The picture, or the pictures of a folder."""
    if path.is_dir():
        found = list_images(path)
        if not found:
            raise UserError(f"--input_path {path}: there are no pictures in this folder")
        return found
    if not path.is_file() or not is_image(path):
        raise UserError(f"--input_path {path}: {'not a picture' if path.is_file() else 'no such file'}")
    return [path]


def target_expression(settings: ExpressionSettings, units: Sequence[Unit]) -> np.ndarray | None:
    """The intensities that --expression and --au name, times --intensity; None if they name none."""
    if not settings.expression and not settings.au:
        return None
    vector = parse_expression(settings.expression, units)
    for index, value in parse_units(settings.au, units).items():
        vector[index] = value
    return vector * np.float32(settings.intensity)


def read_driving(settings: ExpressionSettings, units: Sequence[Unit]) -> Movement:
    """The expressions in an OpenFace table: one of a picture, or those of a video.

    Frames without a face are interpolated.
    """
    table = read_table(settings.driving_aus, units)
    if not table.is_sequence:
        return Movement([(settings.intensity * table.intensities[choose_face(table)[0]]).astype(np.float32)])
    rows = choose_person(table)
    frames, good = table.frame[rows], table.good(settings.min_confidence)[rows]
    if not good.any():
        raise UserError(
            f"--driving_aus {settings.driving_aus}: no frame with a face of confidence {settings.min_confidence}"
        )
    every = np.arange(frames[0], frames[-1] + 1)
    values = table.intensities[rows][good]
    curves = [np.interp(every, frames[good], values[:, index]) for index in range(len(units))]
    moving = (settings.intensity * np.stack(curves, 1)).astype(np.float32)
    return Movement(list(moving), settings.rate or table.fps())


def _number(face: int) -> str:
    return f"_{face + 1}" if face else ""
