"""A phone camera's effects: exposure, colours, blur, noise, sharpening, low resolution, compression."""

from dataclasses import dataclass

import cv2
import numpy as np

from data.sample_faces.person import develop


@dataclass(frozen=True)
class Phone:
    """The settings of one clip."""

    gain: float
    balance: tuple[float, float, float]
    contrast: float
    saturation: float
    blur: float  # sigma in pixels of a picture of 160
    streak: float  # length of motion blur, the same
    streak_angle: float
    noise: float  # deviation in 8-bit steps
    sharpening: float
    enlarged: float  # share of the pixels along a side that the sensor has
    quality: int  # of the JPEG compression, 0: none


def draw_phone(rng: np.random.Generator) -> Phone:
    """Most are good, some are poor."""
    poor = rng.uniform() ** 2
    warm = rng.normal(0, 0.10)
    return Phone(
        gain=float(np.exp(rng.normal(0, 0.22))),
        balance=(float(np.exp(warm)), 1.0, float(np.exp(-warm + rng.normal(0, 0.05)))),
        contrast=float(np.exp(rng.normal(0, 0.15))),
        saturation=float(np.clip(rng.normal(1.0, 0.25), 0.0, 1.8)),
        blur=float(rng.uniform(0.3, 1.2) * poor) if rng.uniform() < 0.5 else 0.0,
        streak=float(rng.uniform(2, 5)) if rng.uniform() < 0.07 else 0.0,
        streak_angle=float(rng.uniform(0, np.pi)),
        noise=float(rng.uniform(0, 2) + 7 * poor * rng.uniform()),
        sharpening=float(rng.uniform(0, 0.9)) if rng.uniform() < 0.4 else 0.0,
        enlarged=float(rng.uniform(0.45, 0.9)) if rng.uniform() < 0.25 else 1.0,
        quality=int(rng.integers(35, 95)) if rng.uniform() < 0.6 else 0,
    )


def photograph(canvas: np.ndarray, phone: Phone, gain: float, rng: np.random.Generator) -> np.ndarray:
    """Linear light (H, W, 3) to a picture of 8 bits; `gain` is the exposure of this frame."""
    scale = canvas.shape[0] / 160
    canvas = canvas * (np.asarray(phone.balance, np.float32) * np.float32(phone.gain * gain))
    if phone.blur:
        canvas = cv2.GaussianBlur(canvas, (0, 0), max(phone.blur * scale, 0.1))
    if phone.streak:
        canvas = cv2.filter2D(canvas, -1, _streak(phone.streak * scale, phone.streak_angle))
    image = develop(canvas).astype(np.float32)
    if phone.enlarged < 1:
        height, width = image.shape[:2]
        small = (round(width * phone.enlarged), round(height * phone.enlarged))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        image = _noisy(image, phone.noise, rng)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        image = _noisy(image, phone.noise, rng)
    grey = image @ np.array([0.3, 0.59, 0.11], np.float32)
    image = grey[..., None] + (image - grey[..., None]) * np.float32(phone.saturation)
    image = (image - 118) * np.float32(phone.contrast) + 118
    if phone.sharpening:
        image += np.float32(phone.sharpening) * (image - cv2.GaussianBlur(image, (0, 0), max(1.2 * scale, 0.5)))
    return compressed(np.rint(np.clip(image, 0, 255)).astype(np.uint8), phone.quality)


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """A picture after JPEG compression; 0 is none."""
    if not quality:
        return image
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV could not compress a picture as JPEG")
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def _noisy(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    grain = rng.standard_normal(image.shape, np.float32)
    return image + grain * np.float32(deviation)


def _streak(length: float, angle: float) -> np.ndarray:
    """The kernel of a movement along a line."""
    side = 2 * int(np.ceil(length / 2)) + 1
    kernel, middle = np.zeros((side, side), np.float32), side // 2
    end = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    first, last = (np.rint((middle + sign * end) * 16).astype(int) for sign in (-1, 1))
    cv2.line(kernel, tuple(map(int, first)), tuple(map(int, last)), 1.0, 1, cv2.LINE_AA, 4)
    return kernel / kernel.sum()
