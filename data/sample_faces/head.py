"""The head: a grid of vertices with slits for the eyes and the mouth, shaped by an identity.

Millimetres; x to the right of the picture, y down, z towards the camera. The origin lies between the eyes, roughly on
the skin. Rows run from the crown over face and chin down the neck, columns around the head, starting and ending at the
back. At the eyes and the mouth two neighbouring rows part: between them is the opening.
"""

from dataclasses import dataclass

import numpy as np

from data.sample_faces.curves import bell, bump, curve, soft_max, step
from data.sample_faces.identity import Identity

HINGE = np.array([0.0, 22.0, -84.0])  # the axis of the jaw
COLUMNS_FRONT, COLUMNS_BACK = 67, 12
EYE_ROWS, MOUTH_ROWS = 4, 8  # rows that coincide outside the openings


@dataclass
class Measures:
    """Positions of the features of one face."""

    eye_x: float
    eye_half: float
    eye_up: float
    eye_down: float
    eye_tilt: float
    brow_y: float
    nose_base: float
    nose_half: float
    mouth_y: float
    mouth_half: float
    lip_up: float
    lip_down: float
    chin_y: float
    width: float  # scale of the cheeks' width
    jaw: float  # scale of the jaw's width

    @classmethod
    def of(cls, identity: Identity) -> "Measures":
        nose_base = 49.5 + 3.2 * identity.nose_length
        mouth_y = nose_base + 20.0 + 1.4 * identity.mouth_height + 1.5 * identity.masculine
        return cls(
            eye_x=31.5 + 1.6 * identity.eye_distance,
            eye_half=15.6 + 0.8 * identity.eye_width,
            eye_up=7.0 + 0.7 * identity.eye_opening - 1.0 * identity.age - 0.9 * identity.masculine,
            eye_down=4.5 + 0.3 * identity.eye_opening,
            eye_tilt=1.7 + 1.3 * identity.eye_tilt - 1.2 * identity.age,
            brow_y=-20.5 - 2.0 * identity.brow_height + 3.0 * identity.masculine,
            nose_base=nose_base,
            nose_half=16.4 + 1.9 * identity.nose_width + 1.4 * identity.masculine,
            mouth_y=mouth_y,
            mouth_half=25.5 + 2.2 * identity.mouth_width,
            lip_up=7.2 + 1.5 * identity.upper_lip - 1.6 * identity.age - 0.8 * identity.masculine,
            lip_down=9.4 + 1.5 * identity.lower_lip - 1.4 * identity.age - 0.5 * identity.masculine,
            chin_y=mouth_y + 38.5 + 3.0 * identity.face_length + 4.0 * identity.masculine,
            width=1.0 + 0.032 * identity.face_width + 0.018 * identity.fullness,
            jaw=1.0 + 0.055 * identity.jaw_width + 0.09 * (identity.masculine - 0.5) + 0.035 * identity.fullness,
        )

    def lid_line(self, x: np.ndarray) -> np.ndarray:
        """Height of the line between the corners of an eye; the outer corner is a little higher."""
        return -self.eye_tilt * np.clip((x - self.eye_x) / self.eye_half, -1.2, 1.2)

    def upper_lid(self, x: np.ndarray) -> np.ndarray:
        t = np.clip((x - self.eye_x) / self.eye_half, -1, 1)
        return self.lid_line(x) - self.eye_up * (1 - np.abs(t + 0.10 * (1 - t * t)) ** 2.2)

    def lower_lid(self, x: np.ndarray) -> np.ndarray:
        t = np.clip((x - self.eye_x) / self.eye_half, -1, 1)
        return self.lid_line(x) + self.eye_down * (1 - np.abs(t - 0.12 * (1 - t * t)) ** 2.4)

    def upper_lip(self, x: np.ndarray) -> np.ndarray:
        """Height of the upper lip's border, with its bow, over the line of the mouth."""
        t = np.clip(np.abs(x) / self.mouth_half, 0, 1)
        return self.lip_up * curve(t, [0, 0.07, 0.2, 0.45, 0.75, 1], [0.80, 0.86, 1.0, 0.82, 0.42, 0])

    def lower_lip(self, x: np.ndarray) -> np.ndarray:
        t = np.clip(np.abs(x) / self.mouth_half, 0, 1)
        return self.lip_down * curve(t, [0, 0.3, 0.6, 0.85, 1], [1.0, 0.95, 0.66, 0.28, 0])

    def mouth_line(self, x: np.ndarray) -> np.ndarray:
        t = np.clip(np.abs(x) / self.mouth_half, 0, 1.2)
        return self.mouth_y - 0.6 + 1.3 * bell(t, 0, 0, 0, 0.45, 1)


