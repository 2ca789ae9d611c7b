"""Video files: frames in order with little memory, any frame by seeking, and what to do with damaged ones."""

import multiprocessing
import os
import warnings
from array import array
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from data.video import gif
from data.video.container import open_to_read
from data.video.damage import DamagedVideo
from data.video.images import on_white
from data.video.index import FrameIndex, IndexCache, index_of_frames, index_of_packets
from data.video.limits import check_canvas, max_pixels
from data.video.reader import DEFAULT_RATE, Timeline, Video, frame_rate
from util.errors import UserError

HIDDEN_FRAMES = ("vp8", "gif")
"""Codecs with packets that show no frame, which only decoding reveals."""
NO_TIME = -(2**63)
CHECKED_FRAMES = 8
PADDING = 1 << 16
"""Extra pixels that the decoder allocates around a small frame."""

_abandoned = []
"""Decoders that a forked process inherited: closing them would wait for threads that exist only in the parent."""


class VideoFile(Video):
    """A video in a container: mp4, mov, avi, mkv, webm, gif and others that FFmpeg reads."""

    def __init__(self, path: Path, cache: Path | None = None):
        self.path = path
        self._cache = cache
        self._index: FrameIndex | None = None
        self._cursor: _Cursor | None = None
        self._warned = False
        self._promised = 0
        """Number of frames expected at first: an index below it that cannot be read means damage, not a bad index."""
        with Decoder(path) as decoder:
            first = next(decoder.frames(), None)
            if first is None:
                raise UserError(f"{path}: no readable frame ({decoder.damage or 'it has none'})")
            check_canvas(path, first.width, first.height)
            self._coded_size = first.height, first.width
            self._orientation = _orientation(first)
            swapped = self._orientation[0]
            self.size = (first.width, first.height) if swapped else (first.height, first.width)
            self.fps = _rate(decoder.stream)
            self.has_audio = bool(decoder.container.streams.audio)
            self._unit = decoder.stream.time_base
            is_gif = decoder.is_gif
        if is_gif:
            # FFmpeg guesses a gif's rate from its first frames, although each frame has its own duration.
            self.fps = frame_rate(len(self) / (self.timeline().end * self._unit))

    @property
    def frame_index(self) -> FrameIndex:
        """The frame index: from the cache, from the file's packets, or, if those are unreliable, from decoding."""
        if self._index is None:
            cache = IndexCache(self.path, self._cache)
            self._index = cache.load()
            if self._index is None:
                self._index = self._index_from_packets() or self._index_from_frames()
                cache.save(self._index)
            elif self._index.damage:
                self._warn(self._index.damage)
            self._promised = len(self._index)
        return self._index

    def __len__(self) -> int:
        return len(self.frame_index)

    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if not isinstance(index, slice) and len(self) <= index < self._promised:
            raise self._damaged(index)
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[np.ndarray]:
        with Decoder(self.path) as decoder:
            for frame in decoder.frames():
                yield self._to_rgb(frame)
            self._finish(decoder)

    def read(self, index: int) -> np.ndarray:
        frame = self._frame_at(index)
        if frame is None:
            # The packets announced a frame that does not exist; decode all to count the real ones.
            self._index = self._index_from_frames()
            frame = self._frame_at(index) if index < len(self._index) else None
        if frame is None:
            raise self._damaged(index)
        return self._to_rgb(frame)

    def _damaged(self, index: int) -> UserError:
        return UserError(f"{self.path}: cannot read frame {index}, the file is damaged; remove or replace it")

    def timeline(self) -> Timeline:
        if not self.frame_index.seekable:
            return super().timeline()
        times = self.frame_index.times - self.frame_index.times[0]
        usual = int(np.median(np.diff(times))) if len(times) > 1 else max(1, round(1 / (self.fps * self._unit)))
        return Timeline(times, int(times[-1]) + (self.frame_index.last or usual), self._unit)

    @property
    def is_variable(self) -> bool:
        return self.timeline().is_variable

    def close(self) -> None:
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_cursor": None}

    def _frame_at(self, index: int):
        if self._cursor is not None and self._cursor.process != os.getpid():
            _abandoned.append(self._cursor)
            self._cursor = None
        if self._cursor is None or self._cursor.index is not self.frame_index:
            self.close()
            self._cursor = _Cursor(self.path, self.frame_index)
        return self._cursor.frame(index)

    def _to_rgb(self, frame) -> np.ndarray:
        height, width = self._coded_size
        # A stream may change its size; scale to that of the first frame.
        shape = {} if (frame.height, frame.width) == self._coded_size else {"height": height, "width": width}
        if any(component.is_alpha for component in frame.format.components):
            pixels = on_white(frame.to_ndarray(format="rgba", **shape))
        else:
            pixels = frame.to_ndarray(format="rgb24", **shape)
        return _upright(pixels, self._orientation)

    def _index_from_packets(self) -> FrameIndex | None:
        """The index without decoding more than a few frames; None if the packets cannot be trusted."""
        with Decoder(self.path) as decoder:
            if decoder.stream.codec_context.codec.canonical_name in HIDDEN_FRAMES or decoder.is_cut:
                return None
            times, final, last = array("q"), NO_TIME, 0
            for packet in decoder.packets():
                if packet.pts is None:
                    return None
                if packet.is_discard:
                    continue
                times.append(packet.pts)
                if packet.pts > final:
                    final, last = packet.pts, packet.duration or 0
            missing = len(times) + decoder.hidden < decoder.stream.frames or len(times) < decoder.frames_to_show()
            if decoder.damage or missing or (times and decoder.missing_end(min(times), final + last)):
                return None
            index = index_of_packets(times, decoder.keys, last)
        with Decoder(self.path) as decoder:
            begin = [frame.pts for frame in islice(decoder.frames(), CHECKED_FRAMES)]
        return index if index is not None and begin == index.times[:CHECKED_FRAMES].tolist() else None

    def _index_from_frames(self) -> FrameIndex:
        with Decoder(self.path) as decoder:
            for _ in decoder.frames():
                pass
            return decoder.index(self._finish(decoder))

    def _finish(self, decoder: "Decoder") -> str:
        """After the last frame: warn of damage and index the frames that exist. Returns a note of the damage."""
        damage = decoder.damage or decoder.shortfall()
        if not damage:
            return ""
        damage = f"{damage}; {decoder.frames_read()} could be read"
        self._warn(damage)
        if self._index is None or len(self._index) != len(decoder.times):
            self._index = decoder.index(damage)
        return damage

    def _warn(self, damage: str) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(f"{self.path}: {damage}", DamagedVideo, stacklevel=4)


