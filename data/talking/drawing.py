"""Landmark pictures: the 68 points of a face as coloured lines on white, the driving signal of talking heads."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

GREEN, ORANGE, BLUE, RED, PURPLE = (0, 128, 0), (255, 165, 0), (0, 0, 255), (255, 0, 0), (128, 0, 128)
PARTS = (
    (range(0, 17), GREEN),  # face outline
    (range(17, 22), ORANGE),  # brows
    (range(22, 27), ORANGE),
    (range(27, 31), BLUE),  # nose
    (range(31, 36), BLUE),
    (range(36, 42), RED),  # eyes
    (range(42, 48), RED),
    (range(48, 60), PURPLE),  # outer lips
)
"""Connected points in drawing order; no curve is closed, and the inner lips are not drawn."""
LINE_WIDTH = 3


def draw_landmarks(points: np.ndarray, size: int) -> np.ndarray:
    """The picture (size, size, 3) uint8 of points (68, 2) in pixels; cached for faces that repeat."""
    # Truncate to whole pixels. Clip far points, which are invisible, since Pillow takes 32 bits.
    whole = np.clip(np.nan_to_num(points), -(2**15), 2**15).astype(np.int32)
    return _drawn(whole.tobytes(), size)


@lru_cache(maxsize=1024)
def _drawn(points: bytes, size: int) -> np.ndarray:
    corners = [tuple(corner) for corner in np.frombuffer(points, np.int32).reshape(-1, 2).tolist()]
    canvas = Image.new("RGB", (size, size), "white")
    pen = ImageDraw.Draw(canvas)
    for part, colour in PARTS:
        pen.line([corners[index] for index in part], fill=colour, width=LINE_WIDTH)
    picture = np.asarray(canvas)
    picture.flags.writeable = False
    return picture
