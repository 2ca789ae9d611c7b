"""Dataset mode `person`: a few pictures of one person, from a video or a folder, with their landmarks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.base import Job, to_tensor
from data.faces import landmarks
from data.talking.driven import LandmarkDriven, Shown, add_driving_options, joined
from data.video import open_video, thin
from util.errors import UserError
from util.values import count, text

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


class PersonDataset(LandmarkDriven):
    """T frames with a face, spread evenly over --source.

    A training item holds `picture` and `landmarks` (3, H, W). `person` holds all T, and another frame
    where there is one.
    """

    needs_source = False

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        whole, parser = (
            parser,
            parser.add_argument_group(
                "frames of the person", example="--source her.mp4 --shots 16" if training else "--fit crop"
            ),
        )
        add_driving_options(parser, training)
        if training:
            parser.add_argument("--source", type=text, help="video, folder of pictures or picture of one person")
            parser.add_argument("--shots", "--finetune_T", type=count, default=8, help="T: frames to learn from")
            landmarks.add_options(whole)
            whole.set_advanced(*landmarks.SELDOM_SET)

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        self.shots: list[Shown] = []
        if not training:
            return
        if not opt.source:
            raise UserError("--source is missing: set it to a video, a folder of pictures or a picture of the person")
        found = self._find(Path(opt.source), opt.shots)
        # An epoch goes over all shots; a batch larger than that sees some of them twice.
        self.repeats = -(-opt.batch_size // (len(found) - 1 or 1))
        *self.shots, self.target = found if len(found) > 1 else found * 2

    def __len__(self) -> int:
        return len(self.shots) * self.repeats

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        picture, drawn = self.shots[index % len(self.shots)]
        return {"picture": to_tensor(picture), "landmarks": to_tensor(drawn)}

    def person(self) -> dict[str, Tensor]:
        target = joined([self.target])
        return joined(self.shots) | {"target": target["pictures"], "target_landmarks": target["landmarks"]}

    def jobs(self) -> list[Job]:
        raise UserError("a personal model has no test split: set --driving_video")

    def source_item(self, frames: Sequence[np.ndarray], points: Sequence[np.ndarray]) -> dict[str, Any]:
        """Empty, since the model knows its person; a picture gives the proportions for --retarget."""
        return super().source_item(frames, points) if frames else {}

    def _find(self, path: Path, shots: int) -> list[Shown]:
        """The shots, then a frame of a pose that is not among them; fewer where there are not so many faces."""
        if not path.exists():
            raise UserError(f"--source {path}: no such file or folder")
        with open_video(path) as video:
            seen: dict[int, Shown | None] = {}
            chosen = [self._face_near(video, wanted, seen) for wanted in thin(len(video), shots)]
            chosen = sorted({index for index in chosen if index is not None})
            if not chosen:
                raise UserError(f"--source {path}: no face in any of its {len(video)} frames; try another --landmarks")
            target = self._face_near(video, (chosen[0] + chosen[-1]) // 2 + 1, seen, apart_from=chosen)
        without = [index for index, face in seen.items() if face is None]
        if without:
            log.warning("%s: no face in frames %s; using others", path, ", ".join(map(str, sorted(without))))
        if len(chosen) < shots:
            log.warning("%s: only %d frames with a face, fewer than --shots %d", path, len(chosen), shots)
        return [seen[index] for index in [*chosen, *([target] if target is not None else chosen[:1])]]

    def _face_near(self, video: Any, wanted: int, seen: dict, apart_from: list[int] | None = None) -> int | None:
        """The frame nearest to a wanted one that has a face and was not taken yet."""
        taken = set(apart_from if apart_from is not None else [index for index, face in seen.items() if face])
        for index in sorted(range(len(video)), key=lambda index: abs(index - wanted)):
            if index in taken or index >= len(video):  # a damaged video may end early
                continue
            if index not in seen:
                seen[index] = self._detect(video[index])
            if seen[index]:
                return index
        return None

    def _detect(self, frame: np.ndarray) -> Shown | None:
        points = self.face(frame)
        return None if points is None else self.shown(frame, points)
