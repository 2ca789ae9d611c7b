"""Drawn people: a face renderer with ground truth for its pictures. It needs numpy and OpenCV only.

    from data.sample_faces import render
    picture = render(identity=3, aus={"AU12": 4.0}, rotation=(20, 0, 0), gaze=(-5, 0), size=128)
    picture.image       # (128, 128, 3) uint8 RGB
    picture.landmarks   # (68, 2) float32, iBUG order
    picture.mask        # (128, 128) bool, the face

See docs/sample.md for the dataset made with it and for the meaning of each kind of ground truth.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from data.sample_faces.clips import FPS, VARIETIES, Truth, person, render_clip, write_film
from data.sample_faces.expression import AU_NAMES, AU_TITLES, au_vector
from data.sample_faces.identity import Identity, draw_identity
from data.sample_faces.performance import Performance, perform, perform_micro
from data.sample_faces.person import Person, Picture, State
from data.sample_faces.rich import RichPerformance, RichState, perform_rich


def state(
    aus: Mapping[str, float] | Sequence[float] | None = None,
    rotation: Sequence[float] = (0, 0, 0),
    translation: Sequence[float] = (0, 0, 0),
    gaze: Sequence[float] = (0, 0),
) -> State:
    """One moment: units 0..5, degrees (yaw right, pitch down, roll clockwise), millimetres, degrees (right, down)."""
    return State(au_vector(aus), *(np.asarray(value, np.float64) for value in (rotation, translation, gaze)))


def render(
    identity: int = 0,
    aus: Mapping[str, float] | Sequence[float] | None = None,
    rotation: Sequence[float] = (0, 0, 0),
    translation: Sequence[float] = (0, 0, 0),
    gaze: Sequence[float] = (0, 0),
    size: int = 128,
    seed: int = 0,
) -> Picture:
    """Draw one face. The first picture of a person takes half a second, the next ones milliseconds."""
    return person(seed, identity).draw(state(aus, rotation, translation, gaze), size)


def tiny_clip(
    identity: int = 0, frames: int = 8, size: int = 64, kind: int = 1, seed: int = 0
) -> tuple[np.ndarray, Truth]:
    """A short clip in memory, for tests: frames (N, H, W, 3) uint8 and their ground truth."""
    rng = np.random.default_rng([seed, identity, kind])
    return render_clip(seed, identity, perform(rng, frames, FPS, kind), size, FPS)


__all__ = [
    "AU_NAMES", "AU_TITLES", "FPS", "VARIETIES", "Identity", "Performance", "Person", "Picture", "RichPerformance",
    "RichState", "State", "Truth", "au_vector", "draw_identity", "perform", "perform_micro", "perform_rich", "person",
    "render", "render_clip", "state", "tiny_clip", "write_film",
]  # fmt: skip
