"""Skin: colours and gloss painted over the grid of the head."""

import cv2
import numpy as np

from data.sample_faces.curves import bell, curve, step
from data.sample_faces.head import COLUMNS_BACK, Measures, Rows
from data.sample_faces.identity import Identity, linear

TEXELS = 5  # texels per cell of a grid


def texel_grid(values: np.ndarray) -> np.ndarray:
    """Values at vertices (R, C[, n]) interpolated at all texels ((R-1)*TEXELS+1, (C-1)*TEXELS+1[, n]), float32."""
    rows, columns = values.shape[:2]
    v, u = np.mgrid[0 : (rows - 1) * TEXELS + 1, 0 : (columns - 1) * TEXELS + 1].astype(np.float32) / TEXELS
    return cv2.remap(np.ascontiguousarray(values, np.float32), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[float, float]) -> np.ndarray:
    """Smooth noise, about -1..1, with patches of `cells` (rows, columns) texels."""
    size = [max(2, int(np.ceil(n / cell)) + 2) for n, cell in zip(shape, cells, strict=True)]
    coarse = rng.normal(0, 0.6, size).astype(np.float32)
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)


def _mix(image: np.ndarray, colour, amount: np.ndarray) -> np.ndarray:
    return image + (np.asarray(colour, np.float32) - image) * amount[..., None]


