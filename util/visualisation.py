"""Visualisations of motion models: key points, warps, masks, side by side."""

from collections.abc import Sequence

import numpy as np

from util.resizing import to_bytes

COLORMAPS = {
    "gist_rainbow": (
        (0.0, 0.03, 0.215, 0.4, 0.586, 0.77, 0.954, 1.0),
        ((1, 0, 0.16), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0.75)),
    ),
}
"""Name -> positions in [0, 1] and their colours; interpolated linearly in 256 steps."""


def colours(count: int, colormap: str = "gist_rainbow") -> np.ndarray:
    """The colours (count, 3) at i / count of the colour map."""
    positions, anchors = COLORMAPS[colormap]
    table = np.stack([np.interp(np.linspace(0, 1, 256), positions, channel) for channel in np.transpose(anchors)], 1)
    return table[np.arange(count) * 256 // max(1, count)].astype(np.float32)


def draw_points(pictures: np.ndarray, points: np.ndarray, radius: int, colormap: str = "gist_rainbow") -> np.ndarray:
    """Draw a filled disc at every point (B, K, 2) in [-1, 1] into pictures (B, H, W, 3), one colour per point."""
    pictures = pictures.copy()
    height, width = pictures.shape[1:3]
    rows, columns = np.mgrid[:height, :width]
    for picture, centres in zip(pictures, (points + 1) / 2 * (width, height), strict=True):
        for (x, y), colour in zip(centres, colours(len(centres), colormap), strict=True):
            picture[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = colour
    return pictures


def enlarge(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize maps (B, h, w, C) by repeating pixels."""
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, maps.shape[1:3], strict=True))
    return maps[:, rows][:, :, columns]


def mask_columns(masks: np.ndarray, deformed: np.ndarray, size: tuple[int, int], colormap: str) -> list[np.ndarray]:
    """For each motion its warped source and its mask in the colour of its point, finally all masks together."""
    masks = masks[..., None]
    tints = np.concatenate([np.ones((1, 3), np.float32), colours(masks.shape[1] - 1, colormap)])
    columns = []
    for index, tint in enumerate(tints):
        columns += [enlarge(deformed[:, index], size), enlarge(masks[:, index], size) * tint]
    return [*columns, sum(columns[3::2])]


def rows_of(columns: Sequence[np.ndarray]) -> list[np.ndarray]:
    """One picture (H, W, 3) in bytes per sample: its columns side by side, all at the size of the largest.

    The columns are batches (B, h, w, 1 or 3).
    """
    size = tuple(max(column.shape[axis] for column in columns) for axis in (1, 2))
    columns = [np.repeat(column, 3 // column.shape[3], axis=3) for column in columns]
    columns = [column if column.shape[1:3] == size else enlarge(column, size) for column in columns]
    return [strip([picture[None] for picture in row]) for row in zip(*columns, strict=True)]


def strip(columns: Sequence[np.ndarray], draw_border: bool = False) -> np.ndarray:
    """One picture (B H, n W, 3) in bytes: a row per sample, a column per batch of pictures (B, H, W, 3)."""
    columns = [np.array(column, np.float32) for column in columns]
    if draw_border:
        for column in columns:
            column[:, :, [0, -1]] = 1
    return to_bytes(np.concatenate([np.concatenate(list(column)) for column in columns], axis=1), truncate=True)
