"""Videos of numbered frames, and sound with clicks at known times."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")


def frame(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth picture from which its number can be read, also after lossy coding."""
    rows, columns = np.mgrid[:height, :width]
    picture = np.stack([rows * 4 % 256, columns * 3, np.full((height, width), 90)], axis=2).astype(np.uint8)
    for bit in range(6):
        picture[:12, bit * 10 : bit * 10 + 10] = 255 if number >> bit & 1 else 0
    return picture


def number_of(picture: np.ndarray) -> int:
    return sum((picture[2:10, bit * 10 + 2 : bit * 10 + 8].mean() > 128) << bit for bit in range(6))


def add_tone(container, rate: int = 44100, clicks=(1.0, 2.5), seconds: int = 4) -> None:
    """A silent track with clicks at known times."""
    codec = {"webm": "libopus", "ogg": "libopus"}.get(container.format.name, "aac")
    stream = container.add_stream(codec, rate=48000 if codec == "libopus" else rate)
    stream.codec_context.layout = "mono"
    rate = stream.rate
    wave = np.zeros((1, rate * seconds), np.float32)
    for time in clicks:
        wave[0, int(time * rate) : int(time * rate) + 200] = 0.9
    resampler = av.AudioResampler(stream.codec_context.format, "mono", rate)
    for start in range(0, wave.shape[1], 960):
        piece = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[:, start : start + 960]), "fltp", "mono")
        piece.sample_rate, piece.pts, piece.time_base = rate, start, Fraction(1, rate)
        for ready in resampler.resample(piece):
            container.mux(stream.encode(ready))
    container.mux(stream.encode(None))


def with_sound(path: Path, codec: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        # The header is written with the first packet, so all streams must be there before.
        packets = [p for n in range(100) for p in stream.encode(av.VideoFrame.from_ndarray(frame(n % 64), "rgb24"))]
        packets += stream.encode(None)
        add_tone(container)
        container.mux(packets)
    return path
