"""Frechet video distance."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from metrics.fid import Frechet
from metrics.metric import Batch, Video
from metrics.parts.frechet import STEP
from metrics.parts.tools import Tools
from metrics.parts.weights import read_script

CLIP, LENGTH = 16, 400


class Fvd(Frechet):
    """FVD with StyleGAN-V's I3D. The definition states network, frames and videos, which papers often leave out."""

    name = "fvd"
    says = f"Frechet distance of I3D's logits of all successive clips of {CLIP} frames"
    used_by = "StyleGAN-V and those that take its network"
    settings = {"network": "I3D Kinetics-400, TorchScript", "clip": CLIP, "stride": CLIP, "rounded to": STEP}
    least = LENGTH
    in_time = True
    of = "clips"

    def __init__(self, tools: Tools):
        super().__init__(tools)
        self._network = tools.share("i3d", lambda: read_script(self.weights()["i3d"], tools.device))
        self._waiting: dict[int, torch.Tensor] = {}

    def weights(self) -> Mapping[str, Path]:
        """The I3D network."""
        return {"i3d": self.tools.weights.path("i3d", self.name)}

    def begin(self, video: Video) -> None:
        """Start a new clip: clips never span two videos."""
        self._waiting = {}

    def gather(self, batch: Batch) -> None:
        """Add the features of each complete clip."""
        streams = (batch.result, batch.either("truth", "driving"))
        for side, (moments, stream) in enumerate(zip((self._generated, self._real), streams, strict=True)):
            frames = torch.cat([self._waiting[side], stream.pixels]) if side in self._waiting else stream.pixels
            while len(frames) >= CLIP:
                moments.add(self._features(frames[:CLIP]))
                frames = frames[CLIP:]
            self._waiting[side] = frames.clone()

    def _features(self, frames: torch.Tensor) -> np.ndarray:
        """The logits (1, 400) of one clip (16, 3, H, W)."""
        video = (frames * 255).movedim(0, 1)[None]
        with torch.no_grad():
            # The file itself resizes to 224 and scales to [-1, 1].
            logits = self._network(video, rescale=True, resize=True, return_features=True)
        return logits.double().cpu().numpy().reshape(1, -1)
