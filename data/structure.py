"""Structure maps of faces, drawn from 68 key points and a picture: what the networks are told of a frame.

Bytes (F, C, S, S): edges (curves of the face 255, background edges 255, both 254), then for each of 14 curves the
distance to it, a third of a byte per pixel of city blocks, then the number of the face part, 0 to 6, as it is.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np
from PIL import Image

from data.edges import canny

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
"""Of each part its number, and its curves as lists of points: face, brows, nose, eyes, mouth, inner mouth."""
CURVES = tuple(curve for _, curves in PARTS for curve in curves)
OUTLINES = tuple((number, np.concatenate(curves)) for number, curves in PARTS)
"""Of each part its number and the points of the polygon that it fills."""
STEEPEST = 1 + 1e-6
"""A parabola bent more than this is not drawn."""
UNDRAWN = 255
"""The distance to a curve without a pixel."""
RIM = 3
"""Rows around a box, of which all farther rows are copies."""


def structure_maps(
    points: np.ndarray,
    size: tuple[int, int],
    side: int,
    background: Sequence[np.ndarray | None] | None = None,
    distances: bool = True,
) -> np.ndarray:
    """Structure maps of frames with points (F, 68, 2) in pixels of pictures of `size` (height, width).

    `background` holds the edges of the pictures at the side of the maps; None: curves only.
    """
    points = extended(points)
    maps = np.empty((len(points), structure_channels(distances), side, side), np.uint8)
    drawn = _by_frame(draw_curves(points, size, side), len(points))
    for index, (own, (curve, rows, columns)) in enumerate(zip(points, drawn, strict=True)):
        edges, labels = np.zeros((side, side), np.uint8), resized_labels(label_map(own, size), side)
        edges[rows, columns] = 255
        if background is not None and background[index] is not None:
            edges += 255 * (background[index] & (labels == 0)).view(np.uint8)
        maps[index, 0], maps[index, -1] = edges, labels
        if distances:
            distance_maps(curve, rows, columns, maps[index, 1:-1])
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


def background_edges(picture: np.ndarray, side: int) -> np.ndarray:
    """Where the picture (H, W, 3) has edges, at the side of the maps."""
    if picture.shape[:2] != (side, side):
        picture = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR))
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


def draw_curves(points: np.ndarray, size: tuple[int, int], side: int) -> tuple[np.ndarray, ...]:
    """The pixels of all curves of points (F, 83, 2): their frames, curves, rows and columns, frame after frame."""
    curve, corners = pieces()
    frames = np.repeat(np.arange(len(points)), len(curve))
    piece, x, y = interpolate(to_pixels(points[:, corners], size, side).reshape(-1, 3, 2))
    x, y = (np.clip(values, 0, side - 1) for values in (x, y))
    return frames[piece], np.tile(curve, len(points))[piece], y, x


def to_pixels(points: np.ndarray, size: tuple[int, int], side: int) -> np.ndarray:
    """Points in a picture of `size` as pixels of the maps; in single precision, which decides about whole numbers."""
    extent = np.array([size[1], size[0]], np.float32)
    return np.trunc(points.astype(np.float32) / extent * side).astype(np.float64)


def interpolate(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixels of parabolas through pieces (P, 3, 2) of first, middle and last point: the piece, x and y of each.

    Along its longer extent a piece has as many pixels as it is long, evenly spaced from end to end, which leaves one
    out. Where the middle has the same position along it as an end, the piece is a straight line to halfway between
    them.
    """
    along, across, upright = by_extent(corners)
    start, slope, bend = _parabolas(along, across)
    first, last = along[:, [0, 2]].min(1), along[:, [0, 2]].max(1)
    count = np.where(np.abs(bend) <= STEEPEST, last - first, 0).astype(int)
    piece = np.repeat(np.arange(len(corners)), count)
    number = np.arange(len(piece)) - np.repeat(np.cumsum(count) - count, count)
    position = first[piece] + number * ((last - first) / np.maximum(count - 1, 1))[piece]
    beyond_first, beyond_middle = (position - along[piece, corner] for corner in (0, 1))
    value = start[piece] + beyond_first * (slope[piece] + bend[piece] * beyond_middle)
    position, value = np.trunc(position).astype(int), np.trunc(value).astype(int)
    turned = upright[piece]
    return piece, np.where(turned, value, position), np.where(turned, position, value)


