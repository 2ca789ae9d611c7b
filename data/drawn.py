"""Dataset mode `drawn`: two frames of a drawn person with their ground truth, for families that learn from it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.augment import mirror
from data.base import as_tensor, to_tensor
from data.faces.detector import MIRRORED
from data.faces.portrait_annotations import Annotations, FaceFacts, pair_tensors
from data.frames import FramesDataset, plain
from data.sample_faces.clips import Truth
from data.sample_faces.motion import MotionTruth
from util.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

MAX_CACHED = 2000
"""Clips that a process keeps in memory; ten frames of 128 pixels with their truth take 1 MB."""
HIDDEN = 0.2
"""Weight of an occluded point: its neighbours show its position."""


class DrawnDataset(FramesDataset):
    """Clips of `make_sample_dataset.py` with the layout `motion`; frames have the size at which they were drawn.

    A training item holds `source` and `driving` (3, H, W), `name`, and the truth: `motion` (2, h, w), from where in the
    driving frame to where in the source a surface goes, in units of [-1, 1]; `seen` (1, h, w), 1 where the source
    shows it; `mask` (1, H, W), 1 in the driving frame's face; `source_points` and `driving_points` (68, 3): x and y in
    [-1, 1] and a weight, which is less where something hides the point.
    """

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        if training:
            if self.augmentation.moves_pixels:
                raise UserError(
                    "--rotation_degrees, --resize_ratio, --crop_size: the true motion of drawn people does not follow "
                    "these; remove them"
                )
            self.root = Path(opt.dataroot)
            self._cache: dict[str, CachedClip] = {}
            missing = next((name for name in self.names if not self._motion_path(name).is_file()), None)
            if missing:
                raise UserError(
                    f"{self._motion_path(missing)}: no such file; --dataset_mode drawn needs the ground truth of "
                    f"drawn people: make them with script/make_sample_dataset.py --layouts motion"
                )

    def _motion_path(self, name: str) -> Path:
        return self.root / "motion" / f"{plain(name)}.npz"

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = self.items[index % len(self.items)]
        name = random.choice(self.people[item]) if self.opt.id_sampling else item
        parts = self.cached(name).parts(random.random())
        parts.frames = self.augmentation.after_flip(parts.frames)
        if self.augmentation.horizontal_flip and random.random() < 0.5:
            parts = parts.mirrored()
        return {**parts.tensors(), "name": name}

    def cached(self, name: str) -> CachedClip:
        """A clip with its ground truth, cached: reading it takes longer than a training step of a small network."""
        if name not in self._cache:
            if len(self._cache) >= MAX_CACHED:
                self._cache.pop(next(iter(self._cache)))
            self._cache[name] = self._read(name)
        return self._cache[name]

    def _read(self, name: str) -> CachedClip:
        truth = Truth.load(self.root / "truth" / f"{plain(name)}.npz")
        with self.open(name) as video:
            frames = [self.sized(frame) for frame in video]
        points = [weighted_points(truth, k) for k in range(len(truth))]
        motion = MotionTruth.load(self._motion_path(name))
        return CachedClip(frames, motion, truth.mask, points, self.annotations_in(truth, name))

    def annotations_in(self, truth: Truth, name: str) -> Annotations | None:
        """What else items hold of a clip's faces: here nothing."""
        return None


@dataclass
class CachedClip:
    """A clip and the truth about it."""

    frames: list[np.ndarray]
    motion: MotionTruth
    mask: np.ndarray  # (N, H, W) bool
    points: list[np.ndarray]  # of each frame (68, 3)
    faces: Annotations | None

    def parts(self, chance: float) -> Parts:
        """One of the pairs whose motion is known, chosen by `chance` in [0, 1)."""
        pair = int(chance * len(self.motion.pairs))
        driving, source = (int(k) for k in self.motion.pairs[pair])
        return Parts(
            [self.frames[source], self.frames[driving]], self.motion.flow[pair].astype(np.float32),
            self.motion.seen[pair], self.mask[driving], [self.points[source], self.points[driving]],
            [self.faces.frame(k) for k in (source, driving)] if self.faces else [],
        )  # fmt: skip


class Parts:
    """The parts of an item as numpy arrays."""

    def __init__(
        self, frames: list[np.ndarray], flow: np.ndarray, seen: np.ndarray, mask: np.ndarray, points: list[np.ndarray],
        faces: list[FaceFacts],
    ):  # fmt: skip
        self.frames, self.flow, self.seen, self.mask, self.points = frames, flow, seen, mask, points
        self.faces = faces

    def mirrored(self) -> Parts:
        """The same left to right."""
        side = np.array([-1, 1], np.float32)
        return Parts(
            [mirror(frame) for frame in self.frames], self.flow[:, ::-1] * side, self.seen[:, ::-1],
            self.mask[:, ::-1], [points[MIRRORED] * [-1, 1, 1] for points in self.points],
            [facts.mirrored() for facts in self.faces],
        )  # fmt: skip

    def tensors(self) -> dict[str, Tensor]:
        """As the networks want it."""
        source, driving = (to_tensor(frame) for frame in self.frames)
        width = driving.shape[-1]
        # Shares of the side to units of which 2 lie between the centres of the first and the last pixel.
        flow = as_tensor(self.flow.transpose(2, 0, 1)) * (2 * width / (width - 1))
        seen, mask = (as_tensor(part)[None].float() for part in (self.seen, self.mask))
        named = zip(("source_points", "driving_points"), self.points, strict=True)
        points = {name: as_tensor(np.asarray(found, np.float32)) for name, found in named}
        faces = pair_tensors(*self.faces) if self.faces else {}
        return {"source": source, "driving": driving, "motion": flow, "seen": seen, "mask": mask, **points, **faces}


def weighted_points(truth: Truth, frame: int) -> np.ndarray:
    """The 68 fixed points of a frame: x and y in [-1, 1] and their weight, (68, 3)."""
    found = truth.points[frame].astype(np.float32).copy()
    found[:, :2] = found[:, :2] * (2 / (truth.size - 1)) - 1
    found[:, 2] = np.where(truth.visible[frame], 1.0, HIDDEN)
    return found
