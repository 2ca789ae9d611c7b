"""Extra outputs of edge-guided animation: pictures of each frame, and a video of edges and result side by side."""

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from data.video import VideoWriter, has_format, unsuffixed
from data.video.images import save_image, side_by_side
from util.errors import UserError
from util.files import replacing_folder


class FaceOutputs:
    """<name>/<frame>_vis.png and _edge.png, and <name>_edge_vis_.mp4, next to the video <name>.mp4.

    Next to a result that is itself a folder <name>, the pictures are in <name>_edge_vis. Their folder is replaced as a
    whole, so that no picture of an earlier run remains.
    """

    def __init__(self, output: Path, fps: Fraction, quality: int):
        name = unsuffixed(output)
        self.folder = output.with_name(name if has_format(output) else f"{name}_edge_vis")
        self.path = output.with_name(f"{name}_edge_vis_.mp4")
        self._video = VideoWriter(self.path, fps, quality=quality)
        self._stack = ExitStack()

    def __enter__(self) -> "FaceOutputs":
        self._refuse_other_files()
        self._pictures = self._stack.enter_context(replacing_folder(self.folder))
        self._stack.enter_context(self._video)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def _refuse_other_files(self) -> None:
        entries = self.folder.iterdir() if self.folder.exists() else ()
        others = [entry.name for entry in entries if not entry.name.endswith(("_vis.png", "_edge.png"))]
        if others:
            raise UserError(
                f"{self.folder}: not replaced, as it contains other files ({others[0]}); move them, or choose "
                f"another --results_dir"
            )

    def write(self, item: dict[str, Any], generated: np.ndarray) -> None:
        """One frame: its driving item and the picture that was made."""
        edges = edge_picture(item["structure"].numpy())
        save_image(self._pictures / f"{item['frame']}_vis.png", generated)
        save_image(self._pictures / f"{item['frame']}_edge.png", edges)
        self._video.write(side_by_side([edges, generated]))


def edge_picture(structure: np.ndarray) -> np.ndarray:
    """The edges of a structure map (C, S, S), of the face and of the background, black on white: (S, S, 3)."""
    return np.repeat(np.where(structure[0, :, :, None], np.uint8(0), np.uint8(255)), 3, axis=2)
