"""Copies of measured videos that a browser can play."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data.video import VideoWriter, open_video
from metrics.evaluation.comparing import Run
from metrics.evaluation.comparison_page import PLAYED


def with_playable_files(runs: Sequence[Run], folder: Path) -> list[Run]:
    """The runs with files that a browser plays: their own, or mp4 copies in a folder, each written once."""
    return [replace(run, content={**run.content, "files": _files(run, folder)}) for run in runs]


def _files(run: Run, folder: Path) -> dict[str, dict[str, str]]:
    return {
        name: {role: _playable(run, file, folder / ("truth" if role == "truth" else run.label) / f"{name}.mp4")
               for role, file in files.items() if role in ("result", "truth")}
        for name, files in run.content.get("files", {}).items()
    }  # fmt: skip


def _playable(run: Run, file: str, copy: Path) -> str:
    """The path of a file in the run's folder."""
    path = run.folder / file
    if path.suffix.lower() in PLAYED or not path.exists():
        return file
    if not copy.exists() or copy.stat().st_mtime < path.stat().st_mtime:
        with open_video(path) as video, VideoWriter(copy, video.fps) as writer:
            for frame in video:
                writer.write(frame)
    return os.path.relpath(copy, run.folder)
