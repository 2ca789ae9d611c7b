"""Glasses, hats, scarves, earrings, a hand and patterned clothes: parts like those of the head."""

from collections.abc import Sequence

import numpy as np

from data.sample_faces.curves import bell, step
from data.sample_faces.head import Lids, Measures
from data.sample_faces.identity import Identity
from data.sample_faces.parts import Part
from data.sample_faces.rich.style import Style
from data.sample_faces.skin import TEXELS, noise, texel_grid

HAND = "hand"
"""Prefix of the names of the hand's parts."""


def accessories(identity: Identity, style: Style, m: Measures, lids: Lids, rng: np.random.Generator) -> list[Part]:
    """Everything that a person of this style has on, and the hand that may come before the face."""
    parts = []
    if style.glasses:
        parts += _glasses(style, m, lids)
    if style.hat:
        parts += _hat(style, m, rng)
    if style.scarf:
        parts.append(_scarf(style, m, rng))
    if style.earrings:
        parts += _earrings(style, m)
    return [*parts, *_hand(identity, rng)]


def _coloured(rest: np.ndarray, tone: Sequence[float], grain: np.ndarray | float = 1.0) -> np.ndarray:
    shape = ((rest.shape[0] - 1) * TEXELS + 1, (rest.shape[1] - 1) * TEXELS + 1, 3)
    image = np.broadcast_to(np.asarray(tone, np.float32), shape)
    return np.ascontiguousarray(image * (grain[..., None] if isinstance(grain, np.ndarray) else grain), np.float32)


def tube(path: np.ndarray, radius: np.ndarray | float, sides: int = 9) -> np.ndarray:
    """The surface (N, sides, 3) of a tube along a path (N, 3), the outside facing the camera."""
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    helper = np.where(np.abs(along[:, 2:]) < 0.9, [[0.0, 0, 1]], [[0.0, 1, 0]])
    across = np.cross(along, helper)
    across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-9
    other = np.cross(along, across)
    turn = np.linspace(0, 2 * np.pi, sides)[None, :, None]
    radius = np.broadcast_to(radius, len(path))[:, None, None]
    return path[:, None] + radius * (np.cos(turn) * across[:, None] + np.sin(turn) * other[:, None])


def _glasses(style: Style, m: Measures, lids: Lids) -> list[Part]:
    """Two rings, a bridge and the bows to the ears; dark ones have lenses that hide the eyes."""
    power = 2.0 if style.glasses == "round" else 4.5
    wide, high = m.eye_half + 7.0, (m.eye_half + (5.0 if power == 2.0 else 0.0))
    turn = np.linspace(0, 2 * np.pi, 29)
    unit = np.stack([np.sin(turn), -np.cos(turn)], 1)
    unit = np.sign(unit) * np.abs(unit) ** (2 / power)
    z = lids.centre[2] + 21.0
    parts = []
    for name, side in (("right", -1.0), ("left", 1.0)):
        x, y = side * m.eye_x + wide * unit[:, 0], 3.0 + high * unit[:, 1]
        ring = np.stack([x, y, z - 0.0025 * (np.abs(x)) ** 2], 1)
        outer = np.array([[side * (m.eye_x + wide - 1), 0.0, z - 6], [side * 70, -1, z - 30], [side * 77, 2, -92]])
        line = np.array([np.interp(np.linspace(0, 2, 9), [0, 1, 2], outer[:, k]) for k in range(3)]).T
        for kind, path, width in (("rim", ring, 1.7), ("bow", line, 2.0)):
            grid = tube(path, width, 7)
            parts.append(
                Part(f"{name} {kind}", grid, _coloured(grid, style.frame_tone), gloss=1.2, shininess=30.0,
                     two_sided=True, casts_shadow=False)
            )  # fmt: skip
        if style.glasses == "dark":
            scale = np.linspace(0.02, 1, 5)[:, None, None]
            centre = np.array([side * m.eye_x, 3.0, z - 2.0])
            grid = centre + scale * (ring[None] - centre)
            parts.append(
                Part(f"{name} lens", grid, _coloured(grid, (0.012, 0.012, 0.014)), gloss=3.0, shininess=40.0,
                     two_sided=True, casts_shadow=False)
            )  # fmt: skip
    bridge = np.array([[t * (m.eye_x - wide), 1.0 - 3.0 * (1 - t * t), z + 1.0] for t in np.linspace(-1, 1, 7)])
    grid = tube(bridge, 1.6, 7)
    parts.append(Part("bridge", grid, _coloured(grid, style.frame_tone), gloss=1.0, two_sided=True, casts_shadow=False))
    return parts


