"""The scene of one clip of a rich set: background, lamps, framing, the phone."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from data.sample_faces.light import Lamps, harmonics
from data.sample_faces.rich.backgrounds import REACH, SIDE, draw_far, draw_near
from data.sample_faces.rich.phone import Phone, draw_phone
from data.sample_faces.skin import noise


class ManyLamps(Lamps):
    """One to four lamps of any colour from anywhere in front and beside, and an ambient glow."""

    def __init__(self, directions: np.ndarray, colours: np.ndarray, ambient: np.ndarray):
        self.directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        self.colours, self.ambient, self.key = colours, ambient, self.directions[0]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "ManyLamps":
        """A strong lamp, fainter ones; hard light has little ambient glow."""
        count, hard = int(rng.integers(1, 5)), rng.uniform()
        side = rng.uniform(-1.2, 1.2, count)
        directions = np.stack([side, rng.uniform(-1.2, 0.4, count), rng.uniform(0.1, 1.2, count)], 1)
        directions[0, 1:] = rng.uniform(-1.0, 0.1), rng.uniform(0.5, 1.2)
        strength = np.array([1.0, *rng.uniform(0.05, 0.5, count - 1)])
        vivid = rng.uniform(0, 0.5) if rng.uniform() < 0.3 else 0.1
        colours = strength[:, None] * np.exp(rng.normal(0, vivid, (count, 3)))
        ambient = (0.12 + 0.5 * (1 - hard)) * np.exp(rng.normal(0, 0.12, 3))
        # About as bright in sum as the lamps of the plain set.
        total = colours.sum(0).mean() + 2.2 * ambient.mean()
        return cls(directions, colours * 2.3 / total, ambient * 2.3 / total)

    def turned(self, yaw: float, pitch: float, gain: float) -> "ManyLamps":
        """The same lamps, turned by degrees, stronger or weaker."""
        a, b = np.radians([yaw, pitch])
        x, y, z = self.directions.T
        x, z = x * np.cos(a) + z * np.sin(a), z * np.cos(a) - x * np.sin(a)
        y, z = y * np.cos(b) + z * np.sin(b), z * np.cos(b) - y * np.sin(b)
        return ManyLamps(np.stack([x, y, z], 1), self.colours * gain, self.ambient)

    def coefficients(self, rotation: np.ndarray) -> np.ndarray:
        out = harmonics(self.directions @ rotation).T @ self.colours
        out[0] += self.ambient * np.sqrt(4 * np.pi) / 2
        return out.astype(np.float32)


@dataclass
class Layer:
    """A layer of the background; `depth` is its share of the camera's movement."""

    image: np.ndarray  # (SIDE, SIDE, 3), or 4 with how solid it is
    depth: float


@dataclass
class Scene:
    """The constant parts of a clip."""

    layers: list[Layer]
    lamps: ManyLamps
    framing: np.ndarray  # zoom, roll, shift to the right and down
    phone: Phone
    slats: np.ndarray | None  # (SIDE, SIDE) share of the light that a window lets through
    seed: tuple[int, ...]
    _slats: dict[int, np.ndarray] = field(default_factory=dict)

    def light_through(self, size: int) -> np.ndarray | None:
        """The light that falls through a window, (size, size, 1), or None without one."""
        if self.slats is not None and size not in self._slats:
            self._slats[size] = cv2.resize(self.slats, (size, size), interpolation=cv2.INTER_AREA)[..., None]
        return self._slats.get(size)


def draw_scene(seed: int, number: int, clip: int) -> Scene:
    """Draw the random scene of one clip of a person."""
    rng = np.random.default_rng([seed, number, clip, 41])
    layers = [Layer(draw_far(rng), float(rng.uniform(0.75, 1.0)))]
    if rng.uniform() < 0.45:
        layers.append(Layer(draw_near(rng), float(rng.uniform(0.9, 1.15))))
    zoom = float(np.exp(rng.uniform(np.log(0.8), np.log(1.75))))
    framing = np.array([zoom, rng.normal(0, 1.5), rng.normal(0, 0.05), rng.normal(0.02, 0.04)])
    slats = _slats(rng) if rng.uniform() < 0.12 else None
    return Scene(layers, ManyLamps.draw(rng), framing, draw_phone(rng), slats, (seed, number, clip, 42))