class Decoder:
    """One pass through a file: its packets, its frames, and the first damage found."""

    def __init__(self, path: Path):
        import av

        self.path = path
        self.damage: str | None = None
        self.times = array("q")
        """Presentation times of the frames so far."""
        self.keys: list[tuple[int, int]] = []
        """Presentation time and size of the keyframes so far."""
        self.last = 0
        self.stored = self.hidden = 0
        """Number of packets so far, and how many of them an edit list hides."""
        self._error = av.error.FFmpegError
        self._entry: tuple[int, int] | None = None
        try:
            self.container = open_to_read(path)
        except (av.error.FFmpegError, OSError) as error:
            raise UserError(f"{path}: cannot read it as a video ({_reason(path, error)})") from None
        try:
            self.stream = _video_stream(path, self.container)
            codec = self.stream.codec_context
            check_canvas(path, codec.width, codec.height)
            # Frames may change size later; FFmpeg counts them with their padding.
            codec.options = {**codec.options, "max_pixels": str(2 * max_pixels() + PADDING)}
        except UserError:
            self.container.close()
            raise
        self.stream.thread_type = "AUTO"
        # Worker processes already share the cores.
        self.stream.thread_count = 0 if multiprocessing.parent_process() is None else 1
        self.is_gif = self.container.format.name == "gif"
        self.is_cut = self.is_gif and not gif.is_whole(path)

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, *error) -> None:
        self.container.close()

    def packets(self) -> Iterator:
        """The packets of the video, without truncated ones."""
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except self._error as error:
                self._record_damage(f"cannot be read beyond {self._position()} ({error.strerror})")
                return
            if packet is None or packet.size == 0:
                return
            if packet.is_corrupt:
                self._record_damage(f"damaged at {self._position(packet.pts)}")
                continue
            if packet.is_keyframe and packet.pts is not None:
                key = packet.pts, packet.size
                self.keys.append(key)
                if self._entry is not None and key != self._entry and key[0] >= self._entry[0]:
                    return
                if key == self._entry:
                    self._entry = None
            if self._entry is None:
                self.stored += 1
                self.hidden += packet.is_discard
                yield packet

    def frames(self) -> Iterator:
        """The frames from here to the end, without damaged ones."""
        frames = self._sound_frames()
        if not self.is_cut:
            yield from map(self._count, frames)
            return
        self._record_damage("ends too early")
        previous = next(frames, None)
        for frame in frames:
            yield self._count(previous)
            previous = frame

    def seek(self, key: tuple[int, int]) -> bool:
        """Continue at exactly this keyframe (its time and size); yield nothing if the container does not find it.

        False if it can't seek there at all.
        """
        # Some containers seek to a position between or behind keyframes, or report different times afterwards.
        self._entry = key
        try:
            self.container.seek(key[0], stream=self.stream, backward=True)
        except self._error:  # decode from the start to learn what is readable
            return False
        return True

    def index(self, damage: str = "") -> FrameIndex:
        """The index of the frames after a full pass."""
        times = (None if time == NO_TIME else time for time in self.times)
        return index_of_frames(times, self.keys, self.last, damage)

    def shortfall(self) -> str | None:
        """After a full pass: why the file has less than it claims; None if it is complete."""
        found = len(self.times)
        if self.is_gif:
            images, damage = gif.count_images(self.path)
            return (damage or "not all of its frames can be decoded") if found < images else None
        shows_each = self.stream.codec_context.codec.canonical_name not in HIDDEN_FRAMES
        if shows_each and found < self.stored - self.hidden:
            return "not all of its frames can be decoded"
        if found < self.frames_to_show():
            return "its index or edit list skips frames"
        if not found or NO_TIME in (self.times[0], self.times[-1]):
            return None
        return self.missing_end(self.times[0], self.times[-1] + self.last)

    def frames_read(self) -> str:
        """After a full pass: the number of frames, and how many the file claims."""
        found, about = len(self.times), ""
        if self.is_gif:
            images, damage = gif.count_images(self.path)
            # The number of missing frames of a truncated gif is unknown.
            claimed, about = (0 if self.is_cut else images), ("about " if damage else "")
        elif self.stream.frames:
            claimed = self.stream.frames
        else:
            by_time = self._frames_by_time()
            claimed, about = (by_time, "about ") if by_time > self.stored else (self.stored, "")
        return f"{found} of {about}{claimed} frames" if claimed > found else f"{found} frames"

    def frames_to_show(self) -> float:
        """The minimum number of frames by the container's metadata: its frame count, cut by edit lists.

        Edit lists hide as many frames as their duration says, and rarely most of a video.
        """
        frames, lasting = self.stream.frames, self._frames_by_time()
        # The rate is an average, so the number of frames in a shorter time is approximate.
        return frames if lasting >= frames else max(lasting - max(1, lasting / 20), frames / 2)

    def _frames_by_time(self) -> int:
        return round((_duration(self.container, self.stream) or 0) * _rate(self.stream))

    def missing_end(self, begin: int, end: int) -> str | None:
        """A note if the time between two timestamps is shorter than the file claims, else None."""
        read = (end - begin) * self.stream.time_base
        expected = _duration(self.container, self.stream)
        # Durations are rounded, and count what precedes the first frame.
        if expected is None or read >= expected - max(3 / _rate(self.stream), expected / 20):
            return None
        return f"ends after {float(read):.1f} of {float(expected):.1f} seconds"

    def _sound_frames(self) -> Iterator:
        for packet in self.packets():
            yield from self._decode(packet)
        yield from self._decode(None)

    def _decode(self, packet) -> Iterator:
        try:
            frames = self.stream.decode(packet)
        except self._error as error:
            self._record_damage(f"damaged at {self._position(packet and packet.pts)} ({error.strerror})")
            return
        for frame in frames:
            if frame.is_corrupt:
                self._record_damage(f"damaged at {self._position(frame.pts)}")
            else:
                yield frame

    def _count(self, frame):
        self.times.append(NO_TIME if frame.pts is None else frame.pts)
        self.last = frame.duration or 0
        return frame

    def _record_damage(self, damage: str) -> None:
        self.damage = self.damage or damage

    def _position(self, time: int | None = None) -> str:
        """A readable position in the stream: a time in seconds, or the number of frames before it."""
        if time is None or self.stream.time_base is None:
            return f"frame {len(self.times)}"
        return f"{float((time - (self.stream.start_time or 0)) * self.stream.time_base):.1f} s"


