"""LivePortrait's source: faces cropped from a picture, or from a video."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from data.base import Preview, as_tensor
from data.faces.crop import chosen_faces, from_left, points_box
from data.faces.detector import Detector, Face
from data.faces.portrait_crop import PasteBack, Square, openness, preview_of, square_of
from data.video.images import is_image, read_image
from data.video.opening import open_steady, open_video
from util.errors import UserError
from util.resizing import resize, to_bytes

if TYPE_CHECKING:
    from torch import Tensor


def to_tensor(frame: np.ndarray) -> Tensor:
    """A picture (H, W, 3) of bytes as (3, H, W) in [0, 1]."""
    return as_tensor(frame.transpose(2, 0, 1)).float() / 255


def limited(picture: np.ndarray, longest: int, division: int) -> np.ndarray:
    """A source picture with a longer side of at most `longest`, cut at right and bottom to multiples of `division`."""
    height, width = picture.shape[:2]
    if longest and max(height, width) > longest:
        ratio = longest / max(height, width)
        picture = cv2.resize(picture, (int(width * ratio), int(height * ratio)), interpolation=cv2.INTER_LINEAR)
    height, width = (side - side % division for side in picture.shape[:2])
    return picture[: height or None, : width or None]


@dataclass(frozen=True)
class Cropping:
    """Crop settings from the options."""

    crop_image: bool | None
    paste_back: bool | None
    crop_scale: float
    crop_shift: Sequence[float]
    crop_turn: bool
    source_max_dim: int
    source_division: int
    source_frame: int | None
    face: str
    fps: float | None
    input_size: int = 256

    @property
    def size(self) -> int:
        """The side of what the networks see."""
        return self.input_size

    @property
    def crops(self) -> bool:
        """Whether faces are cut out."""
        return self.crop_image is not False

    @property
    def pastes(self) -> bool:
        """Whether results are put back."""
        return self.crops and self.paste_back is not False

    def square(self, points: np.ndarray) -> Square:
        """The square around a face of a source."""
        return square_of(points, self.crop_scale, self.crop_shift, self.crop_turn)

    def small(self, picture: np.ndarray, square: Square | None) -> np.ndarray:
        """A source at the networks' input size: its square, sampled at twice that size and averaged."""
        if square is not None:
            picture = square.cut(picture, 2 * self.size)
        if picture.shape[:2] == (self.size, self.size):
            return picture
        smaller = min(picture.shape[:2]) >= self.size
        if smaller:
            return cv2.resize(picture, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return to_bytes(resize(picture, (self.size, self.size)))

    def limited(self, picture: np.ndarray) -> np.ndarray:
        """A source picture, downsampled to the size limit."""
        return limited(picture, self.source_max_dim, self.source_division)


class PortraitPicture:
    """A source picture and its animated faces."""

    is_video = False
    fps: Fraction | None = None

    def __init__(
        self,
        source: Path | np.ndarray,
        cropping: Cropping,
        detector: Callable[[], Detector],
        needs_points: bool,
        refine: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    ):
        """`source`: a file, or a picture (H, W, 3) uint8; `refine`: finds more landmarks of a face in a picture whose
        68 are known."""
        self.path = source if isinstance(source, Path) else Path("picture")
        self.cropping, self._detector = cropping, detector
        self.frame = cropping.source_frame or 0
        self.picture = cropping.limited(self._read() if isinstance(source, Path) else source)
        self.squares: list[Square | None] = [None]
        self.faces: list[Face] = []
        if cropping.crops or needs_points:
            self.faces = chosen_faces(self._found(), cropping.face, str(self.path))
        if refine is not None:
            self.faces = [replace(face, points=refine(self.picture, face.points)) for face in self.faces]
        if cropping.crops:
            self.squares = [cropping.square(face.points) for face in self.faces]

    def _read(self) -> np.ndarray:
        if not self.path.exists():
            raise UserError(f"--source_image {self.path}: no such file")
        if is_image(self.path):
            return read_image(self.path)
        with open_video(self.path) as video:
            if self.frame >= len(video):
                raise UserError(f"--source_frame {self.frame}: {self.path} has frames 0 to {len(video) - 1}")
            return video[self.frame]

    def preview(self) -> Preview:
        """What of it the networks get: its first face."""
        square, boxes = self.squares[0], [face.box for face in from_left(self._found())]
        return preview_of(self.picture, boxes, square, self.cropping.small(self.picture, square))

    def _found(self) -> list[Face]:
        return self._detector().clip(self.path.name, self.frame).detect([self.picture])[0]

    @property
    def count(self) -> int:
        """How many faces are animated."""
        return len(self.squares)

    @property
    def points(self) -> np.ndarray | None:
        """Landmarks of the first face, if known."""
        return self.faces[0].points if self.faces else None

    def item(self) -> dict[str, Any]:
        """What encode_source reads."""
        import torch

        small = [to_tensor(self.cropping.small(self.picture, square)) for square in self.squares]
        item: dict[str, Any] = {"image": torch.stack(small) if len(small) > 1 else small[0]}
        if self.faces:
            numbers = np.stack([openness(face.points) for face in self.faces])
            item["openness"] = as_tensor(numbers if len(small) > 1 else numbers[:1])
        return item

    def finish(self) -> Callable[[np.ndarray], np.ndarray | None] | None:
        """The object that pastes results back, face by face."""
        return _Faces(self.picture, self.squares) if self.cropping.pastes else None


class _Faces:
    """Pastes the results of a picture's faces, which arrive one by one, into the picture."""

    def __init__(self, picture: np.ndarray, squares: Sequence[Square]):
        self.picture, self.squares = picture, squares
        self._pastes: list[PasteBack] = []
        self._whole, self._done = picture, 0

    def __call__(self, generated: np.ndarray) -> np.ndarray | None:
        """The whole picture, once its last face has arrived."""
        if not self._pastes:
            self._pastes = [PasteBack(square, self.picture.shape[:2], generated.shape[0]) for square in self.squares]
        self._whole = self._pastes[self._done](self.picture if not self._done else self._whole, generated)
        self._done = (self._done + 1) % len(self._pastes)
        return None if self._done else self._whole


class PortraitVideo:
    """A source video: every frame is animated and pasted back into its frame."""

    is_video, count = True, 1

    def __init__(self, path: Path, cropping: Cropping, points: Callable[[Path], np.ndarray], needs_points: bool):
        """`points`: finds the landmarks (N, P, 2) of the face in all frames of a video."""
        if cropping.face != "largest":
            raise UserError(f"--face {cropping.face}: in a source video, --several chooses the face")
        self.path, self.cropping = path, cropping
        self._found = points
        self.needs_points = needs_points or cropping.crops
        self._waiting: deque[tuple[np.ndarray, Square]] = deque()
        with open_steady(path, cropping.fps) as video:
            self.fps, self.length, self.frame_width = Fraction(video.fps), len(video), video.size[1]

    @cached_property
    def all_points(self) -> np.ndarray | None:
        """Landmarks of all whole frames, if needed."""
        return self._found(self.path) if self.needs_points else None

    @property
    def points(self) -> np.ndarray | None:
        """Landmarks of the first frame."""
        return None if self.all_points is None else self.all_points[0]

    def item(self) -> dict[str, Any]:
        """The input of encode_source: the first frame, and a mark that every item brings its own."""
        first = next(self.frames())
        return {"image": first["source_image"], "source_video": as_tensor(np.ones(1, np.float32))}

    def preview(self) -> Preview:
        """What of its first frame the networks get."""
        with open_steady(self.path, self.cropping.fps) as video:
            picture = self.cropping.limited(video[0])
        found = self.all_points
        points = None if found is None else found[0] * (picture.shape[1] / self.frame_width)
        square = self.cropping.square(points) if points is not None and self.cropping.crops else None
        boxes = [] if points is None else [points_box(points)]
        return preview_of(picture, boxes, square, self.cropping.small(picture, square))

    def frames(self) -> Iterator[dict[str, Any]]:
        """The entries of each source frame for items; keeps whole frames until results are pasted in."""
        self._waiting.clear()
        with open_steady(self.path, self.cropping.fps) as video:
            for index, frame in enumerate(video):
                yield self._item(frame, index)

    def _item(self, frame: np.ndarray, index: int) -> dict[str, Any]:
        picture, numbers = self.cropping.limited(frame), {}
        square = None
        if self.all_points is not None:
            points = self.all_points[index] * (np.array(picture.shape[1::-1]) / frame.shape[1::-1])
            numbers = {"source_openness": as_tensor(openness(points))}
            square = self.cropping.square(points) if self.cropping.crops else None
        if self.cropping.pastes:
            self._waiting.append((picture, square))
        return {"source_image": to_tensor(self.cropping.small(picture, square))} | numbers

    def finish(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """The object that pastes each result into its frame."""
        return self._paste if self.cropping.pastes else None

    def _paste(self, generated: np.ndarray) -> np.ndarray:
        picture, square = self._waiting.popleft()
        return PasteBack(square, picture.shape[:2], generated.shape[0])(picture, generated)