def _slats(rng: np.random.Generator) -> np.ndarray:
    """Light and shadow as a window or leaves throw them."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE
    if rng.uniform() < 0.5:
        a = rng.uniform(0, np.pi)
        wave = np.sin(2 * np.pi * rng.uniform(2, 7) * (x * np.cos(a) + y * np.sin(a)))
    else:
        scale = rng.uniform(20, 90)
        wave = 1.5 * noise(rng, (SIDE, SIDE), (scale, scale))
    return (1 - rng.uniform(0.25, 0.65) * (0.5 + 0.5 * np.tanh(3 * wave))).astype(np.float32)


def camera_matrix(move: np.ndarray, depth: float = 1.0) -> np.ndarray:
    """The similarity (2, 3) that a zoom, a roll in degrees and a shift make of picture coordinates 0..1."""
    zoom, roll, right, down = 1 + (move[0] - 1) * depth, np.radians(move[1]), move[2] * depth, move[3] * depth
    linear = zoom * np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    centre = np.array([0.5, 0.5])
    return np.concatenate([linear, (centre + [right, down] - linear @ centre)[:, None]], 1)


def layer_matrix(layer: Layer, move: np.ndarray, size: int) -> np.ndarray:
    """From a layer's samples to the corner-based pixels of a picture of this size."""
    to_unit = np.array([[REACH / SIDE, 0, 0.5 - REACH / 2], [0, REACH / SIDE, 0.5 - REACH / 2], [0, 0, 1]])
    camera = np.concatenate([camera_matrix(move, layer.depth), [[0, 0, 1]]])
    return (np.diag([size, size, 1.0]) @ camera @ to_unit)[:2]


def paint_layers(layers: list[Layer], move: np.ndarray, size: int) -> np.ndarray:
    """The background as the camera sees it: (size, size, 3) in linear light."""
    canvas = None
    for layer in layers:
        matrix = layer_matrix(layer, move, size).astype(np.float32)
        found = cv2.warpAffine(layer.image, matrix, (size, size), flags=cv2.INTER_LINEAR,
                               borderMode=cv2.BORDER_REFLECT_101)  # fmt: skip
        canvas = found[..., :3].copy() if canvas is None else canvas + (found[..., :3] - canvas) * found[..., 3:]
    return canvas


def layer_motion(
    layers: list[Layer], first: np.ndarray, second: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where the background's pixels go between two camera moves: flow (size, size, 2), and where it stays in view."""
    y, x = np.mgrid[0:size, 0:size] + 0.5
    pixels = np.stack([x, y, np.ones_like(x)], -1)
    flow, front, later = np.zeros((size, size, 2)), np.zeros((size, size), int), np.zeros((size, size), int)
    for number, layer in enumerate(layers):
        one, two = (np.concatenate([layer_matrix(layer, move, size), [[0, 0, 1]]]) for move in (first, second))
        moved = pixels @ (two @ np.linalg.inv(one))[:2].T
        solid, then = (np.ones((size, size), bool),) * 2 if layer.image.shape[2] == 3 else (
            _solid(layer, first, size), _solid(layer, second, size))  # fmt: skip
        flow[solid] = (moved - pixels[..., :2])[solid]
        front[solid], later[then] = number, number
    at = np.floor(pixels[..., :2] + flow).astype(int)
    inside = ((at >= 0) & (at < size)).all(-1)
    at = at.clip(0, size - 1)
    return flow.astype(np.float32), inside & (later[at[..., 1], at[..., 0]] == front)


def _solid(layer: Layer, move: np.ndarray, size: int) -> np.ndarray:
    matrix = layer_matrix(layer, move, size).astype(np.float32)
    alpha = np.ascontiguousarray(layer.image[..., 3])
    return cv2.warpAffine(alpha, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101) > 0.5
