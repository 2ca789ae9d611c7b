"""Structure maps of faces, drawn from 68 key points and a picture: the networks' input for a frame.

Bytes (F, C, S, S): edges (curves of the face 255, background edges 255, both 254), then for each of 14 curves the
distance to it, a third of a byte per pixel of city blocks, then the number of the face part, 0 to 6, as it is.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from data.structure.edges import canny
from data.structure.original_fit import interpolate_as_original
from data.structure.parabolas import interpolate

PARTS: tuple[tuple[int, tuple[tuple[int, ...], ...]], ...] = (
    (1, ((*range(17), *range(68, 83), 0),)),
    (2, (tuple(range(17, 22)),)),
    (2, (tuple(range(22, 27)),)),
    (3, ((28, 31), tuple(range(31, 36)), (35, 28))),
    (4, ((36, 37, 38, 39), (39, 40, 41, 36))),
    (4, ((42, 43, 44, 45), (45, 46, 47, 42))),
    (5, (tuple(range(48, 55)), (*range(54, 60), 48))),
    (6, ((60, 61, 62, 63, 64), (64, 65, 66, 67, 60))),
)
"""For each part its number, and its curves as lists of points: face, brows, nose, eyes, mouth, inner mouth."""
CURVES = tuple(curve for _, curves in PARTS for curve in curves)
OUTLINES = tuple((number, np.concatenate(curves)) for number, curves in PARTS)
"""For each part its number and the points of the polygon that it fills."""
UNDRAWN = 255
"""The distance to a curve that has no pixel."""
RIM = 3
"""Rows around a box; all farther rows are copies of them."""


def structure_maps(
    points: np.ndarray,
    size: tuple[int, int],
    side: int,
    background: Sequence[np.ndarray | None] | None = None,
    distances: bool = True,
    original_fit: bool = False,
) -> np.ndarray:
    """Structure maps of frames with points (F, 68, 2) in pixels of pictures of `size` (height, width).

    `background` holds the edges of the pictures at the side of the maps; None: curves only. `original_fit` draws the
    curves with the noise of the original's fit.
    """
    points = extended(points)
    maps = np.empty((len(points), structure_channels(distances), side, side), np.uint8)
    frames, curves, rows, columns = draw_curves(points, size, side, original_fit)
    maps[:, 0] = 0
    maps[frames, 0, rows, columns] = 255
    for index, own in enumerate(points):
        labels = resized_labels(label_map(own, size), side)
        if background is not None and background[index] is not None:
            maps[index, 0] -= (background[index] > labels).view(np.uint8)  # from 0 to 255, from 255 to 254
        maps[index, -1] = labels
    if distances:
        distance_maps(frames, curves, rows, columns, maps[:, 1:-1])
    return maps


def structure_channels(distances: bool) -> int:
    """Edges, distances, face parts."""
    return 2 + len(CURVES) * distances


def extended(points: np.ndarray) -> np.ndarray:
    """Points (F, 68, 2) with 15 more, (F, 83, 2): the outline of the jaw, mirrored and flattened, above the brows."""
    points = np.asarray(points, np.float64)
    jaw = points[:, :17].astype(np.int32)
    baseline = (jaw[:, :1, 1] + jaw[:, 16:, 1]) / 2
    x, y = jaw[:, 15:0:-1, 0], jaw[:, 15:0:-1, 1]
    mirrored = np.trunc(baseline + np.floor((baseline - y) * 2 / 3))
    return np.concatenate([points, np.stack([x, mirrored], 2)], 1)


def label_map(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The number of the face part at every pixel of a picture, from points (83, 2)."""
    labels, points = np.zeros(size, np.uint8), points.astype(np.int32)
    for number, outline in OUTLINES:
        cv2.fillPoly(labels, [points[outline]], number)
    return labels


def resized_labels(labels: np.ndarray, side: int) -> np.ndarray:
    """The labels at the side of the maps."""
    if labels.shape == (side, side):
        return labels
    return np.asarray(Image.fromarray(labels).resize((side, side), Image.Resampling.NEAREST))


