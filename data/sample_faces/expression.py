"""Expressions: seventeen action units that displace the head's grid, each in its own region."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from data.sample_faces.curves import bump, step
from data.sample_faces.head import HINGE, Lids, Measures, Rows

AU_NAMES = (
    "AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU10", "AU12", "AU14", "AU15", "AU17", "AU20", "AU23",
    "AU25", "AU26", "AU45",
)  # fmt: skip
AU_TITLES = (
    "inner brow raiser", "outer brow raiser", "brow lowerer", "upper lid raiser", "cheek raiser", "lid tightener",
    "nose wrinkler", "upper lip raiser", "lip corner puller", "dimpler", "lip corner depressor", "chin raiser",
    "lip stretcher", "lip tightener", "lips part", "jaw drop", "blink",
)  # fmt: skip
STRONGEST = 5.0
JAW_ANGLE = np.radians(13.5)  # at AU26 = 5


def au_vector(aus: Mapping[str, float] | Sequence[float] | None) -> np.ndarray:
    """Intensities as a vector in the order of AU_NAMES, from a mapping of names, a sequence or nothing."""
    if aus is None:
        return np.zeros(len(AU_NAMES))
    if isinstance(aus, Mapping):
        unknown = sorted(set(aus) - set(AU_NAMES))
        if unknown:
            raise ValueError(f"unknown action units {unknown}; known: {', '.join(AU_NAMES)}")
        return np.array([float(aus.get(name, 0.0)) for name in AU_NAMES])
    vector = np.asarray(aus, np.float64)
    if vector.shape != (len(AU_NAMES),):
        raise ValueError(f"expected {len(AU_NAMES)} intensities, got shape {vector.shape}")
    return vector


class _Rest:
    """The variables of the displacement fields: positions at rest, and the lip that a row belongs to."""

    def __init__(self, rest: np.ndarray, rows: Rows, m: Measures):
        # The rows inside the mouth move with the edge of their lip.
        source = np.arange(len(rest))
        source[rows.mouth + 1 : rows.mouth + 4] = rows.mouth
        source[rows.mouth + 4 : rows.lower_lip] = rows.lower_lip
        p = rest[source]
        self.m = m
        self.x, self.y = p[..., 0], p[..., 1]
        self.ax, self.side = np.abs(self.x), np.tanh(self.x / 4.0)
        self.front = step(-75, -60, p[..., 2])
        self.upper = (np.arange(len(rest)) < rows.mouth + 4)[:, None]
        line = rest[rows.mouth, :, 1][None]
        self.above, self.below = np.maximum(line - self.y, 0), np.maximum(self.y - line, 0)
        self.arch = np.sqrt(np.clip(1 - (self.x / m.mouth_half) ** 2, 0, 1))

    def bump(self, cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        return bump(self.ax, self.y, cx, cy, rx, ry) * self.front

    def field(self, out: np.ndarray | float = 0.0, down: np.ndarray | float = 0.0, z: np.ndarray | float = 0.0):
        """A displacement (R, C, 3) from its parts: outwards from the midline, down, forward."""
        zero = np.zeros_like(self.x)
        return np.stack([self.side * out + zero, down + zero, z + zero], -1)


def _waves(y: np.ndarray, length: float, phase: float = 0.0) -> np.ndarray:
    """Wrinkles: narrow furrows between broad folds."""
    return 1.0 - 2.0 * np.abs(np.sin(np.pi * (y - phase) / length)) ** 0.7


def _brows(f: _Rest) -> dict[str, np.ndarray]:
    m, brow = f.m, f.m.brow_y
    inner, outer = f.bump(12, brow - 2, 27, 30), f.bump(46, brow - 1, 26, 30)
    forehead = f.bump(0, brow - 27, 34, 24) * _waves(f.y, 8.5, brow)
    temples = f.bump(42, brow - 24, 20, 22) * _waves(f.y, 8.5, brow)
    frown = f.bump(6.5, brow + 4, 4, 17) - 0.9 * f.bump(0, brow + 4, 5, 17) - 0.7 * f.bump(13, brow + 2, 5, 13)
    low = f.bump(20, brow + 1, 36, 24)
    return {
        "AU01": f.field(down=-9.5 * inner, z=1.3 * forehead + 1.0 * inner),
        "AU02": f.field(down=-9.5 * outer, z=1.2 * temples + 0.6 * outer),
        "AU04": f.field(out=-4.6 * low, down=6.8 * low, z=1.6 * low - 1.7 * frown),
        "AU06": f.field(
            down=-5.0 * f.bump(42, 26, 28, 21),
            z=4.2 * f.bump(42, 20, 24, 17)
            - 1.0 * f.bump(34, 11, 18, 6)
            + 1.0 * f.bump(m.eye_x + 25, 2, 11, 15) * _waves(f.y, 5.5),
        ),
        "AU09": f.field(
            down=-6.0 * f.bump(12, m.nose_base - 12, 15, 21) * f.upper + 3.6 * f.bump(11, brow + 3, 20, 13),
            out=-1.5 * f.bump(11, brow + 3, 16, 12) + 1.6 * f.bump(m.nose_half, m.nose_base - 7, 11, 10),
            z=1.5 * f.bump(0, 10, 17, 15) * _waves(f.y, 4.6) + 2.2 * f.bump(m.nose_half + 5, 34, 12, 14),
        ),
    }


def _lip_fields(f: _Rest) -> dict[str, np.ndarray]:
    m = f.m
    up = np.clip(f.above / (m.mouth_y - m.nose_base), 0, 1)
    down = np.clip(f.below / 24.0, 0, 1)
    part = np.where(f.upper, -2.4 * f.arch * (1 - up) ** 2, 6.2 * f.arch * (1 - down) ** 2)
    lift = f.bump(0, m.mouth_y, m.mouth_half + 9, 34) * f.upper * (1 - 0.35 * step(8, 0, f.ax)) * f.arch**0.5
    tight = np.where(f.upper, np.minimum(f.above, m.lip_up + 2) * 0.42, -np.minimum(f.below, m.lip_down + 2) * 0.42)
    mouth = f.bump(0, m.mouth_y + 1, m.mouth_half + 9, 20)
    chin = f.bump(0, m.chin_y - 17, 27, 27)
    push = (
        f.bump(0, m.mouth_y + 6, m.mouth_half + 6, 26) * np.where(f.upper, (1 - up) ** 2 * 0.8, 1.0) * (0.25 + f.arch)
    )
    pucker = f.bump(0, m.chin_y - 14, 17, 13) * np.sin(f.x * 1.15) * np.sin(f.y * 1.05)
    return {
        "AU10": f.field(
            down=-6.6 * lift - 2.0 * f.bump(m.nose_half, m.nose_base - 6, 10, 12),
            z=1.6 * lift + 2.6 * f.bump(31, m.mouth_y - 26, 14, 16) - 1.6 * f.bump(24, m.mouth_y - 14, 6, 14),
        ),
        "AU17": f.field(down=-5.5 * np.maximum(push * 0.75, chin), z=2.6 * push + 2.2 * chin + 0.9 * pucker),
        "AU23": f.field(down=tight * mouth, out=-3.4 * mouth, z=-1.6 * mouth * step(0.2, 1, f.arch)),
        "AU25": f.field(down=part * f.front, z=0.18 * np.abs(part) * f.front),
    }


def _corners(f: _Rest) -> dict[str, np.ndarray]:
    m = f.m
    cx, cy = m.mouth_half, m.mouth_y
    pull = f.bump(cx + 2, cy, 25, 25)
    cheek = f.bump(40, cy - 30, 23, 24)
    fold = f.bump(cx + 9, cy - 13, 7, 17)
    depress = f.bump(cx + 1, cy + 3, 21, 21)
    dent = f.bump(cx + 7, cy, 6.5, 9)
    stretch = f.bump(cx + 3, cy + 2, 28, 20)
    flat = f.bump(0, cy + 1, cx + 12, 18) * np.where(f.upper, np.minimum(f.above, 8), -np.minimum(f.below, 9))
    return {
        "AU12": f.field(out=8.0 * pull + 1.5 * cheek, down=-8.6 * pull - 4.0 * cheek + 0.16 * flat,
                        z=-3.0 * pull + 3.8 * cheek - 2.0 * fold),
        "AU14": f.field(out=4.2 * f.bump(cx, cy, 15, 14), down=-0.8 * f.bump(cx, cy, 15, 14),
                        z=-3.4 * f.bump(cx + 1, cy, 14, 13) - 3.6 * dent + 1.4 * f.bump(cx + 14, cy, 7, 13)),
        "AU15": f.field(out=1.0 * depress, down=8.2 * depress, z=-1.8 * depress - 1.0 * f.bump(cx + 4, cy + 12, 9, 10)),
        "AU20": f.field(out=9.5 * stretch, down=1.6 * stretch + 0.2 * flat,
                        z=-3.4 * stretch - 1.0 * f.bump(cx + 14, cy + 3, 5, 14)),
    }  # fmt: skip


def _jaw_weight(f: _Rest, rest: np.ndarray, rows: Rows) -> np.ndarray:
    """How much a vertex follows the jaw: all of the chin, half of the corners of the mouth, none of the upper lip."""
    half = 0.5 - 0.5 * f.arch
    weight = np.where(f.upper, half * (1 - step(0, 26, f.above)), 1 - half * (1 - step(0, 22, f.below)))
    weight = weight * step(-92, -38, rest[..., 2])
    under = np.arange(len(rest)) - rows.chin
    return weight * np.where(under > 0, (1 - under / 7.0).clip(0) ** 1.5, 1.0)[:, None]


class Expressions:
    """All expressions of a face: `shape(aus)` gives the positions of the grid."""

    widest = STRONGEST
    """The level of AU26 above which the jaw opens no further."""

    def __init__(self, rest: np.ndarray, rows: Rows, m: Measures):
        self.rest, self.rows, self.lids = rest, rows, Lids(rest, rows, m)
        at_rest = _Rest(rest, rows, m)
        fields = {**_brows(at_rest), **_lip_fields(at_rest), **_corners(at_rest)}
        still = np.zeros_like(rest)
        basis = np.stack([fields.get(name, still) for name in AU_NAMES]) / STRONGEST
        self.basis = basis.reshape(len(AU_NAMES), -1).astype(np.float32)
        self.jaw_weight = _jaw_weight(at_rest, rest, rows)
        self.part_eye = np.abs(np.abs(rest[rows.eye, :, 0]) - m.eye_x) < m.eye_half
        self.part_eye &= rest[rows.eye, :, 2] > -70
        self.part_mouth = (np.abs(rest[rows.mouth, :, 0]) < m.mouth_half) & (rest[rows.mouth, :, 2] > -50)

    @staticmethod
    def lid_state(aus: np.ndarray, gaze_pitch: float = 0.0) -> tuple[float, float, float]:
        """(closure, extra lift of the upper lid, lift of the lower lid) from units 05, 06, 07, 45 and the gaze."""
        level = dict(zip(AU_NAMES, np.clip(aus, 0, STRONGEST) / STRONGEST, strict=True))
        look_down = float(np.clip(gaze_pitch / 40.0, -0.12, 0.5))
        opening = (1 - level["AU45"]) * (1 - 0.30 * level["AU07"]) * (1 - 0.14 * level["AU06"]) * (1 - look_down)
        wide = 3.0 * level["AU05"] * (1 - level["AU45"])
        return 1 - opening, wide, 2.3 * level["AU07"] + 1.7 * level["AU06"]

    def jaw_rotation(self, aus: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """A function (points, weights) -> points rotated about the jaw's hinge by AU26."""
        angle = JAW_ANGLE * float(np.clip(aus[AU_NAMES.index("AU26")], 0, self.widest)) / STRONGEST

        def turn(points: np.ndarray, weight: np.ndarray) -> np.ndarray:
            y, z = points[..., 1] - HINGE[1], points[..., 2] - HINGE[2]
            sin, cos = np.sin(angle * weight), np.cos(angle * weight)
            turned = [points[..., 0], HINGE[1] + cos * y + sin * z, HINGE[2] - sin * y + cos * z]
            return np.stack(turned, -1)

        return turn

    def shape(self, aus: np.ndarray, gaze_pitch: float = 0.0) -> np.ndarray:
        """Positions (R, C, 3) under an expression, before the head is posed."""
        p = self.rest + (np.asarray(aus, np.float32) @ self.basis).reshape(self.rest.shape)
        p = self.jaw_rotation(aus)(p, self.jaw_weight)
        self.lids.apply(p, *self.lid_state(aus, gaze_pitch))
        return p

    def region(self, name: str) -> np.ndarray:
        """Which vertices a unit may move: (R, C) bool."""
        full = np.zeros(len(AU_NAMES))
        full[AU_NAMES.index(name)] = STRONGEST
        return np.linalg.norm(self.shape(full) - self.shape(0 * full), axis=-1) > 0.02


