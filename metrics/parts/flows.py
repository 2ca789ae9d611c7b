"""Optical flow of a video with a validity mask."""

import numpy as np

from metrics.parts.streams import Stream
from metrics.parts.tools import Tools

AGREEMENT = 1.0
"""Maximum forward-backward difference in pixels."""


class Flow:
    """(N, H, W, 2): the position in this frame of each pixel of the previous frame; NaN where the flow is unreliable.

    DIS (Kroeger et al. 2016), medium preset; a flow is reliable if the backward flow returns to the pixel. The first
    frame has no previous frame.
    """

    def __init__(self, tools: Tools):
        import cv2

        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._before: np.ndarray | None = None

    def __call__(self, stream: Stream) -> np.ndarray:
        return np.stack([self._step(frame) for frame in stream.bytes])

    def _step(self, frame: np.ndarray) -> np.ndarray:
        import cv2

        grey, before = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), self._before
        self._before = grey
        if before is None:
            return np.full((*grey.shape, 2), np.nan, np.float32)
        forward, backward = self._flow.calc(before, grey, None), self._flow.calc(grey, before, None)
        there = positions(forward)
        returned = cv2.remap(backward, *(there[..., axis] for axis in (0, 1)), cv2.INTER_LINEAR)
        inside = ((there >= 0) & (there <= np.array(grey.shape[::-1]) - 1)).all(-1)
        agrees = np.linalg.norm(forward + returned, axis=-1) < AGREEMENT
        forward[~(inside & agrees)] = np.nan
        return forward


def positions(flow: np.ndarray) -> np.ndarray:
    """The target position (H, W, 2) of each pixel, as x, y."""
    rows, columns = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    return flow + np.stack([columns, rows], -1)


def warped(frame: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The frame (H, W, C) warped to the previous frame."""
    import cv2

    there = np.nan_to_num(positions(flow))
    return cv2.remap(frame, there[..., 0], there[..., 1], cv2.INTER_LINEAR)