def brow_line(identity: Identity, m: Measures, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middle height and half thickness of a brow at |x|."""
    t = np.clip((x - 12.0) / 42.0, 0, 1)
    arch = 4.4 + 1.4 * identity.brow_arch - 1.6 * identity.masculine
    middle = m.brow_y + 2.0 - arch * np.sin(np.clip(t * 1.12, 0, 1.2) * np.pi * 0.72) ** 1.2 + 5.0 * step(0.62, 1.05, t)
    full = (2.2 + 0.45 * identity.brow_thickness + 1.1 * identity.masculine) * curve(
        t, [0, 0.12, 0.4, 0.75, 1], [0.75, 1, 1, 0.7, 0.25]
    )
    return middle, full


class Skin:
    """The texels of the head: where each lies on the face at rest, and the layers painted there."""

    def __init__(self, identity: Identity, rest: np.ndarray, rows: Rows, m: Measures):
        self.identity, self.m, self.rows = identity, m, rows
        self.rng = np.random.default_rng([identity.seed, 17, identity.number])
        position = texel_grid(rest)
        self.x, self.y, self.z = position[..., 0], position[..., 1], position[..., 2]
        self.ax = np.abs(self.x)
        self.row = (np.arange(position.shape[0], dtype=np.float32) / TEXELS)[:, None]
        self.front = step(-75, -55, self.z).astype(np.float32)
        self.shape = self.x.shape

    def paint(self) -> np.ndarray:
        """Albedo in linear light, float32."""
        identity = self.identity
        base = np.asarray(identity.skin, np.float32)
        image = np.broadcast_to(base, (*self.shape, 3)).copy()
        image = self._blotches(image, base)
        image = self._freckles(image)
        image = self._wrinkles(image)
        image = self._hair_shadow(image)
        image = self._eyes(image, base)
        image = self._lips(image)
        image = self._brows(image)
        return np.clip(image, 0.002, 1).astype(np.float32)

    def _blotches(self, image: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Blood near the surface, uneven pigment, pores."""
        identity, m, ax, y = self.identity, self.m, self.ax, self.y
        red = base * np.array([1.02, 0.70, 0.68], np.float32)
        rosy = 0.55 * bell(ax, y, 42, 27, 17, 15) + 0.55 * bell(ax, y, 0, m.nose_base - 9, 13, 9)
        rosy += 0.30 * bell(ax, y, 0, m.chin_y - 16, 16, 10) + 0.22 * bell(ax, y, m.nose_half, m.nose_base - 5, 6, 8)
        rosy = rosy * (0.75 - 0.35 * identity.masculine * 0.5) * (1 + 0.5 * noise(self.rng, self.shape, (30, 30)))
        image = _mix(image, red, np.clip(rosy, 0, 1) * self.front)
        image *= (1 + 0.035 * noise(self.rng, self.shape, (40, 40)) + 0.03 * noise(self.rng, self.shape, (9, 9)))[
            ..., None
        ]
        image *= (1 + 0.045 * noise(self.rng, self.shape, (2.2, 2.2)))[..., None]
        forehead = step(m.brow_y - 4, m.brow_y - 22, y) * self.front
        return _mix(image, base * np.array([1.04, 1.03, 0.95], np.float32), 0.35 * forehead)

    def _freckles(self, image: np.ndarray) -> np.ndarray:
        identity, m = self.identity, self.m
        marks = np.zeros(self.shape, np.float32)
        count = int(260 * identity.freckles) + self.rng.integers(2, 6)
        for _ in range(count):
            spread = identity.freckles > 0
            x, y = self.rng.normal(0, 30 if spread else 42), self.rng.normal(25 if spread else 50, 17 if spread else 45)
            size = self.rng.uniform(0.5, 1.0) if spread else self.rng.uniform(0.8, 1.5)
            rows, columns = self._near(x, y, 4.0)
            d = np.hypot(self.x[rows, columns] - x, self.y[rows, columns] - y)
            spot = step(size * 1.5, size * 0.4, d) * self.rng.uniform(0.25, 0.7) * self.front[rows, columns]
            marks[rows, columns] = np.maximum(marks[rows, columns], spot)
        tone = np.asarray(identity.skin, np.float32) * np.array([0.50, 0.34, 0.26], np.float32)
        away = 1 - np.clip(bell(self.ax, self.y, m.eye_x, 0, 14, 9) + bell(self.ax, self.y, 0, m.mouth_y, 26, 11), 0, 1)
        return _mix(image, tone, marks * away)

    def _front_columns(self) -> slice:
        return slice(COLUMNS_BACK * TEXELS, self.shape[1] - COLUMNS_BACK * TEXELS)

    def _near(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        """A window of texels around a point of the front of the face."""
        front = self._front_columns()
        column = front.start + int(np.argmin(np.abs(self.x[self.rows.eye * TEXELS, front] - x)))
        row = int(np.argmin(np.abs(self.y[:, column] - y)))
        n = int(reach * 4)
        return slice(max(row - n, 0), row + n), slice(max(column - n, 0), column + n)

    def _line(self, image: np.ndarray, distance: np.ndarray, width: float, amount) -> np.ndarray:
        """A crease: dark in the middle, a little light beside it."""
        t = distance / width
        return image * (1 - amount * (np.exp(-(t**2)) - 0.35 * np.exp(-((np.abs(t) - 2) ** 2))))[..., None]

    def _wrinkles(self, image: np.ndarray) -> np.ndarray:
        """Lines of age on the forehead, beside and below the eyes, from nose to mouth."""
        identity, m, x, ax, y = self.identity, self.m, self.x, self.ax, self.y
        old = float(np.clip((identity.age - 0.25) / 0.6, 0, 1))
        for k in range(4):
            height = m.brow_y - 13 - 9.5 * k + 2.0 * np.sin(x / 13.0 + k) + 1.2 * np.cos(ax / 17.0)
            reach = step(40 - 3 * k, 18, ax) * self.front
            image = self._line(image, y - height, 0.8, 0.19 * old * reach)
        for k in (-1, 0, 1, 2):
            height = 1.0 + 5.2 * k + (ax - m.eye_x - m.eye_half) * 0.16 * k * 2
            reach = step(m.eye_x + m.eye_half + 2, m.eye_x + m.eye_half + 6, ax)
            reach = reach * step(m.eye_x + m.eye_half + 17, m.eye_x + m.eye_half + 8, ax) * self.front
            image = self._line(image, y - height, 0.7, 0.22 * old * reach)
        bag = 9.5 + 3.5 * (1 - ((ax - m.eye_x) / 16) ** 2)
        image = self._line(
            image, y - bag, 1.6, (0.06 + 0.20 * old) * bell(ax, y, m.eye_x - 3, bag, 13, 60) * self.front
        )
        fold = m.nose_half + 4 + (y - m.nose_base + 8) * 0.52
        along = step(m.nose_base - 12, m.nose_base - 2, y) * step(m.mouth_y + 8, m.mouth_y - 4, y) * self.front
        return self._line(image, ax - fold, 1.5, (0.07 + 0.26 * old) * along)

    def _hair_shadow(self, image: np.ndarray) -> np.ndarray:
        """The shaven or bearded jaw and the stubble of the scalp."""
        identity, m, ax, y = self.identity, self.m, self.ax, self.y
        hair = np.asarray(identity.hair, np.float32)
        cheek_line = curve(
            ax, [0, 14, 30, 50, 66, 90], [m.nose_base + 1, m.nose_base + 3, m.mouth_y - 7, m.mouth_y - 16, 12, -6]
        )
        jaw = step(-4, 5, y - cheek_line) * step(m.chin_y + 16, m.chin_y + 1, y + 0.28 * ax * (y > m.chin_y))
        jaw *= step(-105, -82, self.z)
        soul = bell(ax, y, 0, m.mouth_y + 15, 5, 4)
        bare = np.clip(bell(ax, y, 11, m.mouth_y + 14.5, 7, 4.5) - soul, 0, 1) + bell(ax, y, 0, m.nose_base + 4, 2.0, 5)
        grain = np.clip(0.62 + 0.75 * noise(self.rng, self.shape, (3.2, 1.6)), 0, 1)
        amount = identity.beard if identity.beard > 0 else 0.10 * identity.masculine * (identity.masculine > 0.5)
        strength = np.clip(jaw * (1 - 0.8 * np.clip(bare, 0, 1)), 0, 1) * np.clip(amount * 1.15, 0, 0.94) * grain
        image = _mix(image, hair * 0.8 + 0.004, strength)
        if identity.hair_style in ("bald", "buzz"):
            image = _mix(
                image, hair, scalp_mask(self.x, y, self.z) * grain * (0.25 if identity.hair_style == "bald" else 0.8)
            )
        return image

    def _eyes(self, image: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Shadow around the eyes, the line of the lashes, the moist rims."""
        identity, m, ax, y, eye = self.identity, self.m, self.ax, self.y, self.rows.eye
        socket = bell(ax, y, m.eye_x - 1, -2, 19, 11) * 0.22 + 0.26 * bell(ax, y, m.eye_x - 4, 10, 12, 5)
        image = _mix(image, base * np.array([0.62, 0.46, 0.46], np.float32), socket * self.front)
        if identity.masculine < 0.5:
            shadow = bell(ax, y, m.eye_x + 2, -8, 15, 5) * 0.35 * self.front
            image = _mix(image, base * np.array([0.5, 0.36, 0.36], np.float32), shadow)
        within = step(m.eye_half + 1.5, m.eye_half - 1.5, np.abs(ax - m.eye_x)) * self.front
        rim = (self.row > eye + 0.15) & (self.row < eye + 2.85)
        image = _mix(image, linear((200, 128, 116)) * (0.5 + base), within * rim * 0.8)
        white = (np.abs(self.row - eye - 1.5) < 0.45) * step(0.86, 0.6, np.abs(ax - m.eye_x) / m.eye_half)
        image = _mix(image, linear((215, 200, 196)), within * white)
        heavy = 1.15 - 0.45 * identity.masculine
        outer = step(-m.eye_half, m.eye_half * 0.4, ax - m.eye_x)
        lash = np.exp(-((np.maximum(eye - self.row, 0) / (0.55 * heavy)) ** 2)) * (self.row < eye + 0.8)
        image = _mix(image, (0.008, 0.006, 0.005), within * lash * np.clip(0.62 + 0.4 * outer, 0, 1) * 0.95)
        lash = np.exp(-(((self.row - eye - 3.1) / 0.35) ** 2)) * (self.row > eye + 2.6)
        return _mix(image, (0.02, 0.012, 0.01), within * lash * outer * 0.55 * heavy)

    def _lips(self, image: np.ndarray) -> np.ndarray:
        identity, m, rows = self.identity, self.m, self.rows
        line = m.mouth_line(self.x)
        upper = self.row <= rows.mouth + 3.5
        above, below = line - self.y, self.y - line
        border = np.where(upper, m.upper_lip(self.x) - above, m.lower_lip(self.x) - below)
        lips = step(-0.9, 0.7, border) * (np.abs(self.x) < m.mouth_half) * self.front
        streaks = 1 + 0.10 * noise(self.rng, self.shape, (24, 2.4))
        colour = np.asarray(identity.lips, np.float32) * streaks[..., None]
        colour = colour * np.where(upper, 0.82, 1.0)[..., None]
        image = image + (colour - image) * (lips * (0.92 - 0.25 * identity.masculine))[..., None]
        inside = step(rows.mouth - 0.35, rows.mouth + 0.5, self.row) * step(
            rows.lower_lip + 0.35, rows.lower_lip - 0.5, self.row
        )
        inside = inside * (np.abs(self.x) < m.mouth_half) * self.front
        image = _mix(image, np.asarray(identity.lips) * 0.35, inside * 0.9)
        deep = step(rows.mouth + 1.6, rows.mouth + 2.2, self.row) * step(rows.mouth + 5.4, rows.mouth + 4.8, self.row)
        image = _mix(image, (0.010, 0.003, 0.003), deep * inside)
        corner = bell(self.ax, self.y, m.mouth_half + 0.5, float(m.mouth_line(np.array(m.mouth_half))), 3.0, 1.8)
        image = image * (1 - 0.45 * corner * self.front)[..., None]
        nostril = bell(self.ax, self.y, m.nose_half - 8.8, m.nose_base - 1.0, 3.5, 1.9)
        return _mix(
            image,
            np.asarray(identity.skin) * 0.10 * np.array([1.0, 0.6, 0.5]),
            np.clip(nostril * 1.25, 0, 0.95) * self.front,
        )

    def _brows(self, image: np.ndarray) -> np.ndarray:
        """Brows of single hairs over a soft ground."""
        identity = self.identity
        tone = np.asarray(identity.hair, np.float32) * 0.55 + 0.002
        tone = np.minimum(tone, np.asarray(identity.skin, np.float32) * 0.42)
        middle, full = brow_line(self.identity, self.m, self.ax)
        t = np.clip((self.ax - 11.0) / 43.0, -0.1, 1.1)
        within = step(0.0, 0.08, t) * step(1.02, 0.88, t) * self.front
        ground = np.exp(-(np.abs((self.y - middle) / (full * 1.02)) ** 2.6)) * within
        hairs = np.zeros(self.shape, np.float32)
        for side in (-1, 1):
            for x in self.rng.uniform(11.5, 53, 210):
                self._brow_hair(hairs, side, float(x))
        return _mix(image, tone, np.clip(0.62 * ground + 0.75 * hairs * within, 0, 0.96))

    def _brow_hair(self, hairs: np.ndarray, side: int, x: float) -> None:
        t = np.clip((x - 12.0) / 42.0, 0, 1)
        middle, full = brow_line(self.identity, self.m, np.array(x))
        y = float(middle) + self.rng.uniform(-1, 1) * float(full)
        angle = curve(t, [0, 0.15, 0.5, 1], [-1.35, -0.75, -0.15, 0.45]) + self.rng.normal(0, 0.12)
        length = self.rng.uniform(3.0, 5.5) * (1 - 0.3 * t)
        ends = []
        for s in (0.0, 0.5, 1.0):
            rows, columns = self._texel(side * (x + s * length * np.cos(angle)), y + s * length * np.sin(angle))
            ends.append((columns, rows))
        points = np.rint(np.array(ends) * 16).astype(np.int32)
        cv2.polylines(hairs, [points], False, float(self.rng.uniform(0.5, 1.0)), 1, cv2.LINE_AA, 4)

    def _texel(self, x: float, y: float) -> tuple[float, float]:
        """Fractional (row, column) texel of a point of the upper face."""
        top = self.rows.skull * TEXELS
        band = slice(top, self.rows.eye * TEXELS)
        front = self._front_columns()
        across = self.x[(band.start + band.stop) // 2, front]
        column = front.start + float(np.interp(x, across, np.arange(len(across))))
        heights = self.y[band, int(round(column))]
        return top + float(np.interp(y, heights, np.arange(len(heights)))), column

    def gloss(self) -> np.ndarray:
        """How much a vertex shines: (R, C)."""
        m = self.m
        x, y = self.ax[::TEXELS, ::TEXELS], self.y[::TEXELS, ::TEXELS]
        shine = 0.75 + 0.7 * bell(x, y, 0, m.nose_base * 0.75, 9, 14) + 0.5 * bell(x, y, 0, m.brow_y - 20, 32, 18)
        shine += 0.35 * bell(x, y, 44, 16, 14, 10) + 0.2 * bell(x, y, 0, m.chin_y - 14, 10, 8)
        line = m.mouth_line(x)
        lips = (line - y < m.upper_lip(x)) & (y - line < m.lower_lip(x)) & (x < m.mouth_half)
        return (shine + 1.5 * lips) * self.front[::TEXELS, ::TEXELS] + 0.2


def hairline(angle: np.ndarray) -> np.ndarray:
    """Height of the edge of the hair at an angle around the head (radians from the front)."""
    return curve(
        np.degrees(np.abs(angle)),
        [0, 14, 30, 44, 54, 62, 69, 76, 84, 92, 104, 120, 180],
        [-67, -69, -74, -66, -46, -28, -16, 2, 8, -4, 30, 55, 68],
    )


def scalp_mask(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Where hair grows, with a soft edge of a few millimetres."""
    angle = np.arctan2(x / 73.0, (z + 88.0) / 90.0)
    return step(-1.0, 6.0, hairline(angle) - y)