@dataclass
class Rows:
    """Reference heights of the rows and where the openings and rings are."""

    height: np.ndarray  # (R,)
    eye: int  # the upper lid's edge; eye + 1 and eye + 2 are the rims, eye + 3 the lower lid's edge
    mouth: int  # the upper lip's edge; the next rows go into the mouth and back out to the lower lip's edge
    chin: int  # the ring along the jaw
    skull: int  # rows above this are on the dome of the skull

    @property
    def lower_lip(self) -> int:
        """The lower lip's edge."""
        return self.mouth + MOUTH_ROWS - 1


def make_rows(m: Measures) -> Rows:
    """Denser where the face has more detail."""
    angle = np.radians(np.linspace(90, 18, 12))
    dome = -25 - 86 * np.sin(angle) ** 0.8
    upper = [np.arange(dome[-1] + 3, -31, 3.0), np.arange(-30, -11, 1.9), np.arange(-10.5, -1, 1.3)]
    middle = [np.arange(1.2, 11, 1.3), np.arange(12.5, 32, 2.2), np.linspace(34, m.nose_base + 3, 15)]
    lip = [np.linspace(m.nose_base + 4.3, m.mouth_y - 1.0, 14)]
    chin = [np.linspace(m.mouth_y + 1.0, m.mouth_y + 17, 15), np.linspace(m.mouth_y + 19, m.chin_y, 12)]
    neck = [m.chin_y + np.array([1.5, 3.5, 6.0, 10, 17, 26, 37, 50, 64, 80, 98])]
    parts = [[dome], upper, [np.zeros(EYE_ROWS)], middle, lip, [np.full(MOUTH_ROWS, m.mouth_y)], chin, neck]
    lengths = [sum(len(piece) for piece in part) for part in parts]
    eye, mouth = sum(lengths[:2]), sum(lengths[:5])
    height = np.concatenate([piece for part in parts for piece in part])
    return Rows(height, eye=eye, mouth=mouth, chin=sum(lengths[:7]) - 1, skull=lengths[0])


def column_angles() -> np.ndarray:
    """Angles around the head from back (-pi) over the front (0) to the back (pi), denser in front."""
    front = np.arcsin(np.linspace(-0.93, 0.93, COLUMNS_FRONT))
    back = np.linspace(front[-1], np.pi, COLUMNS_BACK + 1)[1:]
    return np.concatenate([-back[::-1], front, back])


def _rings(identity: Identity, m: Measures, rows: Rows) -> dict[str, np.ndarray]:
    """The horizontal cross-section at every row: half width, centre, depth to front and back, lift at the side."""
    mouth, chin = m.mouth_y, m.chin_y
    jaw, wide = m.jaw, m.width
    neck = 1.0 + 0.05 * identity.neck_width + 0.12 * (identity.masculine - 0.5)
    table = [  # height, half width, centre, front, back, lift
        (-25, 73.5 * wide, -88, 91.5, 92, 0),
        (0, 72.0 * wide, -88, 89, 92, 0),
        (20, 71.0 * wide, -88, 88, 88, 0),
        (40, 68.0 * wide, -87, 87, 82, 2),
        (mouth - 13, 66.0 * jaw, -85, 86, 75, 6),
        (mouth, 64.5 * jaw, -83, 83.5, 70, 11),
        (mouth + 17, 61.5 * jaw, -78, 76, 66, 19),
        (chin - 12, 58.0 * jaw, -73, 72, 64, 27),
        (chin - 4, 55.5 * jaw, -70, 66, 62, 32),
        (chin, 53.0 * jaw, -70, 59, 61, 35),
        (chin + 1.5, 50.0 * jaw, -71, 47, 60, 35),
        (chin + 3.5, 47.5 * jaw, -74, 34, 58, 33),
        (chin + 6, 47.0 * neck, -78, 26, 56, 28),
        (chin + 10, 49.0 * neck, -81, 25.5, 55, 22),
        (chin + 26, 50.0 * neck, -86, 30, 52, 8),
        (chin + 50, 52.0 * neck, -90, 36, 52, 0),
        (chin + 98, 62.0 * neck, -94, 44, 56, 0),
    ]
    columns = np.array(table, np.float64).T
    names = ("width", "centre", "front", "back", "lift")
    return {name: curve(rows.height, columns[0], column) for name, column in zip(names, columns[1:], strict=True)}