class _Cursor:
    """An open decoder for random access to frames."""

    def __init__(self, path: Path, index: FrameIndex):
        self.index = index
        self.process = os.getpid()
        self._path = path
        self._decoder: Decoder | None = None
        self._position = -1
        """Index of the frame read last."""
        self._frame = None

    def frame(self, index: int):
        """The frame at an index; None if the file turns out to lack it."""
        if index == self._position:
            return self._frame
        near = self._decoder is not None and self._position < index and self.index.key_before(index) <= self._position
        if near and self._advance(index):
            return self._frame
        for start in self.index.starts(index):
            self._open()
            if self._decoder.seek(start) and self._advance(index):
                return self._frame
        self._restart()
        return self._frame if self._advance(index) else None

    def _advance(self, index: int) -> bool:
        """Decode up to a frame; False if it is not ahead."""
        for frame in self._frames:
            if self.index.seekable:
                self._position = int(np.searchsorted(self.index.times, frame.pts)) if frame.pts is not None else -1
                found, passed = frame.pts == self.index.times[index], (frame.pts or 0) > self.index.times[index]
            else:
                self._position += 1
                found, passed = self._position == index, False
            if found:
                self._frame = frame
                return True
            if passed:
                break
        self._position, self._frame = -1, None
        return False

    def _open(self) -> None:
        if self._decoder is None:
            self._decoder = Decoder(self._path)
        self._frames = self._decoder.frames()

    def _restart(self) -> None:
        # Reopen, since not every container can seek to its start.
        self.close()
        self._open()
        self._position = -1

    def close(self) -> None:
        if self._decoder is not None:
            self._decoder.container.close()
        self._decoder = None


