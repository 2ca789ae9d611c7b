"""Edits of a portrait by name: their effect on expression deltas of 21 points, pose, size and openness."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

X, Y, Z = range(3)
NUM_KP = 21
"""Number of points that an edit may name, in the order of LivePortrait's released weights."""


class Edit(NamedTuple):
    """An edit: its range, and the changes (point, axis, factor) of the expression."""

    low: float
    high: float
    changes: tuple[tuple[int, int, float], ...] = ()
    below: tuple[tuple[int, int, float], ...] | None = None
    """The changes for values of at most 0, if they differ."""

    def delta(self, value: float) -> np.ndarray:
        """The edit's expression deltas: (21, 3)."""
        changes = self.changes if value > 0 or self.below is None else self.below
        total = np.zeros((NUM_KP, 3))
        for point, axis, factor in changes:
            total[point, axis] += factor * value
        return total


EDITS: dict[str, Edit] = {
    "gaze_x": Edit(-30, 30, ((11, X, 0.0007), (15, X, 0.001)), below=((11, X, 0.001), (15, X, 0.0007))),
    # Looking up by u also moves the lids, with b = -u / 2: 11 and 15 by -0.001 (u + b), 13 and 16 by 0.0003 b.
    "gaze_y": Edit(-63, 63, ((11, Y, -0.0005), (15, Y, -0.0005), (13, Y, -0.00015), (16, Y, -0.00015))),
    "smile": Edit(-0.3, 1.3, (
        (20, Y, -0.01), (14, Y, -0.02), (17, Y, 0.0065), (17, Z, 0.003), (13, Y, -0.00275), (16, Y, -0.00275),
        (3, Y, -0.0035), (7, Y, -0.0035),
    )),
    "wink": Edit(0, 39, ((11, Y, 0.001), (13, Y, -0.0003), (17, X, 0.0003), (17, Y, 0.0003), (3, Y, -0.0003))),
    "eyebrow": Edit(-30, 30, ((1, Y, 0.001), (2, Y, -0.001)),
                    below=((1, X, -0.001), (2, X, 0.001), (1, Y, 0.0003), (2, Y, -0.0003))),
    "pouting": Edit(-0.09, 0.09, ((19, X, 1.0),)),
    "pursing": Edit(-20, 15, ((14, Y, 0.001), (3, Y, -0.0005), (7, Y, -0.0005), (17, Z, -0.0005))),
    "grin": Edit(0, 15, ((20, Z, -0.001), (20, Y, -0.001), (14, Y, -0.001))),
    "mouth": Edit(-90, 120, ((19, Y, 0.001), (19, Z, 0.0001), (17, Y, -0.0001))),
    "move_x": Edit(-0.19, 0.19, ((5, X, 1.0),)),
    "move_y": Edit(-0.19, 0.19, ((5, Y, 1.0),)),
    # These change the pose, the size, or the input of the retargeting networks.
    "pitch": Edit(-15, 15),
    "yaw": Edit(-25, 25),
    "roll": Edit(-15, 15),
    "zoom": Edit(0.9, 1.2),
    "eyes": Edit(0, 0.8),
    "lips": Edit(0, 0.8),
}  # fmt: skip
"""Every edit by name, with the values that change nothing."""


def edit_arrays(values: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Edits as arrays: expression (21, 3), angles (3,) in degrees, zoom (1,), eyes (1,) and lips (1,).

    Eyes and lips are NaN if their openness is not edited.
    """
    delta = sum((EDITS[name].delta(value) for name, value in values.items()), np.zeros((NUM_KP, 3)))
    angles = [values.get(name, 0.0) for name in ("pitch", "yaw", "roll")]
    others = {"zoom": values.get("zoom", 1.0), **{name: values.get(name, np.nan) for name in ("eyes", "lips")}}
    arrays = {"expression": delta, "angles": np.array(angles), **{name: np.array([v]) for name, v in others.items()}}
    return {name: array.astype(np.float32) for name, array in arrays.items()}
