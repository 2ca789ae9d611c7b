"""Files of the results page beside a result: a poster, and small copies of the truth and the source."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from data.video import VideoWriter, write_image
from data.video.threads import BackgroundWriter
from util.resizing import resize, to_bytes

FOLDER = ".page"
"""Hidden, so that commands do not mistake these files for results."""
HEIGHT = 256
"""Pixels of a poster or a copy of the truth, at most."""
TRUTH_QUALITY = 75


class PageFiles:
    """Writes these files while a result is written; a context manager like the writer of the result.

    With `with_truth` each `write` needs the true frame, too.
    """

    def __init__(self, result: Path, fps: Any, *, source: np.ndarray | None, with_truth: bool):
        self._base = result.parent / FOLDER / result.name
        self._fps, self._source, self._with_truth = fps, source, with_truth
        self._open = ExitStack()
        self.facts: dict[str, Any] = {}
        """Entries of these files for the records."""

    def __enter__(self) -> "PageFiles":
        if self._with_truth:
            path = self._path(".truth.mp4")
            self._truth = self._open.enter_context(
                BackgroundWriter(VideoWriter(path, self._fps, quality=TRUTH_QUALITY))
            )
            self.facts["truth"] = path
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._open.__exit__(*error)

    def write(self, shown: np.ndarray, true: np.ndarray | None) -> None:
        """A frame of the result and the one that it should be, (H, W, 3) uint8 each."""
        if not self.facts.get("size"):
            self._write_pictures(shown)
        if self._with_truth and true is not None:
            self._truth.write(_small(true))

    def _write_pictures(self, shown: np.ndarray) -> None:
        self.facts |= {"size": [shown.shape[1], shown.shape[0]], "poster": self._path(".jpg")}
        write_image(self.facts["poster"], _small(shown))
        if self._with_truth and self._source is not None:
            self.facts["shown_source"] = self._path(".source.jpg")
            write_image(self.facts["shown_source"], _small(self._source))

    def _path(self, ending: str) -> Path:
        return self._base.with_name(f"{self._base.name}{ending}")


def write_poster(result: Path, frame: np.ndarray) -> dict[str, Any]:
    """Write the poster of a result that has none; return its entry for the records."""
    files = PageFiles(result, 1, source=None, with_truth=False)
    files.write(frame, None)
    return files.facts


def _small(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    if height <= HEIGHT:
        return picture
    return to_bytes(resize(picture, (HEIGHT, max(1, round(width * HEIGHT / height)))))
