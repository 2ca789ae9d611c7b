"""The motion of a person of a rich set: larger turns, uneven and extreme expressions, while the camera moves."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from data.sample_faces.curves import step
from data.sample_faces.expression import AU_NAMES, STRONGEST
from data.sample_faces.performance import FINE, Performance, perform, smooth, tremor, wander
from data.sample_faces.person import State

WIDEST = 9.0
"""How far AU26 goes in a rich set: a mouth wide open."""
AWAY = 1e4
"""Position of a hidden hand."""
TRACKS = {"left": len(AU_NAMES), "camera": 4, "body": 3, "hair": 3, "hand": 4, "light": 3, "tongue": 2}
"""The columns that a rich performance adds."""
UNITS = {name: k for k, name in enumerate(AU_NAMES)}


@dataclass
class RichState(State):
    """One moment; `aus` are those of the side on the picture's left."""

    left: np.ndarray = field(default_factory=lambda: np.zeros(len(AU_NAMES)))  # units of the person's left side
    camera: np.ndarray = field(default_factory=lambda: np.array([1.0, 0, 0, 0]))  # zoom, roll, right and down
    body: np.ndarray = field(default_factory=lambda: np.zeros(3))  # millimetres to the right, lean, turn in degrees
    hair: np.ndarray = field(default_factory=lambda: np.zeros(3))  # rotation that long hair has come to
    hand: np.ndarray = field(default_factory=lambda: np.array([0.0, AWAY, 0, 0]))  # x, y, z, roll
    light: np.ndarray = field(default_factory=lambda: np.array([0.0, 0, 1]))  # turn, tilt in degrees, gain
    tongue: np.ndarray = field(default_factory=lambda: np.zeros(2))  # millimetres forward and up
    clip: int = 0
    frame: int = 0


@dataclass
class RichPerformance(Performance):
    """A clip's motion; RichState describes each track."""

    tracks: dict[str, np.ndarray] = field(default_factory=dict)
    clip: int = 0

    @classmethod
    def of(cls, read: Mapping[str, np.ndarray]) -> "RichPerformance":
        plain = Performance.of(read)
        tracks = {name: read[name] for name in TRACKS}
        return cls(plain.aus, plain.rotation, plain.translation, plain.gaze, tracks=tracks, clip=int(read["clip"]))

    def more(self) -> dict[str, np.ndarray]:
        return {**self.tracks, "clip": np.array(self.clip)}

    def state(self, index: int) -> RichState:
        plain = (self.aus[index], self.rotation[index], self.translation[index], self.gaze[index])
        return RichState(*plain, **{name: self.tracks[name][index] for name in TRACKS}, clip=self.clip, frame=index)


def perform_rich(rng: np.random.Generator, frames: int, fps: float, clip: int, masculine: float) -> RichPerformance:
    """A clip's motion, built on that of the plain set."""
    plain = perform(rng, frames, fps, int(rng.integers(4)), masculine)
    seconds = frames / fps
    n = int(np.ceil(seconds * FINE)) + FINE // 2
    at = np.rint(np.arange(frames) / fps * FINE).astype(int)
    size = float(rng.choice([0.15, 1.0, 1.8, 3.0], p=[0.15, 0.35, 0.3, 0.2]))  # some hold nearly still
    offset = rng.normal(0, [9, 5, 3]) * (size > 0.2)
    rotation = plain.rotation * size * np.array([1.0, 1.3, 1.3]) + offset
    rotation = _bounded(rotation, np.array([60.0, 30.0, 28.0]))
    fine_rotation = np.stack([np.interp(np.arange(n), at, rotation[:, k]) for k in range(3)], 1)
    aus = plain.aus.astype(np.float64)
    _exaggerate(rng, aus, seconds)
    left = _uneven(rng, aus, n, at)
    tracks = {
        "left": left,
        "camera": _camera(rng, n)[at],
        "body": _body(rng, n, size)[at] + 0.12 * rotation[:, [0, 2, 0]] * np.array([1.0, 0.5, 0.8]),
        "hair": _delayed(fine_rotation)[at],
        "hand": _hand(rng, n, seconds)[at],
        "light": _light(rng, n)[at],
        "tongue": np.array([14.0, 5.0]) * _bouts(rng, n, 0.12, seconds)[at, None],
    }
    tracks = {name: track.astype(np.float32) for name, track in tracks.items()}
    translation = plain.translation + size * np.stack([tremor(rng, n, 3.0)[at] for _ in range(3)], 1)
    arrays = (aus, rotation, translation, plain.gaze)
    return RichPerformance(*(a.astype(np.float32) for a in arrays), voice=plain.voice, tracks=tracks, clip=clip)


