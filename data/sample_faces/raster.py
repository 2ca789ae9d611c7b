"""A z-buffer rasteriser for regular grids of vertices, in numpy.

All grids of a scene are stacked in one atlas: vertex (i, j) of a part has the atlas coordinates (first_row + i, j).
The rasteriser only finds, for each sample of the picture, *where in the atlas* the nearest surface is; every other
quantity (colour, light, positions in another frame) is then one `cv2.remap` of an image laid out like the atlas.
"""

from dataclasses import dataclass

import cv2
import numpy as np

# A key of the z-buffer is the depth above and the triangle's number below: the largest key is the nearest surface.
DEPTH_STEPS = 100.0  # per millimetre
DEPTH_OFFSET = 450.0  # makes depths positive; surfaces are from here behind the origin to 200 mm before it
NUMBER_BITS = 16


@dataclass
class Mesh:
    """The triangles of an atlas: constant for an identity, while the vertices move."""

    triangles: np.ndarray  # (T, 3) numbers of vertices
    coordinates: np.ndarray  # (V, 2) float32 atlas coordinates (column, row) of the vertices
    two_sided: np.ndarray  # (T,) bool
    see_through: np.ndarray  # (T,) bool: the alpha image decides sample by sample
    alpha: np.ndarray | None  # (height, width) float32 over the atlas, `alpha_scale` texels per cell; above 0 is solid
    alpha_scale: int = 1

    def __post_init__(self):
        # Stored per corner, as every frame reads them.
        self.corners = [np.ascontiguousarray(self.triangles[:, k], np.int32) for k in range(3)]


@dataclass
class Samples:
    """The rasteriser's output: one entry per covered sample."""

    index: np.ndarray  # (N,) flat positions in the picture
    column: np.ndarray  # (N,) float32 atlas coordinates
    row: np.ndarray
    depth: np.ndarray  # (N,) float32, larger is nearer


def grid_triangles(rows: int, columns: int, keep: np.ndarray | None = None) -> np.ndarray:
    """Two triangles per cell of a grid (rows x columns vertices); `keep` (rows-1, columns-1) leaves cells out."""
    corner = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]
    if keep is not None:
        a, b, c, d = a[keep], b[keep], c[keep], d[keep]
    a, b, c, d = a.ravel(), b.ravel(), c.ravel(), d.ravel()
    return np.stack([np.stack([a, b, c], 1), np.stack([b, d, c], 1)], 1).reshape(-1, 3)