def by_extent(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The coordinates (P, 3) of pieces along and across their longer extent, and whether that is y."""
    steps = np.abs(np.diff(corners, axis=1)).max(1)
    upright = steps[:, 0] < steps[:, 1]
    x, y = corners[..., 0], corners[..., 1]
    return np.where(upright[:, None], y, x), np.where(upright[:, None], x, y), upright


def _parabolas(along: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of pieces, the value at the first point, the slope from there to the middle, and the bend (Newton's form)."""
    (x0, x1, x2), (y0, y1, y2) = along.T, across.T
    straight = (x1 == x0) | (x1 == x2)
    y0, y2 = np.where(x1 == x0, (y0 + y1) / 2, y0), np.where(x1 == x2, (y1 + y2) / 2, y2)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole, half = (y2 - y0) / (x2 - x0), (y1 - y0) / (x1 - x0)
        bend = np.where(straight, 0.0, (whole - half) / (x2 - x1))
    # Where the ends coincide no pixel is drawn, whatever the slope.
    return y0, np.where(straight, whole, half), bend


def _by_frame(drawn: tuple[np.ndarray, ...], count: int) -> Iterator[tuple[np.ndarray, ...]]:
    """The drawn pixels of each frame: curves, rows, columns."""
    frames, *pixels = drawn
    bounds = np.searchsorted(frames, np.arange(1, count))
    return zip(*(np.split(values, bounds) for values in pixels), strict=True)


def distance_maps(curve: np.ndarray, rows: np.ndarray, columns: np.ndarray, out: np.ndarray) -> None:
    """For each curve a third of the city-block distance of every pixel to it, in bytes (14, S, S).

    All pixels of a curve lie in a box; outside it, a distance is that of the nearest pixel of the box plus the way
    there. So only boxes are searched, widened to whole rows, with three more rows above and below: all rows beyond are
    copies of those three, one third more for each three rows of way.
    """
    side = out.shape[-1]
    starts = np.flatnonzero(np.diff(curve, prepend=-1))
    drawn = curve[starts]
    top, bottom, left, right = box = [
        edge.reduceat(values, starts) for values in (rows, columns) for edge in (np.minimum, np.maximum)
    ]
    pixels = [(rows[one:end], columns[one:end]) for one, end in pairwise([*starts.tolist(), len(curve)])]
    found, begin = _searched(pixels, box, side)
    # Rounding after this shift is rounding down.
    thirds = cv2.convertScaleAbs(found, alpha=1 / 3, beta=-1 / 3)
    places, source, beyond = np.arange(side), np.zeros((len(out), side), int), np.zeros((len(out), side), int)
    beyond[drawn] = np.maximum(_way_to(top, bottom, places) - 1, 0) // 3
    nearer = np.where(places > bottom[:, None], -3, 3) * beyond[drawn]
    source[drawn] = places - top[:, None] + nearer + begin[:, None]
    np.take(thirds, source, axis=0, out=out, mode="clip")
    out += beyond.astype(np.uint8)[..., None]
    undrawn = np.ones(len(out), bool)
    undrawn[drawn] = False
    out[undrawn] = UNDRAWN


def _searched(pixels: Iterable, box: Sequence[np.ndarray], side: int) -> tuple[np.ndarray, np.ndarray]:
    """The distances in the rows of all boxes and in RIM rows around each (rows, S), and the first row of each box."""
    top, bottom, left, right = box
    heights = bottom - top + 1 + 2 * RIM
    begin = np.cumsum(heights) - heights
    found, empty = np.empty((heights.sum(), side), np.uint16), np.ones((side, side), np.uint8)
    for own, start, height, y, y1, x, x1 in zip(pixels, begin, heights, *box, strict=True):
        empty[own] = 0
        inside = cv2.distanceTransform(empty[y : y1 + 1, x : x1 + 1], cv2.DIST_L1, 3).astype(np.uint16)
        empty[own] = 1
        margins = (RIM, RIM, x, side - 1 - x1)
        cv2.copyMakeBorder(inside, *margins, cv2.BORDER_REPLICATE, dst=found[start : start + height])
    found += _way_to(left, right, np.arange(side)).astype(np.uint16).repeat(heights, 0)
    row = np.arange(len(found)) - np.repeat(begin + RIM, heights)
    found += np.maximum(np.maximum(-row, row - np.repeat(bottom - top, heights)), 0).astype(np.uint16)[:, None]
    return found, begin + RIM


def _way_to(first: np.ndarray, last: np.ndarray, places: np.ndarray) -> np.ndarray:
    """How far each place of an axis is outside of some ranges: (ranges, places)."""
    return np.maximum(np.maximum(first[:, None] - places, places - last[:, None]), 0)
