"""Frames of one of the compared videos, batch by batch, with shared detections."""

from functools import cached_property
from typing import Any

import numpy as np
import torch

from metrics.metric import Video
from metrics.parts.tools import Finder, Tools


class Stream:
    """The current frames of one video. Detections (landmarks, embeddings) are computed once for all metrics."""

    def __init__(self, tools: Tools, role: str = "result", video: Video | None = None):
        """`role` (result, truth, driving, source) and `video` select the tables that finders read."""
        self._tools, self.role, self.video = tools, role, video or Video("")
        self.first = 0
        """Index of the first of the current frames."""
        self._finders: dict[str, Finder] = {}
        self._found: dict[str, Any] = {}
        self.pixels = torch.empty(0, 3, 0, 0)

    def show(self, pixels: torch.Tensor, first: int = 0) -> "Stream":
        """Set the next frames (N, 3, H, W) in [0, 1], on the device of the measurement."""
        self.pixels, self.first, self._found = pixels, first, {}
        self.__dict__.pop("bytes", None)
        return self

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def height(self) -> int:
        """Height of a frame."""
        return self.pixels.shape[-2]

    @cached_property
    def bytes(self) -> np.ndarray:
        """The frames (N, H, W, 3) uint8, for detectors."""
        rounded = (self.pixels.clamp(0, 1) * 255).round().byte()
        return np.ascontiguousarray(rounded.permute(0, 2, 3, 1).cpu().numpy())

    def find(self, kind: str) -> Any:
        """The detections of this kind in the current frames: an array with a row per frame, NaN without a detection.

        Finders may track faces and need every batch: request a kind in each batch or in none.
        """
        if kind not in self._found:
            if kind not in self._finders:
                self._finders[kind] = self._tools.finder(kind)
            self._found[kind] = self._analyse(self._finders[kind])
        return self._found[kind]

    def _analyse(self, finder: Finder) -> Any:
        return finder(self)


class Still(Stream):
    """One picture, repeated for as many frames as the other videos have; detections run once."""

    def __init__(self, tools: Tools, picture: torch.Tensor, role: str = "source", video: Video | None = None):
        """`picture` is (1, 3, H, W), the first frame of the role's file."""
        super().__init__(tools, role, video)
        self._one = Stream(tools, role, video).show(picture)
        self._count = 1

    def repeat(self, count: int) -> "Still":
        """Repeat the picture `count` times."""
        self.show(self._one.pixels.expand(count, -1, -1, -1))
        self._count = count
        return self

    def find(self, kind: str) -> Any:
        """The picture's detections, a row per frame."""
        found = self._one.find(kind)
        return np.broadcast_to(found[:1], (self._count, *found.shape[1:]))
