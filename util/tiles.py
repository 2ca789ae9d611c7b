"""Arrange pictures in rows and columns."""

from collections.abc import Sequence

import cv2
import numpy as np


def tile(pictures: Sequence[np.ndarray], columns: int, border: int = 0, colour: int = 127) -> np.ndarray:
    """Pictures (H, W, 3) of one size, row by row, with borders around and between them in the colour of gaps."""
    height, width = pictures[0].shape[:2]
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    size = (rows * (height + border) + border, columns * (width + border) + border, 3)
    sheet = np.full(size, colour, pictures[0].dtype)
    for index, picture in enumerate(pictures):
        top, left = (
            border + cell * (side + border) for cell, side in zip(divmod(index, columns), (height, width), strict=True)
        )
        sheet[top : top + height, left : left + width] = picture
    return sheet


def captioned(picture: np.ndarray, text: str, height: int = 16) -> np.ndarray:
    """A picture with a line of text under it."""
    strip = np.full((height, picture.shape[1], 3), 32, np.uint8)
    cv2.putText(strip, text, (3, height - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (235, 235, 235), 1, cv2.LINE_AA)
    return np.concatenate([picture, strip])
