"""Writes videos frame by frame: files, gifs or folders of PNG frames; with the sound of another file."""

import re
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from data.video.container import open_container
from data.video.images import checked_frame, save_image
from data.video.reader import RATE_TEXT, frame_rate
from data.video.sound import Sound
from util.errors import UserError
from util.files import WholeOrNothing, replacing, replacing_folder

COMMENT = "AI-generated video, made with Grimace"
"""Metadata comment of every video, which marks it as generated."""
FRAME_NAME = "{:06d}.png"
BT709 = 1
"""FFmpeg's code of this colour space, its primaries and its transfer."""


@dataclass(frozen=True)
class Format:
    """How a kind of file is encoded."""

    video_codec: str
    crf_at_zero: int
    """Constant rate factor of quality 0; each point of quality takes 0.4 off."""
    copied_sound: tuple[str, ...]
    """Sound that is copied as it is; other sound is encoded again."""
    sound_codec: str
    even_size: bool
    codec_options: dict[str, str]
    options: dict[str, str]


_H264 = {"preset": "medium"}
_MP4 = Format("libx264", 50, ("aac", "mp3"), "aac", True, _H264, {"movflags": "+faststart"})
_MKV = Format("libx264", 50, ("aac", "mp3", "opus", "vorbis", "flac", "ac3"), "aac", True, _H264, {})
_VP9 = {"deadline": "good", "cpu-used": "4", "row-mt": "1", "b": "0"}
_WEBM = Format("libvpx-vp9", 63, ("opus", "vorbis"), "libopus", False, _VP9, {})
FORMATS = {".mp4": _MP4, ".m4v": _MP4, ".mov": _MP4, ".mkv": _MKV, ".webm": _WEBM}
NOT_WRITTEN = f"unknown suffix; use one of {', '.join(FORMATS)}, .gif, or none for a folder of frames"


def has_format(path: Path) -> bool:
    """Whether a file's suffix determines a video format."""
    return path.suffix.lower() in (*FORMATS, ".gif")


def unsuffixed(path: Path) -> str:
    """A video's name, whether it is a file or a folder of frames."""
    return path.stem if has_format(path) else path.name


class VideoWriter(WholeOrNothing):
    """Write a video frame by frame; it appears under its name once complete, and never after an error.

    The suffix selects the format; no suffix means a folder of PNG frames, as does an unknown suffix with `as_folder`.
    `quality`, from 0 to 100, applies to lossy formats except gif. `audio` is a file whose sound accompanies the
    frames: the video's first frame is `audio_start` seconds after that file's own first frame.
    """

    def __init__(
        self,
        path: Path | str,
        fps: Fraction | float,
        *,
        audio: Path | str | None = None,
        audio_start: Fraction | float = 0,
        quality: int = 80,
        comment: str = COMMENT,
        as_folder: bool = False,
    ):
        self.path = Path(path)
        self.fps = frame_rate(fps)
        self.count = 0
        """Frames written so far."""
        if not 0 <= quality <= 100:
            raise UserError(f"quality {quality}: the range is 0 to 100")
        suffix = "" if as_folder and not has_format(self.path) else self.path.suffix.lower()
        if suffix in FORMATS:
            sound = (Path(audio), Fraction(audio_start)) if audio else None
            self._sink = _FileSink(self.path, self.fps, FORMATS[suffix], sound, quality, comment)
        elif suffix == ".gif":
            self._sink = _GifSink(self.path, self.fps, comment)
        elif suffix == "":
            self._sink = _FolderSink(self.path, self.fps, comment)
        else:
            raise UserError(f"{path}: {NOT_WRITTEN}")
        if audio and suffix not in FORMATS:
            warnings.warn(f"{path}: this format has no sound", stacklevel=2)
        self._size: tuple[int, int] | None = None
        self._stack: ExitStack | None = None
        self._closed = False

    def write(self, frame: np.ndarray) -> None:
        """Add an RGB frame; all frames have the size of the first."""
        frame = checked_frame(frame)
        if self._closed:
            raise ValueError(f"{self.path} is closed")
        if self._stack is None:
            self._size = frame.shape[:2]
            self._stack = ExitStack()
            self._guarded(self._sink.open, self._stack, *self._size)
        if frame.shape[:2] != self._size:
            raise ValueError(f"{self.path}: a frame of {frame.shape[:2]} in a video of {self._size}")
        self._guarded(self._sink.write, frame)
        self.count += 1

    def close(self) -> None:
        """Finish the video and move it to its path."""
        if self._closed:
            return
        self._closed = True
        if self._stack is None:
            raise UserError(f"{self.path}: not written: no frames")
        with self._stack:
            self._guarded(self._sink.finish)

    def abort(self) -> None:
        """Discard the video."""
        self._closed = True
        if self._stack is not None:
            aborted = InterruptedError("writing was aborted")
            self._stack.__exit__(InterruptedError, aborted, None)

    def _guarded(self, work, *arguments) -> None:
        import av

        try:
            work(*arguments)
        except (OSError, av.error.FFmpegError) as error:
            raise UserError(f"{self.path}: cannot write it ({error.strerror or error})") from error


