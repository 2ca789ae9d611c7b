"""The files of one result: the video or picture, the strip of its frames, and a mode's extra files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.base import Clip, Dataset
from data.jobs.page_files import PageFiles
from data.video import VideoWriter, side_by_side, unsuffixed
from data.video.sheet_writer import WRITTEN_SUFFIXES, SheetWriter
from data.video.strip_writer import StripWriter
from data.video.threads import BackgroundWriter
from util.resizing import resize, to_bytes

if TYPE_CHECKING:
    from torch import Tensor


class Outputs:
    """The writers of one result, as a context manager: on an error in the block no file remains."""

    def __init__(
        self, clip: Clip, path: Path, dataset: Dataset, *, quality: int, as_folder: bool, compare: bool, strip: bool,
        page: bool = False, truth: bool = False, comparison: Path | None = None,
    ):  # fmt: skip
        """`as_folder`: a folder of PNGs; `compare`: source and driving frame beside each frame; `strip`: also a PNG
        of all frames in a row; `page`: also what the page of results needs, with a copy of the `truth`; `comparison`:
        where a second video goes, which shows source and driving frame beside each frame."""
        self.clip, self.path, self.dataset, self.compare = clip, path, dataset, compare
        self._quality, self._as_folder, self._with_strip = quality, as_folder, strip
        self._with_page, self._with_truth, self._comparison_path = page, truth, comparison
        self._open = ExitStack()

    def __enter__(self) -> Outputs:
        with ExitStack() as opened:
            self._video = opened.enter_context(BackgroundWriter(self._writer(self.path)))
            self._comparison = None
            if self._comparison_path:
                self._comparison = opened.enter_context(BackgroundWriter(self._writer(self._comparison_path)))
            path = self.path.parent / "png" / f"{unsuffixed(self.path)}.png"
            self._strip = opened.enter_context(StripWriter(path)) if self._with_strip else None
            self._companion = opened.enter_context(self.dataset.companion(self.clip, self.path))
            self._page = opened.enter_context(self._page_files()) if self._with_page else None
            self._open = opened.pop_all()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._open.__exit__(*error)

    @property
    def wants_truncated(self) -> bool:
        """Whether `write` needs the frames truncated to bytes, too."""
        return self._strip is not None

    @property
    def facts(self) -> dict[str, Any]:
        """Entries of these files for the records."""
        return ({"beside": self._companion.path} if self._companion else {}) | (self._page.facts if self._page else {})

    def write(
        self, items: Sequence[dict[str, Any]], generated: np.ndarray, truncated: np.ndarray | None = None
    ) -> None:
        """Frames (N, H, W, 3) uint8 and the driving items that they were made of."""
        if self._strip:
            self._strip.write_all(truncated)
        for item, frame in zip(items, generated, strict=True):
            finished = self.clip.finish(frame) if self.clip.finish else frame
            if finished is not None:
                shown = self._compared(item, finished) if self.compare else finished
                self._video.write(shown)
                if self._comparison:
                    self._comparison.write(self._compared(item, finished))
                if self._page:
                    self._page.write(shown, _picture(item) if self._with_truth else None)
            if self._companion:
                self._companion.write(item, frame)

    def _writer(self, path: Path) -> VideoWriter | SheetWriter:
        """A video, or one picture of all frames if the output has a picture's suffix."""
        if path.suffix.lower() in WRITTEN_SUFFIXES:
            return SheetWriter(path, **self.clip.sheet)
        return VideoWriter(path, self.clip.fps, audio=self.clip.audio, quality=self._quality, as_folder=self._as_folder)

    def _page_files(self) -> AbstractContextManager:
        """The page's files for a video; the page shows pictures themselves."""
        if self.path.suffix.lower() in WRITTEN_SUFFIXES:
            return nullcontext()
        return PageFiles(self.path, self.clip.fps, source=_picture(self.clip.source), with_truth=self._with_truth)

    def _compared(self, item: dict[str, Any], finished: np.ndarray) -> np.ndarray:
        """A finished frame beside its inputs."""
        return side_by_side([*_source_and_driving(finished.shape[0], (self.clip.source, item)), finished])


def _source_and_driving(height: int, parts: Iterable[dict[str, Any]]) -> list[np.ndarray]:
    """Source and driving frame as pictures of a height."""
    return [_to_height(picture, height) for part in parts if (picture := _picture(part)) is not None]


def _picture(part: dict[str, Any]) -> np.ndarray | None:
    """The picture that shows a source or a driving frame, as bytes (H, W, 3)."""
    image = _shown_tensor(part)
    return None if image is None else to_bytes(image.float().cpu().numpy().transpose(1, 2, 0))


def _shown_tensor(part: dict[str, Any]) -> Tensor | None:
    """The picture of a source (the first, of several) or of a driving frame; the landmarks if there is no picture."""
    image = next((part[key] for key in ("image", "pictures", "landmarks") if key in part), None)
    return image if image is None or image.ndim == 3 else image[0]


def _to_height(picture: np.ndarray, height: int) -> np.ndarray:
    if picture.shape[0] == height:
        return picture
    return to_bytes(resize(picture, (height, round(picture.shape[1] * height / picture.shape[0]))))
