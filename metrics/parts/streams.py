"""One of the videos that are compared, batch by batch, and what is found in its frames, each thing once."""

from functools import cached_property
from typing import Any

import numpy as np
import torch

from metrics.metric import Video
from metrics.parts.tools import Finder, Tools


class Stream:
    """The present frames of one video. What metrics look for in them (landmarks, embeddings) is found once for all."""

    def __init__(self, tools: Tools, role: str = "result", video: Video | None = None):
        """`role` (result, truth, driving, source) and `video` tell finders that read tables which one to open."""
        self._tools, self.role, self.video = tools, role, video or Video("")
        self.first = 0
        """Number of the first of the present frames."""
        self._finders: dict[str, Finder] = {}
        self._found: dict[str, Any] = {}
        self.pixels = torch.empty(0, 3, 0, 0)

    def show(self, pixels: torch.Tensor, first: int = 0) -> "Stream":
        """The next frames (N, 3, H, W) in [0, 1], on the device where they are measured."""
        self.pixels, self.first, self._found = pixels, first, {}
        self.__dict__.pop("bytes", None)
        return self

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def height(self) -> int:
        """Rows of a frame."""
        return self.pixels.shape[-2]

    @cached_property
    def bytes(self) -> np.ndarray:
        """The frames (N, H, W, 3) uint8, for detectors."""
        rounded = (self.pixels.clamp(0, 1) * 255).round().byte()
        return np.ascontiguousarray(rounded.permute(0, 2, 3, 1).cpu().numpy())

    def find(self, kind: str) -> Any:
        """What a finder of this kind sees in the present frames: an array with a row per frame, NaN where nothing is.

        A finder may remember where a face was, so every batch is shown to it: ask for a kind in each batch or in none.
        """
        if kind not in self._found:
            if kind not in self._finders:
                self._finders[kind] = self._tools.finder(kind)
            self._found[kind] = self._look(self._finders[kind])
        return self._found[kind]

    def _look(self, finder: Finder) -> Any:
        return finder(self)


class Still(Stream):
    """One picture, shown as many times as the other videos have frames; things are found in it once."""

    def __init__(self, tools: Tools, picture: torch.Tensor, role: str = "source", video: Video | None = None):
        """`picture` is (1, 3, H, W), the first frame of what has the role."""
        super().__init__(tools, role, video)
        self._one = Stream(tools, role, video).show(picture)
        self._count = 1

    def repeat(self, count: int) -> "Still":
        """Show it `count` times."""
        self.show(self._one.pixels.expand(count, -1, -1, -1))
        self._count = count
        return self

    def find(self, kind: str) -> Any:
        """What is in the picture, a row per frame."""
        found = self._one.find(kind)
        return np.broadcast_to(found[:1], (self._count, *found.shape[1:]))