def _ovals(identity: Identity, m: Measures, rows: Rows, angles: np.ndarray) -> np.ndarray:
    """The head without features: (R, C, 3)."""
    ring = {name: value[:, None] for name, value in _rings(identity, m, rows).items()}
    sin, cos = np.sin(angles)[None], np.cos(angles)[None]
    y = np.repeat(rows.height[:, None], len(angles), 1)
    x = ring["width"] * sin
    z = ring["centre"] + np.where(cos > 0, ring["front"], ring["back"]) * cos
    y = y - ring["lift"] * (1 - cos) * step(-1.1, -0.2, cos) ** 0.5
    skull = rows.height < -25
    dome = np.where(skull, (1 - np.abs((rows.height + 25) / 86) ** 2.5).clip(0) ** 0.4, 1.0)[:, None]
    x, z = x * dome, ring["centre"] + (z - ring["centre"]) * dome
    return np.stack([x, y, z], -1)


def _nose(identity: Identity, m: Measures, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height of the nose over the face."""
    base, high = m.nose_base, 1.0 + 0.10 * identity.nose_height + 0.05 * identity.masculine
    t = y / base
    hook = 2.2 * identity.nose_hook * bell(t, 0, 0.45, 0, 0.22, 1)
    ridge = high * curve(
        t, [-0.3, -0.12, 0.02, 0.2, 0.4, 0.6, 0.74, 0.82, 0.9, 0.96, 1.0, 1.06],
        [0.0, 1.8, 2.6, 5.6, 10.4, 15.4, 19.2, 20.2, 18.2, 13.0, 6.6, 0.0],
    ) + hook  # fmt: skip
    width = curve(t, [-0.3, 0.0, 0.3, 0.6, 0.8, 1.0], [9.0, 7.6, 8.8, 10.4, 11.6, 11.0]) * (
        1 + 0.05 * identity.nose_width
    )
    z = ridge * np.exp(-(np.abs(x / width) ** 2.0))
    ax = np.abs(x)
    tip = 1.8 * bell(ax, y, 3.0, base - 10.0, 5.0, 6.0)
    wing_x = m.nose_half - 4.2
    wing = 6.6 * np.exp(-(((ax - wing_x) / 5.6) ** 2) - (np.abs((y - base + 6.6) / 6.4) ** 2))
    crease = -1.6 * bell(ax, y, m.nose_half + 1.4, base - 8, 2.4, 8)
    nostril = -3.0 * bell(ax, y, wing_x - 4.4, base - 1.5, 3.6, 2.6)
    return z + tip + wing + crease + nostril


def _features(identity: Identity, m: Measures, p: np.ndarray) -> np.ndarray:
    """Relief of the front of the face along z, without eyelids and lips."""
    x, y = p[..., 0], p[..., 1]
    ax = np.abs(x)
    brow, mouth, chin = m.brow_y, m.mouth_y, m.chin_y
    man, old = identity.masculine, identity.age
    z = (0.8 + 2.6 * man) * bell(ax, y, 24, brow + 3, 20, 8) + 2.0 * man * bell(ax, y, 0, brow + 2, 12, 9)
    z -= (5.8 + 0.8 * man) * bell(ax, y, m.eye_x - 1, -0.5, 20, 13) + 4.0 * bell(ax, y, 14.5, -2, 6.5, 10)
    z += (3.4 + 2.0 * identity.cheekbones) * bell(ax, y, 45, 24, 19, 15)
    z += (2.2 * identity.fullness - 1.8 - 2.4 * old) * bell(ax, y, 50, mouth - 14, 16, 20)
    z += (2.0 + 1.5 * identity.fullness) * bell(ax, y, 30, 38, 16, 16)
    z += 4.2 * bell(ax, y, 0, mouth - 3, 30, 20)
    fold = 22 + (y - m.nose_base) * 0.55
    along = step(m.nose_base - 14, m.nose_base, y) * step(mouth + 8, mouth - 6, y)
    z -= (0.5 + 2.0 * old) * along * np.exp(-(((ax - fold) / 3.4) ** 2))
    z += (0.3 + 1.2 * old) * along * np.exp(-(((ax - fold - 6) / 5) ** 2))
    z -= 1.3 * bell(ax, y, 0, m.nose_base + 8, 3.4, 7)
    z += 0.9 * bell(ax, y, 5.5, m.nose_base + 9, 3.0, 7)
    z += (5.5 + 1.4 * identity.chin + 1.5 * man) * bell(ax, y, 0, chin - 14, 17, 13)
    z -= 4.2 * bell(ax, y, 0, mouth + 17, 22, 5.5)
    z -= (0.4 + 1.2 * old) * bell(ax, y, m.mouth_half + 6, mouth + 12, 5, 12)
    z -= 1.5 * old * bell(ax, y, m.eye_x, 17, 15, 3.5)
    z += _nose(identity, m, x, y)
    z += 0.25 * old * np.sin(y / 1.35) * bell(ax, y, 0, brow - 24, 34, 16)
    return z * (p[..., 2] > -70)


def _lips(m: Measures, p: np.ndarray, rows: Rows) -> np.ndarray:
    """Open the slit of the mouth and round the lips: new positions."""
    p = p.copy()
    x = p[..., 0]
    line = m.mouth_line(x)
    near = bump(x, p[..., 1], 0, m.mouth_y, m.mouth_half * 2.2, 26)
    p[..., 1] += (line - m.mouth_y) * near
    c = np.sqrt(np.clip(1 - (x / m.mouth_half) ** 2, 0, 1))
    above, below = line - p[..., 1], p[..., 1] - line
    up, down = np.maximum(m.upper_lip(x), 0.3), np.maximum(m.lower_lip(x), 0.3)
    t = above / up
    roll = 3.3 * np.sin(np.clip(t + 0.25, 0, 1.45) / 1.45 * np.pi) ** 0.8 + 1.0 * bell(t, 0, 1.05, 0, 0.16, 1)
    front = np.zeros(x.shape, bool)
    front[: rows.mouth + 1] = True
    lips = np.where(front & (t < 1.5) & (t > -0.1), roll, 0)
    t = below / down
    roll = 4.0 * np.sin(np.clip(t + 0.22, 0, 1.32) / 1.32 * np.pi) ** 0.8
    front = np.zeros(x.shape, bool)
    front[rows.lower_lip :] = True
    lips = np.where(front & (t < 1.2) & (t > -0.1), roll, lips)
    p[..., 2] += lips * c * (p[..., 2] > -40)
    c = (c * (p[..., 2] > -40))[rows.mouth]
    edge = p[rows.mouth].copy()
    # The lips roll inwards and line a dark pocket: (row, y, z) from the upper lip's edge to the back and out again.
    pocket = ((1, 0.6, -2.4), (2, -2.5, -5.0), (3, -8.0, -34.0), (4, 8.0, -34.0), (5, 2.5, -5.0), (6, -0.2, -2.4))
    for k, dy, dz in pocket:
        p[rows.mouth + k] = edge + np.stack([0 * c, dy * c, dz * c], -1)
    # A closed mouth is a line: the lower edge meets the upper.
    p[rows.lower_lip] = edge
    return p


def _tilt_eyes(m: Measures, p: np.ndarray) -> np.ndarray:
    """Bring the row of the eyes onto the line between their corners."""
    p = p.copy()
    ax, y = np.abs(p[..., 0]), p[..., 1]
    p[..., 1] += m.lid_line(ax) * bump(ax, y, m.eye_x, 0, 34, 19) * (p[..., 2] > -80)
    return p


def build_rest(identity: Identity) -> tuple[np.ndarray, Rows, Measures]:
    """The face at rest but for the lids, whose slit is still closed (see Lids): (R, C, 3)."""
    m = Measures.of(identity)
    rows = make_rows(m)
    p = _ovals(identity, m, rows, column_angles())
    p[..., 2] += _features(identity, m, p)
    p = _lips(m, p, rows)
    return _tilt_eyes(m, p), rows, m


class Lids:
    """Eyelids that open and close over the ball; they replace the positions of a patch of the grid."""

    radius = 13.0  # of the lids' inside, from the centre of the ball
    squeeze = 0.74  # the ball is stretched sideways to fill the corners

    def __init__(self, rest: np.ndarray, rows: Rows, m: Measures):
        self.m, self.eye = m, rows.eye
        height = rows.height
        self.rows = slice(int(np.searchsorted(height, -19.0)), int(np.searchsorted(height, 16.0)))
        mid = rest.shape[1] // 2
        x = rest[rows.eye, :, 0]
        front = np.flatnonzero((np.abs(x) < m.eye_x + 24) & (rest[rows.eye, :, 2] > -70))
        self.columns = (slice(front[0], mid), slice(mid + 1, front[-1] + 1))
        at = np.argmin(np.abs(x - m.eye_x) + 1e3 * (rest[rows.eye, :, 2] < -70))
        self.centre = np.array([m.eye_x, 0.3, rest[rows.eye, at, 2] + 2.6 - 12.0])

    def apply(self, p: np.ndarray, closure: float, wide: float, lower: float) -> None:
        """Set the lids in place: `closure` 0..1, `wide` and `lower` in millimetres of extra lift of either lid."""
        for side in range(2):
            self.apply_one(p, side, closure, wide, lower)

    def apply_one(self, p: np.ndarray, side: int, closure: float, wide: float, lower: float) -> None:
        """The same for the lids of one eye: 0 is that on the picture's left."""
        columns = self.columns[side]
        p[self.rows, columns] = self._patch(p[self.rows, columns], closure, wide, lower)

    def edges(self, x: np.ndarray, closure: float, wide: float, lower: float) -> tuple[np.ndarray, np.ndarray]:
        """Heights of the edges of the upper and the lower lid at x (absolute) and of nothing else."""
        m = self.m
        t = np.clip(np.abs((x - m.eye_x) / m.eye_half), 0, 1)
        arch = 1 - t**2
        down = m.lower_lid(x) - lower * arch
        up = m.upper_lid(x) - wide * arch
        return np.minimum(up + (down - up) * closure, down), down

    def _patch(self, q: np.ndarray, closure: float, wide: float, lower: float) -> np.ndarray:
        m, q = self.m, q.copy()
        first = self.eye - self.rows.start
        ax, y = np.abs(q[..., 0]), q[..., 1]
        line = y[first] - m.lid_line(ax[first])  # displacement of the line of the eye by expressions
        up, down = self.edges(ax, closure, wide, lower)
        up, down = up - m.lid_line(ax), down - m.lid_line(ax)
        side = bump(ax, 0 * ax, m.eye_x, 0, m.eye_half + 12, 1) > 0
        offset = y - line - m.lid_line(ax)
        above = np.clip(-offset / 17.0, 0, 1)
        below = np.clip(offset / 14.0, 0, 1)
        moved = np.where(np.arange(len(q))[:, None] < first + 2, up * (1 - above) ** 2.2, down * (1 - below) ** 2.2)
        q[..., 1] = y + np.where(side, moved, 0)
        q[..., 2] = self._over_ball(q, ax, up - down, first, closure)
        return q

    def _over_ball(self, q: np.ndarray, ax: np.ndarray, aperture: np.ndarray, first: int, closure: float) -> np.ndarray:
        """Heights of the lids: draped over the ball, with a crease, and a rim of some thickness."""
        m = self.m
        dx = (ax - self.centre[0]) * self.squeeze
        dy = q[..., 1] - self.centre[1]
        ball = np.sqrt(np.clip(self.radius**2 - dx**2 - dy**2, 0.01, None)) + self.centre[2]
        ball = np.where(self.radius**2 - dx**2 - dy**2 > 0.01, ball, -200)
        near = step(1.3, 0.85, np.hypot(dx / 13.5, dy / 15.0))
        z = q[..., 2] + near * (soft_max(q[..., 2], ball, 4.5) - q[..., 2])
        crease = q[..., 1] - m.upper_lid(ax) + 3.6
        within = step(m.eye_half + 7, m.eye_half - 3, np.abs(ax - m.eye_x))
        z -= (1.5 - 0.9 * closure) * np.exp(-((crease / 1.7) ** 2)) * within
        # The rims of the lids fold back to a strip behind the ball that shows only in the corners of the eye.
        arch = np.sqrt(np.clip(1 - ((ax[first] - m.eye_x) / m.eye_half) ** 2, 0, 1))
        for k in (1, 2):
            z[first + k] -= (1.7 + 6.0 * arch) * step(0, 1.5, -aperture[first + k])
        return z


def weld_normals(normals: np.ndarray, rows: Rows, parted_eye: np.ndarray, parted_mouth: np.ndarray) -> None:
    """Where rows of an opening coincide they are one surface: give them one normal (in place)."""
    for first, count, parted in ((rows.eye, EYE_ROWS, parted_eye), (rows.mouth, MOUTH_ROWS, parted_mouth)):
        group = slice(first, first + count)
        normals[group] = np.where(parted[None, :, None], normals[group], normals[group].sum(0, keepdims=True))
