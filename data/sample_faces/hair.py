"""Hair: a cap over the scalp with locks and single hairs, and what hangs from it or is tied."""

import cv2
import numpy as np

from data.sample_faces.curves import curve, step
from data.sample_faces.head import COLUMNS_BACK, Rows, column_angles
from data.sample_faces.identity import Identity
from data.sample_faces.parts import Part
from data.sample_faces.skin import TEXELS, hairline, noise, texel_grid

SHINE = {"gloss": 0.6, "shininess": 28.0, "strands": True}


def _edge(identity: Identity, angle: np.ndarray) -> np.ndarray:
    """Height of the lowest hair of this person at an angle around the head."""
    degrees = np.degrees(np.abs(angle))
    recede = 16.0 * max(0.0, identity.age - 0.25) * identity.masculine * np.exp(-(((degrees - 30) / 16) ** 2))
    edge = hairline(angle) - recede + identity.fringe * 30.0 * step(52, 34, degrees)
    if identity.hair_style in ("long", "bob"):  # falls over the temples from a parting
        drape = curve(degrees, [0, 8, 24, 40, 50, 60, 180], [-71, -70, -56, -36, -14, 40, 60])
        edge = np.maximum(edge, drape)
    return edge


def under_hair(identity: Identity, rest: np.ndarray) -> np.ndarray:
    """Which cells of the head (R-1, C-1) are well under the hair and need not be drawn."""
    if identity.hair_style == "bald":
        return np.zeros((rest.shape[0] - 1, rest.shape[1] - 1), bool)
    angle = np.broadcast_to(column_angles(), rest.shape[:2])
    deep = np.minimum(_edge(identity, angle), hairline(angle)) - rest[..., 1] > 26
    return deep[:-1, :-1] & deep[1:, 1:] & deep[:-1, 1:] & deep[1:, :-1]


def _strands(identity: Identity, shape: tuple[int, int], rng: np.random.Generator, sweep: float = 0.0) -> np.ndarray:
    """Colour of hair that runs along the rows of a grid, in locks and single hairs; `sweep` makes it lean."""
    if identity.hair_style == "curly":
        tone = 1 + 0.42 * noise(rng, shape, (7, 5)) + 0.30 * noise(rng, shape, (3, 2.2))
    else:
        tone = 1 + 0.20 * noise(rng, shape, (80, 9)) + 0.24 * noise(rng, shape, (50, 3.2))
        tone += 0.30 * noise(rng, shape, (36, 1.3))
    grey = np.clip(noise(rng, shape, (40, 1.5)) * identity.age * 0.35, 0, 1)
    hair = np.asarray(identity.hair, np.float32) + 0.003
    image = hair * np.clip(tone, 0.22, 2.3)[..., None] + 0.1 * grey[..., None]
    return _lean(image.astype(np.float32), sweep)


