"""Pictures as RGB arrays: reads all common formats, writes whole files."""

import os
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from data.video.limits import check_canvas
from util.errors import UserError
from util.files import path_exists, replacing
from util.reading import reading

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
WRITTEN_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM")
"""Formats that Pillow may open, whatever the suffix; the others belong to drawing programs."""
UNREADABLE = "cannot be read as a picture"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PART = 1 << 16
"""Bytes to read of a chunk at once."""
ROWS = 256
# Level 6, the default of most libraries, takes three times as long for a tenth less.
PNG_COMPRESSION = 2


def natural_key(name: str | Path) -> tuple:
    """Sort names as people count: frame2 before frame10."""
    # Text and numbers alternate, so text compares to text and numbers to numbers; the name breaks ties of 1 and 01.
    parts = re.split(r"(\d+)", str(name))
    return [int(part) if part.isdecimal() else part.casefold() for part in parts], str(name)


def list_images(folder: Path | str) -> list[Path]:
    """The pictures directly in a folder, in natural order; hidden files are not data."""
    found = (path for path in Path(folder).iterdir() if is_visible_image(path.name))
    return sorted(found, key=lambda path: natural_key(path.name))


def folders_with(root: Path | str, wanted: Callable[[str], bool]) -> tuple[list[Path], list[Path]]:
    """The folders in and below one with files of wanted names in them, and those with nothing, in natural order.

    Skips hidden entries. Does not follow links to folders; they count as those with nothing.
    """
    full, empty = [], []
    for path, inner, files in os.walk(root):
        folder = Path(path)
        inner[:] = [name for name in inner if not name.startswith(".")]
        empty += [folder / name for name in inner if (folder / name).is_symlink()]
        if any(map(wanted, files)):
            full.append(folder)
        elif not inner:
            empty.append(folder)
    return sorted(full, key=natural_key), sorted(empty, key=natural_key)


def is_visible_image(name: str) -> bool:
    """Whether the name is that of a picture, and not hidden: then it is data."""
    return is_image(name) and not name.startswith(".")


def is_image(path: Path | str) -> bool:
    """Whether the name is that of a picture."""
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def read_image(path: Path | str) -> np.ndarray:
    """Read a picture of any kind as (H, W, 3) uint8 RGB, upright; transparent parts become white."""
    return read_image_and_text(path)[0]


