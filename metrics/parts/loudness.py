"""Loudness of a video's sound per frame."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from util.errors import UserError

RATE = 16000


def loudness(path: Path, fps: Fraction, count: int) -> np.ndarray | None:
    """Root mean square of the sound during each of `count` frames; None if the file has no sound."""
    samples = read_sound(path)
    if samples is None:
        return None
    edges = [round(RATE * frame / fps) for frame in range(count + 1)]
    parts = [samples[first:last] for first, last in zip(edges, edges[1:], strict=False)]
    return np.array([np.sqrt(np.mean(part**2)) if len(part) else 0.0 for part in parts])


def read_sound(path: Path) -> np.ndarray | None:
    """Mono samples in [-1, 1] at 16 kHz from the start of the sound, or None."""
    import av

    from data.video.container import open_container

    if not path.is_file():
        return None
    try:
        with open_container(path) as container:
            if not container.streams.audio:
                return None
            resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
            pieces = [out.to_ndarray()[0] for frame in container.decode(audio=0) for out in resampler.resample(frame)]
            pieces += [out.to_ndarray()[0] for out in resampler.resample(None)]
    except av.error.FFmpegError as error:
        raise UserError(f"{path}: cannot read its sound ({error})") from None
    return np.concatenate(pieces).astype(np.float64) if pieces else None
