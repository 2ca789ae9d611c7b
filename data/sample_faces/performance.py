"""The motion of a drawn person in a clip: talking, blinking, gaze, head turns, emotions."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data.sample_faces.curves import curve, step
from data.sample_faces.expression import AU_NAMES, STRONGEST
from data.sample_faces.person import State

FINE = 200  # control points per second, from which frames and sound are taken

FEELINGS = {  # units at full strength of a feeling
    "joy": {"AU06": 3.6, "AU12": 4.2, "AU25": 2.0},
    "smile": {"AU12": 2.6, "AU14": 1.2, "AU06": 1.2},
    "surprise": {"AU01": 4.0, "AU02": 4.0, "AU05": 3.5, "AU25": 2.0, "AU26": 2.6},
    "anger": {"AU04": 4.2, "AU07": 3.0, "AU23": 3.4, "AU05": 1.0},
    "disgust": {"AU09": 4.2, "AU10": 3.2, "AU17": 2.0, "AU07": 1.5},
    "sadness": {"AU01": 3.6, "AU04": 1.8, "AU15": 4.0, "AU17": 2.4},
    "fear": {"AU01": 3.0, "AU02": 2.0, "AU04": 2.0, "AU05": 3.4, "AU20": 3.6, "AU25": 1.8},
    "doubt": {"AU14": 3.8, "AU04": 1.5, "AU17": 2.2},
}
MICRO = {  # the three classes of micro-expressions, weak
    "positive": {"AU06": 0.9, "AU12": 1.4},
    "negative": {"AU04": 1.4, "AU07": 0.8, "AU15": 0.9},
    "surprise": {"AU01": 1.3, "AU02": 1.3, "AU05": 0.9},
}
VOWELS = {  # shape of the mouth and the first two resonances of the voice
    "a": ({"AU25": 3.6, "AU26": 3.0}, (760, 1250)),
    "e": ({"AU25": 3.0, "AU26": 1.3, "AU20": 1.4}, (480, 1950)),
    "i": ({"AU25": 2.6, "AU26": 0.5, "AU20": 2.2, "AU12": 0.6}, (310, 2250)),
    "o": ({"AU25": 2.8, "AU26": 1.9, "AU23": 1.6}, (460, 860)),
    "u": ({"AU25": 1.5, "AU26": 0.8, "AU23": 3.0}, (330, 760)),
}
CONSONANTS = {  # shape of the mouth, loudness of voice and of noise
    "m": ({"AU23": 1.6, "AU17": 0.6}, 0.35, 0.0),
    "b": ({"AU23": 2.0, "AU17": 0.8}, 0.10, 0.1),
    "f": ({"AU25": 0.9, "AU10": 1.0, "AU17": 1.0}, 0.05, 0.5),
    "s": ({"AU25": 1.7, "AU20": 1.0}, 0.05, 0.8),
    "d": ({"AU25": 1.8, "AU26": 0.4}, 0.25, 0.15),
    "k": ({"AU25": 1.8, "AU26": 0.8}, 0.15, 0.2),
}


@dataclass
class Voice:
    """Controls of the synthesised voice at FINE points a second."""

    loudness: np.ndarray
    noise: np.ndarray
    resonances: np.ndarray  # (n, 2) Hz
    pitch: float


@dataclass
class Performance:
    """A clip's motion: one row a frame; angles in degrees, lengths in millimetres."""

    aus: np.ndarray  # (N, 17)
    rotation: np.ndarray  # (N, 3) yaw, pitch, roll
    translation: np.ndarray  # (N, 3)
    gaze: np.ndarray  # (N, 2)
    voice: Voice | None = None

    def __len__(self) -> int:
        return len(self.aus)

    @classmethod
    def of(cls, read: Mapping[str, np.ndarray]) -> "Performance":
        """A performance from the arrays of the ground truth."""
        return cls(*(read[name] for name in ("aus", "rotation", "translation", "gaze")))

    def more(self) -> dict[str, np.ndarray]:
        """Arrays of the ground truth beside aus, rotation, translation and gaze."""
        return {}

    def state(self, index: int) -> State:
        return State(self.aus[index], self.rotation[index], self.translation[index], self.gaze[index])


def smooth(values: np.ndarray, seconds: float) -> np.ndarray:
    """Low-pass by a Gaussian, along the first axis."""
    n = int(3 * seconds * FINE)
    kernel = np.exp(-0.5 * (np.arange(-n, n + 1) / (seconds * FINE)) ** 2)
    padded = np.pad(values, [(n, n)] + [(0, 0)] * (values.ndim - 1), "edge")
    return np.apply_along_axis(np.convolve, 0, padded, kernel / kernel.sum(), "valid")


