"""Drawn clips on disk and what a careless program makes of them."""

import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest import mock

import numpy as np
from paths import ROOT

from data.sample_faces import Truth, tiny_clip
from data.video import write_image


def write_frames(folder: Path, frames: np.ndarray) -> Path:
    """A folder of PNG frames."""
    for number, frame in enumerate(frames):
        write_image(folder / f"{number:04d}.png", frame)
    return folder


def drawn(identity: int = 1, frames: int = 6, size: int = 96) -> tuple[np.ndarray, Truth]:
    """A clip in which dlib finds the face."""
    return tiny_clip(identity=identity, frames=frames, size=size)


def moved(frames: np.ndarray, right: int) -> np.ndarray:
    """Every frame shifted by whole pixels."""
    return np.roll(frames, right, axis=2)


def run_script(name: str, *arguments) -> tuple[int, str]:
    """Run a script in this process, where torch is imported already; its exit status and what it printed."""
    path, output = ROOT / "script" / f"{name}.py", StringIO()
    command = mock.patch.object(sys, "argv", [str(path), *map(str, arguments)])
    with command, redirect_stdout(output), redirect_stderr(output):
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0), output.getvalue()
    raise AssertionError(f"{name} does not end with a status")