class _FileSink:
    """A video file with sound."""

    def __init__(self, path: Path, fps: Fraction, form: Format, sound, quality: int, comment: str):
        self.path, self.fps, self.form, self.sound = path, fps, form, sound
        self.quality, self.comment = quality, comment
        self.count = 0

    def open(self, stack: ExitStack, height: int, width: int) -> None:
        temporary = stack.enter_context(replacing(self.path))
        self.container = stack.enter_context(open_container(temporary, "w", options=self.form.options))
        self.container.metadata["comment"] = self.comment
        crf = round(self.form.crf_at_zero - 0.4 * self.quality)
        self.stream = self.container.add_stream(
            self.form.video_codec, rate=self.fps, options={**self.form.codec_options, "crf": str(crf)}
        )
        # An even size for halved colours: the last row or column is doubled.
        self.padding = (height % 2, width % 2) if self.form.even_size else (0, 0)
        self.stream.height, self.stream.width = height + self.padding[0], width + self.padding[1]
        self.stream.pix_fmt = "yuv420p"
        # Without these tags, players guess the colour space by the picture's size.
        context = self.stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = 1
        source, start = self.sound or (None, 0)
        self.sound = None
        if source is not None:
            self.sound = stack.enter_context(
                Sound(source, start, self.container, self.form.copied_sound, self.form.sound_codec)
            )

    def write(self, frame: np.ndarray) -> None:
        import av

        if any(self.padding):
            frame = np.pad(frame, ((0, self.padding[0]), (0, self.padding[1]), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        picture.pts, picture.time_base = self.count, 1 / self.fps
        self.count += 1
        self.container.mux(self.stream.encode(picture))
        if self.sound:
            self.sound.advance(self.count / self.fps)

    def finish(self) -> None:
        self.container.mux(self.stream.encode(None))
        if self.sound:
            self.sound.finish()
        self.container.close()


class _GifSink:
    """A gif with a palette per frame, because one for all would need all frames at once."""

    def __init__(self, path: Path, fps: Fraction, comment: str):
        self.path, self.fps, self.comment = path, fps, comment
        self.count, self.shown_at = 0, -2

    def open(self, stack: ExitStack, height: int, width: int) -> None:
        import av

        self.temporary = stack.enter_context(replacing(self.path))
        self.container = stack.enter_context(open_container(self.temporary, "w", format="gif"))
        self.stream = self.container.add_stream("gif", rate=100)
        self.stream.height, self.stream.width, self.stream.pix_fmt = height, width, "pal8"
        self.stream.codec_context.time_base = Fraction(1, 100)
        self.graph = av.filter.Graph()
        source = self.graph.add_buffer(
            width=width, height=height, format=av.VideoFormat("rgb24"), time_base=Fraction(1, 100)
        )
        split = self.graph.add("split")
        palette = self.graph.add("palettegen", "stats_mode=single")
        mapped = self.graph.add("paletteuse", "new=1:dither=sierra2_4a")
        sink = self.graph.add("buffersink")
        source.link_to(split)
        split.link_to(mapped, 0, 0)
        split.link_to(palette, 1, 0)
        palette.link_to(mapped, 0, 1)
        mapped.link_to(sink)
        self.graph.configure()

    def write(self, frame: np.ndarray) -> None:
        import av

        time = round(self.count * 100 / self.fps)
        self.count += 1
        # Browsers slow frames shorter than 0.02 s down to 0.1 s.
        if time - self.shown_at < 2:
            return
        self.shown_at = time
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts, picture.time_base = time, Fraction(1, 100)
        self.graph.push(picture)
        self._drain()

    def _drain(self) -> None:
        import av

        while True:
            try:
                picture = self.graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            self._mux(self.stream.encode(picture))

    def _mux(self, packets: list) -> None:
        for packet in packets:
            # Only the last frame's duration is not clear from the next one's time.
            packet.duration = max(2, round(100 / self.fps))
            self.container.mux(packet)

    def finish(self) -> None:
        self.graph.push(None)
        self._drain()
        self._mux(self.stream.encode(None))
        self.container.close()
        _add_gif_comment(self.temporary, self.comment)


def _add_gif_comment(path: Path, comment: str) -> None:
    """Put a comment extension (GIF89a, section 24) before the end of a gif, since FFmpeg writes none."""
    text = comment.encode()
    blocks = b"".join(bytes([len(text[i : i + 255])]) + text[i : i + 255] for i in range(0, len(text), 255))
    with path.open("rb+") as file:
        file.seek(-1, 2)
        if file.read() != b"\x3b":
            raise ValueError("the gif has no trailer")
        file.seek(-1, 2)
        file.write(b"\x21\xfe" + blocks + b"\x00\x3b")


class _FolderSink:
    """A folder of lossless PNG frames, which store their rate."""

    def __init__(self, path: Path, fps: Fraction, comment: str):
        self.path, self.count = path, 0
        self.text = {"Comment": comment, RATE_TEXT: str(fps)}

    def open(self, stack: ExitStack, height: int, width: int) -> None:
        if self.path.exists():
            others = [entry.name for entry in self.path.iterdir() if not re.fullmatch(r"\d{6,}\.png", entry.name)]
            if others:
                raise UserError(
                    f"{self.path}: not replaced, as it contains other files ({others[0]}); choose a new folder"
                )
        self.folder = stack.enter_context(replacing_folder(self.path))

    def write(self, frame: np.ndarray) -> None:
        save_image(self.folder / FRAME_NAME.format(self.count), frame, text=self.text)
        self.count += 1

    def finish(self) -> None:
        """The frames are on disk already."""