def background_edges(picture: np.ndarray, side: int, original: bool = False) -> np.ndarray:
    """Where the picture (H, W, 3) has edges, at the side of the maps.

    `original` computes them by the original's libraries, in double precision. Where a gradient equals its neighbour's,
    single precision may choose the other one.
    """
    if picture.shape[:2] != (side, side):
        picture = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR))
    if original:
        from skimage import feature

        return feature.canny(np.asarray(Image.fromarray(picture).convert("L")))
    return canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))


@lru_cache(maxsize=1)
def pieces() -> tuple[np.ndarray, np.ndarray]:
    """The curves cut into pieces: the curve of each (P), its first, middle and last point (P, 3).

    A piece of two points has its last one in the middle, too.
    """
    cut = [
        (number, curve[start : start + 3])
        for number, curve in enumerate(CURVES)
        for start in range(0, max(1, len(curve) - 1), 2)
    ]
    corners = [(piece[0], piece[1], piece[-1]) for _, piece in cut]
    return np.array([number for number, _ in cut]), np.array(corners)


def draw_curves(
    points: np.ndarray, size: tuple[int, int], side: int, original_fit: bool = False
) -> tuple[np.ndarray, ...]:
    """The pixels of all curves of points (F, 83, 2): their frames, curves, rows and columns, frame after frame."""
    curve, corners = pieces()
    frames = np.repeat(np.arange(len(points)), len(curve))
    corner_pixels = to_pixels(points[:, corners], size, side).reshape(-1, 3, 2)
    if original_fit:
        piece, x, y = interpolate_as_original(corner_pixels, lines=np.tile(corners[:, 1] == corners[:, 2], len(points)))
    else:
        piece, x, y = interpolate(corner_pixels)
    x, y = (np.clip(values, 0, side - 1) for values in (x, y))
    return frames[piece], np.tile(curve, len(points))[piece], y, x


def to_pixels(points: np.ndarray, size: tuple[int, int], side: int) -> np.ndarray:
    """Points in a picture of `size` as pixels of the maps; single precision decides how whole numbers truncate."""
    extent = np.array([size[1], size[0]], np.float32)
    return np.trunc(points.astype(np.float32) / extent * side).astype(np.float64)


class Boxes(NamedTuple):
    """The first and last row and column of the boxes around all drawn curves, frame after frame."""

    top: np.ndarray
    bottom: np.ndarray
    left: np.ndarray
    right: np.ndarray

    @classmethod
    def around(cls, starts: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> "Boxes":
        """Around the pixels of curves; each curve begins at one of `starts`."""
        edges = (edge.reduceat(at, starts) for at in (rows, columns) for edge in (np.minimum, np.maximum))
        return cls(*(edge.astype(np.int32) for edge in edges))

    @property
    def heights(self) -> np.ndarray:
        return self.bottom - self.top + 1

    @property
    def widths(self) -> np.ndarray:
        return self.right - self.left + 1


def distance_maps(
    frames: np.ndarray, curves: np.ndarray, rows: np.ndarray, columns: np.ndarray, out: np.ndarray
) -> None:
    """For each curve of each frame a third of the city-block distance of every pixel to it, in bytes (F, 14, S, S).

    All pixels of a curve lie in a box. Outside it the distance is that of the box's nearest pixel plus the distance to
    that pixel. So only boxes are transformed, then widened to whole rows and by three rows above and below; all rows
    beyond copy those three, plus one third for each three rows.
    """
    count, side = out.shape[1:3]
    number = frames * count + curves
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    drawn, boxes = number[starts], Boxes.around(starts, rows, columns)
    bounds = np.searchsorted(drawn, count * np.arange(len(out) + 1)).tolist()
    copied, thirds = (np.zeros((len(out), count, side), kind) for kind in (np.intp, np.uint8))
    copied.reshape(-1, side)[drawn], thirds.reshape(-1, side)[drawn] = _copied_rows(boxes, bounds, side)
    widened = _widened(_inside(starts, rows, columns, boxes), boxes, bounds, side)
    for maps, found, copies, more in zip(out, widened, copied, thirds, strict=True):
        if len(found):
            # Rounding after this shift is rounding down.
            np.take(cv2.convertScaleAbs(found, alpha=1 / 3, beta=-1 / 3), copies, axis=0, out=maps, mode="clip")
            maps += more[..., None]
    undrawn = np.ones(len(out) * count, bool)
    undrawn[drawn] = False
    out[undrawn.reshape(-1, count)] = UNDRAWN


def _inside(starts: np.ndarray, rows: np.ndarray, columns: np.ndarray, boxes: Boxes) -> list[np.ndarray]:
    """The distances to each curve within its box."""
    heights, widths = boxes.heights, boxes.widths
    ends = np.cumsum(heights * widths)
    begins = ends - heights * widths
    own = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(rows)))
    empty = np.ones((heights * widths).sum(), np.uint8)
    empty[(begins - boxes.top * widths - boxes.left)[own] + rows * widths[own] + columns] = 0
    found = np.empty(len(empty), np.float32)
    slices = list(map(slice, begins.tolist(), ends.tolist()))
    sizes = list(zip(heights.tolist(), widths.tolist(), strict=True))
    for part, size in zip(slices, sizes, strict=True):
        cv2.distanceTransform(empty[part].reshape(size), cv2.DIST_L1, 3, dst=found[part].reshape(size))
    found = found.astype(np.uint16)
    return [found[part].reshape(size) for part, size in zip(slices, sizes, strict=True)]