# Where each unit shows, as boxes (left, top, right, bottom) of |x| and y in millimetres on the face at rest.
REGIONS: dict[str, Callable[[Measures], list[tuple[float, float, float, float]]]] = {
    "AU01": lambda m: [(0, m.brow_y - 54, 42, 4)],
    "AU02": lambda m: [(14, m.brow_y - 50, 78, 8)],
    "AU04": lambda m: [(0, m.brow_y - 26, 60, 8)],
    "AU05": lambda m: [(8, -22, 62, 12)],
    "AU06": lambda m: [(8, -20, 78, 52)],
    "AU07": lambda m: [(8, -22, 62, 20)],
    "AU09": lambda m: [(0, m.brow_y - 12, 42, m.mouth_y + 6)],
    "AU10": lambda m: [(0, 28, 50, m.mouth_y + 12)],
    "AU12": lambda m: [(0, 16, 72, m.mouth_y + 30)],
    "AU14": lambda m: [(4, m.mouth_y - 20, 56, m.mouth_y + 20)],
    "AU15": lambda m: [(0, m.mouth_y - 22, 54, m.mouth_y + 30)],
    "AU17": lambda m: [(0, m.mouth_y - 24, 44, m.chin_y + 14)],
    "AU20": lambda m: [(0, m.mouth_y - 26, 66, m.mouth_y + 30)],
    "AU23": lambda m: [(0, m.mouth_y - 26, 44, m.mouth_y + 30)],
    "AU25": lambda m: [(0, m.mouth_y - 24, 34, m.mouth_y + 30)],
    "AU26": lambda m: [(0, m.mouth_y - 34, 78, m.chin_y + 38)],
    "AU45": lambda m: [(8, -22, 62, 20)],
}
