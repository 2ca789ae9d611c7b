"""Pictures of every format, strips of frames, packed clips, their index."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from data.faces.file_detector import read_points
from data.video import open_video
from data.video.clip_index import INDEX_NAME, ClipIndex, write_index
from data.video.images import read_image_and_text
from data.video.packed import PackedClip, pack
from script.fuzzing.damage import in_packed, in_png
from script.fuzzing.target import Target, written


def drawn(size: tuple[int, int] = (16, 24), channels: int = 3, seed: int = 0) -> np.ndarray:
    """A smooth picture with a little noise, so that every part of an encoder is used."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    planes = [(x * 9 + y * (3 + k) + 40 * seed) % 256 for k in range(channels)]
    noise = np.random.default_rng(seed).integers(0, 9, (height, width, channels))
    return np.clip(np.stack(planes, -1) + noise, 0, 255).astype(np.uint8).squeeze()


def _saved(format: str, picture: np.ndarray, mode: str | None = None, **options: Any) -> bytes:
    image, out = Image.fromarray(picture), io.BytesIO()
    (image.convert(mode) if mode else image).save(out, format, **options)
    return out.getvalue()


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _png(folder: Path) -> list[bytes]:
    text = PngImagePlugin.PngInfo()
    text.add_text("fps", "30000/1001")
    text.add_text("Comment", "drawn " * 50, zip=True)
    return [
        _saved("PNG", drawn(), pnginfo=text),
        _saved("PNG", drawn(channels=4)),
        _saved("PNG", drawn(), "P", transparency=3),
        _saved("PNG", drawn(channels=1).astype(np.uint16) * 200),
        _saved("PNG", drawn(channels=1), "1"),
    ]


def _strips(folder: Path) -> list[bytes]:
    text = PngImagePlugin.PngInfo()
    text.add_text("fps", "24")
    return [_saved("PNG", drawn((16, 16 * count)), pnginfo=text) for count in (4, 1)]


def _jpeg(folder: Path) -> list[bytes]:
    return [
        _saved("JPEG", drawn((40, 48)), quality=90, exif=_turned()),
        _saved("JPEG", drawn((40, 48)), progressive=True, quality=70),
        _saved("JPEG", drawn(channels=1)),
        _saved("JPEG", drawn(), "CMYK"),
    ]


def _bmp(folder: Path) -> list[bytes]:
    return [_saved("BMP", drawn()), _saved("BMP", drawn(), "P"), _saved("BMP", drawn(channels=1), "1")]


def _gif(folder: Path) -> list[bytes]:
    frames = [Image.fromarray(drawn(seed=seed)) for seed in (1, 2)]
    return [
        _saved("GIF", drawn()),
        _saved("GIF", drawn(), interlace=True, save_all=True, append_images=frames, duration=40, transparency=0),
    ]


def _webp(folder: Path) -> list[bytes]:
    return [
        _saved("WEBP", drawn((40, 48)), quality=80),
        _saved("WEBP", drawn(), lossless=True),
        _saved("WEBP", drawn(channels=4), quality=50, exif=_turned()),
    ]


def _tiff(folder: Path) -> list[bytes]:
    kinds = [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"]
    plain = [_saved("TIFF", drawn((40, 48)), compression=kind) for kind in kinds]
    return [*plain, _saved("TIFF", drawn(channels=1).astype(np.uint16) * 99), _saved("TIFF", drawn(channels=4))]


def _ppm(folder: Path) -> list[bytes]:
    ascii_text = b"P3\n# drawn\n3 2\n255\n" + b" ".join(str(k * 14).encode() for k in range(18)) + b"\n"
    return [_saved("PPM", drawn()), _saved("PPM", drawn(channels=1)), ascii_text, b"P5 2 2 65535\n" + bytes(range(8))]


def _clips(folder: Path) -> list[bytes]:
    arrays = {"landmarks": np.zeros((3, 68, 2), np.float32), "kinds": np.array(["a", "b"])}
    frames = [drawn(seed=seed) for seed in range(3)]
    ways = [{"format": "png"}, {"format": "jpeg", "arrays": arrays, "meta": {"identity": "a"}}]
    return written(folder, "a.clip", *(lambda path, way=way: pack(path, frames, fps=25, **way) for way in ways))


def _point_clips(folder: Path) -> list[bytes]:
    arrays = {"points": np.arange(272, dtype=np.float32).reshape(2, 68, 2)}
    return written(folder, "a.clip", lambda path: pack(path, [drawn()] * 2, fps=25, arrays=arrays))


def _indexes(folder: Path) -> list[bytes]:
    names = ["a/1", "a/2", "bé/1"]
    return written(
        folder, INDEX_NAME, lambda path: write_index(path, names, [3, 4, 5]),
        lambda path: write_index(path, names[:1], [3], ["somebody"]),
    )  # fmt: skip


def read_strip(path: Path) -> Any:
    """All frames of a strip, and its rate."""
    with open_video(path) as video:
        return [video.fps, *video]


def read_clip(path: Path) -> Any:
    """Everything in a packed clip."""
    clip = PackedClip(path)
    clip.verify()
    return [clip.fps, *clip, dict(clip.arrays), clip.meta]


def read_index(path: Path) -> Any:
    """Everything in an index of clips."""
    index = ClipIndex(path)
    people = [index.identity_name(int(subject)) for subject in index.identities]
    return [index.lengths, [index.name(k) for k in range(len(index))], people, index.clips_of]


TARGETS = (
    Target("png", "case.png", _png, read_image_and_text, within=(in_png,), checked=True),
    Target("strip", "case.png", _strips, read_strip, within=(in_png,), checked=True),
    Target("jpeg", "case.jpg", _jpeg, read_image_and_text),
    Target("bmp", "case.bmp", _bmp, read_image_and_text),
    Target("gif_picture", "case.png", _gif, read_image_and_text),
    Target("webp", "case.webp", _webp, read_image_and_text),
    Target("tiff", "case.tiff", _tiff, read_image_and_text),
    Target("ppm", "case.ppm", _ppm, read_image_and_text),
    Target("clip", "case.clip", _clips, read_clip, within=(in_packed,), checked=True),
    Target("clip_landmarks", "case.clip", _point_clips, read_points, within=(in_packed,)),
    Target("clip_index", INDEX_NAME, _indexes, read_index, within=(in_packed,), checked=True),
)