def wander(rng: np.random.Generator, n: int, spread: float, rest: tuple, move: tuple, start: float) -> np.ndarray:
    """Random moves with easing and pauses between, for head pose and gaze."""
    out, t, now = np.full(n, start), int(rng.uniform(0.0, 0.5) * FINE), start
    while t < n:
        aim = float(np.clip(rng.normal(0, spread), -2 * spread, 2 * spread))
        length = max(2, int(rng.uniform(*move) * FINE * (0.6 + 0.4 * min(2.0, abs(aim - now) / (spread + 1e-9)))))
        ease = step(0, 1, (np.arange(n - t) + 1) / length)
        out[t:] = now + (aim - now) * ease
        now, t = aim, t + length + int(rng.uniform(*rest) * FINE)
    return out


def tremor(rng: np.random.Generator, n: int, size: float) -> np.ndarray:
    """Small involuntary movements."""
    t = np.arange(n) / FINE
    waves = [np.sin(2 * np.pi * f * t + rng.uniform(0, 6.3)) / f for f in rng.uniform(0.25, 1.6, 5)]
    return size * np.sum(waves, 0) / 3


def _blinks(rng: np.random.Generator, n: int) -> np.ndarray:
    """Closure 0..1 of the lids: down fast, up slower, every few seconds."""
    out = np.zeros(n)
    t = rng.uniform(0.15, 1.2)
    while t * FINE < n:
        times = np.arange(n) / FINE - t
        down, hold, up = rng.uniform(0.07, 0.10), rng.uniform(0.02, 0.05), rng.uniform(0.13, 0.20)
        out = np.maximum(out, np.minimum(step(0, down, times), step(down + hold + up, down + hold, times)))
        t += rng.uniform(1.3, 4.0)
    return out


def _add(aus: np.ndarray, units: dict[str, float], envelope: np.ndarray) -> None:
    """Add units with an envelope; of overlapping values the stronger wins."""
    for name, level in units.items():
        k = AU_NAMES.index(name)
        aus[:, k] = np.maximum(aus[:, k], level * envelope)


def _feelings(rng: np.random.Generator, n: int, aus: np.ndarray, count: int) -> None:
    names = list(FEELINGS)
    for k in range(count):
        units = FEELINGS[names[rng.integers(len(names))]]
        start = (k + rng.uniform(0.0, 0.35)) * n / count / FINE
        onset, hold, offset = rng.uniform(0.25, 0.5), rng.uniform(0.3, 0.9), rng.uniform(0.35, 0.7)
        t = np.arange(n) / FINE - start
        envelope = np.minimum(step(0, onset, t), step(onset + hold + offset, onset + hold, t))
        _add(aus, units, envelope * rng.uniform(0.7, 1.1))


def _speech(rng: np.random.Generator, n: int, talkative: float) -> tuple[np.ndarray, Voice]:
    """Syllables of a consonant and a vowel in phrases with pauses: units and voice."""
    aus, loud, noise = np.zeros((n, len(AU_NAMES))), np.zeros(n), np.zeros(n)
    resonances = np.full((n, 2), 500.0) * np.array([1.0, 3.0])
    t = int(rng.uniform(0.05, 0.4) * FINE)
    while t < n:
        for _ in range(int(rng.integers(3, 8))):
            t = _syllable(rng, t, (aus, loud, noise, resonances))
        t += int(rng.uniform(0.15, 0.5) / talkative * FINE)
    pitch = float(rng.uniform(0.92, 1.08))
    return smooth(aus, 0.030), Voice(smooth(loud, 0.018), smooth(noise, 0.008), smooth(resonances, 0.03), pitch)


def _syllable(rng: np.random.Generator, t: int, tracks: tuple[np.ndarray, ...]) -> int:
    """Write one syllable into the tracks from t on; the end of it."""
    aus, loud, noise, resonances = tracks
    shape, voiced, hiss = CONSONANTS[str(rng.choice(list(CONSONANTS)))]
    vowel, peaks = VOWELS[str(rng.choice(list(VOWELS)))]
    middle = t + int(rng.uniform(0.055, 0.095) * FINE)
    end = middle + int(rng.uniform(0.09, 0.20) * FINE)
    stress = rng.uniform(0.65, 1.1)
    for name, level in shape.items():
        aus[t:middle, AU_NAMES.index(name)] = level
    for name, level in vowel.items():
        aus[middle:end, AU_NAMES.index(name)] = level * stress
    loud[t:middle], loud[middle:end] = voiced, stress
    noise[t:middle] = hiss
    resonances[t:end] = peaks
    return end