def _hat(style: Style, m: Measures, rng: np.random.Generator) -> list[Part]:
    """A cap over skull and hair, with or without a brim."""
    low = -44.0 if style.hat == "beanie" else -56.0
    angle = np.linspace(0, np.pi / 2, 13)[:, None]
    turn = np.linspace(-np.pi, np.pi, 41)[None]
    top = -138.0 if style.hat != "brim" else -150.0
    power = 0.8 if style.hat != "brim" else 0.45
    rise = np.cos(angle) ** power
    y = low + (top - low) * rise + 14.0 * (1 - np.cos(turn)) / 2 * (1 - rise)
    ring = np.sin(angle) ** 0.75
    dome = np.stack([92.0 * m.width * ring * np.sin(turn), y + 0 * turn, -88 + 109 * ring * np.cos(turn)], -1)
    shape = (12 * TEXELS + 1, 40 * TEXELS + 1)
    grain = 1 + 0.1 * noise(rng, shape, (6, 6))
    if style.hat == "beanie":
        grain = grain * (1 + 0.35 * np.sin(np.arange(shape[1]) * 1.6)[None])
    grain = grain.astype(np.float32)
    parts = [Part("hat", dome, _coloured(dome, style.hat_tone, grain), gloss=0.08, two_sided=True)]
    if style.hat == "beanie":
        return parts
    front = style.hat == "cap"
    turn = np.linspace(-1.25, 1.25, 25)[None] if front else np.linspace(-np.pi, np.pi, 41)[None]
    out = np.linspace(0, 1, 6)[:, None]
    reach = (58.0 * np.cos(turn * 0.9) ** 0.7 if front else 46.0) * out
    drop = 9.0 * out**2 * (1 if front else 0.6)
    rim = np.stack(
        [(90 * m.width + reach * 0.75) * np.sin(turn), low + drop + 14 * (1 - np.cos(turn)) / 2,
         -88 + (107 + reach) * np.cos(turn)], -1,
    )  # fmt: skip
    parts.append(Part("brim", rim, _coloured(rim, np.asarray(style.hat_tone) * 0.8), gloss=0.1, two_sided=True))
    return parts


