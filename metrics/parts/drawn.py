"""Ground truth of drawn people: landmarks, pose, action units and dense motion of every frame."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from metrics.metric import Video
from metrics.parts.tables import table_file
from metrics.parts.tools import Tools
from util.errors import UserError

if TYPE_CHECKING:
    from data.sample_faces import Truth

OPTION = "drawn_truth"


def truth_of(tools: Tools, video: Video, last: int, metric: str) -> Truth:
    """The truth of the clip with this video's name; an error if it has fewer than `last` frames."""
    truth = _load(table_file(tools, OPTION, video, ".npz", metric))
    if last > len(truth):
        raise UserError(f"{video.name}: --{OPTION} covers {len(truth)} frames, the video has at least {last}")
    return truth


@lru_cache(maxsize=2)
def _load(path: Path) -> Truth:
    from data.sample_faces import Truth

    return Truth.load(path)