def perform(rng: np.random.Generator, frames: int, fps: float, kind: int, masculine: float = 0.5) -> Performance:
    """A clip's motion. `kind` 0: talks to the camera; 1: talks and turns; 2: feelings; 3: all of it, wide turns."""
    n = int(np.ceil(frames / fps * FINE)) + FINE // 2
    turn = (7.0, 17.0, 9.0, 22.0)[kind % 4]
    rest, move = (0.25, 1.1), (0.35, 0.75)
    # The second and fourth kinds start to one side, so that even short clips turn.
    start = float(rng.choice([-1, 1]) * turn * rng.uniform(0.3, 1.0)) if kind % 2 else 0.0
    yaw = wander(rng, n, turn, rest, move, start) + tremor(rng, n, 0.7)
    pitch = wander(rng, n, 0.35 * turn + 1.5, rest, move, 0.0) + tremor(rng, n, 0.6)
    roll = wander(rng, n, 0.22 * turn + 1.2, rest, move, 0.0) + 0.06 * yaw + tremor(rng, n, 0.4)
    aus, voice = np.zeros((n, len(AU_NAMES))), None
    speech, voice = _speech(rng, n, (1.0, 1.0, 0.45, 0.8)[kind % 4])
    aus = np.maximum(aus, speech)
    if kind % 4 >= 2:
        _feelings(rng, n, aus, max(1, round(frames / fps / 1.3)))
    else:
        _add(aus, {"AU01": 1.6, "AU02": 1.6}, np.clip(wander(rng, n, 0.6, rest, move, 0.0), 0, 1.5))
        _add(aus, {"AU12": 1.2}, np.clip(wander(rng, n, 0.8, rest, move, 0.4), 0, 1.5))
    aus[:, AU_NAMES.index("AU45")] = STRONGEST * _blinks(rng, n)
    gaze_yaw = wander(rng, n, 9.0, (0.3, 1.2), (0.05, 0.09), 0.0) - 0.35 * (yaw - smooth(yaw, 0.25))
    gaze_pitch = wander(rng, n, 4.0, (0.3, 1.2), (0.05, 0.09), 0.0)
    shift = np.stack([tremor(rng, n, 1.6) + 0.10 * yaw, tremor(rng, n, 1.1), tremor(rng, n, 2.0)], 1)
    voice.pitch *= curve(np.array(masculine), [0, 0.45, 0.55, 1], [205, 185, 135, 105]).item()
    fine = np.concatenate([np.clip(aus, 0, STRONGEST), np.stack([yaw, pitch, roll], 1), shift], 1)
    fine = np.concatenate([fine, np.stack([gaze_yaw, gaze_pitch], 1)], 1)
    at = np.rint(np.arange(frames) / fps * FINE).astype(int)
    aus, rotation, translation, gaze = np.split(fine[at].astype(np.float32), [17, 20, 23], axis=1)
    return Performance(aus, rotation, translation, gaze, voice)


def perform_micro(rng: np.random.Generator, frames: int, kind: str) -> tuple[Performance, tuple[int, int, int]]:
    """A face at rest that shows a weak feeling for a moment, and its (onset, apex, offset) as frame numbers from 0."""
    onset = int(rng.integers(round(0.10 * frames), round(0.2 * frames) + 1))
    apex = int(rng.integers(round(0.40 * frames), round(0.52 * frames) + 1))
    offset = int(rng.integers(round(0.75 * frames), round(0.9 * frames) + 1))
    t = np.arange(frames)
    envelope = np.minimum(step(onset, apex, t), step(offset, apex, t))
    aus = np.zeros((frames, len(AU_NAMES)))
    _add(aus, MICRO[kind], envelope * rng.uniform(0.8, 1.05))
    base = np.array([rng.normal(0, 3), rng.normal(0, 2), rng.normal(0, 1)])
    drift = np.stack([tremor(rng, frames, 0.5) for _ in range(3)], 1)
    gaze = np.zeros((frames, 2))
    still = np.zeros((frames, 3))
    arrays = (np.clip(aus, 0, 1.49), base + 0.3 * (drift - drift[0]), still, gaze)
    return Performance(*(array.astype(np.float32) for array in arrays)), (onset, apex, offset)
