"""Videos in every container, with sound."""

import io
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from data.video import VideoWriter, open_steady, open_video
from data.video.container import open_container
from script.fuzzing.pictures import drawn
from script.fuzzing.target import Target, written

FRAMES = 10
SIZE = (32, 48)
MAX_CACHED = 1000
"""Maximum number of frames read from a damaged video; a container may claim a rate with millions of them."""
RATE = 8000


def film(path: Path, audio: Path | None = None) -> None:
    """A short video written by Grimace."""
    with VideoWriter(path, Fraction(25), audio=audio, quality=50) as writer:
        for seed in range(FRAMES):
            writer.write(drawn(SIZE, seed=seed))


def sound(path: Path) -> None:
    """Half a second of a tone."""
    tone = 8000 * np.sin(np.arange(RATE // 2) * 0.3)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(tone.astype("<i2").tobytes())


def encoded(path: Path, codec: str, rate: int = 25, **options: Any) -> None:
    """A short video by another codec, with a keyframe every four frames."""
    import av

    with open_container(path, "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"g": "4"} | options)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 1
        for seed in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(drawn(SIZE, seed=seed), format="rgb24")))
        container.mux(stream.encode())


def _filmed(suffix: str):
    """Writes videos with our own writer, with and without sound."""

    def make(folder: Path) -> list[bytes]:
        sound(folder / "a.wav")
        return written(folder, f"a{suffix}", film, lambda path: film(path, audio=folder / "a.wav"))

    return make


def _mp4(folder: Path) -> list[bytes]:
    plain = _filmed(".mp4")(folder)
    return [*plain, *written(folder, "b.mp4", lambda path: encoded(path, "libx264", bf="2"))]


def _encoded(suffix: str, *codecs: str):
    def make(folder: Path) -> list[bytes]:
        return written(folder, f"a{suffix}", *(lambda path, codec=codec: encoded(path, codec) for codec in codecs))

    return make


def _gif(folder: Path) -> list[bytes]:
    from PIL import Image

    out, frames = io.BytesIO(), [Image.fromarray(drawn(seed=seed)) for seed in range(4)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=[40, 80, 40, 200], transparency=0)
    return [*written(folder, "a.gif", film), out.getvalue()]


def _sounds(folder: Path) -> list[bytes]:
    (tone,) = written(folder, "a.wav", sound)
    return [tone, *written(folder, "a.mp4", lambda path: film(path, audio=folder / "a.wav"))]


def read_video(path: Path) -> Any:
    """Read a video as training and animation do: at random, in order, at its own rate."""
    with open_video(path) as video:
        count = len(video)
        some = [video[index] for index in (count - 1, 0, count // 2) if index < count]
        rate, timeline = video.fps, video.timeline()
    with open_steady(path) as video:
        frames = [frame for frame, _ in zip(video, range(MAX_CACHED), strict=False)]
    return [count, some, rate, timeline.times, timeline.end, frames]


def read_sound(path: Path) -> Any:
    """Mux the sound of a file into a video."""
    out = path.with_name("out.mp4")
    with VideoWriter(out, Fraction(25), audio=path, audio_start=Fraction(1, 50)) as writer:
        for seed in range(FRAMES):
            writer.write(drawn(SIZE, seed=seed))
    return out.stat().st_size


TARGETS = (
    Target("mp4", "case.mp4", _mp4, read_video),
    Target("mkv", "case.mkv", _filmed(".mkv"), read_video),
    Target("webm", "case.webm", _filmed(".webm"), read_video),
    Target("gif", "case.gif", _gif, read_video),
    Target("avi", "case.avi", _encoded(".avi", "mpeg4", "mjpeg"), read_video),
    Target("mpeg", "case.mpg", _encoded(".mpg", "mpeg2video"), read_video),
    Target("ts", "case.ts", _encoded(".ts", "libx264"), read_video),
    Target("flv", "case.flv", _encoded(".flv", "flv1", "libx264"), read_video),
    Target("wmv", "case.wmv", _encoded(".wmv", "wmv2"), read_video),
    Target("sound", "case.mp4", _sounds, read_sound),
)
