"""What edge-guided animation writes beside a video: pictures of each frame, and edges and result side by side."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from data.images import side_by_side, write_image
from data.video import VIDEO_SUFFIXES, VideoWriter


class FaceOutputs:
    """<name>/<frame>_vis.png and _edge.png, and <name>_edge_vis_.mp4, next to the video <name>.mp4."""

    def __init__(self, output: Path, fps: Fraction):
        self.folder = output.with_suffix("") if output.suffix.lower() in VIDEO_SUFFIXES else output
        self.path = output.with_name(f"{self.folder.name}_edge_vis_.mp4")
        self._video = VideoWriter(self.path, fps)

    def __enter__(self) -> "FaceOutputs":
        self._video.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._video.__exit__(*error)

    def write(self, item: dict[str, Any], made: np.ndarray) -> None:
        """One frame: its driving item and the picture that was made."""
        edges = edge_picture(item["structure"].numpy())
        write_image(self.folder / f"{item['frame']}_vis.png", made)
        write_image(self.folder / f"{item['frame']}_edge.png", edges)
        self._video.write(side_by_side([edges, made]))


def edge_picture(structure: np.ndarray) -> np.ndarray:
    """The edges of a structure map (C, S, S), black on white: (S, S, 3)."""
    return np.repeat(255 - structure[0, :, :, None], 3, axis=2)