def read_image_and_text(path: Path | str) -> tuple[np.ndarray, dict[str, str]]:
    """Read a picture and the text fields it carries (PNG only): our frames remember their rate in them."""
    path = Path(path)
    # Ignore invalid metadata as long as the pixels can be read.
    with reading(path, UNREADABLE, "replace or remove it"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not path_exists(path):
            raise UserError(f"{path}: no such picture")
        with path.open("rb") as file, open_picture(file, path) as picture:
            pixels = _to_rgb(picture)
            # The text of a PNG may follow its pixels, so read it last.
            return pixels, {key: str(value) for key, value in getattr(picture, "text", {}).items()}


def open_picture(file: BinaryIO, path: Path) -> Image.Image:
    """Open a picture of the formats that are read, if it is not too large; `path` is for errors."""
    head = file.read(32)
    if head.startswith(PNG_SIGNATURE):
        file.seek(len(PNG_SIGNATURE))
        _check_png(file)
    elif size := _webp_size(head):
        check_canvas(path, *size)  # its reader allocates the canvas when it opens the file
    file.seek(0)
    # Without a list Pillow tries all formats that it knows; one of them starts Ghostscript. Our limit replaces
    # Pillow's, which is global to the process.
    Image.MAX_IMAGE_PIXELS = None
    try:
        picture = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError("not a picture, or damaged at the start" if head else "the file is empty") from None
    check_canvas(path, *picture.size)
    return picture


def _check_png(file: BinaryIO) -> None:
    """Compare the chunks of a PNG with their checksums; Pillow leaves out those of the pixels.

    PNG specification, section 5.3: length, type, data, CRC-32 of type and data.
    """
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        value = zlib.crc32(kind)
        while length and (part := file.read(min(PART, length))):
            value = zlib.crc32(part, value)
            length -= len(part)
        if file.read(4) != struct.pack(">I", value):
            raise ValueError(f"damaged: the chunk {kind.decode('ascii', 'replace')} does not match its checksum")
        if kind == b"IEND":
            return


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Width and height in the header of a WebP file (RFC 9649, section 2); None for other files."""
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < 32:
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        return tuple(1 + int.from_bytes(head[start : start + 3], "little") for start in (24, 27))
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return tuple(int.from_bytes(head[start : start + 2], "little") & 0x3FFF for start in (26, 28))


def _to_rgb(picture: Image.Image) -> np.ndarray:
    """Turn an opened picture upright and into RGB of eight bits."""
    picture.load()
    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode == "F":
        raise ValueError("floating-point values of unknown range; save it with 8 or 16 bits")
    if picture.mode.startswith("I"):
        return _grey16_to_rgb(np.asarray(picture))
    # A palette or a grey picture can name one of its colours as the transparent one.
    if picture.has_transparency_data:
        return on_white(np.asarray(picture.convert("RGBA")))
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _grey16_to_rgb(grey: np.ndarray) -> np.ndarray:
    """Grey values of sixteen bits as three equal channels of eight bits."""
    eight_bits = ((np.clip(grey, 0, 65535).astype(np.int32) + 128) // 257).astype(np.uint8)
    return np.repeat(eight_bits[..., None], 3, axis=2)


def on_white(rgba: np.ndarray) -> np.ndarray:
    """Lay a picture with an alpha channel on white paper, as a browser shows it."""
    out = rgba[..., :3].copy()
    for start in range(0, len(rgba), ROWS):  # sums need twice the memory of the pixels
        rows = rgba[start : start + ROWS]
        alpha = rows[..., 3:].astype(np.uint16)
        if alpha.min(initial=255) < 255:
            out[start : start + ROWS] = (rows[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return out


def write_image(path: Path | str, frame: np.ndarray, *, quality: int = 95, text: dict[str, str] | None = None) -> None:
    """Write an RGB frame as png, jpg or bmp, whole or not at all; `text` goes into the fields of a PNG."""
    with replacing(path) as temporary:
        save_image(temporary, frame, quality=quality, text=text)


def save_image(path: Path | str, frame: np.ndarray, *, quality: int = 95, text: dict[str, str] | None = None) -> None:
    """Write a picture in place: for folders that become visible as a whole when all is written."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITTEN_SUFFIXES:
        raise UserError(f"{path}: use one of the suffixes {', '.join(WRITTEN_SUFFIXES)} for pictures")
    options = {}
    if suffix == ".png":
        options = {"compress_level": PNG_COMPRESSION, "pnginfo": _png_text(text or {})}
    elif suffix != ".bmp":
        # Half the colour resolution is visible at the edges of lips, and saves only a tenth of the size.
        options = {"quality": quality, "subsampling": 0 if quality >= 95 else 2}
    Image.fromarray(checked_frame(frame)).save(path, **options)


def checked_frame(frame: np.ndarray) -> np.ndarray:
    """A contiguous frame, ready to write; raises ValueError for a wrong shape or type, a bug of the caller."""
    frame = np.asarray(frame)
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"a frame must be (height, width, 3) uint8, not {frame.shape} {frame.dtype}")
    return np.ascontiguousarray(frame)


def _png_text(text: dict[str, str]) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for key, value in text.items():
        info.add_text(key, value)
    return info


def side_by_side(frames: list[np.ndarray]) -> np.ndarray:
    """Frames of one height in a row: a strip that `open_video` reads again, or a visual comparison."""
    heights = {frame.shape[0] for frame in frames}
    if len(heights) != 1:
        raise ValueError(f"frames side by side must have the same height, not {sorted(heights)}")
    return np.concatenate([checked_frame(frame) for frame in frames], axis=1)