@dataclass
class _Facing:
    """The triangles that face the camera: their numbers, corners (three arrays of x and of y) and doubled areas."""

    number: np.ndarray
    x: list[np.ndarray]
    y: list[np.ndarray]
    area: np.ndarray

    def plane(self, values: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coefficients (a, b, c) of a*x + b*y + c through the values at the corners."""
        (x0, x1, x2), (y0, y1, y2), (v0, v1, v2) = self.x, self.y, values
        a = ((v1 - v0) * (y2 - y0) - (v2 - v0) * (y1 - y0)) / self.area
        b = ((v2 - v0) * (x1 - x0) - (v1 - v0) * (x2 - x0)) / self.area
        return a, b, v0 - a * x0 - b * y0


def _facing(screen: np.ndarray, mesh: Mesh, height: int, width: int) -> _Facing:
    sx, sy = screen[:, 0].astype(np.float32), screen[:, 1].astype(np.float32)
    x, y = [sx[c] for c in mesh.corners], [sy[c] for c in mesh.corners]
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    seen = (area > 1e-4) | (mesh.two_sided & (area < -1e-4))
    seen &= (np.maximum(np.maximum(x[0], x[1]), x[2]) > 0) & (np.minimum(np.minimum(x[0], x[1]), x[2]) < width)
    seen &= (np.maximum(np.maximum(y[0], y[1]), y[2]) > 0) & (np.minimum(np.minimum(y[0], y[1]), y[2]) < height)
    number = np.flatnonzero(seen)
    return _Facing(number, [v[number] for v in x], [v[number] for v in y], area[number])


def _by_height(facing: _Facing) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The corners of each triangle from top to bottom."""
    x, y = list(facing.x), list(facing.y)
    for i, j in ((0, 1), (1, 2), (0, 1)):
        swap = y[i] > y[j]
        x[i], x[j] = np.where(swap, x[j], x[i]), np.where(swap, x[i], x[j])
        y[i], y[j] = np.where(swap, y[j], y[i]), np.where(swap, y[i], y[j])
    return x, y


def _before(count: np.ndarray) -> np.ndarray:
    """Where each run starts if runs of these lengths follow each other."""
    return np.cumsum(count, dtype=np.int32) - count


def _spans(facing: _Facing, height: int, width: int) -> tuple[np.ndarray, ...]:
    """Horizontal runs of sample centres inside each triangle: (triangle, row, first column, length)."""
    x, y = _by_height(facing)
    top = np.maximum(np.ceil(y[0] - 0.5), 0).astype(np.int32)
    bottom = np.minimum(np.floor(y[2] - 0.5), height - 1).astype(np.int32)
    count = np.maximum(bottom - top + 1, 0)
    triangle = np.repeat(np.arange(len(count), dtype=np.int32), count)
    row = np.arange(len(triangle), dtype=np.int32) + np.repeat(top - _before(count), count)
    centre = row + np.float32(0.5)

    def edge(i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
        slope = (x[j] - x[i]) / np.maximum(y[j] - y[i], np.float32(1e-6))
        return slope, x[i] - slope * y[i]

    (long_slope, long_base), (upper_slope, upper_base), (lower_slope, lower_base) = edge(0, 2), edge(0, 1), edge(1, 2)
    one = np.repeat(long_slope, count) * centre + np.repeat(long_base, count)
    is_upper = centre < np.repeat(y[1], count)
    slope = np.where(is_upper, np.repeat(upper_slope, count), np.repeat(lower_slope, count))
    other = slope * centre + np.where(is_upper, np.repeat(upper_base, count), np.repeat(lower_base, count))
    # A tiny overlap avoids cracks between neighbours.
    first = np.maximum(np.ceil(np.minimum(one, other) - np.float32(0.502)), 0).astype(np.int32)
    last = np.minimum(np.floor(np.maximum(one, other) - np.float32(0.498)), width - 1).astype(np.int32)
    some = np.flatnonzero(last >= first)
    return triangle[some], row[some], first[some], (last - first + 1)[some]


def rasterise(screen: np.ndarray, mesh: Mesh, height: int, width: int) -> Samples:
    """Find the nearest surface at each sample; `screen` is (V, 3): x, y in samples, depth in mm (larger is nearer)."""
    facing = _facing(screen, mesh, height, width)
    corners = [corner[facing.number] for corner in mesh.corners]
    depth = ((screen[:, 2] + DEPTH_OFFSET) * DEPTH_STEPS).astype(np.float32)
    za, zb, zc = facing.plane([depth[c] for c in corners])
    across = facing.plane([mesh.coordinates[c, 0] for c in corners])
    down = facing.plane([mesh.coordinates[c, 1] for c in corners])

    triangle, row, first, length = _spans(facing, height, width)
    start = _before(length)
    total = int(length.sum())
    step = np.arange(total, dtype=np.int32) - np.repeat(start, length)
    slope = za[triangle]
    level = zb[triangle] * (row + 0.5) + zc[triangle] + slope * (first + 0.5)
    owner = np.repeat(triangle, length)
    depth = np.repeat(level.astype(np.float32), length) + np.repeat(slope.astype(np.float32), length) * step
    # Steep slivers may point far beyond their corners; they stay within the range of a key.
    key = np.clip(depth, 1, (1 << NUMBER_BITS) - 1).astype(np.uint32) << NUMBER_BITS
    key |= owner.view(np.uint32)
    pixel = np.repeat(row * width + first, length) + step
    if mesh.alpha is not None:
        clear = _clear(mesh, mesh.see_through[facing.number][owner], owner, pixel, width, across, down)
        key[clear] = 0

    nearest = np.zeros(height * width, np.uint32)
    np.maximum.at(nearest, pixel, key)
    index = np.flatnonzero(nearest)
    key = nearest[index]
    owner = (key & ((1 << NUMBER_BITS) - 1)).astype(np.int32)
    py, px = np.divmod(index.astype(np.int32), width)
    px, py = px + np.float32(0.5), py + np.float32(0.5)
    return Samples(
        index,
        across[0][owner] * px + across[1][owner] * py + across[2][owner],
        down[0][owner] * px + down[1][owner] * py + down[2][owner],
        (key >> NUMBER_BITS).astype(np.float32) / np.float32(DEPTH_STEPS) - np.float32(DEPTH_OFFSET),
    )


def _clear(mesh: Mesh, asked, owner, pixel, width: int, across, down) -> np.ndarray:
    """Numbers of the fragments that the alpha image lets through, among those that ask for it."""
    asked = np.flatnonzero(asked)
    owner, pixel = owner[asked], pixel[asked]
    py, px = np.divmod(pixel, width)
    px, py = px + np.float32(0.5), py + np.float32(0.5)
    u = (across[0][owner] * px + across[1][owner] * py + across[2][owner]) * mesh.alpha_scale
    v = (down[0][owner] * px + down[1][owner] * py + down[2][owner]) * mesh.alpha_scale
    return asked[lookup(mesh.alpha, u, v)[:, 0] <= 0]


def lookup(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Values (N, channels) of a float image at positions (column, row), bilinear."""
    if not len(u):
        return np.zeros((0, image.shape[2] if image.ndim == 3 else 1), np.float32)
    count, width = len(u), 512  # cv2.remap wants maps of moderate width
    maps = np.zeros((2, -(-count // width) * width), np.float32)
    maps[0, :count], maps[1, :count] = u, v
    maps = maps.reshape(2, -1, width)
    found = cv2.remap(image, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found.reshape(maps[0].size, -1)[:count]
