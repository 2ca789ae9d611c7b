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
from data.talking_frames import FITS, fitted, landmarks_of, main_face, mirrored, without_gaps
from util.errors import UserError
from util.values import one_of

DETECTION_SIZE = 256
"""Side of the square in which landmarks are found, whatever the size of the networks' pictures."""
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

    def face(self, frame: np.ndarray) -> np.ndarray | None:
        """The 68 points of a frame's main face, if it has one, in the square of detection."""
        face = main_face(self.detector.detect([_squashed(frame)])[0])
        return None if face is None else face.points

    def shown(
        self, frame: np.ndarray, points: np.ndarray, points_size: int = DETECTION_SIZE, flip: bool = False
    ) -> tuple[Tensor, Tensor]:
        """A frame and its landmark picture as the networks see them."""
        picture, points = fitted(frame, points, self.size, fit=self.fit, points_size=points_size)
        if flip:
            picture, points = mirrored(picture, points)
        return to_tensor(picture), to_tensor(draw_landmarks(points, self.size))

    def source_item(self, frames: Sequence[np.ndarray]) -> dict[str, Any]:
        points = [self.face(frame) for frame in frames]
        absent = [number for number, found in enumerate(points, 1) if found is None]
        if absent:
            raise UserError(f"no face in source picture {absent[0]}; leave it out, or cut its face with --crop_image")
        shown = [self.shown(frame, found) for frame, found in zip(frames, points, strict=True)]
        return joined(shown) | {"points": torch.from_numpy(np.stack(points))}

    def driving_items(self, frames: Iterable[np.ndarray], source: dict[str, Any]) -> Iterator[dict[str, Any]]:
        points = without_gaps(landmarks_of(map(_squashed, frames), self.detector), "the driving video")
        for found in self._retargeted(points, source) if self.retarget else points:
            yield {"landmarks": to_tensor(draw_landmarks(found * (self.size / DETECTION_SIZE), self.size))}

    def _retargeted(self, points: Iterator[np.ndarray], source: dict[str, Any]) -> Iterator[np.ndarray]:
        if "points" not in source:
            raise UserError("--retarget: whose proportions? Give a picture of the person with --source_image")
        first = next(points, None)
        if first is not None:
            yield from map(Retarget(source["points"][0].numpy(), first), chain([first], points))


def add_driving_options(parser: Any, training: bool) -> None:
    """How frames become square, and what is done with landmarks of another face."""
    parser.add_argument("--fit", type=one_of(*FITS), default="squash",
        help="frames that are not square: squashed as by the original, padded with black, or cut")  # fmt: skip
    if not training:
        parser.add_switch("--retarget",
            help="bring the driving landmarks to the proportions of the source's face; both begin alike")  # fmt: skip


def _squashed(frame: np.ndarray) -> np.ndarray:
    return fitted(frame, NO_POINTS, DETECTION_SIZE)[0]


def joined(frames: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Frames and their landmark pictures as `pictures` and `landmarks` (T, 3, H, W)."""
    pictures, landmarks = zip(*frames, strict=True)
    return {"pictures": torch.stack(pictures), "landmarks": torch.stack(landmarks)}
