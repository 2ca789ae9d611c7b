"""Pictures of a training step in one labelled grid."""

from collections.abc import Mapping

import cv2
import numpy as np

from util.resizing import to_bytes


def as_picture(picture: np.ndarray) -> np.ndarray:
    """Convert a map (C, H, W) or (H, W) with values in [0, 1] to a picture (H, W, 3) of bytes."""
    picture = np.nan_to_num(np.asarray(picture, np.float32))
    if picture.ndim == 2:
        picture = picture[None]
    if picture.shape[0] == 1:
        picture = np.repeat(picture, 3, 0)
    return to_bytes(picture[:3]).transpose(1, 2, 0)


def labelled_grid(columns: Mapping[str, np.ndarray], *, rows: int = 4, min_height: int = 96) -> np.ndarray:
    """One picture (H, W, 3) uint8: a column per name, a row per sample, the names on top.

    Values are batches (N, C, H, W) in [0, 1]; small pictures are upsampled without smoothing, all to the same height.
    """
    height = max(min_height, *(batch.shape[-2] for batch in columns.values()))
    strips = []
    for name, batch in columns.items():
        tiles = [_enlarge(as_picture(picture), height) for picture in batch[:rows]]
        tiles += [np.zeros_like(tiles[0])] * (min(rows, _most_rows(columns)) - len(tiles))
        strips.append(np.concatenate([_label(name, tiles[0].shape[1]), *tiles]))
    return np.concatenate(strips, axis=1)


def _most_rows(columns: Mapping[str, np.ndarray]) -> int:
    return max(len(batch) for batch in columns.values())


def _enlarge(picture: np.ndarray, height: int) -> np.ndarray:
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST)


def _label(name: str, width: int, height: int = 18) -> np.ndarray:
    strip = np.full((height, width, 3), 32, np.uint8)
    scale = min(0.42, 0.42 * (width - 4) / max(1, cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0]))
    return cv2.putText(strip, name, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, scale, (235, 235, 235), 1, cv2.LINE_AA)
