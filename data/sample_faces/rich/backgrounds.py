"""What is behind a person of a rich set: drawn scenes at several depths, sharp or out of focus."""

import cv2
import numpy as np

from data.sample_faces.rich.style import any_tone
from data.sample_faces.skin import noise

SIDE = 360
"""Samples of a layer's side."""
REACH = 1.8
"""How much of a picture's side a layer's side covers, so that the camera may move."""


def draw_far(rng: np.random.Generator) -> np.ndarray:
    """What is farthest: (SIDE, SIDE, 3) in linear light."""
    kinds = (_wall, _tiles, _shelves, _blinds, _foliage, _lights, _clutter, _clutter)
    image = kinds[rng.integers(len(kinds))](rng)
    image *= (1 + 0.06 * rng.uniform() * noise(rng, (SIDE, SIDE), (2, 2)))[..., None]
    image *= _shading(rng)[..., None]
    blur = float(rng.choice([0.0, 0.8, 2.0, 5.0], p=[0.3, 0.25, 0.25, 0.2]))
    return np.clip(_blurred(image, blur), 0.002, 1.6).astype(np.float32)


def draw_near(rng: np.random.Generator) -> np.ndarray:
    """Things that stand between the far wall and the person: (SIDE, SIDE, 4), the last channel is how solid."""
    image, solid = np.zeros((SIDE, SIDE, 3), np.float32), np.zeros((SIDE, SIDE), np.float32)
    for _ in range(rng.integers(1, 5)):
        tone = np.asarray(any_tone(rng), np.float32)
        left, right = sorted(rng.uniform(-60, SIDE + 60, 2))
        width, top = min(right - left, 120.0), rng.uniform(60, SIDE * 0.8)
        shape = np.zeros((SIDE, SIDE), np.float32)
        corners = np.array([[left, top], [left + width, top + rng.uniform(-30, 30)], [left + width, SIDE + 9],
                            [left, SIDE + 9]])  # fmt: skip
        if rng.uniform() < 0.4:
            centre = (int(left + width / 2), int(top + width / 2))
            cv2.ellipse(shape, centre, (int(width / 2) + 2, int(width * rng.uniform(0.3, 0.9)) + 2), 0, 0, 360, 1.0, -1)
        else:
            cv2.fillPoly(shape, [np.rint(corners).astype(np.int32)], 1.0)
        grain = 1 + 0.3 * noise(rng, shape.shape, (rng.uniform(3, 40), rng.uniform(3, 40)))
        image = image + (tone * grain[..., None] - image) * shape[..., None]
        solid = np.maximum(solid, shape)
    both = _blurred(np.dstack([image * solid[..., None], solid]), float(rng.choice([0.6, 2.0, 4.0])))
    both[..., :3] /= np.maximum(both[..., 3:], 1e-3)
    return np.clip(both, 0.0, 1.6).astype(np.float32)


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma else image


