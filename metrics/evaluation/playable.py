"""Copies of measured videos that a browser can play."""

import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data.video import VideoWriter, open_video
from metrics.evaluation.comparing import Run
from metrics.evaluation.comparison_page import PLAYED


def with_playable_files(runs: Sequence[Run], folder: Path) -> list[Run]:
    """The runs with files that a browser plays: their own, or mp4 copies in a folder, each written once.

    The page shows the truth of the first run alone.
    """
    roles = [("result", "truth"), *[("result",)] * (len(runs) - 1)]
    return [
        replace(run, content={**run.content, "files": _files(run, folder, shown)})
        for run, shown in zip(runs, roles, strict=True)
    ]


def _files(run: Run, folder: Path, shown: Sequence[str]) -> dict[str, dict[str, str]]:
    return {
        name: {role: _playable(run, file, _copy(folder, "truth" if role == "truth" else run.label, run.folder / file))
               for role, file in files.items() if role in shown}
        for name, files in run.content.get("files", {}).items()
    }  # fmt: skip


def _copy(folder: Path, whose: str, path: Path) -> Path:
    """The copy of a file. Its folder depends on where the file lies, so that an earlier comparison with the same
    labels lends no copy."""
    origin = zlib.crc32(os.fsencode(path.parent.resolve()))
    label = re.sub(r"[^\w.-]+", "_", whose)
    return folder / f"{label}-{origin:08x}" / f"{path.name}.mp4"


def _playable(run: Run, file: str, copy: Path) -> str:
    """The path of a file in the run's folder."""
    path = run.folder / file
    if path.suffix.lower() in PLAYED or not path.exists():
        return file
    if not copy.exists() or copy.stat().st_mtime < _last_change(path):
        with open_video(path) as video, VideoWriter(copy, video.fps) as writer:
            for frame in video:
                writer.write(frame)
    return os.path.relpath(copy, run.folder)


def _last_change(path: Path) -> float:
    """The time of the last change of a file, or of the frames in a folder."""
    frames = path.iterdir() if path.is_dir() else ()
    return max(one.stat().st_mtime for one in (path, *frames))
