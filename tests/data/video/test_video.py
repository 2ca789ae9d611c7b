"""Reading and writing videos and pictures: every kind that people have, and every way in which files are broken."""

import gc
import itertools
import multiprocessing
import pickle
import struct
import subprocess
import sys
import threading
import warnings
import weakref
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from layouts import prove_shorter
from paths import REAL, ROOT
from PIL import Image
from sounding import add_tone, frame, number_of, with_sound

from data.video import (
    DamagedVideo,
    VideoWriter,
    collecting_damage,
    frame_rate,
    gif,
    list_clips,
    list_videos,
    natural_key,
    open_steady,
    open_video,
    read_image,
    side_by_side,
    sound,
    write_image,
)
from data.video import file as video_file
from data.video.strip_writer import StripWriter
from data.video.threads import BackgroundWriter
from util.errors import UserError
from util.threads import one_behind, prefetch

av = pytest.importorskip("av")
CLIPS = REAL / "clips"
# container, codec, encoder options: B-frames, open groups of pictures, no timestamps, times that begin late, ...
ENCODINGS = {
    "b_frames.mp4": ("libx264", {"bf": "3", "g": "10"}),
    "open_gop.mkv": ("libx264", {"x264-params": "open-gop=1:keyint=10:bframes=3"}),
    "late_start.ts": ("libx264", {"g": "10"}),
    "no_times.h264": ("libx264", {"g": "10"}),
    "b_frames.avi": ("mpeg4", {"bf": "2", "g": "8"}),
    "no_index.mpg": ("mpeg2video", {"bf": "2", "g": "10"}),
    "hevc.mov": ("libx265", {"x265-params": "keyint=10:log-level=none"}),
    "vp8.webm": ("libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "12"}),
    "vp9.webm": ("libvpx-vp9", {"g": "12"}),
    "every_frame.mov": ("png", {}),
    "pictures.gif": ("gif", {}),
}
FORMATS = {"png": "rgba", "gif": "rgb8"}


def encode(
    path: Path, codec: str, options: dict, times=range(30), unit=Fraction(1, 25), prepare=None, **output
) -> Path:
    """A video made with FFmpeg's encoders alone, not with the code under test."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 48, 64, FORMATS.get(codec, "yuv420p")
        stream.codec_context.time_base = unit
        if prepare:
            prepare(stream)
        for number, time in enumerate(times):
            picture = av.VideoFrame.from_ndarray(frame(number % 64), format="rgb24")
            picture.pts, picture.time_base = time, unit
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def write(path: Path, count: int = 10, fps=25, **options) -> Path:
    with VideoWriter(path, fps, **options) as writer:
        for number in range(count):
            writer.write(frame(number))
    return path


class CannotSeek:
    """A container that refuses to seek, as FFmpeg's does in some damaged files."""

    def __init__(self, container):
        self._container = container

    def __getattr__(self, name):
        return getattr(self._container, name)

    def seek(self, *arguments, **named):
        raise av.error.PermissionError(1, "Operation not permitted")


def numbers(video) -> list[int]:
    return [number_of(picture) for picture in video]


def gap(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.slow
def test_any_frame_by_index_is_the_frame_in_order(tmp_path, name):
    path = encode(tmp_path / name, *ENCODINGS[name])
    ordered = list(open_video(path))
    assert [number_of(picture) for picture in ordered] == list(range(30))
    video = open_video(path)
    assert len(video) == 30 and video.fps == 25 and video.size == (48, 64)
    for index in [*np.random.default_rng(0).permutation(30), 5, 5, 6, 4, -1]:
        assert np.array_equal(video[int(index)], ordered[index])
    assert [number_of(picture) for picture in video[3:9:2]] == [3, 5, 7]
    with pytest.raises(IndexError):
        video[30]


def test_a_frame_is_found_without_decoding_the_file(tmp_path, monkeypatch):
    path = encode(tmp_path / "long.mp4", "libx264", {"g": "10", "bf": "2"}, times=range(64))
    from data.video import file as video_file

    decoded = []
    count = video_file.Decoder._count
    monkeypatch.setattr(video_file.Decoder, "_count", lambda self, picture: decoded.append(1) or count(self, picture))
    video = open_video(path)
    assert len(video) == 64
    decoded.clear()
    assert number_of(video[55]) == 55
    assert len(decoded) <= 10


def test_closing_a_video_cannot_wait_for_a_message(tmp_path):
    """Messages passed on to Python take the interpreter lock, which a thread that closes a decoder holds."""
    import av

    write(tmp_path / "a.mp4")
    av.logging.set_level(av.logging.ERROR)
    with open_video(tmp_path / "a.mp4") as video:
        assert av.logging.get_level() is None and len(video) > 0


def test_edit_lists_hide_frames(tmp_path):
    """A cut made by copying from the middle of a group of pictures: mp4 hides the frames before the cut."""
    whole = encode(tmp_path / "whole.mp4", "libx264", {"bf": "2", "g": "30"})
    with av.open(str(whole)) as source, av.open(str(tmp_path / "cut.mp4"), "w") as output:
        stream = source.streams.video[0]
        copy = output.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.size:
                packet.pts, packet.dts = packet.pts - 10 * 512, packet.dts - 10 * 512
                packet.stream = copy
                output.mux(packet)
    video = open_video(tmp_path / "cut.mp4")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DamagedVideo)
        ordered = list(video)
    assert len(video) == len(ordered) and numbers(ordered) == list(range(30 - len(ordered), 30))
    assert len(ordered) < 30
    assert all(np.array_equal(video[index], ordered[index]) for index in (7, 2, len(video) - 1, 0))


def test_an_edit_list_may_cut_the_end(tmp_path):
    path = encode(tmp_path / "a.mp4", "libx264", {"bf": "0"})
    at = path.read_bytes().index(b"elst") + 12
    length = int.from_bytes(path.read_bytes()[at : at + 4], "big")
    overwritten(path, at, (length * 2 // 3).to_bytes(4, "big"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DamagedVideo)
        assert len(open_video(path)) == len(list(open_video(path))) == 20


def test_a_video_is_used_in_other_processes(tmp_path):
    video = open_video(encode(tmp_path / "a.mp4", "libx264", {"g": "5"}))
    first = video[7]
    assert np.array_equal(pickle.loads(pickle.dumps(video))[7], first)
    results = multiprocessing.get_context("fork").SimpleQueue()
    child = multiprocessing.get_context("fork").Process(target=lambda: results.put(numbers([video[9], video[2]])))
    child.start()
    assert results.get() == [9, 2]
    child.join()
    assert child.exitcode == 0 and number_of(video[8]) == 8


def test_another_process_leaves_the_decoders_of_its_parent_alone(tmp_path):
    decoder = video_file.Decoder(encode(tmp_path / "a.mp4", "libx264", {"g": "5"}))
    next(decoder.frames())
    gc.disable()
    try:
        cycle = [decoder]
        cycle.append(cycle)
        del decoder, cycle  # garbage that nobody has collected, and a decoder with threads in it
        child = multiprocessing.get_context("fork").Process(target=gc.collect)
        child.start()
    finally:
        gc.enable()
    child.join(60)
    child.kill()
    child.join()
    assert child.exitcode == 0


def test_frame_rates():
    assert frame_rate(29.97) == frame_rate("30000/1001") == Fraction(30000, 1001)
    assert frame_rate(Fraction(2_999_999, 100_000)) == 30 and frame_rate(12.5) == Fraction(25, 2)
    for wrong in ("fast", 0, -5, "1/0", float("nan"), float("inf"), 5000):
        with pytest.raises(UserError):
            frame_rate(wrong)


def test_variable_rate_keeps_time(tmp_path):
    """Ten frames of 40 ms, then ten of 120 ms."""
    times = [*range(0, 400, 40), *range(400, 1600, 120)]
    path = encode(tmp_path / "variable.mkv", "libx264", {"bf": "0"}, times=times, unit=Fraction(1, 1000))
    video = open_video(path)
    assert len(video) == 20 and video.is_variable
    even = open_video(path, fps=25)
    expected = [*range(10), *[10 + number // 3 for number in range(30)]]
    # Containers tell how long the last frame lasts or not; all before it is certain.
    assert numbers(even)[:37] == expected[:37] and abs(len(even) - 40) <= 2
    assert [number_of(even[index]) for index in (39 - 4, 3, 17)] == [expected[35], 3, expected[17]]
    steady = open_steady(path)
    assert not steady.is_variable and steady.fps == video.fps and numbers(steady) != numbers(video)
    assert abs(steady.duration - video.duration) < 1 / video.fps
    plain = open_steady(encode(tmp_path / "even.mkv", "libx264", {}))
    assert not plain.is_variable and numbers(plain) == list(range(30)) and abs(plain.duration - 30 / 25) < 0.01


@pytest.mark.parametrize(("fps", "expected"), [(50, [0, 0, 1, 1, 2, 2]), (12.5, [1, 3, 5]), (25, [0, 1, 2, 3])])
def test_another_rate(tmp_path, fps, expected):
    video = open_video(write(tmp_path / "a.mp4"), fps=fps)
    assert video.fps == frame_rate(fps)
    assert len(video) == round(10 * frame_rate(fps) / 25) == len(list(video))
    assert numbers(video)[: len(expected)] == expected == [number_of(video[index]) for index in range(len(expected))]


def test_nearly_the_same_rate_shows_every_frame_once(tmp_path):
    path = write(tmp_path / "ntsc.mp4", 60, fps=Fraction(30000, 1001))
    assert open_video(path).fps == Fraction(30000, 1001)
    assert numbers(open_video(path, fps=30)) == list(range(60))


def test_gif_durations(tmp_path):
    pictures = [Image.fromarray(frame(number)) for number in range(3)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[100, 700, 100], loop=0)
    video = open_video(tmp_path / "a.gif")
    assert video.fps == Fraction(10, 3) and video.is_variable
    assert numbers(open_video(tmp_path / "a.gif", fps=10)) == [0, 1, 1, 1, 1, 1, 1, 1, 2]


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_rotation_flags(tmp_path, degrees, mirrored):
    path = encode(
        tmp_path / "phone.mp4", "libx264", {}, prepare=lambda s: s.set_display_rotation(degrees, hflip=mirrored)
    )
    plain = encode(tmp_path / "plain.mp4", "libx264", {})
    turned = open_video(path)[0]
    expected = np.rot90(open_video(plain)[0], k=degrees // 90)
    if mirrored:
        expected = expected[:, ::-1] if gap(turned, expected[:, ::-1]) < gap(turned, expected[::-1]) else expected[::-1]
    assert open_video(path).size == turned.shape[:2] == expected.shape[:2]
    assert gap(turned, expected) < 2, "two encodings of the same frames, which need not be equal to the last bit"


def test_colours_survive(tmp_path):
    """Writer and reader agree on BT.709 and its range, and the file declares it for players."""
    colours = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (210, 160, 130), (255, 255, 255), (0, 0, 0)], np.uint8)
    picture = np.repeat(np.repeat(colours[None], 32, axis=0), 32, axis=1)
    for suffix in (".mp4", ".webm"):
        with VideoWriter(tmp_path / f"a{suffix}", 25, quality=100) as writer:
            writer.write(picture)
        back = open_video(tmp_path / f"a{suffix}")[0]
        assert np.abs(back[16, 16::32].astype(int) - colours).max() <= 4
        with av.open(str(tmp_path / f"a{suffix}")) as container:
            assert next(container.decode(video=0)).colorspace == 1


def picture_of(kind: str, path: Path) -> np.ndarray:
    """Save a picture of a kind; return what it should look like."""
    rgb = frame(5)
    grey = np.asarray(Image.fromarray(rgb).convert("L"))
    grey_rgb = np.repeat(grey[..., None], 3, axis=2)
    if kind == "grey.png":
        Image.fromarray(grey).save(path)
        return grey_rgb
    if kind in ("sixteen.png", "sixteen.tif"):
        Image.fromarray(grey.astype(np.uint16) * 257).save(path)
        return grey_rgb
    if kind == "alpha.png":
        alpha = np.zeros((48, 64, 1), np.uint8)
        alpha[:24] = 255
        Image.fromarray(np.concatenate([rgb, alpha], axis=2)).save(path)
        return np.concatenate([rgb[:24], np.full((24, 64, 3), 255, np.uint8)])
    if kind == "palette.png":
        palette = Image.fromarray(rgb).quantize(200)
        palette.save(path)
        return np.asarray(palette.convert("RGB"))
    if kind == "phone.jpg":
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(rgb).save(path, quality=100, subsampling=0, exif=exif)
        return np.rot90(rgb, k=-1)
    Image.fromarray(rgb).save(path)
    return rgb


KINDS = ["grey.png", "sixteen.png", "sixteen.tif", "alpha.png", "palette.png", "phone.jpg", "plain.bmp", "PLAIN.PNG"]


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_all_kinds(tmp_path, kind):
    expected = picture_of(kind, tmp_path / kind)
    picture = read_image(tmp_path / kind)
    assert picture.dtype == np.uint8 and picture.shape == expected.shape
    assert np.abs(picture.astype(int) - expected).max() <= (6 if kind == "phone.jpg" else 0)
    assert picture.flags.writeable


def test_sixteen_bit_colours(tmp_path):
    cv2 = pytest.importorskip("cv2")
    cv2.imwrite(str(tmp_path / "a.png"), frame(3)[..., ::-1].astype(np.uint16) * 257)
    assert np.array_equal(read_image(tmp_path / "a.png"), frame(3))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_writing_pictures(tmp_path, suffix):
    path = tmp_path / "new" / f"a{suffix}"
    write_image(path, frame(9))
    assert number_of(read_image(path)) == 9 and names(path.parent) == [path.name]
    with pytest.raises(UserError, match="xyz"):
        write_image(tmp_path / "a.xyz", frame(9))
    with pytest.raises(ValueError, match="uint8"):
        write_image(path, frame(9).astype(np.float32))


@pytest.mark.parametrize("content", ["whole/2", "empty", "text", "absent"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_damaged_pictures(tmp_path, content, suffix):
    path = tmp_path / f"broken{suffix}"
    write_image(path, frame(1))
    whole = path.read_bytes()
    path.write_bytes({"whole/2": whole[: len(whole) // 2], "empty": b"", "text": b"hello", "absent": b""}[content])
    if content == "absent":
        path.unlink()
    for read in (read_image, open_video):
        with pytest.raises(UserError, match="broken"):
            read(path)


def test_folders_of_frames(tmp_path):
    folder = tmp_path / "frames"
    for number in (10, 2, 1, 33):
        write_image(folder / f"f{number}.png", frame(number))
    (folder / "notes.txt").write_text("stray")
    (folder / ".hidden.png").write_text("stray")
    video = open_video(folder)
    assert numbers(video) == [1, 2, 10, 33] and len(video) == 4 and video.fps == 25
    assert open_video(folder, fps=5).fps == 5 and len(open_video(folder, fps=5)) == 4
    write_image(folder / "f40.png", frame(0, 50, 64))
    with pytest.raises(UserError, match="f40.png: 64x50"):
        list(open_video(folder))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pictures"):
        open_video(tmp_path / "empty")
    with pytest.raises(UserError, match="no such video"):
        open_video(tmp_path / "absent")


def test_strips_and_single_pictures(tmp_path):
    strip = side_by_side([frame(number) for number in range(5)])
    write_image(tmp_path / "strip.png", strip)
    video = open_video(tmp_path / "strip.png", frame_width=64)
    assert numbers(video) == list(range(5)) and number_of(video[3]) == 3 and video.size == (48, 64)
    assert number_of(pickle.loads(pickle.dumps(video))[4]) == 4
    write_image(tmp_path / "square.png", side_by_side([frame(number, 64, 64) for number in range(3)]))
    assert numbers(open_video(tmp_path / "square.png")) == [0, 1, 2]
    write_image(tmp_path / "one.png", frame(7))
    assert numbers(open_video(tmp_path / "one.png")) == [7]
    with pytest.raises(UserError, match="width 60"):
        open_video(tmp_path / "strip.png", frame_width=60)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.gif", "a"])
@pytest.mark.parametrize("fps", [Fraction(30000, 1001), 25])
def test_written_videos_are_read(tmp_path, name, fps):
    """Odd sizes too; gif has a palette and times in hundredths of a second."""
    frames = [frame(number, 49, 67) for number in range(12)]
    with VideoWriter(tmp_path / name, fps, comment="AI-generated test") as writer:
        for picture in frames:
            writer.write(picture)
    assert writer.count == 12 and names(tmp_path) == [name]
    video = open_video(tmp_path / name)
    assert numbers(video) == list(range(12)) and len(video) == 12
    assert abs(video.fps / frame_rate(fps) - 1) < (Fraction(1, 50) if name == "a.gif" else Fraction(1, 10**6))
    padded = (50, 68) if name in ("a.mp4", "a.mov", "a.mkv") else (49, 67)
    assert video.size == padded and not video.is_variable
    difference = np.abs(video[5][:49, :67].astype(int) - frames[5])
    assert difference.mean() < 8 and (name != "a" or difference.max() == 0)
    assert "AI-generated test" in said_by(tmp_path / name)


def said_by(path: Path) -> str:
    if path.is_dir():
        return Image.open(path / "000000.png").text["Comment"]
    with av.open(str(path)) as container:
        return next(value for key, value in container.metadata.items() if key.lower() == "comment")


def test_mp4_plays_in_a_browser(tmp_path):
    content = write(tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.pix_fmt == "yuv420p"
        assert "AI-generated" in container.metadata["comment"]


def test_quality(tmp_path):
    draw = np.random.default_rng(0)
    sizes = []
    for quality in (10, 50, 90):
        with VideoWriter(tmp_path / f"{quality}.mp4", 25, quality=quality) as writer:
            for _ in range(3):
                writer.write(draw.integers(0, 256, (64, 64, 3), dtype=np.uint8))
        sizes.append((tmp_path / f"{quality}.mp4").stat().st_size)
    assert sizes == sorted(sizes) and sizes[2] > 1.5 * sizes[0]
    with pytest.raises(UserError, match="quality"):
        VideoWriter(tmp_path / "a.mp4", 25, quality=101)


def test_writing_goes_whole_or_not_at_all(tmp_path):
    for name in ("a.mp4", "a.gif", "a"):
        with pytest.raises(RuntimeError), VideoWriter(tmp_path / name, 25) as writer:
            writer.write(frame(0))
            raise RuntimeError("the network failed")
        with pytest.raises(UserError, match="no frame"), VideoWriter(tmp_path / name, 25):
            pass
        with pytest.raises(ValueError, match="in a video of"), VideoWriter(tmp_path / name, 25) as writer:
            writer.write(frame(0))
            writer.write(frame(0, 50, 64))
    assert names(tmp_path) == []
    for name in ("a.doc", "a.png"):
        with pytest.raises(UserError, match="suffix"):
            VideoWriter(tmp_path / name, 25)


def test_a_folder_of_other_things_is_not_replaced(tmp_path):
    write(tmp_path / "out", 12)
    write(tmp_path / "out", 3)
    assert len(open_video(tmp_path / "out")) == 3
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="thesis.txt"):
        write(tmp_path / "out", 3)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "precious"


def test_names_of_all_kinds(tmp_path):
    for name in ("ünï 影片.mp4", "a:b.mp4", "-i.mp4", "100%.mp4", "UPPER.MP4"):
        assert numbers(open_video(write(tmp_path / name, 3))) == [0, 1, 2]
    assert sorted(["f10", "f9", "F1", "f01"], key=natural_key) == ["F1", "f01", "f9", "f10"]


def test_lists_of_videos(tmp_path):
    write(tmp_path / "b" / "v10.mp4", 1)
    write(tmp_path / "b" / "v9.MP4", 1)
    write(tmp_path / "b" / "frames", 1)
    for stray in (".part.mp4", "notes.txt"):
        (tmp_path / "b" / stray).write_text("stray")
    (tmp_path / ".grimace_cache").mkdir()
    (tmp_path / ".grimace_cache" / "v.mp4").write_text("stray")
    assert [path.name for path in list_videos(tmp_path)] == ["v9.MP4", "v10.mp4"]
    assert [path.name for path in list_clips(tmp_path)] == ["frames", "v9.MP4", "v10.mp4"]
    with pytest.raises(UserError, match="no such folder"):
        list_videos(tmp_path / "absent")


def noisy(path: Path, codec: str = "libx264", count: int = 60) -> Path:
    """A video whose frames all have some size, so that truncation loses frames."""
    draw = np.random.default_rng(1)
    with av.open(str(path), "w", options={"movflags": "+faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=25, options={"bf": "0", "g": "12"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, FORMATS.get(codec, "yuv420p")
        for number in range(count):
            picture = frame(number)
            picture[12:] = draw.integers(0, 256, (36, 64, 3))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.gif"])
def test_a_damaged_tail_gives_the_frames_before_it(tmp_path, name):
    path = noisy(tmp_path / name, {"a.avi": "mpeg4", "a.gif": "gif"}.get(name, "libx264"))
    whole = list(open_video(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.warns(DamagedVideo, match=f"{name}: .* frames could be read"):
        video = open_video(path)
        frames = list(video)
    assert 20 < len(frames) < 55 and len(video) == len(frames)
    assert all(np.array_equal(part, full) for part, full in zip(frames, whole, strict=False))
    with warnings.catch_warnings():
        # Where the packets that are there are whole, only reading to the end meets the damage.
        warnings.simplefilter("ignore", DamagedVideo)
        again = open_video(path)
        assert all(np.array_equal(again[index], whole[index]) for index in (len(frames) - 1, 13))


def test_a_video_that_proves_shorter_when_it_is_read_is_damaged(tmp_path):
    """Its index promises a frame that is not there: no IndexError, which would blame the program."""
    promised = prove_shorter(tmp_path / "a.mp4")
    with open_video(tmp_path / "a.mp4") as video, pytest.warns(DamagedVideo):
        assert len(video) == promised
        with pytest.raises(UserError, match=f"a.mp4: cannot read frame {promised - 1}, the file is damaged"):
            [video[index] for index in range(promised)]
        assert len(video) < promised and video[len(video) - 1].shape == (32, 32, 3)
        with pytest.raises(IndexError):
            video[promised]


def test_damage_in_the_middle_does_not_end_a_video(tmp_path):
    path = noisy(tmp_path / "a.mp4")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 900] = bytes(900)
    path.write_bytes(content)
    video = open_video(path)
    with pytest.warns(DamagedVideo, match="damaged at"):
        frames = list(video)
    assert 40 < len(frames) < 60 and number_of(frames[-1]) == 59 and len(video) == len(frames)
    assert number_of(open_video(path)[2]) == 2


def overwritten(path: Path, place: int, content: bytes) -> Path:
    """The same file with other bytes at a position."""
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + content + whole[place + len(content) :])
    return path


def with_wrong_clock(path: Path) -> Path:
    """An mp4 whose film has another clock than its edit list: what is shown ends after the first frame."""
    return overwritten(path, path.read_bytes().index(b"mvhd") + 16, b"\x00\xff\xff\xff")


def with_late_beginning(path: Path) -> Path:
    """An mp4 whose edit list starts at the fifth frame, with the duration of all."""
    at = path.read_bytes().index(b"elst") + 16
    time = int.from_bytes(path.read_bytes()[at : at + 4], "big") + 4 * 512
    return overwritten(path, at, time.to_bytes(4, "big"))


def with_a_wrong_block(path: Path) -> Path:
    """A gif with the start of its sixth picture overwritten: its decoder treats that as the end."""
    begins = [match.start() for match in gif.BEGIN_OF_IMAGE.finditer(path.read_bytes())]
    return overwritten(path, begins[5], b"\x11")


def with_a_longer_length(path: Path) -> Path:
    """An mkv that states the double of its length, as when the rest of it was lost."""
    at = path.read_bytes().index(b"\x44\x89\x88") + 3
    return overwritten(path, at, struct.pack(">d", 4800.0))


@pytest.mark.parametrize(
    ("name", "codec", "damage", "told"),
    [
        ("a.mp4", "libx264", with_wrong_clock, "its index or edit list skips frames; 1 of 60 frames"),
        ("a.mp4", "libx264", with_late_beginning, "its index or edit list skips frames; 56 of 60 frames"),
        ("a.gif", "gif", with_a_wrong_block, "damaged at byte [0-9]+ of [0-9]+; 5 of about 59 frames"),
        ("a.mkv", "libx264", with_a_longer_length, "ends after 2.4 of 4.8 seconds; 60 of about 120 frames"),
    ],
)
def test_a_truncated_video_is_reported_with_both_numbers(tmp_path, name, codec, damage, told):
    """FFmpeg accepts each of these as a valid, shorter video."""
    path = damage(noisy(tmp_path / name, codec))
    with pytest.warns(DamagedVideo, match=f"{name}: {told} could be read"):
        count = len(open_video(path))
    with pytest.warns(DamagedVideo, match=told):
        assert len(list(open_video(path))) == count


def test_no_byte_of_a_gif_shortens_it_silently(tmp_path):
    """Wrong lengths can make a decoder skip pictures and continue silently."""
    content = encode(tmp_path / "whole.gif", "gif", {}, times=range(6)).read_bytes()
    for place in range(13, len(content), 61):
        path = tmp_path / f"{place}.gif"
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DamagedVideo)
            try:
                count = len(list(open_video(path)))
            except UserError:
                continue
        assert count == 6 or caught, f"byte {place}: {count} of 6 frames"


@pytest.mark.parametrize("name", ENCODINGS)
def test_intact_videos_are_not_reported_as_damaged(tmp_path, name):
    path = encode(tmp_path / name, *ENCODINGS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error", DamagedVideo)
        assert len(open_video(path)) == len(list(open_video(path))) == 30


def test_damage_is_reported_again_from_a_cached_index(tmp_path):
    path = with_wrong_clock(noisy(tmp_path / "a.mp4"))
    for _ in range(2):
        with pytest.warns(DamagedVideo, match="1 of 60 frames could be read"):
            assert len(open_video(path, cache=tmp_path / "kept")) == 1


def test_damage_is_noted_in_whichever_thread_it_is_met(tmp_path):
    path = with_wrong_clock(noisy(tmp_path / "a.mp4"))
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with collecting_damage() as noted:
            assert len(list(prefetch(open_video(path)))) == 1
            assert len(open_video(path)) == 1
            warnings.warn("something else", stacklevel=1)
    assert len(noted) == 1 and "1 of 60 frames" in noted[0]
    assert [str(one.message) for one in shown] == [*noted, "something else"]
    with (
        pytest.raises(UserError, match=r"1 of 60 frames could be read \(--strict_video\)"),
        collecting_damage(strict=True),
    ):
        list(prefetch(open_video(path)))


REASONS = {
    "empty.mp4": ("empty", b""),
    "text.mp4": ("not a video", b"hello\n" * 50),
    "zeros.avi": ("not a video", bytes(9000)),
    "script.txt": ("not a video", b"hello\n" * 50),
    "playlist.mp4": ("not a video", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/passwd\n#EXT-X-ENDLIST\n"),
    "list.mkv": ("not a video", b"ffconcat version 1.0\nfile /etc/passwd\n"),
}


@pytest.mark.parametrize("name", REASONS)
def test_files_that_are_not_videos(tmp_path, name):
    reason, content = REASONS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: .*{reason}"):
        open_video(tmp_path / name)


def test_an_unfinished_mp4_is_reported(tmp_path):
    content = encode(tmp_path / "a.mp4", "libx264", {}).read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="truncated"):
        open_video(tmp_path / "a.mp4")


def test_a_file_without_frames(tmp_path):
    encode(tmp_path / "none.mkv", "libx264", {}, times=[0])
    content = (tmp_path / "none.mkv").read_bytes()
    (tmp_path / "none.mkv").write_bytes(content[: content.index(b"\x1f\x43\xb6\x75")])
    with pytest.raises(UserError, match="none.mkv"):
        open_video(tmp_path / "none.mkv")


def heard(path: Path) -> tuple[list[float], float, str]:
    """When clicks are heard and the sound ends, in seconds after the first frame; and the codec."""
    with av.open(str(path)) as container:
        stream, video = container.streams.audio[0], container.streams.video[0]
        resampler, pieces, start = av.AudioResampler("fltp", "mono", stream.rate), [], None
        for piece in container.decode(stream):
            start = float(piece.pts * piece.time_base) if start is None else start
            pieces += [ready.to_ndarray()[0] for ready in resampler.resample(piece)]
        start -= float((video.start_time or 0) * video.time_base)
        wave = np.concatenate(pieces)
        loud = np.flatnonzero(np.abs(wave) > 0.3)
        begins = loud[np.flatnonzero(np.diff(loud, prepend=-(10**6)) > stream.rate // 4)]
        codec = stream.codec_context.codec.canonical_name
        return [start + sample / stream.rate for sample in begins], start + len(wave) / stream.rate, codec


@pytest.mark.parametrize(
    ("source", "target", "codec"),
    [("s.mp4", "o.mp4", "aac"), ("s.mp4", "o.webm", "opus"), ("s.webm", "o.mp4", "aac"), ("s.webm", "o.mkv", "opus")],
)
@pytest.mark.parametrize(("start", "count", "clicks"), [(0, 100, [1, 2.5]), (0.7, 60, [0.3, 1.8]), (2, 20, [0.5])])
def test_sound_stays_with_the_frames(tmp_path, source, target, codec, start, count, clicks):
    with_sound(tmp_path / source, "libx264" if source == "s.mp4" else "libvpx-vp9")
    assert open_video(tmp_path / source).has_audio
    write(tmp_path / target, count, audio=tmp_path / source, audio_start=start)
    found, end, kind = heard(tmp_path / target)
    assert kind == codec and open_video(tmp_path / target).has_audio
    assert found == pytest.approx(clicks, abs=0.005)
    assert count / 25 - 0.03 < end < count / 25 + 0.06


def test_sound_stays_with_the_frames_where_the_container_refuses_to_seek(tmp_path, monkeypatch):
    """Parts that a failed seek would skip are read and cut off just as exactly."""
    with_sound(tmp_path / "s.mp4", "libx264")
    opened = sound.open_to_read
    monkeypatch.setattr(sound, "open_to_read", lambda *arguments: CannotSeek(opened(*arguments)))
    for target in ("o.mp4", "o.webm"):
        write(tmp_path / target, 20, audio=tmp_path / "s.mp4", audio_start=2)
        assert heard(tmp_path / target)[0] == pytest.approx([0.5], abs=0.005)


def test_sound_with_incomplete_container_data_ends_with_a_warning(tmp_path, monkeypatch):
    with_sound(tmp_path / "s.webm", "libvpx-vp9")

    def no_format(*arguments, **named):
        raise ValueError("missing format")

    monkeypatch.setattr(av.filter.Graph, "add_abuffer", no_format)
    with pytest.warns(UserWarning, match="s.webm: its sound is damaged and ends early .missing format"):
        write(tmp_path / "o.mp4", 20, audio=tmp_path / "s.webm")
    assert len(open_video(tmp_path / "o.mp4")) == 20


def test_no_sound_to_copy(tmp_path):
    silent = write(tmp_path / "silent.mp4")
    with pytest.warns(UserWarning, match="has no sound"):
        write(tmp_path / "b.mp4", audio=silent)
    assert not open_video(tmp_path / "b.mp4").has_audio
    with pytest.warns(UserWarning, match="has no sound"):
        write(tmp_path / "b.gif", audio=silent)
    with pytest.raises(UserError, match="absent.mp4"):
        write(tmp_path / "c.mp4", audio=tmp_path / "absent.mp4")
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(UserError, match="text.mp4: cannot read its sound"):
        write(tmp_path / "c.mp4", audio=tmp_path / "text.mp4")
    assert not (tmp_path / "c.mp4").exists()


def test_music_is_not_a_video(tmp_path):
    with av.open(str(tmp_path / "song.m4a"), "w", format="mp4") as container:
        add_tone(container)
    with pytest.raises(UserError, match="song.m4a: not a video, it has only sound"):
        open_video(tmp_path / "song.m4a")
    with av.open(str(tmp_path / "cover.m4a"), "w", format="mp4") as container:
        cover = container.add_stream("png", rate=1)
        cover.height, cover.width, cover.pix_fmt = 48, 64, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        packets = cover.encode(av.VideoFrame.from_ndarray(frame(1), "rgb24")) + cover.encode(None)
        add_tone(container)
        container.mux(packets)
    with pytest.raises(UserError, match="only a cover picture"):
        open_video(tmp_path / "cover.m4a")


def test_the_index_is_kept_and_renewed(tmp_path, monkeypatch):
    from data.video import file as video_file

    path, cache = encode(tmp_path / "a.mp4", "libx264", {}), tmp_path / "cache"
    assert len(open_video(path, cache=cache)) == 30
    (stored,) = cache.iterdir()
    made = []
    build = video_file.VideoFile._index_from_packets
    monkeypatch.setattr(video_file.VideoFile, "_index_from_packets", lambda self: made.append(1) or build(self))
    assert number_of(open_video(path, cache=cache)[20]) == 20 and not made
    stored.write_bytes(b"damaged")
    assert len(open_video(path, cache=cache)) == 30 and len(made) == 1
    encode(path, "libx264", {}, times=range(12))
    assert len(open_video(path, cache=cache)) == 12 and len(made) == 2
    assert names(tmp_path) == ["a.mp4", "cache"] and len(names(cache)) == 1


PEAK = """
import resource, sys
from fractions import Fraction
import numpy as np
from data.video.threads import BackgroundWriter
from util.threads import prefetch
from data.video import VideoWriter, open_video
count, folder = int(sys.argv[1]), sys.argv[2]
picture = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
with VideoWriter(f"{folder}/a{count}.mp4", 25, quality=30) as writer:
    for number in range(count):
        writer.write(np.roll(picture, number // 5, axis=1))
video = open_video(f"{folder}/a{count}.mp4", fps=20)
with BackgroundWriter(VideoWriter(f"{folder}/b{count}.webm", video.fps, quality=10)) as writer:
    for frame in prefetch(video):
        writer.write(frame)
video[len(video) // 2]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_long_videos_need_no_more_memory(tmp_path):
    peaks = []
    for count in (100, 900):
        command = [sys.executable, "-c", PEAK, str(count), str(tmp_path)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
        peaks.append(int(result.stdout) / 1024)
    # The 800 frames more are 39 MB.
    assert peaks[1] - peaks[0] < 12, peaks


def test_prefetch_keeps_order_and_errors():
    assert list(prefetch(iter(range(100)), depth=3)) == list(range(100))

    def failing():
        yield 1
        raise UserError("the file is damaged")

    items = prefetch(failing())
    assert next(items) == 1
    with pytest.raises(UserError, match="damaged"):
        next(items)


def test_prefetch_raises_what_stops_the_first_item():
    class Unreadable:
        def __iter__(self):
            raise UserError("no face in it")

    with pytest.raises(UserError, match="no face in it"):
        next(prefetch(Unreadable()))


def test_prefetch_reads_no_further_than_it_should_and_stops():
    taken, closed = [], []

    def endless():
        try:
            for number in range(10**9):
                taken.append(number)
                yield number
        finally:
            closed.append(True)

    items = prefetch(endless(), depth=4)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    items.close()
    assert closed and len(taken) <= 3 + 4 + 2
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())


def test_writing_behind(tmp_path):
    with BackgroundWriter(VideoWriter(tmp_path / "a.mp4", 25), depth=2) as writer:
        for number in range(20):
            writer.write(frame(number))
    assert numbers(open_video(tmp_path / "a.mp4")) == list(range(20))
    with (
        pytest.raises(ValueError, match="in a video of"),
        BackgroundWriter(VideoWriter(tmp_path / "b.mp4", 25)) as writer,
    ):
        writer.write(frame(0))
        for _ in range(30):
            writer.write(frame(0, 50, 64))
    with pytest.raises(RuntimeError), BackgroundWriter(VideoWriter(tmp_path / "b.mp4", 25)) as writer:
        writer.write(frame(0))
        raise RuntimeError("the network failed")
    assert names(tmp_path) == ["a.mp4"]
    assert not any(thread.name == "writer" for thread in threading.enumerate())


def test_a_strip_has_the_frames_side_by_side(tmp_path):
    frames = [np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8) for number in range(5)]
    with StripWriter(tmp_path / "png" / "a.png") as strip:
        strip.write_all(frames[:2])
        strip.write_all(frames[2:])
    assert np.array_equal(read_image(tmp_path / "png" / "a.png"), np.concatenate(frames, axis=1))
    assert names(tmp_path / "png") == ["a.png"]


def test_an_aborted_strip_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), StripWriter(tmp_path / "a.png") as strip:
        strip.write(frame(0))
        raise RuntimeError("the network failed")
    with pytest.raises(ValueError, match="in a strip of"), StripWriter(tmp_path / "a.png") as strip:
        strip.write(frame(0))
        strip.write(frame(0, 50, 64))
    with StripWriter(tmp_path / "a.png"):
        pass
    assert names(tmp_path) == []


def test_frames_alive_are_few_however_long_the_video_is(tmp_path):
    """Read ahead, made in batches, written behind: what exists at once does not grow with the video."""
    alive, most = set(), 0

    def frames_of(count):
        nonlocal most
        for number in range(count):
            picture = np.full((16, 16, 3), number % 256, np.uint8)
            alive.add(number)
            most = max(most, len(alive))
            weakref.finalize(picture, alive.discard, number)
            yield picture
            del picture

    def batches(items, size=4):
        items = iter(items)
        while batch := list(itertools.islice(items, size)):
            yield batch

    with BackgroundWriter(VideoWriter(tmp_path / "a.mp4", 25), depth=8) as writer:
        for batch in one_behind(batches(prefetch(frames_of(600), depth=8))):
            for picture in batch:
                writer.write(picture)
    assert len(open_video(tmp_path / "a.mp4")) == 600
    # 8 read ahead and one in each hand-over, two batches of 4 and the one behind, 8 waiting to be written.
    assert most <= 40


def test_one_behind_asks_for_the_next_before_it_gives_one():
    asked = []

    def numbers_asked():
        for number in range(4):
            asked.append(number)
            yield number

    assert [(number, list(asked)) for number in one_behind(numbers_asked())] == [
        (0, [0, 1]), (1, [0, 1, 2]), (2, [0, 1, 2, 3]), (3, [0, 1, 2, 3])
    ]  # fmt: skip
    assert list(one_behind(iter(()))) == []


@pytest.mark.skipif(not CLIPS.is_dir(), reason="the real clips are not here")
@pytest.mark.parametrize("name", ["d11.mp4", "s32.mp4"])
@pytest.mark.slow
def test_real_clips(tmp_path, name):
    video = open_video(CLIPS / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ordered = list(video)
    assert len(ordered) == len(video)
    assert all(np.array_equal(video[index], ordered[index]) for index in (len(video) - 1, 40, 0))
    with VideoWriter(tmp_path / "a.mp4", video.fps, audio=video.path if video.has_audio else None) as writer:
        for picture in ordered[:50]:
            writer.write(picture)
    copy = open_video(tmp_path / "a.mp4")
    assert len(copy) == 50 and copy.fps == video.fps and copy.has_audio == video.has_audio
    assert np.abs(copy[30].astype(int) - ordered[30]).mean() < 4


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frames_are_found_where_the_container_refuses_to_seek(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    write(path, 40)
    expected = list(open_video(path))
    opened = video_file.open_to_read
    monkeypatch.setattr(video_file, "open_to_read", lambda path: CannotSeek(opened(path)))
    with open_video(path) as video:
        assert all((video[index] == expected[index]).all() for index in (39, 3, 20))