def _scarf(style: Style, m: Measures, rng: np.random.Generator) -> Part:
    turn = np.linspace(-np.pi, np.pi, 49)
    wave = 3.0 * np.sin(5 * turn) + 2.0 * np.sin(9 * turn + 1)
    path = np.stack([76 * np.sin(turn), m.chin_y + 34 + 5 * np.cos(turn) + wave, -86 + 66 * np.cos(turn)], 1)
    grid = tube(path, 19.0 + 2.5 * np.sin(7 * turn), 15)
    shape = (48 * TEXELS + 1, 14 * TEXELS + 1)
    stripe = np.where((np.arange(shape[0]) // 14 % 2 == 0)[:, None], 1.0, 0.55)
    grain = (stripe * (1 + 0.15 * noise(rng, shape, (3, 3)))).astype(np.float32)
    return Part("scarf", grid, _coloured(grid, style.scarf_tone, grain), follows=0.25, gloss=0.05, two_sided=True)


def _earrings(style: Style, m: Measures) -> list[Part]:
    parts = []
    for name, side in (("right earring", -1.0), ("left earring", 1.0)):
        x, y, z = side * (73.0 * m.width + 5.0), 48.0, -84.0
        turn = np.linspace(0, 2 * np.pi, 17)
        if style.earrings == "hoops":
            path = np.stack([x + 0 * turn, y + 13 - 13 * np.cos(turn), z + 11 * np.sin(turn)], 1)
            grid = tube(path, 1.6, 7)
        else:
            path = np.stack([x + 0 * turn, np.linspace(y - 4, y + 4, 17), z + 0 * turn], 1)
            grid = tube(path, 0.1 + 4.0 * np.sin(turn / 2), 9)
        parts.append(Part(name, grid, _coloured(grid, (0.6, 0.5, 0.25)), gloss=4.0, shininess=20.0, two_sided=True,
                          casts_shadow=False))  # fmt: skip
    return parts


def _hand(identity: Identity, rng: np.random.Generator) -> list[Part]:
    """An open hand around the origin, its fingers up, its back or palm to the camera."""
    size, tone = 1.0 + 0.12 * (identity.masculine - 0.5), np.asarray(identity.skin) * np.array([1.0, 0.9, 0.86])
    lines = []
    for k, (x, top, spread) in enumerate(((-30, -70, -0.16), (-10, -82, -0.05), (10, -76, 0.05), (28, -60, 0.16))):
        t = np.linspace(0, 1, 9)
        y = -8 + (top + 8) * t
        lines.append((f"{HAND} finger {k}", np.stack([x + spread * -y, y, 3 * np.sin(3 * t)], 1), 9.5))
    t = np.linspace(0, 1, 9)
    lines.append((f"{HAND} thumb", np.stack([-34 - 34 * t, 34 - 42 * t, 6 * t], 1), 10.5))
    t = np.linspace(0, 1, 11)
    lines.append((f"{HAND} palm", np.stack([0 * t, -14 + 62 * t, 0 * t], 1), 1.0))
    lines.append((f"{HAND} arm", np.stack([0 * t, 40 + 240 * t, -10 - 30 * t], 1), 27.0))
    parts = []
    for name, path, radius in lines:
        t = np.linspace(0, 1, len(path))
        ends = np.sqrt(np.clip(1 - (2 * t - 1) ** 8, 0.02, 1)) * radius
        grid = tube(path, ends, 11)
        if name.endswith("palm"):
            grid = (grid - path[:, None]) * np.array([39.0, 1.0, 12.0]) + path[:, None]
        shape = ((len(path) - 1) * TEXELS + 1, 10 * TEXELS + 1)
        grain = (1 + 0.06 * noise(rng, shape, (5, 5))).astype(np.float32)
        colour = np.asarray(identity.clothes) if name.endswith("arm") else tone
        parts.append(Part(name, grid * size, _coloured(grid, colour, grain), follows=0.0, gloss=0.25, two_sided=True,
                          casts_shadow=False))  # fmt: skip
    return parts


def pattern_clothes(part: Part, identity: Identity, style: Style, rng: np.random.Generator) -> None:
    """Paint the style's pattern on the cloth, not on the skin that it leaves bare (in place)."""
    image = part.texture
    rows, columns = image.shape[:2]
    v, u = np.mgrid[0:rows, 0:columns].astype(np.float32)
    scale = style.pattern_scale
    if style.pattern == "stripes":
        share = np.sin(v * 0.35 / scale) > 0.2
    elif style.pattern == "checks":
        share = (np.sin(v * 0.3 / scale) > 0.3) * 0.5 + (np.sin(u * 0.3 / scale) > 0.3) * 0.5
    elif style.pattern == "dots":
        share = np.sin(v * 0.45 / scale) * np.sin(u * 0.45 / scale) > 0.45
    elif style.pattern == "blotches":
        share = noise(rng, (rows, columns), (9 * scale, 12 * scale)) > 0.15
    else:
        middle = (columns - 1) / 2
        share = bell(u, v, middle, rows * 0.62, 34 * scale, 16 * scale) > 0.5
        share = share * (noise(rng, (rows, columns), (4, 5)) > -0.2)
    bare = np.abs(image - np.asarray(identity.skin, np.float32) * 0.95).max(-1) < 0.02
    share = (share * ~bare)[..., None].astype(np.float32)
    shade = image.mean(-1, keepdims=True) / (np.mean(identity.clothes) + 1e-3)
    part.texture = image + (np.asarray(style.print_tone, np.float32) * np.clip(shade, 0.5, 1.5) - image) * share * 0.9


def make_up(part: Part, style: Style, m: Measures) -> None:
    """Colour on lids and cheeks (in place)."""
    position = texel_grid(part.rest)
    ax, y = np.abs(position[..., 0]), position[..., 1]
    front = step(-75, -55, position[..., 2])
    for amount, tone in (
        (0.75 * bell(ax, y, m.eye_x + 2, -7, 16, 5), style.shadow_tone),
        (0.35 * bell(ax, y, 46, 26, 17, 12), (0.55, 0.12, 0.14)),
    ):
        share = (style.make_up * amount * front)[..., None].astype(np.float32)
        part.texture = part.texture + (np.asarray(tone, np.float32) - part.texture) * share
