"""The other parts of a person: eyes, teeth, tongue, ears and shoulders, each a grid with a texture."""

from dataclasses import dataclass

import numpy as np

from data.sample_faces.curves import curve, step
from data.sample_faces.head import Lids, Measures, Rows
from data.sample_faces.identity import Identity, linear
from data.sample_faces.skin import TEXELS, noise, texel_grid

EYE_RADIUS = 12.0
EYE_SHININESS = 90.0


@dataclass
class Part:
    """One grid. `follows`: how much a vertex moves with the head (1) or the body (0)."""

    name: str
    rest: np.ndarray  # (R, C, 3)
    texture: np.ndarray  # ((R-1)*TEXELS+1, (C-1)*TEXELS+1, 3) float32, linear albedo
    follows: np.ndarray | float = 1.0
    jaw: np.ndarray | float = 0.0
    gloss: np.ndarray | float = 0.3
    shininess: float = 18.0
    alpha: np.ndarray | None = None  # like the texture, solid above 0
    keep: np.ndarray | None = None  # (R-1, C-1) bool
    two_sided: np.ndarray | bool = False  # per cell (R-1, C-1)
    strands: bool = False  # shines like hair
    shade: np.ndarray | float = 1.0  # painted-in darkness, per vertex
    normals: np.ndarray | None = None
    casts_shadow: bool = True


def _plain(rest: np.ndarray, colour) -> np.ndarray:
    shape = ((rest.shape[0] - 1) * TEXELS + 1, (rest.shape[1] - 1) * TEXELS + 1, 3)
    return np.broadcast_to(np.asarray(colour, np.float32), shape).copy()


def eyeball_directions() -> np.ndarray:
    """Directions (R, C, 3) of a ball's vertices around the line of sight (0, 0, 1)."""
    angle = np.radians(np.linspace(0, 1, 19) ** 1.15 * 82)[:, None]
    turn = np.linspace(0, 2 * np.pi, 29)[None]
    # Clockwise on the picture, so that the outside faces the camera.
    return np.stack([np.sin(angle) * np.sin(turn), np.sin(angle) * np.cos(turn), np.cos(angle) + 0 * turn], -1)


def pose_eyeball(directions: np.ndarray, centre: np.ndarray, gaze: tuple[float, float]) -> np.ndarray:
    """Positions of a ball that looks (yaw, pitch) radians to the right of the picture and down."""
    yaw, pitch = gaze
    x, y, z = directions[..., 0], directions[..., 1], directions[..., 2]
    y, z = y * np.cos(pitch) + z * np.sin(pitch), z * np.cos(pitch) - y * np.sin(pitch)
    x, z = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
    return centre + EYE_RADIUS * np.stack([x / Lids.squeeze, y, z], -1)


def _eye_texture(identity: Identity, rng: np.random.Generator) -> np.ndarray:
    directions = texel_grid(eyeball_directions())
    dx, dy = directions[..., 0] * EYE_RADIUS / Lids.squeeze, directions[..., 1] * EYE_RADIUS
    r = np.hypot(dx, dy) * 0.95
    turn = np.arctan2(dx, dy)
    sclera = np.broadcast_to(linear((240, 236, 232)).astype(np.float32), (*r.shape, 3)).copy()
    veins = np.clip(noise(rng, r.shape, (14, 3)), 0, 1) * step(6.5, 12, r)
    sclera *= 1 - veins[..., None] * np.array([0.05, 0.25, 0.25]) * (0.6 + identity.age)
    sclera *= 1 - 0.35 * step(8, 15, np.abs(dx))[..., None] * np.array([0.5, 1, 1])
    fibres = 1 + 0.28 * np.sin(turn * 23 + 2 * np.sin(turn * 7)) * step(1.8, 4.0, r) + 0.12 * np.sin(turn * 41)
    iris = np.asarray(identity.iris, np.float32) * fibres[..., None]
    iris = iris * (1.35 - 0.25 * step(2.2, 4.6, r))[..., None]
    iris = iris * (1 - 0.72 * step(4.6, 5.9, r))[..., None]
    image = iris + (sclera - iris) * step(5.5, 6.2, r)[..., None]
    return (image * (1 - 0.985 * step(2.6, 2.1, r))[..., None]).astype(np.float32)


