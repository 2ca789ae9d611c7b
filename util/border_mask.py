"""The soft border with which LivePortrait pastes results back."""

import numpy as np

SIDE = 512
"""Crop size of the original's mask."""
BORDER = 16
"""Width of the soft border of that mask."""


def border_mask(size: int = SIDE) -> np.ndarray:
    """How much a result counts in each pixel of its crop: 255 inside, falling to 0 along the border; (size, size)."""
    width = BORDER * size / SIDE
    index = np.arange(size)
    rising = np.minimum(np.minimum(index, size - index), width) / width
    falling = np.sqrt((1 - rising[:, None]) ** 2 + (1 - rising) ** 2)
    return np.floor(255 * np.maximum(0, 1 - falling)).astype(np.uint8)