def _bounded(values: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Soft clipping to bounds."""
    return limit * np.tanh(values / limit)


def _bouts(rng: np.random.Generator, n: int, chance: float, seconds: float) -> np.ndarray:
    """0 that rises to 1 for a while, now and then: `chance` per second."""
    out, t = np.zeros(n), np.arange(n) / FINE
    for _ in range(rng.poisson(chance * seconds)):
        start, rise, hold = rng.uniform(-0.5, seconds), rng.uniform(0.15, 0.5), rng.uniform(0.2, 1.5)
        out = np.maximum(out, np.minimum(step(start, start + rise, t), step(start + hold + 2 * rise, start + hold, t)))
    return out


def _exaggerate(rng: np.random.Generator, aus: np.ndarray, seconds: float) -> None:
    """Mouths wide open, eyes shut, brows high or low, all for a while (in place)."""
    frames = len(aus)
    n = int(np.ceil(seconds * FINE)) + 1
    at = np.rint(np.arange(frames) / frames * seconds * FINE).astype(int)
    strength = rng.uniform(0.6, 1.5)
    aus[:, : UNITS["AU45"]] = np.clip(aus[:, : UNITS["AU45"]] * strength, 0, 6.0)
    for chance, units in (
        (0.30, {"AU26": rng.uniform(5, WIDEST), "AU25": 4.5}),
        (0.25, {"AU45": STRONGEST}),
        (0.20, {"AU01": 5.5, "AU02": 5.5, "AU05": 5.0}),
        (0.20, {"AU04": 5.5, "AU07": 4.0}),
        (0.20, {"AU12": 6.0, "AU06": 4.5, "AU25": 3.5}),
        (0.10, {"AU23": 5.5, "AU17": 4.0}),
    ):
        envelope = _bouts(rng, n, chance, seconds)[at]
        for name, level in units.items():
            aus[:, UNITS[name]] = np.maximum(aus[:, UNITS[name]], level * envelope)
    aus[:, UNITS["AU26"]] = np.clip(aus[:, UNITS["AU26"]], 0, WIDEST)


def _uneven(rng: np.random.Generator, aus: np.ndarray, n: int, at: np.ndarray) -> np.ndarray:
    """The units of the other side of the face: a little weaker or stronger, sometimes much."""
    share = 1 + rng.normal(0, 0.12, aus.shape[1])
    share[rng.uniform(size=aus.shape[1]) < 0.12] = rng.uniform(0, 0.5)
    share[[UNITS["AU25"], UNITS["AU26"], UNITS["AU45"]]] = 1.0
    left = np.clip(aus * share, 0, 6.5)
    left[:, UNITS["AU26"]] = aus[:, UNITS["AU26"]]
    wink = _bouts(rng, n, 0.06, n / FINE)[at]
    left[:, UNITS["AU45"]] = np.maximum(left[:, UNITS["AU45"]], STRONGEST * wink)
    return left


def _camera(rng: np.random.Generator, n: int) -> np.ndarray:
    """Zoom, roll in degrees, shift to the right and down as shares of the picture's side: (n, 4)."""
    kind = rng.choice(["still", "shake", "move"], p=[0.35, 0.3, 0.35])
    still = np.broadcast_to(np.array([1.0, 0, 0, 0]), (n, 4))
    if kind == "still":
        return still
    shake = rng.uniform(0.3, 1.0) * np.array([0.008, 0.7, 0.012, 0.012])
    path = still + np.stack([tremor(rng, n, size) for size in shake], 1)
    if kind == "shake":
        return path
    spread, rest, move = (0.09, 2.5, 0.07, 0.05), (0.0, 0.8), (0.6, 2.0)
    return path + np.stack([wander(rng, n, size, rest, move, 0.0) for size in spread], 1)


def _body(rng: np.random.Generator, n: int, size: float) -> np.ndarray:
    """Shift to the right in millimetres, lean and turn in degrees: (n, 3)."""
    rest, move = (0.2, 1.5), (0.5, 1.4)
    tracks = [wander(rng, n, spread * min(size, 2.0), rest, move, 0.0) for spread in (9.0, 2.2, 4.0)]
    return np.stack(tracks, 1)


def _delayed(rotation: np.ndarray) -> np.ndarray:
    """What hangs follows with a delay and overshoots a little."""
    late = np.concatenate([np.repeat(rotation[:1], FINE // 8, 0), rotation[: len(rotation) - FINE // 8]])
    slow = smooth(late, 0.12)
    return slow + 0.25 * (smooth(late, 0.06) - smooth(late, 0.25))


def _hand(rng: np.random.Generator, n: int, seconds: float) -> np.ndarray:
    """Where the hand is: (n, 4) x, y, z in millimetres and roll in degrees; mostly far below the picture."""
    away = np.array([0.0, AWAY, 0, 0])
    if rng.uniform() > 0.18:
        return np.broadcast_to(away, (n, 4))
    near = _bouts(rng, n, 0.6, seconds)[:, None]
    goal = np.array([rng.uniform(-95, 95), rng.uniform(10, 150), rng.uniform(30, 90), rng.uniform(-50, 50)])
    start = goal + np.array([goal[0] * 0.6, 420.0, 0, 0])
    sway = np.stack([tremor(rng, n, size) for size in (6, 6, 3, 6)], 1)
    return np.where(near > 0, start + (goal - start) * near + sway, away)


def _light(rng: np.random.Generator, n: int) -> np.ndarray:
    """How the lamps turn and tilt in degrees, and their gain: (n, 3)."""
    size = float(rng.choice([0.0, 1.0, 3.0], p=[0.5, 0.3, 0.2]))
    tracks = [wander(rng, n, 9.0 * size, (0.2, 1), (0.5, 2), 0.0), wander(rng, n, 5.0 * size, (0.2, 1), (0.5, 2), 0.0)]
    gain = np.exp(0.03 * size * wander(rng, n, 1.0, (0.1, 0.8), (0.2, 1.0), 0.0))
    return np.stack([*tracks, gain], 1)
