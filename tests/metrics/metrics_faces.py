"""Drawn clips on disk and what a careless program makes of them."""

from pathlib import Path

import numpy as np

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
