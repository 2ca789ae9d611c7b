"""Drawn people as examples."""

from pathlib import Path

import numpy as np

from data.sample_faces import FPS, perform, person, render_clip, write_film
from data.sample_faces.voice import synthesise
from data.video import write_image

SEED = 7
"""Differs from the sample dataset's seed, so that no model has seen these people."""
PICTURES = (3, 8, 21)
VIDEOS = ((5, 1), (12, 2))
"""Person and kind of performance."""
SIZE = 256
FRAMES = 50


def draw_people(folder: Path) -> tuple[list[Path], list[Path]]:
    """Draw pictures and short videos with sound, except existing ones."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [folder / f"person_{number}.png" for number in PICTURES]
    videos = [folder / f"person_{number}_talks.mp4" for number, _ in VIDEOS]
    for path, number in zip(pictures, PICTURES, strict=True):
        if not path.is_file():
            frames, *_ = _film(number, 1, 1)
            write_image(path, frames[0])
    for path, (number, kind) in zip(videos, VIDEOS, strict=True):
        if not path.is_file():
            write_film(path, *_film(number, kind, FRAMES))
    return pictures, videos


def _film(number: int, kind: int, frames: int) -> tuple[np.ndarray, int, np.ndarray]:
    rng = np.random.default_rng([SEED, number, kind])
    performance = perform(rng, max(frames, 2), FPS, kind, person(SEED, number).identity.masculine)
    pictures, _ = render_clip(SEED, number, performance, SIZE, FPS)
    return pictures[:frames], FPS, synthesise(performance.voice, frames / FPS, rng)