def _shading(rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE - 0.5
    a, b = rng.uniform(-0.7, 0.7, 2)
    return np.clip(1 + a * x + b * y + 0.25 * noise(rng, (SIDE, SIDE), (120, 120)), 0.2, 1.8)


def _plain(rng: np.random.Generator) -> np.ndarray:
    return np.broadcast_to(np.asarray(any_tone(rng), np.float32), (SIDE, SIDE, 3)).copy()


def _wall(rng: np.random.Generator) -> np.ndarray:
    image = _plain(rng)
    for scale in (90, 30, 9, 3):
        image *= (1 + rng.uniform(0, 0.2) * noise(rng, (SIDE, SIDE), (scale, scale)))[..., None]
    for _ in range(rng.integers(0, 3)):
        x, y, w, h = rng.integers(-40, SIDE, 4)
        cv2.rectangle(image, (int(x), int(y)), (int(x + w // 3), int(y + h // 3)), any_tone(rng), -1)
        cv2.rectangle(image, (int(x), int(y)), (int(x + w // 3), int(y + h // 3)), any_tone(rng), 4)
    return image


def _tiles(rng: np.random.Generator) -> np.ndarray:
    image, tone = _plain(rng), np.asarray(any_tone(rng))
    high, wide = rng.integers(8, 40), rng.integers(16, 80)
    for row in range(0, SIDE, high):
        shift = (row // high % 2) * wide // 2
        for column in range(-wide, SIDE, wide):
            corner = (column + shift + 1, row + 1)
            colour = tuple(float(v) for v in tone * rng.uniform(0.75, 1.2))
            cv2.rectangle(image, corner, (corner[0] + int(wide) - 3, corner[1] + int(high) - 3), colour, -1)
    return image


def _shelves(rng: np.random.Generator) -> np.ndarray:
    image, board = _plain(rng) * 0.4, any_tone(rng)
    high = int(rng.integers(40, 90))
    for bottom in range(high, SIDE + high, high):
        column = 0
        while column < SIDE:
            wide, tall = int(rng.integers(4, 22)), int(rng.uniform(0.5, 0.92) * high)
            if rng.uniform() < 0.85:
                cv2.rectangle(image, (column, bottom - tall), (column + wide - 1, bottom - 4), any_tone(rng), -1)
                band = bottom - int(tall * rng.uniform(0.2, 0.8))
                cv2.rectangle(image, (column, band), (column + wide - 1, band + 3), any_tone(rng), -1)
            column += wide
        cv2.rectangle(image, (0, bottom - 4), (SIDE, bottom), board, -1)
    return image


def _blinds(rng: np.random.Generator) -> np.ndarray:
    image = _plain(rng)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    along = y if rng.uniform() < 0.6 else x
    stripes = 0.5 + 0.5 * np.sin(2 * np.pi * along / rng.uniform(8, 40) + 0.02 * rng.uniform(-1, 1) * x)
    return image + (np.asarray(any_tone(rng), np.float32) - image) * (stripes > rng.uniform(0.3, 0.7))[..., None]


def _foliage(rng: np.random.Generator) -> np.ndarray:
    green = np.array([rng.uniform(0.02, 0.3), rng.uniform(0.1, 0.45), rng.uniform(0.01, 0.15)], np.float32)
    value = sum(noise(rng, (SIDE, SIDE), (scale, scale)) for scale in (60, 22, 9, 4)) / 2
    sky = np.asarray(any_tone(rng), np.float32) * 0.5 + 0.4
    share = np.clip((value - rng.uniform(0.2, 0.9)) * 3, 0, 1)[..., None]
    image = green * np.clip(1 + 0.9 * value, 0.1, 2.5)[..., None]
    return image + (sky - image) * share


def _lights(rng: np.random.Generator) -> np.ndarray:
    image = _plain(rng) * 0.3
    for _ in range(rng.integers(8, 50)):
        centre = tuple(int(v) for v in rng.integers(0, SIDE, 2))
        cv2.circle(image, centre, int(rng.integers(2, 20)), [v * 1.5 for v in any_tone(rng)], -1, cv2.LINE_AA)
    return _blurred(image, float(rng.uniform(0.5, 3)))


def _clutter(rng: np.random.Generator) -> np.ndarray:
    image = _wall(rng)
    for _ in range(rng.integers(6, 40)):
        x, y = (int(v) for v in rng.integers(-20, SIDE, 2))
        w, h = (int(v) for v in rng.integers(5, 150, 2))
        kind, colour = rng.integers(4), any_tone(rng)
        if kind == 0:
            cv2.rectangle(image, (x, y), (x + w, y + h), colour, -1)
        elif kind == 1:
            cv2.ellipse(image, (x, y), (w // 2 + 1, h // 2 + 1), float(rng.uniform(0, 180)), 0, 360, colour, -1,
                        cv2.LINE_AA)  # fmt: skip
        elif kind == 2:
            cv2.line(image, (x, y), (x + w - 60, y + h), colour, int(rng.integers(1, 9)), cv2.LINE_AA)
        else:
            _write(rng, image, (x, y), colour)
    return image


def _write(rng: np.random.Generator, image: np.ndarray, corner: tuple[int, int], colour: tuple) -> None:
    """Some capital letters (in place)."""
    mask = np.zeros(image.shape[:2], np.uint8)  # OpenCV 5 writes on bytes only
    text = "".join(chr(rng.integers(65, 91)) for _ in range(5))
    size, width = float(rng.uniform(0.5, 2.5)), int(rng.integers(1, 5))
    cv2.putText(mask, text, corner, cv2.FONT_HERSHEY_SIMPLEX, size, 255, width, cv2.LINE_AA)
    image += (np.asarray(colour, np.float32) - image) * (mask[..., None] / np.float32(255))
