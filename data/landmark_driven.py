"""What the dataset modes of talking heads share: pictures and videos from outside, as landmark pictures."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.base import Dataset
from data.faces import Detector
from data.frames import to_tensor
from data.landmark_drawing import draw_landmarks
from data.landmarks import build_detector, detector_settings
from data.retarget import Retarget
from data.talking_frames import FITS, fitted, landmarks_of, main_face, without_gaps
from util.errors import UserError
from util.values import one_of

NO_POINTS = np.zeros((0, 2))


class LandmarkDriven(Dataset):
    """Faces that are driven by landmark pictures; landmarks of what comes from outside are found as it comes."""

    def __init__(self, opt: Any, training: bool):
        self.opt, self.size, self.fit = opt, opt.image_size, opt.fit
        self.retarget = not training and opt.retarget

    @cached_property
    def detector(self) -> Detector:
        """What finds landmarks; built when the first picture comes."""
        return build_detector(**detector_settings(self.opt))

    def square(self, frame: np.ndarray) -> np.ndarray:
        """A frame as the networks see it."""
        return fitted(frame, NO_POINTS, self.size, fit=self.fit)[0]

    def face(self, picture: np.ndarray) -> np.ndarray | None:
        """The 68 points of the main face of a square picture, if it has one."""
        face = main_face(self.detector.detect([picture])[0])
        return None if face is None else face.points

    def drawn(self, points: np.ndarray) -> Tensor:
        """The landmark picture of some points."""
        return to_tensor(draw_landmarks(points, self.size))

    def source_item(self, frames: Sequence[np.ndarray]) -> dict[str, Any]:
        pictures = [self.square(frame) for frame in frames]
        points = [self.face(picture) for picture in pictures]
        absent = [number for number, found in enumerate(points, 1) if found is None]
        if absent:
            raise UserError(f"no face in source picture {absent[0]}; leave it out, or cut its face with --crop_image")
        shown = [(to_tensor(picture), self.drawn(found)) for picture, found in zip(pictures, points, strict=True)]
        return joined(shown) | {"points": torch.from_numpy(np.stack(points))}

    def driving_items(self, frames: Iterable[np.ndarray], source: dict[str, Any]) -> Iterator[dict[str, Any]]:
        points = without_gaps(landmarks_of(map(self.square, frames), self.detector), "the driving video")
        for found in self._retargeted(points, source) if self.retarget else points:
            yield {"landmarks": self.drawn(found)}

    def _retargeted(self, points: Iterator[np.ndarray], source: dict[str, Any]) -> Iterator[np.ndarray]:
        if "points" not in source:
            raise UserError("--retarget: whose proportions? Give a picture of the person with --source_image")
        first = next(points, None)
        if first is not None:
            yield from map(Retarget(source["points"][0].numpy(), first), chain([first], points))

    def picture_size(self) -> tuple[int, int] | None:
        # Other fits need the frame's own proportions.
        return (self.size, self.size) if self.fit == "squash" else None


def add_driving_options(parser: Any, training: bool) -> None:
    """How frames become square, and what is done with landmarks of another face."""
    parser.add_argument("--fit", type=one_of(*FITS), default="squash",
        help="frames that are not square: squashed as by the original, padded with black, or cut")  # fmt: skip
    if not training:
        parser.add_switch("--retarget",
            help="bring the driving landmarks to the proportions of the source's face; both begin alike")  # fmt: skip


def joined(frames: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Frames and their landmark pictures as `pictures` and `landmarks` (T, 3, H, W)."""
    pictures, landmarks = zip(*frames, strict=True)
    return {"pictures": torch.stack(pictures), "landmarks": torch.stack(landmarks)}