def _video_stream(path: Path, container):
    """The video stream, ignoring cover art and thumbnails."""
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = container.streams.video
    moving = [stream for stream in streams if not stream.disposition & still]
    if not moving:
        what = "a cover picture" if streams else "sound" if container.streams.audio else "no frames"
        raise UserError(f"{path}: not a video, it has only {what}" if what != "no frames" else f"{path}: no frames")
    if moving[0].codec_context is None:
        raise UserError(f"{path}: this installation of PyAV cannot decode its video; convert it to mp4 (H.264)")
    return moving[0]


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if not path.exists():
        return "no such file"
    if path.stat().st_size == 0:
        return "the file is empty"
    with path.open("rb") as file:
        begins_as_mp4 = file.read(8)[4:] == b"ftyp"
    if begins_as_mp4:
        return "an mp4 without index (moov atom): truncated or incompletely written"
    return "not a video, or damaged at the start"


def _rate(stream) -> Fraction:
    """The average rate of a stream, or the best guess."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < rate <= 1000:
            return frame_rate(rate)
    return DEFAULT_RATE


def _duration(container, stream) -> Fraction | None:
    """The duration of the video in seconds, as the file claims."""
    if stream.duration:
        return stream.duration * stream.time_base
    if container.duration and not container.streams.audio:
        return Fraction(container.duration, 1_000_000)
    return None


def _orientation(frame) -> tuple[bool, bool, bool]:
    """From the display matrix: swap rows and columns, then flip left and right, then flip up and down."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            # x' = a x + c y, y' = b x + d y
            a, b, _, c, d = np.frombuffer(bytes(data), dtype=np.int32)[:5].tolist()
            return (True, c < 0, b < 0) if abs(b) > abs(a) else (False, a < 0, d < 0)
    return False, False, False


def _upright(pixels: np.ndarray, orientation: tuple[bool, bool, bool]) -> np.ndarray:
    swap, mirror, turn_over = orientation
    if swap:
        pixels = pixels.transpose(1, 0, 2)
    if mirror:
        pixels = pixels[:, ::-1]
    if turn_over:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