def eyes(identity: Identity, lids: Lids, rng: np.random.Generator) -> list[Part]:
    """Both eyeballs, which turn behind the lids."""
    directions = eyeball_directions()
    texture = _eye_texture(identity, rng)
    parts = []
    for name, side in (("right eye", -1.0), ("left eye", 1.0)):
        centre = lids.centre * np.array([side, 1, 1])
        rest = pose_eyeball(directions, centre, (0.0, 0.0))
        parts.append(Part(name, rest, texture, gloss=5.5, shininess=EYE_SHININESS))
    return parts


def mouth_parts(m: Measures, rest: np.ndarray, rows: Rows, rng: np.random.Generator) -> list[Part]:
    """Two arches of teeth and the tongue."""
    front = float(rest[rows.mouth, rest.shape[1] // 2, 2])
    parts = []
    for name, top, bottom, z, jaw, width in (
        ("upper teeth", -11.0, 3.4, front - 6.6, 0.0, 1.0),
        ("lower teeth", 4.0, 13.0, front - 8.6, 1.0, 0.9),
    ):
        turn = np.linspace(-1.3, 1.3, 33)[None]
        y = np.linspace(m.mouth_y + top, m.mouth_y + bottom, 7)[:, None]
        arch = np.stack([22.5 * width * np.sin(turn) + 0 * y, y + 0 * turn, z - 23 * (1 - np.cos(turn)) + 0 * y], -1)
        parts.append(Part(name, arch, _teeth(arch, jaw > 0), jaw=jaw, gloss=0.9, shininess=50.0, casts_shadow=not jaw))
    across, back = np.linspace(-1, 1, 13)[None], np.linspace(0, 1, 9)[:, None]
    tongue = np.stack(
        [
            17 * across + 0 * back,
            m.mouth_y + 9 + 3.5 * across**2 - 4.5 * back + 8 * (1 - back) ** 6,
            front - 12 - 26 * back - 5 * across**2,
        ],
        -1,
    )
    colour = (
        _plain(tongue, linear((176, 92, 92)))
        * (1 + 0.1 * noise(rng, (8 * TEXELS + 1, 12 * TEXELS + 1), (4, 4)))[..., None]
    )
    parts.append(
        Part("tongue", tongue[::-1], colour[::-1], jaw=1.0, gloss=0.6, two_sided=True, shade=0.6, casts_shadow=False)
    )
    return parts


def _teeth(arch: np.ndarray, lower: bool) -> np.ndarray:
    position = texel_grid(arch)
    turn = np.linspace(-1.3, 1.3, position.shape[1])[None]
    height = np.linspace(0, 1, position.shape[0])[:, None]
    if lower:
        height = 1 - height
    pitch = 0.235 if lower else 0.30
    tooth = np.abs(((turn / pitch) % 1.0) - 0.5) * 2
    gap = step(0.80, 0.99, tooth) * (0.35 + 0.4 * height)
    image = np.broadcast_to(linear((226, 216, 200)).astype(np.float32), position.shape).copy()
    image *= (1 - 0.55 * gap - 0.5 * step(0.55, 1.25, np.abs(turn)) * np.ones_like(height))[..., None]
    gum = step(0.42, 0.34, height + 0.06 * (1 - tooth**2))
    return (image + (linear((168, 84, 80)) - image) * gum[..., None]).astype(np.float32)


def ears(identity: Identity, rest: np.ndarray, skin: np.ndarray) -> list[Part]:
    """Ears with a rim, a hollow and a lobe."""
    size = 1.0 + 0.06 * identity.ear_size + 0.04 * identity.masculine
    r = np.linspace(0, 1, 13)[:, None]
    turn = np.linspace(0, 2 * np.pi, 33)[None]
    back, up = np.sin(turn), np.cos(turn)
    outline = 1 + 0.10 * up * (up > 0) + 0.05 * np.cos(3 * turn)
    along = (15.5 * back * outline + 2.5 * up) * r * size
    high = (31.0 * up * (1 - 0.10 * (up < 0))) * r * size
    rim = 5.0 * np.exp(-(((r - 0.84) / 0.13) ** 2)) * step(-0.9, -0.2, back + 0.4 * up + 0.4)
    inner = 3.4 * np.exp(-(((r - 0.50) / 0.12) ** 2)) * step(-0.5, 0.3, back)
    hollow = -6.0 * np.exp(-((r / 0.34) ** 2))
    out = rim + inner + hollow + 2.0 - 3.5 * step(0.9, 1.0, r)
    width = np.abs(rest[..., 0]).max()
    parts = []
    for name, side in (("right ear", -1.0), ("left ear", 1.0)):
        lean, tilt = np.radians(26), np.radians(9)
        a = along * np.cos(tilt) - high * np.sin(tilt)
        h = high * np.cos(tilt) + along * np.sin(tilt)
        x = width - 3.5 + (a + 13 * size) * np.sin(lean) + out * np.cos(lean)
        z = -90 - (a + 9 * size) * np.cos(lean) + out * np.sin(lean)
        grid = np.stack([side * x, 18 - h, z], -1)
        if side > 0:
            grid = grid[:, ::-1]
        red = 1 - 0.22 * np.exp(-((r / 0.45) ** 2)) + 0 * turn
        colour = _plain(grid, np.asarray(identity.skin) * np.array([1.0, 0.84, 0.80])) * texel_grid(red)[..., None]
        parts.append(Part(name, grid, colour, gloss=0.4, two_sided=True, casts_shadow=False))
    return parts


def shoulders(identity: Identity, m: Measures, rng: np.random.Generator) -> Part:
    """Chest and shoulders in clothes."""
    broad = 1.0 + 0.10 * (identity.masculine - 0.5)
    chin = m.chin_y
    collar = identity.clothes_style == "collar"
    table = np.array([  # height, half width, front, back
        (36, 60, -52, -152), (44 - 6 * collar, 63, -47, -156), (52, 71, -42, -160), (64, 104, -34, -166),
        (78, 148, -26, -172), (96, 186, -20, -176), (126, 208, -14, -176), (180, 216, -6, -176), (260, 218, 0, -176),
    ], np.float64).T  # fmt: skip
    s = np.linspace(0, 8, 25)
    height, width, front, back = (curve(s, np.arange(9), column)[:, None] for column in table)
    turn = np.linspace(-np.pi, np.pi, 61)[None]
    sin, cos = np.sin(turn), np.cos(turn)
    middle = (front + back) / 2
    x = width * broad * np.sign(sin) * np.abs(sin) ** 0.85
    z = middle + (front - back) / 2 * np.sign(cos) * np.abs(cos) ** 0.8
    lift = 13 * (1 - cos) / 2 * step(4.5, 0.5, s)[:, None] + 6 * np.abs(sin) * step(3.5, 0.0, s)[:, None]
    rest = np.stack([x, chin + height - lift, z], -1)
    keep = np.ones((len(s) - 1, turn.size - 1), bool)
    keep[8:] = cos[0, 1:] > -0.1  # the back is never seen
    return Part(
        "clothes", rest, _cloth(identity, rest, s, turn, rng), follows=0.0, gloss=0.12, keep=keep, two_sided=True
    )


def _cloth(
    identity: Identity, rest: np.ndarray, s: np.ndarray, turn: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    image = _plain(rest, identity.clothes)
    shape = image.shape[:2]
    folds = (
        1
        + 0.16 * noise(rng, shape, (40, 12))
        + 0.08 * noise(rng, shape, (12, 6))
        + 0.05 * noise(rng, shape, (1.5, 1.5))
    )
    image *= folds[..., None]
    ring = np.linspace(s[0], s[-1], shape[0])[:, None]
    angle = np.abs(np.linspace(turn[0, 0], turn[0, -1], shape[1]))[None]
    if identity.clothes_style == "vee":
        edge = 0.7 + 3.6 * step(0.55, 0.0, angle) ** 1.4
    elif identity.clothes_style == "collar":
        edge = 0.3 + 2.6 * step(0.32, 0.05, angle)
    else:
        edge = 0.9 + 0.5 * step(1.0, 0.2, angle)
    seam = np.exp(-(((ring - edge - 0.35) / 0.12) ** 2))
    image *= (1 - 0.35 * seam)[..., None]
    if identity.clothes_style == "collar":
        image *= (1 - 0.25 * np.exp(-(((ring - 1.75) / 0.10) ** 2)) * step(0.15, 0.4, angle))[..., None]
    bare = step(0.10, -0.10, ring - edge)
    return (image + (np.asarray(identity.skin) * 0.95 - image) * bare[..., None]).astype(np.float32)