def _lean(image: np.ndarray, sweep: float) -> np.ndarray:
    """Shift each row of a texture sideways, more the farther down."""
    if not sweep:
        return image
    v, u = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    return cv2.remap(image, u + np.float32(sweep) * v, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _thickness(identity: Identity, high: np.ndarray, grid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How far the hair stands off the head, in millimetres; `high` is the distance over its edge."""
    top = step(8, 80, high)
    side = grid[..., 0] / 73.0
    front = step(-120, -60, grid[..., 2])
    locks = noise(rng, high.shape, (8, 2.2))
    if identity.hair_style == "buzz":
        return 2.2 * step(-2, 10, high)
    if identity.hair_style == "curly":
        lumps = 2.4 * noise(rng, high.shape, (2.6, 2.4))
        return (13 + (12 - 6 * identity.masculine) * top + lumps) * step(-4, 15, high)
    if identity.hair_style == "short":
        return (3.5 + 11 * top + 5 * front * step(4, 26, high) + 1.3 * locks * top) * step(-5, 20, high)
    if identity.hair_style == "parted":
        parting = np.exp(-(((side + 0.40) / 0.07) ** 2)) * step(8, 30, high) * front
        volume = 4.0 + 13 * top * (1 + 0.3 * side * front) + 4 * front * step(2, 24, high) * (side > -0.4)
        return (volume + 1.0 * locks * top) * step(-6, 22, high) * (1 - 0.6 * parting)
    if identity.hair_style == "tied":
        return (5.0 + 2 * top + 0.5 * locks) * step(-4, 9, high)
    parting = np.exp(-((side / 0.06) ** 2)) * step(4, 24, high) * front * (1 - identity.fringe)
    return (8.0 + 6 * top + 0.8 * locks) * step(-6, 16, high) * (1 - 0.6 * parting)


def _cap(identity: Identity, rest: np.ndarray, rows: Rows, rng: np.random.Generator) -> Part:
    """The hair close to the head: every second vertex of the head, lifted."""
    angles, back = column_angles(), COLUMNS_BACK
    pick_rows = np.unique(np.r_[0 : rows.skull, rows.skull : rows.mouth - 2 : 2])
    pick_columns = np.unique(np.r_[0:back, back : len(angles) - back : 2, len(angles) - back : len(angles)])
    grid = rest[np.ix_(pick_rows, pick_columns)]
    angle = np.broadcast_to(angles[pick_columns], grid.shape[:2])
    high = _edge(identity, angle) - grid[..., 1]
    out = grid - np.array([0.0, -18.0, -88.0])
    out /= np.linalg.norm(out, axis=-1, keepdims=True)
    thick = _thickness(identity, high, grid, rng)
    # A fringe hangs free of the forehead.
    hanging = 3.5 * identity.fringe * step(50, 30, np.degrees(np.abs(angle))) * step(-4, 2, high)
    cap = grid + out * (thick + hanging + np.where(high > -6, 0.7, -4.0))[..., None]
    fine = texel_grid(high)
    sweep = {"parted": -0.55, "short": 0.3}.get(identity.hair_style, 0.0)
    texture = _strands(identity, fine.shape, rng, sweep)
    return Part("hair", cap, texture, alpha=_hairline_alpha(identity, fine, rng, sweep), two_sided=high[:-1, :-1] < 28,
                shade=0.80 + 0.20 * step(-2, 9, high), casts_shadow=False, **SHINE)  # fmt: skip


def _hairline_alpha(identity: Identity, high: np.ndarray, rng: np.random.Generator, sweep: float) -> np.ndarray:
    """Above zero where there is hair: all well above the edge, single hairs near it."""
    shape = high.shape
    if identity.hair_style == "curly":
        ragged = 3.5 * noise(rng, shape, (6, 4)) + 2.5 * noise(rng, shape, (2.5, 2))
    else:
        locks = noise(rng, shape, (22, 9)) * (2.2 + 3.0 * identity.fringe)
        ragged = locks + _lean(3.0 * noise(rng, shape, (24, 2.0)) + 4.2 * noise(rng, shape, (18, 1.0)), sweep)
    return (high + ragged - 2.5).astype(np.float32)


def _curtain(identity: Identity, rng: np.random.Generator) -> Part:
    """Hair that hangs from the crown around the sides and the back."""
    end = 205.0 if identity.hair_style == "long" else 84.0
    y = np.concatenate([np.linspace(-88, -10, 10), np.linspace(4, end, 20)])[:, None]
    knots = [-88, -60, -30, 0, 60, 120, 205]
    front = curve(y[:, 0], knots, [24, 34, 43, 49, 52, 47, 38])[:, None]
    t = np.linspace(0, 1, 49)[None]
    turn = np.radians(front + (360 - 2 * front) * t)
    knots = [-88, -60, -20, 20, 80, 130, 205]
    width = curve(y[:, 0], knots, [46, 68, 84, 92, 92, 94, 104])[:, None]
    depth = curve(y[:, 0], knots, [58, 84, 102, 104, 96, 90, 86])[:, None]
    if identity.hair_style == "bob":
        width = width * (1 - 0.12 * step(50, 84, y))
    waves = 0.02 * np.sin(turn * 15 + y / 27 + 2) + 0.012 * np.sin(turn * 37 - y / 40)
    ripple = 1 + waves * step(-60, 0, y)
    z = -92 + depth * np.cos(turn) * ripple + 16 * step(60, 200, y) * step(0.2, 1.0, np.abs(np.cos(np.pi * t)))
    rest = np.stack([width * np.sin(turn) * ripple, y + 4 * np.sin(turn * 9) * step(end - 20, end, y), z], -1)
    shape = ((rest.shape[0] - 1) * TEXELS + 1, (rest.shape[1] - 1) * TEXELS + 1)
    across = np.minimum(np.linspace(0, 1, shape[1]), np.linspace(1, 0, shape[1]))[None] * 49
    down = np.linspace(0, 1, shape[0])[:, None]
    fray = 0.35 * noise(rng, shape, (60, 2)) + 0.25 * noise(rng, shape, (30, 1.5))
    alpha = np.minimum(across + fray - 0.5, 20 * (0.95 - down - 0.05 * noise(rng, shape, (30, 1.6))))
    follows = step(150, 20, y) * np.ones_like(t) * 0.85 + 0.15
    return Part(
        "long hair",
        rest,
        _strands(identity, shape, rng),
        alpha=alpha.astype(np.float32),
        follows=follows,
        two_sided=np.broadcast_to(y[:-1] > -50, (len(y) - 1, t.size - 1)),
        **SHINE,
    )


def _bun(identity: Identity, rng: np.random.Generator) -> Part:
    latitude = np.linspace(0.02, np.pi - 0.02, 13)[:, None]
    turn = np.linspace(0, 2 * np.pi, 25)[None]
    ripple = 1 + 0.05 * np.sin(6 * turn + 5 * latitude)
    sin = np.sin(latitude)
    ball = np.stack([sin * np.sin(turn), -np.cos(latitude) + 0 * turn, sin * np.cos(turn)], -1)
    rest = np.array([0, -106.0, -136.0]) + 33 * ball * ripple[..., None] * np.array([1.1, 0.85, 1])
    return Part("bun", rest, _strands(identity, (12 * TEXELS + 1, 24 * TEXELS + 1), rng, 0.8), **SHINE)


def hair(identity: Identity, rest: np.ndarray, rows: Rows, rng: np.random.Generator) -> list[Part]:
    """All the hair of a person, nothing for the bald."""
    if identity.hair_style == "bald":
        return []
    parts = [_cap(identity, rest, rows, rng)]
    if identity.hair_style in ("long", "bob"):
        parts.append(_curtain(identity, rng))
    if identity.hair_style == "tied":
        parts.append(_bun(identity, rng))
    return parts
