"""A quiet, voice-like sound in step with the mouth: harmonics of a pitch, shaped by resonances, and some hiss."""

import numpy as np

from data.sample_faces.performance import FINE, Voice

SAMPLE_RATE = 24000
LOUDEST = 0.10  # of full scale


def synthesise(voice: Voice, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Mono samples, float32 in -1..1."""
    n = int(round(seconds * SAMPLE_RATE))
    t = np.arange(n) / SAMPLE_RATE
    at = t * FINE

    def track(values: np.ndarray) -> np.ndarray:
        return np.interp(at, np.arange(len(values)), values)

    loudness, hiss = track(voice.loudness), track(voice.noise)
    first, second = track(voice.resonances[:, 0]), track(voice.resonances[:, 1])
    melody = 1 + 0.06 * np.sin(2 * np.pi * 0.6 * t + rng.uniform(0, 6)) - 0.03 * t + 0.05 * (loudness - 0.5)
    frequency = voice.pitch * melody * (1 + 0.008 * np.sin(2 * np.pi * 5.1 * t))
    phase = 2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE
    sound = np.zeros(n)
    for k in range(1, int(3600 / voice.pitch)):
        f = k * frequency
        gain = _peak(f, first, 90) + 0.55 * _peak(f, second, 120) + 0.16 * _peak(f, 2700.0, 200)
        sound += gain / k**0.6 * np.sin(k * phase)
    breath = rng.normal(size=n)
    breath = np.diff(breath, prepend=0.0)
    sound = sound * loudness + 0.35 * breath * hiss
    # Loudness is fixed by the scale of the synthesis, not by the clip, so that quiet clips stay quiet.
    return (LOUDEST * np.tanh(sound * 0.8)).astype(np.float32)


def _peak(frequency: np.ndarray, centre: np.ndarray | float, width: float) -> np.ndarray:
    return 1 / (1 + ((frequency - centre) / width) ** 2)
