"""The 68 points of iBUG on the head's grid, as fixed points of the mesh and as people annotate pictures."""

import numpy as np

from data.sample_faces.head import COLUMNS_FRONT, Measures, Rows, column_angles
from data.sample_faces.identity import Identity
from data.sample_faces.skin import brow_line


def _bilinear(grid: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Values of a grid (R, C, n) at fractional (row, column) positions (N, 2)."""
    low = np.minimum(np.floor(position).astype(int), np.array(grid.shape[:2]) - 2)
    t = position - low
    a, b = t[:, :1], t[:, 1:]
    i, j = low[:, 0], low[:, 1]
    top = grid[i, j] * (1 - b) + grid[i, j + 1] * b
    return top * (1 - a) + (grid[i + 1, j] * (1 - b) + grid[i + 1, j + 1] * b) * a


class Landmarks:
    """Positions of the 68 points on the grid of one person.

    `fixed` are the same points of the skin in every frame. `annotated` differ only along the outline (0-16): when a
    side of the jaw turns away, its points slide to the visible edge of the face, as in the pictures that detectors
    learn from.
    """

    def __init__(self, rest: np.ndarray, rows: Rows, m: Measures, identity: Identity):
        self.rest, self.rows, self.m = rest, rows, m
        brow = [self._brow(x, identity) for x in (50.0, 42.0, 33.0, 23.5, 13.5)]
        self.positions = np.array(
            [*self._outline(), *self._mirrored(brow), *self._nose(), *self._eyes(), *self._mouth()], np.float64
        )

    def _find(self, x: float, y: float, low: int, high: int) -> tuple[float, float]:
        """Fractional (row, column) of a point of the front at rest, between two rows."""
        row, middle = (low + high) / 2, self.rest.shape[1] // 2
        front = slice(middle - COLUMNS_FRONT // 2, middle + COLUMNS_FRONT // 2 + 1)
        column = float(middle)
        for _ in range(6):
            column = front.start + float(np.interp(x, self.rest[int(round(row)), front, 0], np.arange(COLUMNS_FRONT)))
            row = low + float(np.interp(y, self.rest[low : high + 1, int(round(column)), 1], np.arange(high - low + 1)))
        return row, column

    def _column(self, row: int, x: float) -> tuple[float, float]:
        middle = self.rest.shape[1] // 2
        front = slice(middle - COLUMNS_FRONT // 2, middle + COLUMNS_FRONT // 2 + 1)
        return float(row), front.start + float(np.interp(x, self.rest[row, front, 0], np.arange(COLUMNS_FRONT)))

    def _mirrored(self, positions: list[tuple[float, float]]) -> list[tuple[float, float]]:
        """Points of the picture's left side, given on the right, and then those of the right side."""
        last = self.rest.shape[1] - 1
        return [(row, last - column) for row, column in positions] + positions[::-1]

    def _outline(self) -> list[tuple[float, float]]:
        rows, m = self.rows, self.m
        angles = np.degrees(column_angles())
        heights = rows.height

        def at(row: float, angle: float) -> tuple[float, float]:
            return row, float(np.interp(angle, angles, np.arange(len(angles))))

        def row_of(height: float) -> float:
            return float(np.interp(height, heights, np.arange(len(heights))))

        right = [
            at(row_of(6.0), 83), at(row_of(24.0), 83), at(row_of(m.mouth_y - 27), 83), at(row_of(m.mouth_y - 5), 81),
            at(row_of(m.chin_y - 16), 76), at(rows.chin - 1.6, 64), at(rows.chin - 0.6, 45), at(rows.chin - 0.3, 23),
        ]  # fmt: skip
        last = len(angles) - 1
        left = [(row, last - column) for row, column in right]
        return [*left, at(rows.chin, 0.0), *right[::-1]]

    def _brow(self, x: float, identity: Identity) -> tuple[float, float]:
        middle, full = brow_line(identity, self.m, np.array(x))
        return self._find(x, float(middle - 0.35 * full), self.rows.skull, self.rows.eye)

    def _nose(self) -> list[tuple[float, float]]:
        m, rows = self.m, self.rows
        low, high = rows.eye - 12, rows.mouth - 2
        tip = m.nose_base - 10.0
        bridge = [self._find(0.0, y, low, high) for y in np.linspace(-2.0, tip, 4)]
        below = [(m.nose_half - 4.0, m.nose_base - 3.2), (m.nose_half - 9.5, m.nose_base - 0.6)]
        right = [self._find(x, y, low, high) for x, y in below]
        last = self.rest.shape[1] - 1
        left = [(row, last - column) for row, column in right]
        return [*bridge, *left, self._find(0.0, m.nose_base + 0.8, low, high), *right[::-1]]

    def _eyes(self) -> list[tuple[float, float]]:
        m, eye = self.m, self.rows.eye
        inner, outer = m.eye_x - m.eye_half, m.eye_x + m.eye_half
        near, far = m.eye_x - 0.36 * m.eye_half, m.eye_x + 0.36 * m.eye_half
        upper, lower = eye, eye + 3
        left = [(upper, -outer), (upper, -far), (upper, -near), (upper, -inner), (lower, -near), (lower, -far)]
        right = [(upper, inner), (upper, near), (upper, far), (upper, outer), (lower, far), (lower, near)]
        return [self._column(row, x) for row, x in left + right]

    def _mouth(self) -> list[tuple[float, float]]:
        m, rows = self.m, self.rows
        half = m.mouth_half

        def upper(t: float) -> tuple[float, float]:
            x = np.array(t * half)
            return self._find(t * half, float(m.mouth_line(x) - m.upper_lip(x)), rows.mouth - 14, rows.mouth)

        def lower(t: float) -> tuple[float, float]:
            x = np.array(t * half)
            return self._find(t * half, float(m.mouth_line(x) + m.lower_lip(x)), rows.lower_lip, rows.lower_lip + 15)

        outer = [self._column(rows.mouth, -half), *(upper(t) for t in (-0.60, -0.20, 0.0, 0.20, 0.60))]
        outer += [self._column(rows.mouth, half), *(lower(t) for t in (0.62, 0.28, 0.0, -0.28, -0.62))]
        top = [self._column(rows.mouth, t * half) for t in (-0.88, -0.30, 0.0, 0.30, 0.88)]
        bottom = [self._column(rows.lower_lip, t * half) for t in (0.30, 0.0, -0.30)]
        return outer + top + bottom

    def fixed(self, grid: np.ndarray) -> np.ndarray:
        """The points of a posed grid (R, C, n): (68, n)."""
        return _bilinear(grid, self.positions)

    def annotated(self, grid: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """The points (68, 2) with the outline moved to the visible edge."""
        points = self.fixed(grid)[:, :2]
        middle = grid.shape[1] // 2
        for k in (*range(8), *range(9, 17)):
            row, column = self.positions[k]
            i = int(round(row))
            j = int(round(column))
            if normals[i, j, 2] > 0.05:
                continue
            inward = np.arange(j, middle, 1 if j < middle else -1)
            facing = inward[np.argmax(normals[i, inward, 2] > 0.05)] if len(inward) else j
            points[k] = grid[i, facing, :2]
        return points

    def visible(self, points: np.ndarray, depth: np.ndarray, scale: int) -> np.ndarray:
        """Whether a fixed point is unoccluded: (68,) bool. `depth` is the z-buffer."""
        x, y = (np.floor(points[:, k] * scale).astype(int) for k in (0, 1))
        inside = (x >= 0) & (y >= 0) & (x < depth.shape[1]) & (y < depth.shape[0])
        seen = depth[y.clip(0, depth.shape[0] - 1), x.clip(0, depth.shape[1] - 1)]
        return inside & (seen < points[:, 2] + 6.0)
