"""Edges of a picture by Canny's method, as scikit-image defines it with its defaults, many times faster."""

import cv2
import numpy as np

LOW, HIGH = 0.1, 0.2
"""Thresholds of the gradient's length, for pictures in [0, 1]."""
_OFFSETS = np.arange(-4, 5)
_GAUSSIAN = np.exp(-(_OFFSETS**2) / 2)
_GAUSSIAN /= _GAUSSIAN.sum()


def canny(grey: np.ndarray) -> np.ndarray:
    """Where a grey picture (H, W) uint8 has edges: its gradient is longest along itself, and strong, or linked so."""
    smooth = _smoothed(grey)
    down, right = (cv2.Sobel(smooth, cv2.CV_32F, dx, dy, ksize=3) for dx, dy in ((0, 1), (1, 0)))
    length = cv2.magnitude(right, down)
    inner = length[1:-1, 1:-1] >= LOW
    found = np.flatnonzero(np.pad(inner, 1))
    found = found[_is_longest(length.ravel(), down.ravel()[found], right.ravel()[found], found, grey.shape[1])]
    weak = np.zeros(grey.shape, np.uint8)
    weak.ravel()[found] = 1
    count, groups = cv2.connectedComponents(weak, connectivity=8, ltype=cv2.CV_32S)
    kept = np.zeros(count, bool)
    kept[groups.ravel()[found[length.ravel()[found] >= HIGH]]] = True
    return kept[groups]


def _smoothed(grey: np.ndarray) -> np.ndarray:
    """The picture blurred by a Gaussian of deviation 1; pixels outside have no weight."""
    blur = {"ddepth": cv2.CV_32F, "borderType": cv2.BORDER_CONSTANT}
    blurred = cv2.sepFilter2D(grey.astype(np.float32) / 255, kernelX=_GAUSSIAN, kernelY=_GAUSSIAN, **blur)
    rows, columns = (np.convolve(np.ones(side), _GAUSSIAN, "same").astype(np.float32) for side in grey.shape)
    blurred /= rows[:, None]
    blurred /= columns
    return blurred


def _is_longest(length: np.ndarray, down: np.ndarray, right: np.ndarray, place: np.ndarray, width: int) -> np.ndarray:
    """Whether the gradients at some places are at least as long as both neighbours in their direction.

    A neighbour lies between a pixel beside the place and one diagonal to it.
    """
    steep = np.abs(down) > np.abs(right)
    row, column = np.where(down >= 0, width, -width), np.where(right >= 0, 1, -1)
    beside, diagonal = np.where(steep, row, column), row + column
    share = np.where(steep, right, down) / np.where(steep, down, right)
    np.abs(share, out=share)
    here = length[place]
    one = length[place + beside] * (1 - share) + length[place + diagonal] * share
    other = length[place - beside] * (1 - share) + length[place - diagonal] * share
    return (one <= here) & (other <= here)
