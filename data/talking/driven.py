"""Shared by the dataset modes of talking heads: the user's pictures and videos, as landmark pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from data.base import Dataset, as_tensor, to_tensor, to_tensors
from data.faces.detector import Detector
from data.faces.landmarks import build_detector, detector_settings
from data.faces.retarget import Retarget
from data.talking.drawing import draw_landmarks
from data.talking.frames import FITS, fitted, main_face, mirrored, window
from util.errors import UserError
from util.values import one_of

if TYPE_CHECKING:
    from torch import Tensor

POINTS_SIZE = 256
"""Side of the square in whose pixels landmarks are stored, independent of the networks' picture size."""
Shown = tuple[np.ndarray, np.ndarray]
"""A frame and its landmark picture, (H, W, 3) uint8."""


class LandmarkDriven(Dataset):
    """Faces that are driven by landmark pictures."""

    needs_landmarks = True

    def __init__(self, opt: Any, training: bool):
        self.opt, self.size, self.fit = opt, opt.image_size, opt.fit
        self.retarget = not training and opt.retarget

    def pictures_of(self, outside: bool) -> frozenset[str]:
        return frozenset({"source"} if outside else {"source", "driving"})

    @cached_property
    def detector(self) -> Detector:
        """The landmark detector, built at its first use."""
        return build_detector(**detector_settings(self.opt))

    def face(self, frame: np.ndarray) -> np.ndarray | None:
        """The 68 points of a frame's main face, if it has one, in pixels of the frame squashed to `POINTS_SIZE`."""
        face = main_face(self.detector.detect([frame])[0])
        return None if face is None else face.points * np.float32(POINTS_SIZE / np.array(frame.shape[1::-1]))

    def shown(self, frame: np.ndarray, points: np.ndarray, points_size: int = POINTS_SIZE, flip: bool = False) -> Shown:
        """A frame and its landmark picture as the networks see them."""
        picture, points = fitted(frame, points, self.size, fit=self.fit, points_size=points_size)
        if flip:
            picture, points = mirrored(picture, points)
        return picture, draw_landmarks(points, self.size)

    @staticmethod
    def size_of(opt: Any) -> tuple[int, int]:
        return opt.image_size, opt.image_size

    def picture_size(self) -> tuple[int, int]:
        return POINTS_SIZE, POINTS_SIZE

    def window(self, height: int, width: int) -> tuple[int, int, int, int]:
        return window(height, width, self.fit)

    def source_item(self, frames: Sequence[np.ndarray], points: Sequence[np.ndarray]) -> dict[str, Any]:
        shown = [self.shown(frame, found) for frame, found in zip(frames, points, strict=True)]
        return joined(shown) | {"points": as_tensor(np.stack(points))}

    def driving_items(
        self, frames: Iterable[np.ndarray], source: dict[str, Any], points: np.ndarray, neutral: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Items of the landmarks alone: the frames are not read again."""
        adapt = self._adapter(source, points[neutral or 0]) if self.retarget else np.asarray
        for found in points:
            yield {"landmarks": to_tensor(draw_landmarks(adapt(found) * (self.size / POINTS_SIZE), self.size))}

    def _adapter(self, source: dict[str, Any], neutral: np.ndarray) -> Retarget:
        if "points" not in source:
            raise UserError("--retarget needs the person's proportions: set --source_image to a picture")
        return Retarget(source["points"][0].numpy(), neutral)


def add_driving_options(parser: Any, training: bool) -> None:
    """Options to make frames square and to retarget another face's landmarks."""
    parser.add_argument("--fit", type=one_of(*FITS), default="squash",
        help="frames that are not square: squash as the original does, pad with black, or crop")  # fmt: skip
    if not training:
        parser.add_switch("--retarget",
            help="bring the driving landmarks to the proportions of the source's face; both begin alike")  # fmt: skip


def joined(
    frames: Sequence[Shown], convert: Callable[[Sequence[np.ndarray]], Tensor] = to_tensors
) -> dict[str, Tensor]:
    """Frames and their landmark pictures as `pictures` and `landmarks` (T, 3, H, W)."""
    pictures, landmarks = zip(*frames, strict=True)
    return {"pictures": convert(pictures), "landmarks": convert(landmarks)}
