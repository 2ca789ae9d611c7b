"""The sound of a video: under the frames of another one, or as samples."""

import warnings
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np

from data.video.container import CONTAINERS, SOUNDS, open_to_read
from util.errors import UserError
from util.reading import RAISED_BY_DAMAGE, reason

BIT_RATES = {"aac": 160_000, "libopus": 128_000}
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)


class Sound:
    """Copies or encodes the sound of `source` into an output, up to the time of the last frame.

    `start` is in seconds after the source's first frame, or after its first sound if it has no frames.
    """

    def __init__(self, source: Path, start: Fraction, output, copied: tuple[str, ...], codec: str):
        import av

        self.source, self.output = source, output
        self._error = av.error.FFmpegError
        self._pieces: Iterator[tuple[Fraction, object]] = iter(())
        self._waiting: tuple[Fraction, object] | None = None
        self.input = _open(source)
        if self.input is None:
            warnings.warn(f"{source} has no sound; writing a video without sound", stacklevel=2)
            return
        stream = self.input.streams.audio[0]
        stream.thread_type = "AUTO"
        self._zero = _first_frame(self.input, stream) + start
        if start > 0:
            _enter(self.input, stream, self._zero)
        if stream.codec_context.codec.canonical_name in copied:
            self.stream = output.add_stream_from_template(stream)
            # Decoders of such sound need the packet before the first one; only mp4 can store it without playing it.
            self._pieces = self._copies(stream, early="mp4" in output.format.name or "mov" in output.format.name)
        else:
            self.stream = output.add_stream(codec, rate=_sample_rate(codec, stream.rate))
            self.stream.codec_context.layout = "mono" if stream.codec_context.channels == 1 else "stereo"
            self.stream.codec_context.bit_rate = BIT_RATES[codec]
            self._pieces = self._encoded(stream)

    def __enter__(self) -> "Sound":
        return self

    def __exit__(self, *error) -> None:
        if self.input is not None:
            self.input.close()

    def advance(self, until: Fraction) -> None:
        """Write the sound before a time of the video, in seconds."""
        while True:
            if self._waiting is None:
                self._waiting = self._next()
            if self._waiting is None or self._waiting[0] >= until:
                return
            self.output.mux(self._waiting[1])
            self._waiting = None

    def finish(self) -> None:
        """Flush the encoder; call after the last `advance`."""
        if self.input is not None and self.stream.codec_context.is_encoder and self.stream.codec_context.is_open:
            self.output.mux(self.stream.encode(None))

    def _next(self):
        try:
            return next(self._pieces, None)
        except (self._error, *RAISED_BY_DAMAGE) as error:
            _warn_of_damage(self.source, error)
            self._pieces = iter(())
            return None

    def _copies(self, stream, early: bool) -> Iterator[tuple[Fraction, object]]:
        before = None
        for packet in self.input.demux(stream):
            if packet.size == 0 or packet.pts is None or packet.is_corrupt:
                continue
            time = packet.pts * stream.time_base - self._zero
            packet.pts -= round(self._zero / stream.time_base)
            packet.dts = packet.pts
            packet.stream = self.stream
            if time < 0:
                before = time, packet
                continue
            if early and before is not None:
                yield before
            early = False
            yield time, packet

    def _encoded(self, stream) -> Iterator[tuple[Fraction, object]]:
        for frame in self._resampled(stream):
            yield frame.pts * frame.time_base, self.stream.encode(frame)

    def _resampled(self, stream) -> Iterator:
        """The sound from `start` on, in the encoder's format."""
        context = self.stream.codec_context
        context.open()
        form = f"sample_fmts={context.format.name}:channel_layouts={context.layout.name}"
        return _converted(self.input, stream, self._zero, context.sample_rate, form, size=context.frame_size)


def read_sound(path: Path, rate: int, start: float = 0.0, seconds: float | None = None) -> np.ndarray:
    """The sound of a video as one channel (N,) float32 in [-1, 1], from `start` seconds after its first frame on.

    Sample n is of the time start + n / rate: there is silence before the sound begins, in its gaps and after its end.
    `seconds`: how much of it; None: up to its end.
    """
    import av

    container = _open(path)
    if container is None:
        raise UserError(f"{path}: has no sound")
    wanted, pieces, known = None if seconds is None else round(seconds * rate), [], 0
    with container:
        stream = container.streams.audio[0]
        zero = _first_frame(container, stream) + Fraction(start)
        _enter(container, stream, zero)
        try:
            for frame in _converted(container, stream, zero, rate, "sample_fmts=flt:channel_layouts=mono"):
                pieces.append(frame.to_ndarray()[0])
                known += len(pieces[-1])
                if wanted is not None and known >= wanted:
                    break
        except (av.error.FFmpegError, *RAISED_BY_DAMAGE) as error:
            _warn_of_damage(path, error)
    sound = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    return sound if wanted is None else np.pad(sound[:wanted], (0, max(0, wanted - known)))


def _enter(container, stream, time: Fraction) -> None:
    """Go to a time of a file, a second early; the exact cut follows. If that fails, it is read from its start."""
    import av

    with suppress(av.error.FFmpegError):
        container.seek(int(max(0, time - 1) / stream.time_base), stream=stream)


def _converted(container, stream, zero: Fraction, rate: int, form: str, size: int | None = None) -> Iterator:
    """The sound from the time `zero` on at a rate, in the form of FFmpeg's aformat; gaps become silence.

    `size`: samples in each piece; None: as they come.
    """
    import av

    graph = av.filter.Graph()
    nodes = [
        graph.add_abuffer(template=stream),
        graph.add("atrim", f"start={float(zero):.6f}"),
        graph.add("asetpts", f"PTS-({float(zero):.6f})/TB"),
        graph.add("aresample", f"{rate}:async=1:first_pts=0"),
        graph.add("aformat", form),
        *([graph.add("asetnsamples", f"n={size}:p=0")] if size is not None else []),
        graph.add("abuffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    for frame in container.decode(stream):
        graph.push(frame)
        yield from _pulled(graph)
    graph.push(None)
    yield from _pulled(graph)


def _warn_of_damage(path: Path, error: Exception) -> None:
    warnings.warn(f"{path}: its sound is damaged and ends early ({reason(error)})", stacklevel=3)


def _pulled(graph) -> Iterator:
    import av

    while True:
        try:
            yield graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _open(source: Path):
    """The file with the sound; None if it has none."""
    import av

    if not source.is_file():
        raise UserError(f"{source}: no such file to copy sound from")
    try:
        container = open_to_read(source, f"{CONTAINERS},{SOUNDS}")
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(f"{source}: cannot read its sound ({error.strerror})") from None
    if container.streams.audio and container.streams.audio[0].codec_context is not None:
        return container
    container.close()
    return None


def _first_frame(container, stream) -> Fraction:
    """The time of a file's first picture, or of its first sound."""
    from av.stream import Disposition

    moving = [video for video in container.streams.video if not video.disposition & Disposition.attached_pic]
    first = moving[0] if moving else stream
    return (first.start_time or 0) * first.time_base


def _sample_rate(codec: str, rate: int) -> int:
    if codec == "libopus":
        return 48_000
    return rate if rate in AAC_RATES else 48_000