def _widened(inside: list[np.ndarray], boxes: Boxes, bounds: list[int], side: int) -> Iterator[np.ndarray]:
    """For each frame the distances in the rows of all its boxes and in RIM rows around each (rows, S)."""
    heights = boxes.heights + 2 * RIM
    begins = np.cumsum([0, *heights])
    rim = np.zeros(begins[-1], np.uint16)
    for row in range(RIM):
        rim[begins[:-1] + row] = rim[begins[1:] - 1 - row] = RIM - row
    sideways = _way_to(boxes.left, boxes.right, side).astype(np.uint16)
    left, margins, offsets = boxes.left.tolist(), (side - 1 - boxes.right).tolist(), begins.tolist()
    for one, end in pairwise(bounds):
        first = offsets[one]
        found = np.empty((offsets[end] - first, side), np.uint16)
        for own in range(one, end):
            padded = found[offsets[own] - first : offsets[own + 1] - first]
            cv2.copyMakeBorder(inside[own], RIM, RIM, left[own], margins[own], cv2.BORDER_REPLICATE, dst=padded)
        found += sideways[one:end].repeat(heights[one:end], 0)
        found += rim[first : offsets[end], None]
        yield found


def _copied_rows(boxes: Boxes, bounds: list[int], side: int) -> tuple[np.ndarray, np.ndarray]:
    """For each row of each curve's map, which widened row of its frame it copies, and how many thirds it has more."""
    begins = np.cumsum([0, *(boxes.heights + 2 * RIM)])
    begins = begins[:-1] - np.repeat(begins[bounds[:-1]], np.diff(bounds))
    thirds = np.maximum(_way_to(boxes.top, boxes.bottom, side) - 1, 0).astype(np.uint16) // 3
    from_top = np.arange(side, dtype=np.int32) - boxes.top[:, None]
    nearer = np.where(from_top < 0, RIM, -RIM).astype(np.int32) * thirds
    return from_top + nearer + (begins + RIM)[:, None], thirds


def _way_to(first: np.ndarray, last: np.ndarray, side: int) -> np.ndarray:
    """How far each pixel of an axis is outside each range: (ranges, side)."""
    pixels = np.arange(side, dtype=np.int32)
    return np.maximum(np.maximum(first[:, None] - pixels, pixels - last[:, None]), 0)
